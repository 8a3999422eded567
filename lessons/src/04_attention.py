# %% [markdown]
# # 04 Attention
#
# **How does one patch look at the others?** You build the layer in which
# tokens exchange what they know, and draw your first attention maps.

# %% [markdown]
# Until now every patch knows its own 16 x 16 pixels and nothing else.
# [Attention](GLOSSARY.md#attention) is the only place in the whole network
# where tokens meet.
#
# After this lesson you can
#
# - compute the attention of three tokens by hand,
# - write it as loops, as matrices and with heads, equal to the package's,
# - say what division by the root of d prevents, and measure it,
# - draw where a patch looks, and say why a crisp map proves nothing,
# - find three mistakes that raise no error.
#
# | | |
# |---|---|
# | you need | lessons 01, 02, 03 |
# | time | 45 minutes |
# | module | `dinolite/layers/attention.py` |
# | official | `layers/attention.py`: `SelfAttention`, `LinearKMaskedBias` |
# | paper | DINOv3 Sec. 3.2, Table 2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers import attention
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# Today's box lies inside the ViT, below RoPE: the two work together.

# %%
viz.pipeline_map("04")
plt.show()

# %% [markdown]
# *Figure: the pipeline of the course. The box "attention", lesson 04, is lit.
# It stands inside the ViT between tokens and block, below RoPE.*
#
# ## The failure first
#
# Take a photograph of a cup, 256 x 256 pixels, and paint one patch of the
# table black. Does any *other* patch notice? First with a layer as you know
# them: one matrix, applied to each patch alone.

# %%
F = torch.nn.functional
cup = photographs()["coffee"][None, :, :, 100:500] / 255  # the middle
cup = F.interpolate(cup, (256, 256), mode="bilinear", antialias=True)
spoiled = cup.clone()
spoiled[..., 0:16, 240:256] = 0  # patch (0, 15), upper right
shown = F.interpolate(cup, (96, 96), mode="bilinear", antialias=True)[0]

torch.manual_seed(0)
sizes = {"patch_size": 16, "embed_dim": 96, "depth": 3, "num_heads": 3}
net = DinoVisionTransformer(**sizes, n_storage_tokens=4).eval()
alone = torch.nn.Linear(96, 96)
layer = attention.SelfAttention(dim=96, num_heads=3)


def noticed(layer):
    x, y = (net.patch_embed(p).flatten(1, 2) for p in (cup, spoiled))
    return int(((layer(x) - layer(y)).abs().amax(dim=-1) > 1e-6).sum())


print("patches", list(net.patch_embed(cup).flatten(1, 2).shape))
print("each alone:", noticed(alone), "of 256 outputs change")
print("attention: ", noticed(layer), "of 256 outputs change")

# %% [markdown]
# Alone, one output changes: its own. Stack as many such layers as you like; a
# patch on the handle will never learn that there is a cup. With attention all
# 256 change.
#
# How does a token get something from all others, and more from those that
# matter? It takes a *weighted mean*, and computes the weights itself.

# %% [markdown]
# ## By hand: three tokens
#
# Three tokens with two numbers each: $(1, 0)$, $(0, 1)$ and $(1, 1)$. The
# first one asks: **how alike are we?** Three dot products, its *scores*:
#
# $$1\cdot1 + 0\cdot0 = 1, \qquad 1\cdot0 + 0\cdot1 = 0, \qquad 1\cdot1 +
# 0\cdot1 = 1.$$
#
# Weights must be positive and sum to 1. [Softmax](GLOSSARY.md#softmax) does
# it: $e^1 = 2.72$, $e^0 = 1$, $e^1 = 2.72$, divided by their sum 6.44:
#
# $$0.42, \quad 0.16, \quad 0.42.$$
#
# The result is the mean of the tokens with these weights:
#
# $$0.42\,(1,0) + 0.16\,(0,1) + 0.42\,(1,1) = (0.84,\ 0.58).$$

# %%
x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # [T, d] = [3, 2]
scores = x @ x.mT  # [3, 3]: row = who asks, column = who is looked at
weights = scores.softmax(dim=-1)  # each row sums to 1
result = weights @ x  # [3, 2]
by_hand = torch.tensor([2.72, 1.0, 2.72]) / 6.44
torch.testing.assert_close(weights[0], by_hand, atol=5e-3, rtol=0)
torch.testing.assert_close(
    result[0, 0], by_hand[0] + by_hand[2], atol=5e-3, rtol=0
)
steps = {"tokens": x, "scores": scores, "weights": weights, "result": result}
viz.matrix_figure(steps)
plt.show()

# %% [markdown]
# *Figure: four small matrices with their numbers. Tokens, three rows of two;
# scores and weights, three by three; results, three rows of two. The first row
# of the weights reads 0.42, 0.16, 0.42, that of the result 0.84, 0.58.*
#
# In code `x.mT` is the matrix with its last two axes swapped, so `x @ x.mT`
# holds the dot product of every token with every token.
#
# Do the third row yourself. It looks at itself most, since its dot product
# with itself is the largest.

# %% [markdown]
# ## Rung 1: loops
#
# One vector had three tasks there. From here on each task has its own: the
# [query](GLOSSARY.md#query-and-key) $q$ asks, the key $k$ is compared with it,
# the [value](GLOSSARY.md#value) $v$ is handed over.


# %%
def attend_loops(q, k, v):
    T, d = q.shape
    out = torch.zeros(T, v.shape[1])
    for i in range(T):  # one query at a time
        scores = torch.zeros(T)
        for j in range(T):  # meets every key
            for c in range(d):
                scores[j] += q[i, c] * k[j, c]
        weights = scores.exp() / scores.exp().sum()
        for j in range(T):
            out[i] += weights[j] * v[j]
    return out


torch.testing.assert_close(attend_loops(x, x, x), result)
print("out", list(attend_loops(x, x, x).shape))

# %% [markdown]
# ## Rung 2: matrices
#
# All scores at once are one matrix product, all means another.


# %%
def weigh(q, k):
    return (q @ k.mT).softmax(dim=-1)  # [..., T, T]


def attend(q, k, v):
    return weigh(q, k) @ v  # [..., T, d]


torch.manual_seed(1)
q, k, v = torch.randn(3, 10, 4)  # each [T, d] = [10, 4]
torch.testing.assert_close(attend(q, k, v), attend_loops(q, k, v))
print("weights", list(weigh(q, k).shape), "out", list(attend(q, k, v).shape))

# %% [markdown]
# ## Look at it: who has my colour?
#
# Attention needs no training to do something. Let query and key of a patch
# both be its mean colour, minus the mean of all, divided by their spread. Then
# we choose a patch on the white rim and ask where it looks.

# %%
rgb = F.avg_pool2d(cup, 16)[0].flatten(1).T  # [N, 3] = [256, 3]
colour = (rgb - rgb.mean(dim=0)) / rgb.std()
at = 4 * 16 + 3  # row 4, column 3, on the rim
maps = {
    name: weigh(times * colour, colour)[at].view(16, 16)
    for name, times in [("scores", 1), ("scores x 3", 3)]
}
most = divmod(int(maps["scores"].argmax()), 16)
print("map", list(maps["scores"].shape), "most weight at", most)
viz.compare_figure({"": shown, **maps}, scale="positive", patch=(4, 3))
plt.show()

# %% [markdown]
# *Figure: the cup, a patch on its white rim framed, and two maps of 16 x 16
# weights. In the first the rim shows as a ring, brightest at the right. In the
# second, with scores three times as large, one patch at the right has nearly
# half of the weight, a few others most of the rest: the ring is broken.*
#
# The patch found the other parts of the rim, wherever they are. No filter, no
# neighbourhood: *whoever fits*.
#
# > **Tutor's note.** A dot product is not a distance. Long keys win: the
# > brightest white gets the most weight, not the white most like mine.

# %% [markdown]
# ## Rung 3: the scale
#
# The two maps differ in nothing but the size of the scores. How large are
# scores by nature? Draw queries and keys at random, with mean 0 and variance
# 1, and measure.

# %%
torch.manual_seed(2)
for d in [4, 64, 1024]:
    q, k = torch.randn(2, 1000, d)
    raw = (q * k).sum(dim=-1)  # [1000] dot products
    top = [weigh(q / s, k[:16]).amax(dim=-1).mean() for s in (1, d**0.5)]
    print(
        f"d = {d}: spread {raw.std():.1f}, root of d {d**0.5:.0f};",
        f"largest of 16 weights {top[0]:.1f}, scaled {top[1]:.1f}",
    )

# %% [markdown]
# A dot product sums $d$ products, each with variance 1. Variances add up, so
# the spread is $\sqrt d$. With $d = 1024$ one key takes all the weight, by
# chance. And where one weight is almost 1, softmax hardly reacts to its scores:
# the slope of a weight $p$ over its own score is $p(1-p)$, near zero, and
# nothing is learned. Hence
#
# $$\text{weights} = \text{softmax}\!\left(q k^\top / \sqrt{d}\right).$$
#
# The new `weigh` takes the place of the old one, and `attend`, which calls it,
# is scaled from here on.


# %%
def weigh(q, k):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)


def slope(scores):  # how far a weight moves when its score moves
    p = scores.softmax(dim=-1)
    return (p * (1 - p)).mean()


torch.manual_seed(3)
q, k = torch.randn(2, 16, 1024)
print("unscaled, slope below 0.005:", bool(slope(q @ k.mT) < 0.005))
print("scaled, slope above 0.03:", bool(slope(q @ k.mT / 32) > 0.03))

# %% [markdown]
# ## Rung 4: learned questions, in one layer
#
# Where do $q$, $k$, $v$ come from? Three linear layers, which training will
# shape (ours are still random). The code has one, three times as wide: one
# large product is faster than three small ones.
#
# We take the 261 tokens of lesson 02: CLS, 4
# [registers](GLOSSARY.md#register), 256 patches.

# %%
x, grid = net.prepare_tokens_with_masks(cup)  # [1, T, D]
parts = zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True)
three = [F.linear(x, w, b) for w, b in parts]
fused = layer.qkv(x).chunk(3, dim=-1)
for a, b in zip(three, fused, strict=True):
    torch.testing.assert_close(a, b)
q, k, v = fused
print("x", list(x.shape), "qkv", list(layer.qkv(x).shape))
print("q", list(q.shape), "grid", grid)

# %% [markdown]
# ## Rung 5: heads
#
# One softmax gives one question: a patch could ask for its colour *or* for the
# edge it continues. So the width is cut into `h` slices of `d = D / h`
# numbers, and every slice, a [head](GLOSSARY.md#attention-head), attends by
# itself.
#
# A loop over slices first; then all heads at once, by giving them an axis of
# their own.


# %%
def split_heads(x, h):
    B, T, D = x.shape
    return x.view(B, T, h, D // h).transpose(1, 2)  # [B, h, T, d]


slices = [slice(0, 32), slice(32, 64), slice(64, 96)]
loop = torch.cat([attend(*(t[..., s] for t in (q, k, v))) for s in slices], -1)
heads = [split_heads(t, 3) for t in (q, k, v)]
at_once = attend(*heads)  # [1, 3, 261, 32]
torch.testing.assert_close(at_once.transpose(1, 2).flatten(2), loop)
print("q", list(heads[0].shape), "map", list(weigh(*heads[:2]).shape))
print("side by side again", list(loop.shape))

# %% [markdown]
# The slices are put side by side again, and a last matrix `proj` mixes them.
#
# > DINOv3's largest model is 4096 wide and has 32 heads, so a head works with
# > 128 numbers (DINOv3 Sec. 3.2, Table 2).
#
# ## Rung 6: with RoPE
#
# Queries and keys of patches are turned by their place (lesson 03); values
# are not. CLS and registers have no place and stay. What does it do to the
# search for white? Say some numbers of a head hold the colour and others, all
# ones, are turned by the place. A dot product adds their scores.

# %%
rope = net.rope_embed(H=16, W=16)  # (sin, cos), each [256, 32]
ones = attention.apply_rope(torch.ones(1, 1, 256, 32), rope)[0, 0]
by_place = ones @ ones.mT / 32**0.5  # [256, 256]
by_colour = colour @ colour.mT
all_scores = {
    "colour": by_colour,
    "place": by_place,
    "colour + place": by_colour + by_place,
}
maps = {
    name: s.softmax(dim=-1)[at].view(16, 16) for name, s in all_scores.items()
}
most = divmod(int(maps["colour + place"].argmax()), 16)
print("with both, most weight at", most)
viz.compare_figure({"": shown, **maps}, scale="positive", patch=(4, 3))
plt.show()

# %% [markdown]
# *Figure: the cup and three maps for the framed patch on the rim. By colour:
# the whole ring. By place: a bright spot at the frame with faint arms along
# its row and column. By both: the part of the ring that is near the frame, and
# a weak rest at the right.*
#
# So a query can ask two things at once: *white, and near me*. (In a real head
# all pairs are turned. The slow ones hardly move, and can carry the content.)

# %% [markdown]
# ## Rung 7: the package's
#
# Here is how the package writes it. `view` gives [B, T, 3, h, d]; `permute(2, 0,
# 3, 1, 4)` brings the 3 to the front and `h` before `T`. This is our cut into
# heads, for q, k and v in one go.

# %%
print(inspect.getsource(attention.SelfAttention.queries_keys_values))
print(inspect.getsource(attention.SelfAttention.forward))

# %% [markdown]
# Now three ways: ours, torch's `scaled_dot_product_attention`, the layer
# itself.

# %%
turned = [attention.apply_rope(t, rope) for t in heads[:2]]  # q and k
mine = attend(*turned, heads[2])
torchs = F.scaled_dot_product_attention(*turned, heads[2])
torch.testing.assert_close(mine, torchs)
out = layer.proj(mine.transpose(1, 2).flatten(2))
torch.testing.assert_close(out, layer(x, rope))
print("out", list(out.shape))
print("equal to the package:", torch.allclose(out, layer(x, rope), atol=1e-5))

# %% [markdown]
# ## Where are the weights?
#
# `forward` never shows an [attention map](GLOSSARY.md#attention-map). Torch's
# function can work piece by piece and need not keep the weights, and there are
# many: one for every pair of tokens, in every head.

# %%
for side in [224, 448, 896]:
    T = 1 + 4 + (side // 16) ** 2
    print(f"{side} pixels: {T} tokens, {T * T:,} pairs")

# %% [markdown]
# Twice the side: about 4 times the tokens, about 16 times the pairs. So for
# looking there is a second method, `attention_map`, which writes them all
# down. Same weights:

# %%
map_ = layer.attention_map(x, rope)  # [B, h, T, T], row = who asks
again = layer.proj((map_ @ heads[2]).transpose(1, 2).flatten(2))
torch.testing.assert_close(again, layer(x, rope))
print("map", list(map_.shape))
print("rows sum to 1:", torch.allclose(map_.sum(-1), torch.tensor(1.0)))

# %% [markdown]
# ## Does the bias of the keys matter?
#
# Linear layers have a bias: the same $b$ is added to every key. For a query
# $q$ all its scores then grow by $q \cdot b$, and softmax does not see what is
# added to a whole row: the bias does nothing. With RoPE it is turned together
# with the key. Does it still cancel?

# %%
torch.manual_seed(4)
b = torch.randn(32)
q, k = heads[:2]  # [1, 3, 261, 32]
print("without RoPE:", torch.allclose(weigh(q, k + b), weigh(q, k), atol=1e-5))
turn = attention.apply_rope
before = weigh(turn(q, rope), turn(k, rope))
after = weigh(turn(q, rope), turn(k + b, rope))
print("with RoPE:", torch.allclose(after, before, atol=1e-5))

# %% [markdown]
# No: $b$ is turned by another angle at every place, and what it adds to the
# scores differs from place to place. The query gets a taste for certain places,
# whatever lies there. The official code has an option, `mask_k_bias`, that
# leaves this bias out: the biases of q, k and v are multiplied by a mask, which
# is 0 on the third of the keys.

# %%
torch.manual_seed(5)
masked = attention.SelfAttention(dim=96, num_heads=3, mask_k_bias=True)
print(inspect.getsource(attention.LinearKMaskedBias.forward))
for name, third in zip("qkv", masked.qkv.bias_mask.chunk(3), strict=True):
    print(name, third.unique().tolist(), list(third.shape))

# %% [markdown]
# > **Watch out.** In the official code the mask starts as nan, on purpose, and
# > `init_weights` fills it. A layer that you build there by hand and forget to
# > initialise gives nan everywhere.
#
# ## Look at it: an untrained network
#
# `get_attention_maps` collects the maps of whole networks. Ours has three
# layers and random weights: **it has learned nothing**. We look at the first
# layer, at what CLS looks at. Pixels go in from -1 to 1, and weights are
# counted in *even shares*: 1 is what each of the 261 tokens would get if all
# got the same.

# %%
pixels = 2 * cup - 1
maps = net.get_attention_maps(pixels, [0, 1, 2])  # 3 x [1, h, T, T]
first = maps[0][0]  # [3, 261, 261]
print(len(maps), "layers, each", list(maps[0].shape))
print("largest in even shares:", f"{261 * first[:, 0, 5:].max():.1f}")
viz.query_attention_figure(shown, {"CLS, untrained": first}, grid, scale="own")
plt.show()

# %% [markdown]
# *Figure: the cup and where CLS looks, for three heads of an untrained
# network. Head 0 seems to draw the outline of the cup, head 1 a bright area
# near the handle, head 2 a few spots. Above each map: max 1.1.*
#
# Is that not the cup? It is, and nobody has taught it. Random weights still
# react to pixels, and like pixels get like weights. The colours are stretched
# from the smallest to the largest value; *max 1.1* says that the favourite
# gets 1.1 even shares. Now for the patch on the rim, on a scale that begins at
# 0; and below that, a trick.

# %%
token = viz.patch_token(261, grid, 4, 3)
print("patch (4, 3) is token", token, "= 1 + 4 + 4 x 16 + 3")
crisp = (261 * first) ** 40  # in even shares, so that nothing underflows
crisp = crisp / crisp.sum(dim=-1, keepdim=True)
rows = {"untrained": first, "scores x 40": crisp}
viz.query_attention_figure(shown, rows, grid, query=token)
plt.show()

# %% [markdown]
# *Figure: two rows of three heads, for the framed patch on the rim. Above, the
# same untrained weights from zero on: almost one flat colour. Below, all
# scores times 40: crisp maps with few bright patches, as untrained as those
# above.*
#
# > **Watch out.** A crisp map proves nothing, and neither does one that shows
# > the object. Always draw the untrained network beside it. (Weights to the
# > power 40, divided by their sum, are the softmax of 40 times the scores.)

# %% [markdown]
# ## Predict, then run
#
# **First.** Multiply $q$ and $k$ by 4. Among 256 keys, how many get more than
# 1 percent of the weight, before and after? **Second.** Put keys and values
# into another order, both the same. What happens to the result? And if only
# the keys are reordered?

# %%
torch.manual_seed(6)
q, k, v = torch.randn(3, 256, 64)
for times in [1, 4]:
    many = (weigh(times * q, times * k) > 0.01).sum(dim=-1)
    print(f"times {times}: {many.float().mean():.0f} keys above 1 percent")
order = torch.randperm(256)
out = attend(q, k, v)
both, one = attend(q, k[order], v[order]), attend(q, k[order], v)
print("both reordered, same result:", torch.allclose(both, out, atol=1e-4))
print("only keys, same result:", torch.allclose(one, out, atol=1e-4))

# %% [markdown]
# Times 4 on both sides is times 16 on the scores, and softmax is exponential:
# a wide look becomes a choice of one or two. And attention reads a *set*: who
# stands where does not matter, only which value belongs to which key. That is
# why lesson 03 came first.

# %% [markdown]
# ## A map that means something
#
# Now a game that cannot be won alone. A picture has 16 patches. Every one of
# eight colours occurs twice: once plain, once with a white dot in one of four
# corners. Each plain patch has to say *where its twin's dot is*.

# %%
codes = "0072B2 D55E00 009E73 CC79A7 E69F00 56B4E9 000000 F0E442"
colours = torch.tensor([list(bytes.fromhex(c)) for c in codes.split()]) / 255
dots = torch.zeros(4, 5, 5, dtype=torch.bool)  # [corner, row, column]
for corner, (r, c) in enumerate([(1, 1), (1, 3), (3, 1), (3, 3)]):
    dots[corner, r, c] = True


def twins(n, draw):
    corner = torch.randint(4, (n, 8), generator=draw)
    plain = colours[:, None, None].expand(n, 8, 5, 5, 3)
    dotted = torch.where(dots[corner][..., None], 1.0, plain)
    order = torch.rand(n, 16, generator=draw).argsort(dim=1)  # shuffled
    both = torch.cat([plain, dotted], dim=1)  # [n, 16, 5, 5, 3]
    patches = both[torch.arange(n)[:, None], order].flatten(2)
    return patches, corner.gather(1, order % 8), order


x, answer, order = twins(16, torch.Generator().manual_seed(0))
print("patches", list(x.shape), "answers", list(answer.shape))

# %% [markdown]
# The net: a small patch embedding with a [GELU](GLOSSARY.md#gelu) (a ReLU
# without the corner), one attention layer with one head, four scores for the
# four corners. What attention brings is added to the patch's own vector
# (`z + middle(z)`). A control gets a linear layer in place of attention.


# %%
def train(middle):
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    embed = torch.nn.Sequential(torch.nn.Linear(75, 64), torch.nn.GELU())
    read = torch.nn.Linear(64, 4)
    net = torch.nn.ModuleList([embed, middle, read])
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(200):
        x, answer, order = twins(16, draw)
        z = embed(2 * x - 1)  # [16, 16, 64]
        logits = read(z + middle(z))  # [16, 16, 4]
        plain = order < 8
        loss = F.cross_entropy(logits[plain], answer[plain])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


torch.manual_seed(7)
alone = train(torch.nn.Linear(64, 64))
looking = train(attention.SelfAttention(64, num_heads=1))

# %% [markdown]
# 200 new pictures. How many plain patches give the right answer, and how often
# does the largest weight lie on the twin? Chance is 1 in 4, and 1 in 16. For
# comparison, an attention layer with random weights on the same embedding.

# %%
x, answer, order = twins(200, torch.Generator().manual_seed(8))
torch.manual_seed(7)
new = attention.SelfAttention(64, num_heads=1)
plain, z = order < 8, looking[0](2 * x - 1)
maps = {
    "untrained": new.attention_map(z),
    "trained": looking[1].attention_map(z),
}


def right(net):
    z = net[0](2 * x - 1)
    guess = net[2](z + net[1](z)).argmax(dim=-1)
    return (guess == answer)[plain].float().mean()


print("alone: below 0.3:", bool(right(alone) < 0.3))
print("attention: above 0.95:", bool(right(looking) > 0.95))
for name, map_ in maps.items():
    best = order.gather(1, map_[:, 0].argmax(dim=-1))  # [200, 16]
    share = (best == order + 8)[plain].float().mean()
    print(f"{name}: nearly always on the twin: {bool(share > 0.9)}")


# %%
def show_game(picture, patch):
    tiles = x[picture].view(4, 4, 5, 5, 3).permute(4, 0, 2, 1, 3)
    tiles = tiles.reshape(3, 20, 20)
    looks = {n: m[picture, 0, patch].view(4, 4) for n, m in maps.items()}
    looks = {"": tiles, **looks}
    return viz.compare_figure(looks, scale="positive", patch=divmod(patch, 4))


asks = int((order[0] == 1).nonzero())  # the plain patch of the second colour
show_game(0, asks)
plt.show()

# %% [markdown]
# *Figure: a picture of 16 coloured patches, eight of them with a white dot,
# and one plain patch framed. Then where it looks: untrained, a blur over many
# patches; trained, one bright patch, the twin with the dot, and a little on
# itself.*
#
# Without attention the game stays guesswork. With it the net wins, and the map
# shows how: find my colour, fetch the dot. This map is learned, and we know
# because the untrained one stands beside it. It says where a patch looks; what
# arrives from there is in the values.

# %% [markdown]
# ## Explore
#
# Back to the cup and the *untrained* ViT. Move query, layer and head. Then
# raise `times`, the factor on all scores, and watch nothing become something.


# %%
maps = net.get_attention_maps(pixels, [0, 1, 2])


def draw(layer, head, row, column, times):
    query = viz.patch_token(261, grid, row, column)
    weights = (261 * maps[layer][0, head, query]) ** times
    weights = weights / weights.sum()
    title = f"layer {layer}, head {head}, max {261 * weights.max():.1f}"
    looks = {"": shown, title: weights[5:].view(grid)}
    return viz.compare_figure(looks, scale="own", patch=(row, column))


viz.explore(
    draw,
    layer=(0, 2, 1, 0),
    head=(0, 2, 1, 0),
    row=(0, 15, 1, 4),
    column=(0, 15, 1, 3),
    times=(1, 60, 1, 1),
)

# %% [markdown]
# *Figure: five sliders, and below them the cup with a framed patch and where
# this patch looks in layer 0, head 0, colours stretched. The number in the
# title, the largest weight in even shares, is close to 1.*

# %% [markdown]
# ## Against someone else
#
# PyTorch has had this layer for years, as `MultiheadAttention`. Its fused
# matrix has the same order, q, k, v. We give it our weights and compare
# result and map.

# %%
torch.manual_seed(0)
theirs = torch.nn.MultiheadAttention(96, num_heads=3, batch_first=True)
for mine, other in [(layer.qkv, "in_proj_"), (layer.proj, "out_proj.")]:
    for part, numbers in mine.state_dict().items():
        theirs.state_dict()[other + part].copy_(numbers)
x, _ = net.prepare_tokens_with_masks(cup)
out, map_ = theirs(x, x, x, average_attn_weights=False)
torch.testing.assert_close(out, layer(x))
torch.testing.assert_close(map_, layer.attention_map(x))
print("out", list(out.shape), "map", list(map_.shape), "both equal")

# %% [markdown]
# It knows no RoPE, so we left it out on our side.
#
# ## Common mistakes
#
# Three of them give no error. The first: **softmax over the wrong axis.** Every
# *column* sums to 1, the rows do not. One token then takes more than a mean from
# the others, and another less.

# %%
wrong = steps["scores"].softmax(dim=-2)
print("columns", [f"{s:.2f}" for s in wrong.sum(dim=0)])
print("rows   ", [f"{s:.2f}" for s in wrong.sum(dim=1)])

# %% [markdown]
# The second: **heads without transpose.** `q.view(1, 3, 261, 32)` does raise an
# error here, but its message recommends `reshape`, which keeps the mistake: the
# shape is right, but head 0 gets the first third of the *tokens*, not a third
# of the width.

# %%
q = layer.qkv(x).chunk(3, dim=-1)[0]  # [1, 261, 96]
good, bad = split_heads(q, 3), q.reshape(1, 3, 261, 32)
print(list(good.shape), list(bad.shape), "equal:", torch.equal(good, bad))
other = q.clone()
other[:, -1] += 1  # the last token changes
for name, before, after in [
    ("good", good, split_heads(other, 3)),
    ("bad", bad, other.reshape(1, 3, 261, 32)),
]:
    same = torch.equal(before[:, 0], after[:, 0])
    print(f"{name}: head 0 sees the last token: {not same}")

# %% [markdown]
# **Off by the registers.** After CLS come `R` registers, then the patches.
# Who forgets them meets this:

# %% tags=["raises-exception"]
first[0, 0, 1:].view(16, 16)

# %% [markdown]
# Worse is the repair `1:257`, the third: it runs. Take attention by place alone,
# whose bright spot must lie under the frame.

# %%
ones = attention.apply_rope(torch.ones(1, 1, 261, 32), rope)
row = weigh(ones, ones)[0, 0, token]  # [261]
looks = {"last 256": row[-256:].view(grid), "1 to 257": row[1:257].view(grid)}
for name, values in looks.items():
    print(name, "most weight at", divmod(int(values.argmax()), 16))
viz.compare_figure({"": shown, **looks}, scale="positive", patch=(4, 3))
plt.show()

# %% [markdown]
# *Figure: the cup with the frame, and two maps. Taking the last 256 tokens,
# the bright spot is under the frame. Taking tokens 1 to 256, everything has
# moved four patches to the right, one for each register.*
#
# Counting from the end is safe, whatever stands in front.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/04.py`.
#
# **04.1** (difficulty 1, 3 minutes) `B` pictures of `T` tokens with width `D`
# enter a layer with `h` heads. Which shape has `q`, as a tuple, when the
# scores are computed?
#
# <details><summary>Hint 1</summary>`q @ k.mT` multiplies the last two axes and
# repeats it over those before.</details>
# <details><summary>Hint 2</summary>So tokens and numbers of a head come last,
# in this order.</details>


# %%
def shape_of_q(B, T, D, h):
    raise NotImplementedError("exercise 04.1")


check("04.1", shape_of_q)

# %% [markdown]
# **04.2** (difficulty 2, 8 minutes) Scaled weights [B, h, T, T] from `q` and `k`,
# both [B, h, T, d], with `exp` and `sum` in place of `softmax`. Scores of
# several thousand must work too, in every row.
#
# <details><summary>Hint 1</summary>Score, scale, exp, divide by the sum of the
# row. Keep the axis: `keepdim=True`.</details>
# <details><summary>Hint 2</summary>e to the power of 100 does not fit into
# float32.</details>
# <details><summary>Hint 3</summary>What did a number added to a whole row
# do?</details>


# %%
def weights_of(q, k):
    raise NotImplementedError("exercise 04.2")


check("04.2", weights_of)

# %% [markdown]
# **04.3** (difficulty 2, 8 minutes) Cut the output `qkv` of the fused layer, [B,
# T, 3 D], into the tuple `(q, k, v)`, each [B, h, T, d] for `h` heads.
#
# <details><summary>Hint 1</summary>First the thirds, then the heads.</details>
# <details><summary>Hint 2</summary>`chunk(3, dim=-1)`, then what `split_heads`
# does.</details>


# %%
def split_qkv(qkv, h):
    raise NotImplementedError("exercise 04.3")


check("04.3", split_qkv)

# %% [markdown]
# **04.4** (difficulty 3, 8 minutes) One query looks at `T` keys, with scaled
# scores. `q` is [d], `keys` [T, d], `values` [T, e]; the result is [e].
#
# <details><summary>Hint 1</summary>`keys @ q` has one score per key.</details>
# <details><summary>Hint 2</summary>A mean with weights is `weights @
# values`.</details>
# <details><summary>Hint 3</summary>The root is that of the numbers in a
# query.</details>


# %%
def look(q, keys, values):
    raise NotImplementedError("exercise 04.4")


check("04.4", look)

# %% [markdown]
# **04.5** (difficulty 3, 10 minutes) Change the design: other numbers of
# heads. Return three counts, as a tuple, for one layer and one picture of `T`
# tokens: the numbers in the matrix of `qkv` (no bias), the multiplications in
# the dot products of all heads, the numbers in the attention maps of all
# heads. Which of them depend on `h`? What do 12 heads gain over 3, and what
# does each of them lose?
#
# <details><summary>Hint 1</summary>A score is a dot product of d = D / h
# numbers.</details>
# <details><summary>Hint 2</summary>Each head has T x T scores.</details>


# %%
def cost(T, D, h):
    raise NotImplementedError("exercise 04.5")


check("04.5", cost)

# %%
print(progress("04"))

# %% [markdown]
# ## Recap
#
# - You computed scores, weights and a weighted mean by hand.
# - You climbed from loops to matrices to heads, and met the package's layer
#   and torch's.
# - You measured that dot products spread like the root of d; unscaled, one
#   key takes all.
# - You drew maps of an untrained net, crisp and empty, and one that was
#   learned beside its control.
# - You found a wrong axis, wrong heads and a wrong offset.
#
# Next: what else is in a block, and why does a stack of them train?

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2 and
#   Table 2: the sizes of the largest model.
# - Official code: `dinov3/layers/attention.py`, classes `SelfAttention` and
#   `LinearKMaskedBias`; here `dinolite/layers/attention.py`.
# - Attention Is All You Need,
#   [arXiv 1706.03762](https://arxiv.org/abs/1706.03762): where this layer
#   comes from, with its reason for the root of d.
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 4.2.2: maps
#   of CLS per head, from a network that *has* learned.
