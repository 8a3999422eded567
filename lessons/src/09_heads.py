# %% [markdown]
# # 09 Heads
#
# **What is a prototype?** You build the part between the backbone and the
# losses, and see what its last matrix is made of: directions.

# %% [markdown]
# The [backbone](GLOSSARY.md#backbone) turns a crop into a feature. Teacher and
# student are to agree on an *answer*, and an answer needs things to choose from.
# The [head](GLOSSARY.md#head) brings them: `K`
# [prototypes](GLOSSARY.md#prototype).
#
# After this lesson you can
#
# - compute a head's answer by hand,
# - say why features are put on a sphere, and what a long prototype does,
# - predict what K and the temperature do to the answer,
# - count a head's parameters with and without a bottleneck,
# - say why there are two heads, and why both are thrown away.
#
# | | |
# |---|---|
# | you need | lessons 04, 06, 08 |
# | time | 45 minutes |
# | module | `dinolite/layers/dino_head.py` |
# | official | `layers/dino_head.py`: `DINOHead` |
# | paper | DINO Sec. 3.1, App. C; DINOv3 Sec. 3.2, Table 2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers.dino_head import DINOHead
from dinolite.models.pretrained import read_state_dict
from dinolite.train import param_groups, ssl_meta_arch
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# Two boxes today. Each stands for two heads.

# %%
viz.pipeline_map("09")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Two boxes "heads" are lit, one behind the teacher's ViT
# and one behind the student's; after them come Sinkhorn and the losses.*
#
# ## The failure first
#
# How does one describe a picture without a word? By comparison: *rather like
# this one*. We take 16 photographs as things to compare with. A feature is a
# photograph shrunk to 8 x 8 pixels, 192 numbers. The new pictures are the same
# photographs, cut to their middle. To compare is to take a dot product, as in
# attention; the highest score is the favourite.

# %%
F = torch.nn.functional
photos = photographs()
size = {"size": (64, 64), "mode": "bilinear", "antialias": True}
canvas = torch.cat(
    [F.interpolate(p[None] / 255, **size) for p in photos.values()]
)
known = F.adaptive_avg_pool2d(canvas, 8).flatten(1)  # [K, D] = [16, 192]
middle = canvas[:, :, 8:56, 8:56]
new = F.adaptive_avg_pool2d(middle, 8).flatten(1)  # [B, D] = [16, 192]
scores = new @ known.T  # [B, K]
best = scores.argmax(dim=1)
names = list(photos)
print("scores", list(scores.shape))
print("favourites:", {names[k] for k in best.tolist()})
print("right:", int((best == torch.arange(16)).sum()), "of 16")

# %% [markdown]
# One favourite for everything: `page`, a sheet of printed paper. It is not like
# the cat. It is *bright*: its vector is the longest, and a dot product grows
# with the length. So divide every vector by its length. What stays is a
# direction, and the dot product of two directions is the cosine of the angle
# between them.

# %%
unit = F.normalize(known, dim=1)  # each row now has length 1
cosines = F.normalize(new, dim=1) @ unit.T  # [B, K]
best = cosines.argmax(dim=1)
print("longest:", names[int(known.norm(dim=1).argmax())])
print("right:", int((best == torch.arange(16)).sum()), "of 16")
pictures = {"cat": canvas[1], "raw: page": canvas[12]}
pictures["cosine"] = canvas[best[1]]
viz.compare_figure(pictures, width=6)
plt.show()

# %% [markdown]
# *Figure: the cat; the sheet of paper, its favourite by raw dot products; and
# the cat again, its favourite by cosines.*
#
# That is the idea of a head. Two things change. Nobody picks the prototypes: they
# are learned like all weights. And what is compared with them is not pixels, it is
# what a network makes of them.

# %% [markdown]
# ## By hand: three prototypes
#
# A feature $x = (3, 4)$ has the length $\sqrt{9 + 16} = 5$. On the circle it is
# $z = (0.6, 0.8)$. Three prototypes: $(1, 0)$, $(0, 1)$, $(-1, 0)$. The dot
# products, called [logits](GLOSSARY.md#logits), are
#
# $$0.6, \qquad 0.8, \qquad -0.6 .$$
#
# They become shares by [softmax](GLOSSARY.md#softmax), after division by a
# [temperature](GLOSSARY.md#temperature) $\tau$. With $\tau = 1$: $e^{0.6} =
# 1.82$, $e^{0.8} = 2.23$, $e^{-0.6} = 0.55$, divided by their sum 4.60:
#
# $$0.40, \quad 0.48, \quad 0.12 .$$
#
# With $\tau = 0.1$ the logits become 6, 8, -6: now $403$, $2981$ and
# $0.002$, so $0.12$, $0.88$, $0.00$.

# %%
x = torch.tensor([[3.0, 4.0]])  # [B, d] = [1, 2]
W = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # [K, d] = [3, 2]
z = F.normalize(x, dim=-1)
logits = z @ W.T  # [B, K]
for temp, by_hand in [(1.0, [0.40, 0.48, 0.12]), (0.1, [0.12, 0.88, 0.0])]:
    shares = (logits / temp).softmax(dim=-1)[0]
    by_hand = torch.tensor(by_hand)
    torch.testing.assert_close(shares, by_hand, atol=6e-3, rtol=0)
    print(f"temperature {temp}:", [f"{s:.2f}" for s in shares])
print("z", list(z.shape), "W", list(W.shape), "logits", list(logits.shape))

# %% [markdown]
# What if we forget to divide by the length? The logits of $(3, 4)$ are then 3,
# 4, -3. Those of $(6, 8)$, the same direction, are 6, 8, -6: exactly the
# numbers we had for $\tau = 0.1$.
#
# **The length of a feature acts as a temperature**, one that every picture
# chooses for itself. A net could become surer by shouting louder, without
# knowing more. On the sphere this way is closed.

# %%
angles = torch.arange(24) * 2 * torch.pi / 24
lengths = torch.arange(1, 6)[:, None, None] * 0.3  # 0.3 to 1.5
ring = torch.stack([angles.cos(), angles.sin()], dim=1)  # [24, 2]
cloud = (lengths * ring).flatten(0, 1)  # [120, 2]
three = viz.even_prototypes(3, turn=90)  # [K, 2]
viz.prototypes_figure(
    {"as they are": (three, 0.3), "length 1": (three, 0.3)},
    {"as they are": cloud, "length 1": F.normalize(cloud, dim=1)},
)
plt.show()

# %% [markdown]
# *Figure: three prototypes as arrows, blue up, orange left, green right. Every
# point has the mean of the three colours, weighted with its shares. Left, points
# of five lengths: near the middle all are muddy, further out colours become pure.
# Right, the same points with length 1: only the direction decides.*

# %% [markdown]
# ## Look at it: the temperature
#
# The whole circle now, at three temperatures.

# %%
for temp in [1.0, 0.2, 0.03]:
    shares = (ring @ three.T / temp).softmax(dim=-1)  # [24, K]
    clear = int((shares.amax(dim=1) > 0.95).sum())
    print(f"{temp}: {clear} of 24 points give one prototype over 0.95")
circles = {f"temperature {t}": (three, t) for t in (1.0, 0.2, 0.03)}
viz.prototypes_figure(circles)
plt.show()

# %% [markdown]
# *Figure: three circles with the same three arrows. At 1.0 the whole circle is
# a mix of colours; at 0.2 it has three colours with soft borders; at 0.03 the
# borders are sharp.*
#
# The temperature never changes *which* prototype is first. It says how much the
# first one gets: low, nearly all; high, hardly more than the others.
#
# > The student's temperature is 0.1; the teacher's lies below it, and rises from
# > 0.04 to 0.07 (DINO Sec. 3.2). Why two: lesson 10.

# %% [markdown]
# ## Rung 1: loops
#
# For each feature: its length; then for each prototype a dot product.


# %%
def scores_loops(x, W):
    out = torch.zeros(len(x), len(W))
    for b in range(len(x)):
        length = sum(c * c for c in x[b]) ** 0.5
        for k in range(len(W)):  # meets every prototype
            for c in range(W.shape[1]):
                out[b, k] += x[b, c] / length * W[k, c]
    return out


torch.testing.assert_close(scores_loops(x, W), logits)
print("scores", list(scores_loops(x, W).shape))

# %% [markdown]
# ## Rung 2: one matrix
#
# All dot products at once are a linear layer without bias. Its rows are the
# prototypes.


# %%
def scores(x, W):
    return F.linear(F.normalize(x, dim=-1), W)  # [..., K]


torch.manual_seed(0)
x, W = torch.randn(5, 8), torch.randn(7, 8)  # [B, d], [K, d]
torch.testing.assert_close(scores(x, W), scores_loops(x, W))
print("x", list(x.shape), "W", list(W.shape), "out", list(scores(x, W).shape))

# %% [markdown]
# ## Rung 3: an MLP in front
#
# Should the backbone's feature itself lie on that sphere? It has other work: it
# is to be read later, by people who never see a prototype. So the head first
# bends it, by three linear layers with a [GELU](GLOSSARY.md#gelu) between them.
# The last is narrow, the [bottleneck](GLOSSARY.md#bottleneck), and *its* output
# is put on the sphere.
#
# We take the weights of a package head, so that we can compare.


# %%
def head_by_hand(x, w):
    x = F.gelu(F.linear(x, w["mlp.0.weight"], w["mlp.0.bias"]))
    x = F.gelu(F.linear(x, w["mlp.2.weight"], w["mlp.2.bias"]))
    x = F.linear(x, w["mlp.4.weight"], w["mlp.4.bias"])  # no GELU here
    return scores(x, w["last_layer.weight"])


torch.manual_seed(1)
head = DINOHead(in_dim=192, out_dim=24, hidden_dim=128, bottleneck_dim=32)
for name, weight in head.state_dict().items():
    print(name, list(weight.shape))
print("out", list(head_by_hand(new, head.state_dict()).shape))

# %% [markdown]
# 0, 2, 4 are the linear layers; 1 and 3 are the GELUs, which have no weights.
# There is none after the third: GELU lets almost nothing below zero through, and
# only a corner of the sphere would be left.
#
# ## Rung 4: the package's

# %%
print(inspect.getsource(DINOHead.bottleneck))
print(inspect.getsource(DINOHead.forward))
mine = head_by_hand(new, head.state_dict())
torch.testing.assert_close(mine, head(new))
z = head.bottleneck(new)  # [16, 32]
print("bottleneck", list(z.shape), "out", list(head(new).shape))
print("lengths 1:", torch.allclose(z.norm(dim=1), torch.ones(16)))
print("equal:", torch.allclose(mine, head(new), atol=1e-6))

# %% [markdown]
# `eps` guards the division: a vector of length 0 stays 0.
#
# ## Look at it: patches and their favourites
#
# A head with random weights has prototypes too, random ones.
# We give it the cup, cut into patches of 8 x 8 pixels, minus their mean, and ask
# every patch for its favourite. **Nothing here has learned anything.**

# %%
cup = photos["coffee"][None, :, :, 100:500] / 255
cup = F.interpolate(cup, (256, 256), mode="bilinear", antialias=True)
patches = F.unfold(cup, 8, stride=8)[0].T  # [N, D] = [1024, 192]
patches = F.normalize(patches - patches.mean(dim=0), dim=1)
patches = 14 * patches  # about as long as a token of that width
maps = {}
for K in [6, 24]:
    torch.manual_seed(1)
    random_head = DINOHead(192, K, hidden_dim=128, bottleneck_dim=32)
    favourites = random_head(patches).argmax(dim=1)  # [N]
    painted = viz.prototype_colors(K)[favourites]  # [N, 3]
    maps[f"K = {K}, random"] = painted.T.view(3, 32, 32)
    more = len(favourites.unique()) > K / 2
    print(f"K = {K}: more than half are somebody's favourite: {more}")
viz.compare_figure({"": F.avg_pool2d(cup, 2)[0], **maps}, width=9)
plt.show()

# %% [markdown]
# *Figure: the cup, and two maps of 32 x 32 patches, each in the colour of its
# favourite. Both show cup and saucer. With K = 6, the inside of the cup and the
# table behind it are one light blue. With K = 24, the table falls into small pieces,
# and the front of the cup (pink) stands out from the saucer (green). There are only
# six colours: for K = 24 each stands for four prototypes.*
#
# Why does a random head draw a cup? Like patches have like directions, and any set
# of prototypes cuts the sphere into regions. What training adds: *which* borders
# are worth having.

# %% [markdown]
# ## Who teaches the prototypes?
#
# The gradient. A loss (lesson 10) tells the student what the answer should be,
# $p$; it said $q$. With $\tau$ the temperature, the gradient on prototype $k$
# is
#
# $$\frac{q_k - p_k}{\tau}\; z .$$
#
# So after a step a prototype that should have got more has moved *towards* the
# feature $z$, and the others away from it. One step, in two dimensions; the
# answer should have been prototype 0. Torch's `cross_entropy` has softmax
# inside.

# %%
W = three.clone().requires_grad_()  # [K, d] = [3, 2]
z = torch.tensor([[0.94, 0.34]])  # right, a little up
p = torch.tensor([[1.0, 0.0, 0.0]])
loss = F.cross_entropy(z @ W.T / 0.5, p)
loss.backward()
q = (z @ three.T / 0.5).softmax(dim=-1)  # [1, 3]
torch.testing.assert_close(W.grad, (q - p).T / 0.5 * z)
after = three - 0.5 * W.grad
print("gradient", list(W.grad.shape), "q", [f"{s:.2f}" for s in q[0]])
q_after = (z @ after.T / 0.5).softmax(dim=-1)[0]
print("after one step", [f"{s:.2f}" for s in q_after])
pair = {"before": (three, 0.5), "after": (after, 0.5)}
viz.prototypes_figure(pair, {"before": z, "after": z})
plt.show()

# %% [markdown]
# *Figure: three arrows and one point at the right. Before, the point is mostly
# green, like the arrow next to it. After, arrow 0 leans towards the point and has
# grown, green has turned away and shrunk, and the point is mostly blue.*
#
# > **Tutor's note.** It looks like k-means, where a centre moves to its points.
# > Here all prototypes move, each by its share; the features move too; and who
# > belongs where is said by the teacher.

# %% [markdown]
# ## Does prototype 7 mean "cat"?
#
# No. Nobody names it, and it may stand for a texture, or for half of a thing. A
# picture is described by all its shares together. But student and teacher must
# mean the *same* direction by number 7. They do, since the teacher's head is a
# slow copy of the student's (lesson 14). Two heads from different seeds have
# nothing to say to each other:

# %%
torch.manual_seed(2)
other = DINOHead(192, 24, hidden_dim=128, bottleneck_dim=32)
favourite = head(patches).argmax(dim=1)  # [N]
same = (other(patches).argmax(dim=1) == favourite).float().mean().item()
copy = DINOHead(192, 24, hidden_dim=128, bottleneck_dim=32)
copy.load_state_dict(head.state_dict())
copied = bool((copy(patches).argmax(dim=1) == favourite).all())
print("another seed, same number for less than a third:", same < 0.33)
print("a copy, same number for all:", copied)

# %% [markdown]
# ## Predict, then run
#
# **First.** 1,024 prototypes of length 1, random, on a sphere in 256 dimensions.
# A feature lies *exactly* on prototype 0: cosine 1, more is impossible. There is
# no temperature. How large is the share of prototype 0?

# %%
torch.manual_seed(3)
W = F.normalize(torch.randn(1024, 256), dim=1)  # [K, d]
z = W[0]  # exactly there
for temp in [1.0, 0.1, 0.04]:
    share = (W @ z / temp).softmax(dim=0)[0]
    print(f"temperature {temp}: {share:.4f}")

# %% [markdown]
# A quarter of a percent. Cosines end at 1, so the best has at most $e$ times the
# share of one at right angles, and there are a thousand of those. The sphere
# took sureness away with the length. The temperature gives it back, *the same for
# all pictures*.
#
# **Second.** On a circle 1,000 prototypes lie very close together. How alike are
# the two most similar of 1,000 random directions in 16 dimensions, and in 256?

# %%
torch.manual_seed(4)
for d in [2, 16, 256]:
    W = F.normalize(torch.randn(1000, d), dim=1)
    cosines = (W @ W.T).fill_diagonal_(-1)
    print(f"{d} dimensions: largest cosine {cosines.max():.2f}")

# %% [markdown]
# In 256 dimensions even the closest pair is far apart: a narrow bottleneck has
# room for very many prototypes.
#
# **Third.** A head with a bottleneck of 64 has 1,024 prototypes. 2,000 features
# go through. How many *independent* columns has the table of scores, [2000,
# 1024]? (Its [rank](GLOSSARY.md#rank), lesson 01.)

# %%
torch.manual_seed(5)
narrow = DINOHead(384, 1024, hidden_dim=256, bottleneck_dim=64)
with torch.no_grad():
    table = narrow(torch.randn(2000, 384))
print("scores", list(table.shape))
print("rank", int(torch.linalg.matrix_rank(table)))

# %% [markdown]
# 64: all scores follow from 64 numbers. The prototypes are not 1,024 independent
# questions, they are 1,024 marks on one sphere.

# %% [markdown]
# ## What does K do?
#
# More prototypes: finer marks. Put them evenly on the circle, a feature in the
# middle of one, and count those whose share is at least half of the largest.
# How wide is the arc that they cover?

# %%
z = torch.tensor([1.0, 0.0])
for temp in [0.1, 0.025]:
    for K in [48, 192, 768]:
        p = (viz.even_prototypes(K) @ z / temp).softmax(dim=0)  # [K]
        near = int((p > p.max() / 2).sum())
        arc, largest = near * 360 / K, p.max().item()
        print(
            f"temperature {temp}, K = {K}: {near} prototypes,",
            f"arc {arc:.1f} degrees, largest share {largest:.3f}",
        )

# %% [markdown]
# The arc hardly depends on K. **The temperature says how wide a feature looks;
# K says how many prototypes it meets there.** A quarter of the temperature is
# half of the arc.
#
# Twice the K halves every share, so losses of heads with different K cannot be
# compared (lesson 10). How many are good? About as many as the teacher gets crops
# in a batch (lesson 11).

# %% [markdown]
# ## Long and short prototypes
#
# The feature has length 1; the rows of the last matrix may have any. A logit is
#
# $$w_k \cdot z = |w_k| \cos(\text{angle}).$$
#
# > DINO's first head kept the length of its prototypes fixed, by weight
# > normalisation (DINO App. C). DINOv3's code has dropped this: `last_layer` is a
# > plain linear layer.
#
# So the net may learn its own scale, and prototypes of different weight. Let us
# shorten one of four.

# %%
four = viz.even_prototypes(4, turn=90)  # [K, 2]
around = viz.even_prototypes(360, turn=0.5)  # points, one per degree
circles = {}
for length in [1.0, 0.5, 1.5]:
    W = four.clone()
    W[0] *= length
    wins = int(((around @ W.T).argmax(dim=1) == 0).sum())
    circles[f"length {length}"] = (W, 0.1)
    print(f"length {length}: first for {wins} of 360 degrees")
viz.prototypes_figure(circles)
plt.show()

# %% [markdown]
# *Figure: four arrows; the blue one, up, has length 1, 0.5, 1.5. At 1 each
# has a quarter of the circle. At 0.5 blue has a smaller arc, at 1.5 a larger one.*
#
# A long prototype takes from its neighbours. What keeps one from taking all?
# Not the head: lesson 11.

# %% [markdown]
# ## Explore
#
# Before you move a slider, say what will happen. Can you find a length at which
# prototype 0 wins nowhere?


# %%
def draw(prototypes, temperature, length_of_0):
    W = viz.even_prototypes(prototypes, turn=90)
    W[0] *= length_of_0
    wins = int(((around @ W.T).argmax(dim=1) == 0).sum())
    return viz.prototypes_figure({f"0 wins {wins} degrees": (W, temperature)})


viz.explore(
    draw,
    prototypes=(2, 12, 1, 5),
    temperature=(0.02, 1.0, 0.02, 0.1),
    length_of_0=(0.1, 2.0, 0.1, 1.0),
)

# %% [markdown]
# *Figure: three sliders and a circle with five arrows, every point painted by
# its shares. The title says for how many degrees prototype 0 is first: 72
# at the start.*

# %% [markdown]
# ## Why the scores start near zero
#
# Prototypes start as random numbers with a spread of 0.02. Then a logit has a
# spread of 0.02 as well, whatever the width, since $z$ has length 1. We count
# shares in *even shares*, as in lesson 04: 1 is $1/K$.

# %%
for std in [0.02, 0.1]:
    torch.manual_seed(6)
    fresh = DINOHead(192, 1024, hidden_dim=128, last_layer_std=std)
    with torch.no_grad():
        logits = fresh(patches)  # [N, K]
    length = fresh.last_layer.weight.norm(dim=1).mean()
    top = 1024 * (logits / 0.1).softmax(dim=-1).amax(dim=-1).mean()
    print(
        f"std {std}: spread {logits.std():.2f}, length {length:.2f},",
        f"largest share at 0.1: {top:.1f} even shares",
    )

# %% [markdown]
# With 0.02 even the favourite gets less than two even shares: a fresh head has
# hardly an opinion. Long runs grow out of it. Ours are short, so our small recipes
# begin with 0.1, by the setting `head_last_layer_std`.

# %% [markdown]
# ## Why a bottleneck?
#
# The last matrix is the large one, since K is large. Three designs, built on the
# [meta device](GLOSSARY.md#meta-device), which costs no memory:
#
# - 0: no MLP, the feature straight to the prototypes, $D \times K$;
# - 1: the MLP without its narrow end, $\text{hidden} \times K$;
# - 2: the MLP with a bottleneck.


# %%
def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


sizes = {"ViT-S": (384, 2048, 256, 65_536), "7B": (4096, 8192, 512, 262_144)}
counts = {}
for name, (D, hidden, narrow, K) in sizes.items():
    with torch.device("meta"):
        straight = DINOHead(
            D, K, hidden_dim=hidden, bottleneck_dim=D
        ).last_layer
        wide = DINOHead(D, K, hidden_dim=hidden, bottleneck_dim=hidden)
        good = DINOHead(D, K, hidden_dim=hidden, bottleneck_dim=narrow)
    three_ways = [millions(m) for m in (straight, wide, good)]
    counts[f"{name}, millions"] = torch.tensor(three_ways)
    print(
        name,
        [f"{n:,.1f}" for n in three_ways],
        f"MLP {millions(good.mlp):.1f}",
    )
viz.bars_figure(counts, same_scale=False, xlabel="design")
plt.show()

# %% [markdown]
# *Figure: two groups of three bars, millions of parameters. For both models
# design 1 is far the tallest. For the ViT-S design 2 is about as tall as design 0;
# for the 7B it is less than a quarter of it.*
#
# In the ViT-S the straight matrix would cost about the same: the saving is
# against a wide MLP, and in large models. Every number is also a multiplication
# for each crop or hidden patch.
#
# > The 7B model: 8192, 8192, 512 and 256k prototypes for DINO; 8192, 8192, 384
# > and 96k for iBOT. (DINOv3 Table 2)
#
# (The official training file has 4096 for iBOT, not 8192.)

# %% [markdown]
# ## Why two heads?
#
# CLS answers "what is this picture?". A hidden patch answers "what is behind the
# mask?". Sky and skin are good answers to the second and poor ones to the first.
# So each question has its own MLP and its own prototypes, and their numbers K
# may differ.
#
# > iBOT used one head for both (iBOT Sec. 3.1, 3.2). DINOv2 unties them, and so does
# > DINOv3 (DINOv2 Sec. 4; DINOv3 Sec. 3.2).

# %%
torch.manual_seed(7)
net = ssl_meta_arch.build_network(config.load_config("demo"))
print(list(net.keys()))
crops = F.interpolate(cup, (24, 24)).expand(4, -1, -1, -1)  # [B, 3, 24, 24]
masks = torch.zeros(4, 36, dtype=torch.bool)
masks[:2, 5:15] = True  # 10 hidden patches in each of two crops
out = net["backbone"](crops, masks=masks, is_training=True)
cls, hidden = out["x_norm_clstoken"], out["x_norm_patchtokens"][masks]
print("CLS", list(cls.shape), "to", list(net["dino_head"](cls).shape))
print("hidden", list(hidden.shape), "to", list(net["ibot_head"](hidden).shape))

# %% [markdown]
# Only the `M` hidden patches go through the iBOT head: $[M, K]$ is large enough.
# The student's DINO head gets the CLS of all crops, $2B$ global and $LB$ local,
# the teacher's only the $2B$ global ones.

# %% [markdown]
# ## Why is the head thrown away?
#
# After training one uses the features *before* the head. The head learned to
# answer a game that says: overlook what differs between crops. What it forgets for
# that is gone behind it.
#
# Let us measure it. 16 photographs, random windows, and a random *tint*: red,
# green and blue are multiplied by numbers from 0.5 to 1.5. The game: which
# photograph? The tint is to be overlooked. (To stay short, the targets are
# labels here; in DINO they come from the teacher.)


# %%
def views(n, seed):
    draw = torch.Generator().manual_seed(seed)
    which = torch.randint(16, (n,), generator=draw)
    tint = 0.5 + torch.rand(n, 3, generator=draw)
    start = torch.randint(17, (2, n, 1), generator=draw)
    rows, columns = start + torch.arange(0, 48, 6)  # each [n, 8]
    at = which[:, None, None], rows[:, :, None], columns[:, None, :]
    pixels = canvas.permute(0, 2, 3, 1)[at]  # [n, 8, 8, 3]
    return (pixels * tint[:, None, None]).flatten(1), which, tint


def make():
    torch.manual_seed(0)
    ends = torch.nn.Linear(192, 64), torch.nn.Linear(64, 64)
    body = torch.nn.Sequential(ends[0], torch.nn.GELU(), ends[1])
    return body, DINOHead(64, 16, hidden_dim=64, bottleneck_dim=64)


# %% [markdown]
# Two layers stand for the backbone, and then comes a head with 16 prototypes, one
# for each photograph.

# %%
x, which, tint = views(2000, seed=0)
x_new, which_new, tint_new = views(1000, seed=1)
body, game = make()
weights = [*body.parameters(), *game.parameters()]
optimiser = torch.optim.AdamW(weights, lr=3e-3)
for step in range(300):
    i = torch.arange(64 * step, 64 * step + 64) % 2000
    loss = F.cross_entropy(game(body(x[i])) / 0.1, which[i])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
right = (game(body(x_new)).argmax(dim=1) == which_new).float().mean()
print("x", list(x.shape), "tint", list(tint.shape))
print("new windows, right for more than 75 percent:", bool(right > 0.75))

# %% [markdown]
# How much of the tint can still be read, by the best linear map, fitted on the
# 2,000 views and tried on the 1,000 new ones? 1 is all of it, 0 nothing. Feature
# and bottleneck are both 64 wide, so the comparison is fair. The untrained net
# stands beside it.


# %%
@torch.no_grad()
def tint_in(stage):
    a, b = stage(x), stage(x_new)  # [2000, 64], [1000, 64]
    center, spread, mean = a.mean(dim=0), a.std(dim=0), tint.mean(dim=0)
    a, b = (a - center) / spread, (b - center) / spread
    best = a.pinverse() @ (tint - mean)  # least squares, [64, 3]
    error = b @ best + mean - tint_new
    return 1 - (error.square().mean() / tint_new.var(dim=0).mean()).item()


kept = {}
new_body, new_game = make()
for name, b, h in [("untrained", new_body, new_game), ("trained", body, game)]:
    stages = [b, lambda x, b=b, h=h: h.bottleneck(b(x))]
    kept[name] = torch.tensor([tint_in(s) for s in stages])
(before, behind), (before_t, behind_t) = (k.tolist() for k in kept.values())
print(
    "untrained, about the same before and behind:", abs(before - behind) < 0.1
)
print("trained, the feature has much more:", before_t > behind_t + 0.12)
print("trained, the feature still has most:", before_t > 0.6)
viz.bars_figure(kept, xlabel="0 feature, 1 bottleneck")
plt.show()

# %% [markdown]
# *Figure: two groups of two bars, the readable part of the tint. Untrained:
# feature and bottleneck are alike, near 0.7. Trained: the feature has kept as
# much, the bottleneck clearly less.*
#
# The head does the forgetting, and so the backbone need not. Who later asks the
# features for colours still finds them.
#
# > **Watch out.** Released models come without heads. To go on training one, you
# > start with fresh heads, and they know nothing.

# %% [markdown]
# ## Why does the last layer wait?
#
# In the first steps, the official runs keep `last_layer` fixed: 1,250 steps,
# about one epoch, in the default file, 5,000 in that of the 7B. The
# reason usually given: at the start features are noise, the targets made from them
# too, and prototypes that run after them learn noise. With the marks fixed, the
# part before them has to move.
#
# How is it done? By a learning rate of 0 for this one matrix. Below, a head for
# width 192 with 16 prototypes; 0.9 and 0.2 are factors of other layers' rates
# (lesson 16) and do not matter here.

# %%
torch.manual_seed(8)
waiting = torch.nn.ModuleDict({"dino_head": DINOHead(192, 16, 3, 64, 32)})
groups = param_groups.get_params_groups(waiting, 0.9, 0.2)
optimiser = torch.optim.AdamW(groups)
param_groups.set_rates(
    optimiser.param_groups, lr=1e-3, last_layer_lr=0.0, weight_decay=0.04
)
old = {n: p.clone() for n, p in waiting.named_parameters()}
F.cross_entropy(waiting["dino_head"](known) / 0.1, torch.arange(16)).backward()
optimiser.step()
for name, p in waiting.named_parameters():
    if name.endswith("weight"):
        print(name, "moved:", not torch.equal(p, old[name]))
memory = optimiser.state[waiting["dino_head"].last_layer.weight]["exp_avg"]
print("its gradient was noted:", bool(memory.abs().max() > 0))

# %% [markdown]
# Weight decay does not touch it either: AdamW multiplies it by the learning
# rate. But its gradient exists, and Adam's running mean takes it in. The first
# DINO's code advises a longer wait if the loss does not fall.

# %% [markdown]
# ## Against someone else
#
# Torch has `cosine_similarity`, and `weight_norm`, which the first DINO used. With
# a gain of 1 the latter makes every row of a matrix 1 long: cosines, nothing else.

# %%
torch.manual_seed(9)
weight_norm = torch.nn.utils.parametrizations.weight_norm
old_last = weight_norm(torch.nn.Linear(32, 24, bias=False))
old_last.parametrizations.weight.original0.data.fill_(1.0)  # the gain
W, z = head.last_layer.weight, head.bottleneck(new)
old_last.parametrizations.weight.original1.data.copy_(W)  # the direction
theirs = F.cosine_similarity(z[:, None], W, dim=-1)  # [B, K]
torch.testing.assert_close(old_last(z), theirs)
torch.testing.assert_close(head(new), theirs * W.norm(dim=1))
print("cosines", list(theirs.shape), "times length = our logits")

# %% [markdown]
# And the official code: `tests/golden/dino_head.safetensors` has the weights of
# one of its heads, an input, and what came out before and after the last layer.

# %%
golden = read_state_dict("../tests/golden/dino_head.safetensors")
state = {
    name.removeprefix("state_dict."): weight
    for name, weight in golden.items()
    if name.startswith("state_dict.")
}
official = DINOHead(64, 96, nlayers=3, hidden_dim=72, bottleneck_dim=24)
official.load_state_dict(state)  # strict: the names are the same
x = golden["input"]  # [10, 64]
torch.testing.assert_close(official.bottleneck(x), golden["bottleneck"])
torch.testing.assert_close(official(x), golden["output"])
torch.testing.assert_close(head_by_hand(x, state), golden["output"])
lengths = state["last_layer.weight"].norm(dim=1)  # [K] = [96]
print("output", list(golden["output"].shape), "equal, ours by hand too")
print("all prototypes 1 long:", bool(torch.allclose(lengths, torch.ones(96))))

# %% [markdown]
# ## Common mistakes
#
# The first raises no error: **normalising over the wrong axis.** `dim=0` divides
# each *column*, over the batch. Then a picture's answer depends on who else is in
# the batch.

# %%
torch.manual_seed(10)
x, W = torch.randn(4, 8), torch.randn(6, 8)
for dim in [-1, 0]:
    whole = F.normalize(x, dim=dim)
    alone = F.normalize(x[:2], dim=dim)  # the same two pictures
    same = torch.allclose(whole[:2] @ W.T, alone @ W.T, atol=1e-5)
    one = torch.allclose(whole.norm(dim=1), torch.ones(4))
    print(f"dim={dim}: lengths 1: {one}, neighbours do not matter: {same}")

# %% [markdown]
# **The wrong feature.** For reading, CLS and the mean of the patches are often
# put side by side, twice as wide. A head wants one token:

# %% tags=["raises-exception"]
both = torch.cat([cls, out["x_norm_patchtokens"].mean(dim=1)], dim=-1)
net["dino_head"](both)

# %% [markdown]
# ### My head's gradient explodes
#
# The third is no mistake in a line: **very short vectors before the sphere.** A
# vector a hundredth as long turns by a hundred times the angle when it is nudged,
# so the gradient through the division grows a hundredfold.

# %%
torch.manual_seed(11)
direction, w = torch.randn(2, 32)
for length in [1.0, 0.01]:
    x = (length * F.normalize(direction, dim=0)).requires_grad_()
    (w @ F.normalize(x, dim=0)).backward()
    if length == 1.0:
        first = x.grad.norm()
    at_right_angles = abs((x.grad @ x / length / x.grad.norm()).item()) < 1e-3
    print(
        f"length {length}: gradient times {x.grad.norm() / first:.0f},",
        f"at right angles to x: {at_right_angles}",
    )

# %% [markdown]
# Along $x$ there is nothing to gain, as length does not count. Such vectors do
# occur. A hidden patch starts as the mask token, all zeros, and leaves a fresh
# ViT, whose LayerScale is near zero, with hardly anything in it. Training clips
# gradients, and clips each head by itself (lesson 16).

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/09.py`.
#
# **09.1** (difficulty 1, 3 minutes) `B` pictures, 2 global and `L` local crops of
# each, `M` hidden patches in the batch. Which shapes have the *student's* scores,
# from the DINO head with `K` prototypes and from the iBOT head with `K2`? Return
# two tuples of two numbers, `(rows, columns), (rows, columns)`.
#
# <details><summary>Hint 1</summary>Every crop has one CLS, and the student sees
# all crops.</details>
# <details><summary>Hint 2</summary>The second head sees no CLS at
# all.</details>


# %%
def shapes(B, L, M, K, K2):
    raise NotImplementedError("exercise 09.1")


check("09.1", shapes)

# %% [markdown]
# **09.2** (difficulty 2, 5 minutes) The answers [B, K] of features `x`, [B, d],
# compared with prototypes `W`, [K, d], at a temperature. Features go on the
# sphere; prototypes keep their length.
#
# <details><summary>Hint 1</summary>Length 1, dot products, divide,
# softmax.</details>
# <details><summary>Hint 2</summary>Over which axis does softmax run, so that each
# picture's shares sum to 1?</details>


# %%
def answer(x, W, temp):
    raise NotImplementedError("exercise 09.2")


check("09.2", answer)

# %% [markdown]
# **09.3** (difficulty 2, 6 minutes) Count the parameters of a head with three
# linear layers, from the width `D` over `hidden` and `hidden` to `narrow`, and `K`
# prototypes.
#
# <details><summary>Hint 1</summary>A linear layer from a to b has a b weights and
# b biases.</details>
# <details><summary>Hint 2</summary>Which of the four matrices has no
# bias?</details>


# %%
def parameters(D, hidden, narrow, K):
    raise NotImplementedError("exercise 09.3")


check("09.3", parameters)

# %% [markdown]
# **09.4** (difficulty 3, 10 minutes) One step for the prototypes, without
# autograd. `z` is [B, d] with length 1, `W` [K, d], `p` [B, K] the wanted
# answers. The loss is the mean over B. Return the new `W` after a step of gradient
# descent with learning rate `lr`.
#
# <details><summary>Hint 1</summary>The formula stands under "Who teaches the
# prototypes?", for one feature.</details>
# <details><summary>Hint 2</summary>A sum over b of [K] times [d] is one matrix
# product, with one side transposed.</details>
# <details><summary>Hint 3</summary>Three more factors: temperature, B, learning
# rate. And the sign.</details>


# %%
def step(z, W, p, temp, lr):
    raise NotImplementedError("exercise 09.4")


check("09.4", step)

# %% [markdown]
# **09.5** (difficulty 4, 10 minutes) Change the design: prototypes of length 1, as
# in the first DINO. All rows of `W` have the same length, not 1. Return the
# prototypes with length 1, and the temperature at which they give the *same
# answers* as `W` at `temp`. Then think: rows that may change their length can do
# two things that this design cannot. Which?
#
# <details><summary>Hint 1</summary>A logit is length times cosine, divided by the
# temperature.</details>
# <details><summary>Hint 2</summary>Return a tuple: tensor [K, d], and a
# number (`float(...)` or `.item()`).</details>


# %%
def unit_design(W, temp):
    raise NotImplementedError("exercise 09.5")


check("09.5", unit_design)

# %%
print(progress("09"))

# %% [markdown]
# ## Recap
#
# - You went by hand from (3, 4) to the shares 0.12, 0.88, 0.00.
# - You saw the longest vector win everything, and length act as a temperature. A
#   long prototype still takes from its neighbours.
# - You measured it: the temperature sets how wide a feature looks, K how many
#   prototypes it meets.
# - You counted: a bottleneck brings the 7B's head from billions to 239 million.
# - You fed CLS to one head and hidden patches to the other, and read from a
#   feature what its head had forgotten.
#
# Next: student and teacher both give shares over K prototypes. How wrong is one,
# if the other is right?

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 3.1, "Network
#   architecture", and App. C: the head, with each
#   part tried out. Sec. 3.2 has the temperatures.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2 and
#   Table 2: sizes of both heads.
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 4, "Untying
#   head weights between both objectives", and Table 1.
# - Official code: `dinov3/layers/dino_head.py`, class `DINOHead`; here
#   `dinolite/layers/dino_head.py`.
# - SwAV, [arXiv 2006.09882](https://arxiv.org/abs/2006.09882), Sec. 3.1: the same
#   kind of prototypes, in the method from which DINOv3's balancing comes.
