# %% [markdown]
# # 02 Tokens
#
# **What are CLS and registers, and why give a network scratch paper?** You
# build the sequence that enters the ViT's layers (its *blocks*, lesson 05), hide
# patches in it, and then test whether a network uses the paper you gave it.

# %% [markdown]
# Patches say what stands in their own square. Some things belong to no square:
# what the picture shows, how bright it is. DINOv3 puts five extra vectors
# before the patches.
#
# After this lesson you can
#
# - write down the sequence of a picture, token by token, and its shape,
# - hide patches with the right polarity of `masks`,
# - say why `0 * mask_token` stands in the code,
# - find the token of a patch, and see when a map is shifted,
# - test by an exchange whether a network reads its registers.
#
# | | |
# |---|---|
# | you need | 01 |
# | time | 50 minutes |
# | module | `dinolite/models/vision_transformer.py`: `prepare_tokens_with_masks` |
# | official | `models/vision_transformer.py`: `DinoVisionTransformer` |
# | paper | DINOv3 Table 2, App. A.1 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures import photographs
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# Today's box stands between "patches" and RoPE. It has hardly any arithmetic
# in it. It has an order and a polarity, and a mistake in either gives no error.

# %%
viz.pipeline_map("02")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "tokens" is lit, the second inside the ViT,
# after "patches" and before "RoPE" and "attention".*
#
# ## The failure first
#
# How could one vector stand for a whole picture? A first idea: the mean of
# its patches. Cut the astronaut into 64 patches (`pixel_unshuffle` cuts,
# `pixel_shuffle` puts together), shuffle them, and compare the means.

# %%
F = torch.nn.functional
files = photographs.photographs()


def square(name, side=64):  # the middle of a photograph, [3, side, side]
    x = files[name] / 255
    edge = min(x.shape[1:])
    top, left = (x.shape[1] - edge) // 2, (x.shape[2] - edge) // 2
    x = x[None, :, top : top + edge, left : left + edge]
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)[0]


photo = square("astronaut", 128)
tiles = F.pixel_unshuffle(photo, 16).flatten(1)  # [768, 64]
order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
shuffled = F.pixel_shuffle(tiles[:, order].view(768, 8, 8), 16)
same = torch.allclose(tiles.mean(1), tiles[:, order].mean(1), atol=1e-5)
print("patches", list(tiles.shape), "have the same mean:", same)

# %%
viz.compare_figure({"picture": photo, "shuffled": shuffled}, width=4)
plt.show()

# %% [markdown]
# *Figure: left the astronaut, right the same 64 squares in a random order: all
# parts are there, the person is not. A mean over patches cannot tell the two
# apart.*
#
# Better: let the network itself decide what to gather, and how. For that it
# needs a place to write: on one of the patches, or on a piece of paper beside
# them? As a toy, take four patches of one number each, and note the *largest*.


# %%
def on_a_patch(x):
    return [max(x), *x[1:]]


def on_paper(x):
    return [max(x), *x]


a, b = [1, 3, 5, 7], [2, 3, 5, 7]
print(on_a_patch(a), on_a_patch(b), "equal:", on_a_patch(a) == on_a_patch(b))
print(on_paper(a), on_paper(b), "equal:", on_paper(a) == on_paper(b))

# %% [markdown]
# Written on the first patch, the note has destroyed it: two different pictures
# became the same. With a fifth place, nothing is lost. That is the whole idea of
# scratch paper.
#
# > Large ViTs without such places make some themselves. They pick patches that
# > look like their neighbours, fill them with information about the whole
# > picture, and lose what stood there. In maps such patches are bright spots.
# > (arXiv 2309.16588, Sec. 2.1)

# %% [markdown]
# So the sequence gets places that belong to no patch:
#
# - one [CLS token](GLOSSARY.md#cls-token), whose output stands for the whole
#   picture. A loss will ask for it (lesson 10).
# - `R` [registers](GLOSSARY.md#register), for which nobody ever asks. The
#   official code calls them *storage tokens*. DINOv3 has `R = 4` (Table 2).
#
# At the entrance both are learnt vectors, the same for every picture. What
# they know about *your* picture, they gather in the blocks.

# %% [markdown]
# ## By hand
#
# A grid of 2 x 2 patches, width `D = 2`, one register. Patch 2 is hidden: a
# learnt [mask token](GLOSSARY.md#mask-token) takes its place.
#
# | CLS | register | mask token | patch 0 | patch 1 | patch 2 | patch 3 |
# |---|---|---|---|---|---|---|
# | (9, 0) | (0, 9) | (5, 5) | (1, 2) | (3, 4) | (6, 7) | (8, 1) |
#
# The order is CLS, register, patches row by row. That makes
# `T = 1 + R + N = 1 + 1 + 4 = 6` [tokens](GLOSSARY.md#token). Write the matrix
# `[T, D]` on paper before you run the cell.

# %%
cls, register, mask_token = [9, 0], [0, 9], [5, 5]
patches = [[1, 2], [3, 4], [6, 7], [8, 1]]
hidden = [False, False, True, False]
rows = [cls, register]
for patch, is_hidden in zip(patches, hidden, strict=True):
    rows.append(mask_token if is_hidden else patch)
tokens = torch.tensor(rows, dtype=torch.float)
print(list(tokens.shape), tokens.tolist())
assert tokens.tolist() == [[9, 0], [0, 9], [1, 2], [3, 4], [5, 5], [8, 1]]

# %% [markdown]
# The (6, 7) is nowhere. A hidden patch is not dimmed or marked: its content is
# gone, and the network sees only *that* something is missing.
#
# ## Rung 1: a loop over pictures
#
# Now with photographs. We take a small backbone of the package for its
# learnt vectors. It starts with a mask token of zeros; we give it numbers, so
# that one can see it.

# %%
Vit = vision_transformer.DinoVisionTransformer
torch.manual_seed(0)
net = Vit(patch_size=8, embed_dim=32, depth=1, num_heads=2, n_storage_tokens=4)
torch.nn.init.normal_(net.mask_token, std=0.5)
images = torch.stack([square("chelsea"), square("coffee")])
patches = net.patch_embed(images).flatten(1, 2)
print("images", list(images.shape), "patches [B, N, D]", list(patches.shape))
for name in ["cls_token", "storage_tokens", "mask_token"]:
    print(name, list(net.get_parameter(name).shape))


# %%
def join_loop(cls, storage, patches):
    sequences = [torch.cat([cls[0], storage[0], one]) for one in patches]
    return torch.stack(sequences)


loop = join_loop(net.cls_token, net.storage_tokens, patches)
print("tokens [B, T, D]", list(loop.shape), "with T = 1 + 4 + 64")

# %% [markdown]
# ## Rung 2: a batch at once
#
# `expand` shows the same vector `B` times and copies nothing. Backwards, the
# gradients of all `B` pictures flow into that one vector.


# %%
def join(cls, storage, patches):
    B = len(patches)
    prefix = [cls.expand(B, -1, -1), storage.expand(B, -1, -1)]
    return torch.cat([*prefix, patches], dim=1)


batch = join(net.cls_token, net.storage_tokens, patches)
assert torch.equal(batch, loop)

# %% [markdown]
# ## Rung 3: hidden patches
#
# `masks` is `[B, N]` of booleans. **True means hidden.** `torch.where` takes
# the mask token where `masks` is True, else the patch. The `None` adds a
# dimension, so that one boolean rules all `D` numbers:
# `[B, N, 1]`, `[1, D]` and `[B, N, D]` fit together.


# %%
def hide(patches, mask_token, masks):
    return torch.where(masks[:, :, None], mask_token, patches)


generator = torch.Generator().manual_seed(1)
masks = torch.rand(2, 64, generator=generator) < 0.25
by_where = hide(patches, net.mask_token, masks)
by_loop = patches.clone()
for b in range(2):
    for n in range(64):
        if masks[b, n]:
            by_loop[b, n] = net.mask_token[0]
print("masks", list(masks.shape), "hidden:", masks.sum(1).tolist())
assert torch.equal(by_where, by_loop)
mine = join(net.cls_token, net.storage_tokens, by_where)

# %%
seen = viz.crops.hide(images, masks)
viz.compare_figure({"chelsea": seen[0], "coffee": seen[1]}, width=4)
plt.show()

# %% [markdown]
# *Figure: a cat and a cup of coffee, each with black squares where a patch is
# hidden: 10 of 64 and 19 of 64. This is what the network is left with.*

# %%
viz.token_strip_figure(mine[0], registers=4, masks=masks[0])
plt.show()

# %% [markdown]
# *Figure: the 69 tokens of the cat. Upper strip: one orange cell (CLS), four
# green ones (registers), then 64 patches in blue, hidden ones black. Below,
# the 32 numbers of each token as a column: all hidden patches have the same
# column, and CLS and registers are nearly zero.*
#
# ## Rung 4: the package's version

# %%
print(inspect.getsource(Vit.prepare_tokens_with_masks))

# %%
theirs, grid = net.prepare_tokens_with_masks(images, masks)
print(list(theirs.shape), "grid", grid, "equal:", torch.equal(theirs, mine))
plain, _ = net.prepare_tokens_with_masks(images)
assert torch.equal(theirs, mine) and torch.equal(plain, batch)

# %% [markdown]
# One line is odd: `cls_token + 0 * self.mask_token`. It adds nothing!
#
# **Predict first.** Without masks the mask token is not used at all. What is its
# gradient in our `join`, and what in the package's version?

# %%
total = join(net.cls_token, net.storage_tokens, patches).sum()
ours = torch.autograd.grad(total, net.mask_token, allow_unused=True)[0]
package = torch.autograd.grad(plain.sum(), net.mask_token)[0]
masked = torch.autograd.grad(theirs.sum(), net.mask_token)[0]
print("ours:", ours)
print("package: shape", list(package.shape), "all zero:", not package.any())
print("with masks:", masked.unique().tolist(), "hidden:", int(masks.sum()))
assert ours is None

# %% [markdown]
# `None` and zero are not the same. When several GPUs share the work, each
# waits until *every* parameter has reported a gradient, to take the mean. A
# parameter that never reports stops them. So it reports a zero.
#
# The last line: under a sum, each hidden patch adds 1 to the gradient of the
# one mask token. It learns from all of them.

# %% [markdown]
# ## Where is patch n?
#
# Patch `n` is token `1 + R + n`. To turn values of tokens into a map, drop the
# first `1 + R`, then fold. Users of DINOv2 wondered why a grid of 29 x 29 = 841
# patches came with 845 tokens after CLS (issues 294 and 390 of its repository):
# the registers.
# See what forgetting them does, with the length of each token's vector.

# %%
coffee = square("coffee", 128)
with torch.no_grad():
    tokens, (h, w) = net.prepare_tokens_with_masks(coffee[None])
length = tokens[0].norm(dim=-1)  # [T]
right = length[1 + 4 :].view(h, w)
wrong = length[1 : 1 + h * w].view(h, w)
print("tokens", len(length), "grid", (h, w), "N =", h * w)
print("shifted by R:", torch.equal(wrong.flatten()[4:], right.flatten()[:-4]))


# %%
def as_picture(values):
    return (values / values.max()).expand(3, -1, -1)


three = {"right": right, "wrong: [1 : 1 + N]": wrong}
maps = {name: as_picture(values) for name, values in three.items()}
viz.compare_figure({"photograph": coffee, **maps}, width=6)
plt.show()

# %% [markdown]
# *Figure: left the cup. Middle: the length of each patch token, on the right
# places. Right: the wrong slice; the picture has moved four patches to the
# right, what leaves on the right enters on the left one row lower, and the
# first four cells, the registers, are black.*
#
# > **Watch out.** Nothing complains. The wrong map looks like a map, and the
# > shapes fit: 256 values are 16 x 16 whichever end you cut. On a fine grid, a
# > shift of four is hard to see. Write `tokens[:, 1 + R:]`, or `[:, -N:]`.

# %% [markdown]
# ## Does it write? A game with notes
#
# Now an experiment. Windows of photographs, 16 x 16 pixels, 16 patches. A tiny
# ViT must *redraw the window from its notes*: a reader, one linear layer, sees CLS
# and the registers after the last block, and no patch. A token has 16 numbers.
# With `R = 0` there is one sheet of paper, with `R = 4` there are five.

# %%
bank, labels = photographs.make_windows(3000, "train", seed=1, size=16)
test, test_labels = photographs.make_windows(500, "test", seed=2, size=16)
bank, test = (bank / 255 - 0.5) * 5, (test / 255 - 0.5) * 5


def build(R, reads, answers):
    torch.manual_seed(0)
    size = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 1}
    net = Vit(**size, ffn_ratio=2, n_storage_tokens=R)
    return net, torch.nn.Linear(reads, answers)


def play(net, reader, loss_of, steps=300):
    torch.manual_seed(0)
    weights = [*net.parameters(), *reader.parameters()]
    adam = torch.optim.AdamW(weights, lr=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 0.01, steps)
    for _ in range(steps):
        some = torch.randint(len(bank), (64,))
        loss = loss_of(net, reader, bank[some], labels[some])
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()


# %% [markdown]
# `play` trains a net and a reader for 300 steps on a loss that we choose. Two
# nets, one with one sheet, one with five:


# %%
def final(net, x):  # all tokens after the last block and norm, [B, T, D]
    return net.normed(net(x, is_training=True)["x_prenorm"])


def redraw(reader, tokens):  # from all tokens but the 16 patches
    return reader(tokens[:, :-16].flatten(1))  # [B, 256]


def redraw_loss(net, reader, x, _):
    return F.mse_loss(redraw(reader, final(net, x)), x[:, 0].flatten(1))


one = build(0, 16, 256)
play(*one, redraw_loss)

# %%
five = build(4, 80, 256)
play(*five, redraw_loss)
with torch.no_grad():
    e1, e5 = (redraw_loss(*pair, test, None) for pair in [one, five])
print("five notes leave less than 3/4 of the error:", bool(e5 < 0.75 * e1))

# %%
names = ["china", "camera"]
grey = torch.stack([square(n, 16).mean(0).expand(3, -1, -1) for n in names])
x = (grey - 0.5) * 5
with torch.no_grad():
    drawn = [redraw(pair[1], final(pair[0], x)) for pair in [one, five]]
shown = {}
for i, name in enumerate(names):
    shown[name] = x[i, 0].flatten()
    shown[f"{name}, 1 note"] = drawn[0][i]
    shown[f"{name}, 5 notes"] = drawn[1][i]
for title, values in shown.items():
    shown[title] = (values.view(1, 16, 16) / 5 + 0.5).expand(3, -1, -1)
viz.compare_figure(shown)
plt.show()

# %% [markdown]
# *Figure: a temple and a cameraman at 16 x 16 pixels, each followed by what the
# net redraws from one note, a smooth blur from dark to light, and from five
# notes: still a blur, but the dark figure stands on its side of the picture.*
#
# These are whole photographs; the net had seen only small windows of them.
# Five notes hold more than one. But who writes what? We look at the
# attention (lesson 04): how much each of the five looks at each patch. To get
# fine maps we give the same net a larger picture, 64 x 64.

# %%
untrained = build(4, 80, 256)[0]


def looks(net, name, layer):
    x = (square(name).mean(0).expand(1, 3, -1, -1) - 0.5) * 5
    return net.get_attention_maps(x, [layer])[0][0]  # [1, 261, 261]


nets = {"trained": five[0], "untrained": untrained}
maps = {name: looks(net, "astronaut", 0) for name, net in nets.items()}
viz.prefix_attention_figure(square("astronaut"), maps, (16, 16))
plt.show()

# %% [markdown]
# *Figure: where CLS and the four registers ("reg 0" to "reg 3") look in the first
# block. "max 2" would mean: the brightest patch gets twice the weight it had if
# all got the same. Upper row, trained: five bright spots in different places, many
# times that even share. Lower row, untrained: flat, no patch above it.*
#
# The five look at different places, and nobody told them to.

# %% [markdown]
# ### Explorer
#
# Choose a photograph, a block (`layer`: 0 is the first) and a token: 0 is CLS, 1
# to 4 are the registers, "reg 0" to "reg 3" above. Does the place move with the
# photograph? With the token?


# %%
def what_it_collects(name, layer, token):
    maps = {key: looks(net, name, layer) for key, net in nets.items()}
    return viz.query_attention_figure(square(name), maps, (16, 16), token)


choices = ["chelsea", "astronaut", "coffee", "camera"]
viz.explore(
    what_it_collects, name=choices, layer=(0, 1, 1, 0), token=(0, 4, 1, 1)
)

# %% [markdown]
# *Figure: a photograph, and beside it where the chosen token of the trained
# net looks ("head 0" is its only attention head); below, the same for the
# untrained net, which looks everywhere alike. With a live kernel three controls
# change it.*
#
# Let us count. Take the maps of four photographs and measure how alike two maps
# are, by their cosine (1 = the same).


# %%
def alike(net):
    maps = torch.stack([looks(net, name, 0)[0, :5, 5:] for name in choices])
    maps = F.normalize(maps, dim=-1)  # [4 photographs, 5 tokens, 256]
    cosines = torch.einsum("atn,bsn->abts", maps, maps)
    photos, tokens = ~torch.eye(4).bool(), ~torch.eye(5).bool()
    same_token = cosines.diagonal(dim1=2, dim2=3)[photos].mean()
    same_photo = cosines.diagonal(dim1=0, dim2=1)[tokens].mean()
    return same_token.item(), same_photo.item()


same_token, same_photo = alike(five[0])
print("trained, same token, other photograph > 0.8:", same_token > 0.8)
print("trained, other token, same photograph < 0.5:", same_photo < 0.5)
print("untrained, both > 0.99:", min(alike(untrained)) > 0.99)

# %% [markdown]
# In this game each of the five has a place of its own and keeps it, whatever the
# photograph shows. They share the picture out. An untrained net looks everywhere
# alike, with every token.

# %% [markdown]
# ## Is it read? The exchange test
#
# That a register holds something does not mean that anybody reads it. A test:
# stop after the first block, give each picture the registers of *another*
# picture, and go on. If they matter, the answer changes.


# %%
def exchange(net, x, places):
    steps = net.run_blocks([x], [None])
    next(steps)  # the tokens before the first block
    tokens = next(steps)[0].clone()  # [B, 21, 16], after it
    tokens[:, places] = tokens.roll(1, 0)[:, places]
    rope = net.ropes([(4, 4)])[0]
    return net.normed(net.blocks[1](tokens, rope))


registers = [1, 2, 3, 4]
with torch.no_grad():
    swapped = redraw(five[1], exchange(five[0], test, registers))
    error = F.mse_loss(swapped, test[:, 0].flatten(1))
print("the error grows by half or more:", bool(error > 1.5 * e5))

# %% [markdown]
# The test works: in this game the notes are read, for the reader sees nothing
# else.
#
# Now a more natural game. The same net with four registers, but this time
# *every patch* must name the photograph that its window came from. A square of
# 4 x 4 pixels alone can hardly know: it has to be told by the others.
#
# **Predict first.** We exchange CLS and all registers. Will the patches name
# the other photograph, guess, or hardly notice?


# %%
def name_loss(net, reader, x, labels):
    scores = reader(final(net, x)[:, -16:])  # [B, 16, 16 classes]
    wanted = labels[:, None].expand(-1, 16)
    return F.cross_entropy(scores.transpose(1, 2), wanted)


@torch.no_grad()
def accuracy(places):  # of the 11 patches that no exchange touches
    scores = reader(exchange(namer, test, places)[:, -11:])
    return (scores.argmax(-1) == test_labels[:, None]).float().mean().item()


namer, reader = build(4, 16, 16)
play(namer, reader, name_loss)
alone, notes, others = map(accuracy, [[], range(5), range(5, 10)])
print("right three times as often as chance:", alone > 3 / 16)
print("CLS and registers exchanged, lost < 0.04:", alone - notes < 0.04)
print("five patches exchanged, lost > 0.04:", alone - others > 0.04)

# %% [markdown]
# Hardly notice! The patches know about the whole, and not from the registers.
# They look at each other. The paper is there, and this network does not need
# it: 16 patches, two blocks, a few hundred steps.

# %%
with torch.no_grad():
    tokens = namer(test, is_training=True)["x_prenorm"]
    sizes_of = tokens[:, 5:].norm(dim=-1)  # [500, 16]
    maps = namer.get_attention_maps(test)[0]  # [500, 1, 21, 21], last block
share = maps[:, 0, 5:, :5].sum(-1).mean().item()
print("patches look less than evenly at the five:", share < 5 / 21)
ratio = (sizes_of.max() / sizes_of.median()).item()
print("no patch is four times as long as the median:", ratio < 4)

# %% [markdown]
# And no patch stands out either: nobody has made scratch paper of a patch.
#
# > The bright patches appear in *large* models (ViT-L and larger), from the
# > middle layers on, after a third of a long training. (arXiv 2309.16588,
# > Sec. 2.1, Fig. 4)
#
# > **Tutor's note.** So keep three sentences apart. Registers *can* hold notes
# > that are read: measured above. Our tiny net *needs* none to name photographs:
# > measured too. Large nets make paper of patches if you give them none: that is
# > the paper's finding, and too large for a laptop.

# %% [markdown]
# > DINOv3 also tried two other remedies, a bias in attention and a gate on its
# > values, and kept registers. (App. A.1, Fig. 20b)
#
# ## Against someone else
#
# PyTorch can also assign with booleans. The same result, written another way:

# %%
assigned = patches.clone()
assigned[masks] = net.mask_token[0]
print("equal to torch.where:", torch.equal(assigned, by_where))

# %% [markdown]
# And the official code. `tests/golden/vit_0.safetensors` has the weights of a
# small random net, two pictures, masks, and what the official implementation
# answered.

# %%
golden = pretrained.read_state_dict("../tests/golden/vit_0.safetensors")
size = {"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
more = {"n_storage_tokens": 4, "layerscale_init": 1e-5, "mask_k_bias": True}
twin = Vit(**size, **more).eval()
named = {k.partition("state_dict.")[2]: v for k, v in golden.items()}
twin.load_state_dict({k: v for k, v in named.items() if k})
with torch.no_grad():
    out = twin(golden["image"], masks=golden["masks"], is_training=True)
for name in ["clstoken", "patchtokens"]:
    official = golden[f"masked.x_norm_{name}"]
    equal = torch.allclose(out[f"x_norm_{name}"], official, atol=1e-5)
    print(name, list(official.shape), "equal:", equal)
upside_down = twin(golden["image"], masks=~golden["masks"])
official = golden["masked.x_norm_clstoken"]
print("equal with ~masks:", torch.allclose(upside_down, official, atol=1e-3))

# %% [markdown]
# All tokens agree, and the polarity is proved with them: with the masks turned
# round the answer is another one.
#
# ## Common mistakes
#
# **`~masks`.** Many libraries use True for "keep". Nothing complains; the network
# sees only what should be hidden.

# %%
tokens, _ = net.prepare_tokens_with_masks(images, ~masks)
count = (tokens == net.mask_token).all(-1).sum(1)
print("hidden:", count.tolist(), "wanted:", masks.sum(1).tolist())

# %% [markdown]
# **Masks as a grid,** `[B, h, w]` in place of `[B, N]`. Here the shapes do not fit,
# and PyTorch says so, in words about tensors `a` and `b`. Write
# `masks.flatten(1)`.

# %% tags=["raises-exception"]
net.prepare_tokens_with_masks(images, masks.view(2, 8, 8))

# %% [markdown]
# **Masks as numbers,** 0 and 1. `torch.where` wants booleans: `masks.bool()`, or
# better, make them so.

# %% tags=["raises-exception"]
net.prepare_tokens_with_masks(images, masks.long())

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer and run the cell.
# Solutions are in `lessons/solutions/02.py`.
#
# **02.1** (difficulty 1, 3 minutes) The shape `(B, T, D)` of the sequence, for
# `B` pictures of `H` x `W` pixels, patches of side `p`, `R` registers, width
# `D`. The pictures need not be square.
#
# <details><summary>Hint 1</summary>There are H / p rows of patches.</details>
# <details><summary>Hint 2</summary>Rows times columns, then what stands before
# them.</details>


# %%
def sequence_shape(B, H, W, p, R, D):
    raise NotImplementedError("exercise 02.1")


check("02.1", sequence_shape)

# %% [markdown]
# **02.2** (difficulty 2, 4 minutes) Which token is the patch in that `row` and
# `column`, with `R` registers? `grid` is `(h, w)`, the number of rows and columns.
# All count from 0; CLS is token 0.
#
# <details><summary>Hint 1</summary>First the number of the patch among the
# patches: row by row.</details>
# <details><summary>Hint 2</summary>A row has w patches. Then add the tokens
# before patch 0.</details>
# <details><summary>Hint 3</summary>Patch (0, 0) with R = 4 is token 5.</details>


# %%
def token_of_patch(row, column, grid, R):
    raise NotImplementedError("exercise 02.2")


check("02.2", token_of_patch)

# %% [markdown]
# **02.3** (difficulty 2, 5 minutes) One line: hide patches. `patches` is
# `[B, N, D]`, `mask_token` `[1, D]`, `masks` `[B, N]`, True = hidden.
#
# <details><summary>Hint 1</summary>torch.where(condition, where True, where
# False).</details>
# <details><summary>Hint 2</summary>The condition needs a third dimension, of
# size 1.</details>


# %%
def hide_patches(patches, mask_token, masks):
    raise NotImplementedError("exercise 02.3")


check("02.3", hide_patches)

# %% [markdown]
# **02.4** (difficulty 3, 6 minutes) Write the function: from `cls` `[1, 1, D]`,
# `storage` `[1, R, D]` and `patches` `[B, N, D]` to the sequence `[B, T, D]`.
#
# <details><summary>Hint 1</summary>Two of the three lack a batch.</details>
# <details><summary>Hint 2</summary>expand(B, -1, -1), then torch.cat.</details>
# <details><summary>Hint 3</summary>Join along dimension 1, in the order CLS,
# storage, patches.</details>


# %%
def join_tokens(cls, storage, patches):
    raise NotImplementedError("exercise 02.4")


check("02.4", join_tokens)

# %% [markdown]
# **02.5** (difficulty 4, 10 minutes) Change the design: the order is now CLS,
# patches, registers. From `values` `[T]`, one per token, make the map `[h, w]`
# of the patches; `grid` is `(h, w)`, and `R` may be 0. Then explain to yourself:
# RoPE (next lesson) turns the *last N* tokens. Which would it turn now?
#
# <details><summary>Hint 1</summary>Cut one value from the front and R from
# the back.</details>
# <details><summary>Hint 2</summary>values[1:-R] is empty for R = 0; count from
# the front: len(values) - R.</details>
# <details><summary>Hint 3</summary>unflatten(0, grid) folds row by
# row.</details>


# %%
def map_registers_last(values, R, grid):
    raise NotImplementedError("exercise 02.5")


check("02.5", map_registers_last)

# %%
print(progress("02"))

# %% [markdown]
# ## Recap
#
# - You wrote the sequence CLS, registers, patches on paper: `T = 1 + R + N`.
# - You hid patches: True = hidden, and the mask token *replaces*.
# - You saw `0 * mask_token` turn a gradient of None into one of zero.
# - You found patch `n` at token `1 + R + n`, and saw a shifted map.
# - You exchanged registers: read in one game, not read in another.
#
# Every token has its place in the sequence now, but no patch knows its place in
# the *picture*. Next: RoPE.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Table 2 (four
#   registers) and App. A.1 (why, and what else was tried).
# - "Vision Transformers Need Registers",
#   [arXiv 2309.16588](https://arxiv.org/abs/2309.16588), Sec. 2: short, and a
#   model of how to find out what a network does. Fig. 9 shows what registers of
#   a large net look at.
# - Official code: `dinov3/models/vision_transformer.py`, class
#   `DinoVisionTransformer`, method `prepare_tokens_with_masks`.
