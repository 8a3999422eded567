# %% [markdown]
# # 08 Masking
#
# **What is hidden, how much, in which shape?** You hide blocks of patches, in
# exact numbers, and keep account of where they are in the batch.

# %% [markdown]
# The student sees less than the teacher: smaller crops (lesson 07), and now
# holes. From what is left it has to say what the teacher sees *in* the holes.
# How good that game is depends on the holes.
#
# After this lesson you can
#
# - measure why hiding single patches is too easy,
# - grow a block mask with an exact count, equal to the package's,
# - compute the ratios of a whole batch by hand,
# - work out `mask_indices_list` and `masks_weight` on a 4 x 4 grid,
# - recognise a wrong polarity and a wrong order of crops.
#
# | | |
# |---|---|
# | you need | lessons 01, 02, 07 |
# | time | 45 minutes |
# | module | `dinolite/data/masking.py` |
# | official | `data/masking.py`: `MaskingGenerator`; `data/collate.py` |
# | paper | iBOT Sec. 3.1, 3.2; DINOv3 App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.config import IbotConfig
from dinolite.data import masking
from dinolite.data.demo_pictures import photographs
from dinolite.models.pretrained import read_state_dict
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# Today's box stands between the crops and the student. There is none on the
# teacher's side: the teacher sees everything.

# %%
viz.pipeline_map("08")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "masking", lesson 08, is lit. An arrow leads
# from the crops to it and from it to the student ViT. The arrow to the teacher
# passes it by.*
#
# ## The failure first
#
# Four photographs, 128 x 128 pixels, patches of 8: a grid of 16 x 16, as for a
# DINOv3 crop. We play a lazy student who does not know what a cat is. It
# paints every hidden pixel with the mean of the pixels around it, again and
# again, until the colours have run in from the edge of the hole.

# %%
F = torch.nn.functional
files = photographs.photographs()


def square(name):  # the middle of a photograph
    x = files[name][None] / 255
    side = min(x.shape[-2:])
    top, left = ((n - side) // 2 for n in x.shape[-2:])
    x = x[..., top : top + side, left : left + side]
    return F.interpolate(x, (128, 128), mode="bilinear", antialias=True)


def paint(image, hidden):
    """image [n, 3, H, W], hidden [n, 1, H, W]: fill the holes."""
    seen = ~hidden
    x = (image * seen).sum((2, 3), True) / seen.sum((2, 3), True)
    for size in (8, 4, 2, 1):  # coarse first, which is faster
        known = F.avg_pool2d(image, size)
        hole = F.max_pool2d(hidden.float(), size).bool()
        x = F.interpolate(x, known.shape[-2:], mode="bilinear")
        for _ in range(12):
            x = torch.where(hole, x, known)
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            x = F.avg_pool2d(x, 3, stride=1)
    return torch.where(hole, x, known)


names = ["chelsea", "astronaut", "coffee", "flower"]
images = torch.cat([square(name) for name in names])
print("images", list(images.shape))

# %% [markdown]
# Now hide 76 of the 256 patches (30 percent), once as single patches chosen at
# random, once as blocks from the package.


# %%
def singles(counts, generator):
    order = torch.rand(len(counts), 256, generator=generator).argsort(dim=1)
    return (order < counts[:, None]).view(-1, 16, 16)


def pixels(masks):  # [n, 16, 16] -> [n, 1, 128, 128]
    return masks[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3)


blocks = masking.MaskingGenerator((16, 16))
counts = torch.full((4,), 76)
views = {}
for name, hide in [("singles", singles), ("blocks", blocks)]:
    masks = hide(counts, torch.Generator().manual_seed(3))  # [4, 16, 16]
    hidden = pixels(masks)
    views[name] = viz.masks.covered(images[0], masks[0])
    views[f"{name}, painted"] = paint(images, hidden)[0]
    print(name, list(masks.shape), "hidden:", masks.sum((1, 2)).tolist())
viz.compare_figure(views, width=7.0)
plt.show()

# %% [markdown]
# *Figure: the cat four times. With blue single patches; painted, where it is
# blurred in places and still plainly a cat. With blue blocks; painted, where
# one eye and all around it have become a smooth fog.*
#
# How far is the paint from the truth? The error is the root of the mean square
# over hidden pixels, divided by the same for a painter who fills each hole with
# the mean colour of what is seen. At 1 the paint is no better than that.


# %%
def error(image, hidden):
    seen = ~hidden
    mean = (image * seen).sum((2, 3), True) / seen.sum((2, 3), True)
    paints = paint(image, hidden), mean
    ours, dull = [((p - image) ** 2 * hidden).sum() for p in paints]
    return float(ours / dull) ** 0.5


ratios = [0.1, 0.2, 0.3, 0.4, 0.5]
runs = {"singles": [], "blocks": []}
for ratio in ratios:
    counts = torch.full((4,), int(256 * ratio))
    for name, hide in [("singles", singles), ("blocks", blocks)]:
        masks = hide(counts, torch.Generator().manual_seed(3))
        runs[name].append(error(images, pixels(masks)))
    print(f"{ratio:.0%}:", {n: round(e[-1], 2) for n, e in runs.items()})
panels = {"error of the paint": runs}
viz.lines_figure(panels, ratios, "share of hidden patches")
plt.show()

# %% [markdown]
# *Figure: two curves over the share of hidden patches. Singles rise from 0.37 to
# 0.51, blocks, above them throughout, from 0.67 to 0.83. 10 percent in blocks
# are worse to paint than 50 percent in singles.*
#
# A single hidden patch is known by its neighbours: same fur, same wall. A
# student can win by smoothing and learn nothing. Inside a block the edge is far
# away, and one needs to know that a cat has two eyes. That is a
# [block mask](GLOSSARY.md#block-mask).
#
# > iBOT hides blocks of patches, a scheme taken from BEiT (iBOT Sec. 3.1).

# %% [markdown]
# ## By hand: one block
#
# A block is drawn by its **area** and its **aspect**, which here is height over
# width (in lesson 07 it was width over height). Then
#
# $$h = \sqrt{\text{area} \cdot \text{aspect}}, \qquad
# w = \sqrt{\text{area} / \text{aspect}}.$$
#
# Area 6, aspect 1.5: $h = \sqrt 9 = 3$, $w = \sqrt 4 = 2$. Indeed $3 \cdot 2 =
# 6$ and $3 / 2 = 1.5$.
#
# On a grid of 4 x 4 its top row can be 0 or 1, since $4 - 3 + 1 = 2$; its left
# column 0, 1 or 2. We take top 1, left 2. So rows 1 to 3 and columns 2 and 3
# are hidden.

# %%
area, aspect = 6, 1.5
h, w = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
assert (h, w) == (3, 2)
by_hand = [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
by_hand = torch.tensor(by_hand).bool()  # [4, 4], True = hidden
print("h, w =", (h, w), "hidden:", int(by_hand.sum()))

# %% [markdown]
# ## Rungs 1 and 2: loops, then vectors
#
# A patch is hidden if its row *and* its column lie in the block. With a column
# of row numbers and a row of column numbers, four comparisons do it for all
# patches.


# %%
def block_loops(H, W, top, left, h, w):
    mask = torch.zeros(H, W, dtype=torch.bool)
    for r in range(H):
        for c in range(W):
            mask[r, c] = top <= r < top + h and left <= c < left + w
    return mask


def block(H, W, top, left, h, w):
    r, c = torch.arange(H)[:, None], torch.arange(W)  # [H, 1], [W]
    return (r >= top) & (r < top + h) & (c >= left) & (c < left + w)


assert torch.equal(block_loops(4, 4, 1, 2, h, w), by_hand)
assert torch.equal(block(4, 4, 1, 2, h, w), by_hand)
print("mask", list(block(4, 4, 1, 2, h, w).shape))

# %% [markdown]
# ## Rung 3: a random block
#
# The area is drawn evenly, from 4 patches to what is still missing, and at most
# half of the grid. The aspect lies between 0.3 and 1/0.3 = 3.33. Drawn evenly
# there, three blocks of four would stand upright. So its *logarithm* is drawn
# evenly: twice as high is as likely as twice as wide.

# %%
low = torch.tensor(0.3, dtype=torch.float64).log().item()


def draw_block(H, W, missing, generator):
    u = torch.rand(4, generator=generator)  # evenly in [0, 1)
    area = 4 + u[0] * (min(missing, H * W // 2) - 4)
    aspect = torch.exp(low + u[1] * (-low - low))  # -low = log(1 / 0.3)
    h = (area * aspect).sqrt().round()
    w = (area / aspect).sqrt().round()
    top = (u[2] * (H - h + 1).clamp(min=1)).floor()
    left = (u[3] * (W - w + 1).clamp(min=1)).floor()
    fits = bool(h < H and w < W)
    return block(H, W, top, left, h, w), fits


torch.manual_seed(0)
even = 0.3 + torch.rand(10000) * (1 / 0.3 - 0.3)
logs = torch.exp(low + torch.rand(10000) * (-low - low))
for name, values in [("evenly", even), ("by logarithm", logs)]:
    print(f"{name}: {(values > 1).float().mean():.0%} stand upright")

# %% [markdown]
# (If fewer than 4 patches are missing, the area lies between that number and 4.)
# A block as high or as wide as the grid is refused: none alone cuts a crop in
# two.
#
# ## Rung 4: until the count is exact
#
# One block is not enough. Blocks are added, and may overlap, under two
# conditions: a new one hides something new, and not more than is missing. After
# ten failures in a row the rest is hidden patch by patch.
#
# The last step is a small trick. Every patch gets a random number, hidden ones
# get -1, so they come first in the order. The first `n` are hidden.


# %%
def grow(H, W, n, generator):
    mask, failures, steps = torch.zeros(H, W, dtype=torch.bool), 0, []
    while mask.sum() < n and failures < 10:
        missing = n - int(mask.sum())
        new, fits = draw_block(H, W, missing, generator)
        gain = int((new & ~mask).sum())
        if fits and 0 < gain <= missing:
            mask, failures = mask | new, 0
            steps.append(mask)
        else:
            failures += 1
    order = torch.rand(H * W, generator=generator)
    order = order.masked_fill(mask.flatten(), -1)
    rank = order.argsort().argsort()  # place of each patch in the order
    return [*steps, (rank < n).view(H, W)]


steps = grow(16, 16, 76, torch.Generator().manual_seed(77))
counts = [int(mask.sum()) for mask in steps]
print("hidden after each step:", counts)
cat = images[:1].expand(len(steps), -1, -1, -1)
titles = [f"block {i + 1}: {n}" for i, n in enumerate(counts[:-1])]
titles.append(f"the rest: {counts[-1]}")
seen = viz.masks.covered(cat, torch.stack(steps))
viz.compare_figure(dict(zip(titles, seen, strict=True)))
plt.show()

# %% [markdown]
# *Figure: the cat five times, with more and more blue: a block, a second and a
# third that overlap what is there, a small one at the upper right, and at last
# a single patch at the lower left.*
#
# How often is the last step needed? Here are 300 masks.

# %%
generator = torch.Generator().manual_seed(5)
needed, n_blocks = 0, 0
for _ in range(300):
    *before, last = grow(16, 16, 76, generator)
    assert last.sum() == 76
    needed += int(before[-1].sum() < 76)
    n_blocks += len(before)
print("all 300 masks hide exactly 76 patches")
print(f"blocks per mask: {n_blocks / 300:.1f}; last step needed: {needed}")

# %% [markdown]
# Rarely: 22 of 300. But without it a count would now and then be too small, and we shall
# see that everything after this relies on exact counts.
#
# > **Tutor's note.** The last blocks of a mask are small, sometimes one patch:
# > not much may be missing any more.
#
# ## Rung 5: the package's
#
# The official code makes one mask at a time, as `grow` does. The package grows
# all masks of a batch together: each round draws one block for every mask, and
# those that are full or have failed ten times ignore theirs. From here the grid
# is 14 x 14: crops of 224 pixels, patches of 16, the official default.

# %%
print(inspect.getsource(masking.MaskingGenerator.__call__))
package = masking.MaskingGenerator((14, 14))
for seed in range(20):
    n = 5 * seed
    mine = grow(14, 14, n, torch.Generator().manual_seed(seed))[-1]
    generator = torch.Generator().manual_seed(seed)
    theirs = package(torch.tensor([n]), generator)  # [1, 14, 14]
    assert torch.equal(theirs[0], mine)
print("20 masks equal to the package's")

# %% [markdown]
# ## How much? The ladder of ratios
#
# The [masking ratio](GLOSSARY.md#masking-ratio) is the share of patches that is
# hidden.
#
# > A global crop gets a mask with probability 0.5, and then a ratio between 0.1
# > and 0.5 (DINOv3 App. C; iBOT Sec. 3.2).
#
# The code rolls no dice for these numbers. Half of the crops are masked. With
# `n` masked crops it cuts the way from 0.1 to 0.5 into `n` steps and takes the
# end of each. Two photographs have 4 global crops, so `n` = 2: the points are
# 0.1, 0.3, 0.5, the first is left out. On 16 patches: 0.3 x 16 = 4.8, rounded
# down 4; 0.5 x 16 = 8.


# %%
def counts_loop(n_crops, N):
    n = int(n_crops * 0.5)
    return [int(N * (0.1 + 0.4 * (i + 1) / n)) for i in range(n)]


def counts_at_once(n_crops, N):
    n = int(n_crops * 0.5)
    ratios = torch.linspace(0.1, 0.5, n + 1, dtype=torch.float64)[1:]
    return (ratios * N).long()  # [n], .long() rounds down


assert counts_loop(4, 16) == counts_at_once(4, 16).tolist() == [4, 8]
assert counts_loop(16, 196) == counts_at_once(16, 196).tolist()
generator = torch.Generator().manual_seed(0)
masks = masking.draw_masks(16, (14, 14), IbotConfig(), generator)
print("masks", list(masks.shape))
print("by the ladder", counts_at_once(16, 196).tolist())
print("in the batch ", masks.sum(dim=1).tolist())
assert sorted(masks.sum(1).tolist())[8:] == counts_loop(16, 196)

# %% [markdown]
# Eight photographs, 16 crops: eight without a mask, eight with 29 to 98 hidden
# patches, shuffled over the crops. Now draw instead, as one would read the
# paper: a coin for each crop, then a ratio anywhere in 0.1 to 0.5. How many
# patches, `M`, are hidden in the batch? Forty batches of each kind.

# %%
generator = torch.Generator().manual_seed(1)
ladder, drawn = [], []
for _ in range(40):
    masks = masking.draw_masks(16, (14, 14), IbotConfig(), generator)
    ladder.append(int(masks.sum()))
    coin, ratio = torch.rand(2, 16, generator=generator)
    drawn.append(int(((0.1 + 0.4 * ratio) * 196 * (coin < 0.5)).long().sum()))
print("ladder: M from", min(ladder), "to", max(ladder))
print("drawn:  M from", min(drawn), "to", max(drawn))
runs = {"ladder": ladder, "drawn": drawn}
viz.lines_figure({"M": runs}, xlabel="batch")
plt.show()

# %% [markdown]
# *Figure: hidden patches per batch. The ladder gives a flat line at 507. The
# draws jump up and down, from about 100 to more than 600.*
#
# Each batch holds easy and hard masks, and the same number of hidden patches. So
# less of the loss is luck, and the tensors keep their shape, which compiled code
# and the memory of a GPU like.

# %% [markdown]
# ## Why only half of the crops?
#
# Whoever uses the network hides nothing. So the student must meet whole crops
# too. And there is no second, whole set for the loss of CLS (lesson 10): it
# takes the student's crops as they are, masked or not.
#
# > With many crops, training with masks was unstable for iBOT; leaving some
# > global crops whole made it steady (iBOT App. B).
#
# Local crops get no masks: they are small pieces already.

# %% [markdown]
# ## Where? Crop-major order
#
# Two crops of each photograph go into one tensor, in [crop-major
# order](GLOSSARY.md#crop-major-order): crop 0 of every photograph, then crop 1
# of every photograph. Stack `[2, B]` and flatten. In place of lesson 07's
# random [crops](GLOSSARY.md#crop) we cut two fixed ones.

# %%
first = images[..., :96, :96]  # upper left of each photograph
second = images[..., 32:, 32:]  # lower right
crops = torch.stack([first, second]).flatten(0, 1)  # [2, B, ...] -> [2B, ...]
generator = torch.Generator().manual_seed(4)
masks = masking.draw_masks(8, (12, 12), IbotConfig(), generator)
print("crops", list(crops.shape), "masks", list(masks.shape))
titles = [
    f"{i}: {names[i % 4]} {i // 4}\n{n} hidden"
    for i, n in enumerate(masks.sum(1).tolist())
]
small = F.interpolate(crops, (60, 60), mode="bilinear", antialias=True)
seen = viz.masks.covered(small, masks.view(8, 12, 12))
viz.compare_figure(dict(zip(titles, seen, strict=True)), 6.0, columns=4)
plt.show()

# %% [markdown]
# *Figure: two rows of four crops, numbered 0 to 7: above crop 0 of cat,
# astronaut, cup and flower, below crop 1 of the same. Entries 0, 1, 2 and 4 have
# blue blocks, the others none.*
#
# Entry `i` of the batch is photograph `i % B`, crop `i // B`. Which crops are
# masked is left to chance: of one photograph both may be, or one, or none.

# %% [markdown]
# ## By hand: positions and weights
#
# The loss asks about hidden patches only. So the batch has a list of where they
# are. Two photographs, 4 crops of 4 x 4 patches: number all 64 patches of the
# batch, entry after entry, each in [row-major
# order](GLOSSARY.md#row-major-order). Patch `k` of entry `i` has position
# $16\,i + k$.
#
# Entry 1 hides its patches 5 and 6. Entry 2 hides 10, 11, 14, 15. The others
# hide nothing. Then
#
# $$16 + 5 = 21,\quad 22,\qquad 32 + 10 = 42,\quad 43,\quad 46,\quad 47.$$

# %%
toy = torch.zeros(4, 16, dtype=torch.bool)  # [2B, N]
toy[1, [5, 6]] = True
toy[2, [10, 11, 14, 15]] = True
indices, weight = masking.mask_positions(toy)
print("mask_indices_list", indices.tolist())
print("masks_weight     ", weight.tolist())
assert indices.tolist() == [21, 22, 42, 43, 46, 47]
assert weight.tolist() == [1 / 2] * 2 + [1 / 4] * 4
titles = [f"{i}: photo {i % 2}, crop {i // 2}" for i in range(4)]
viz.positions_figure(toy.view(4, 4, 4), titles)
plt.show()

# %% [markdown]
# *Figure: four grids of 4 x 4, numbered on from 0 to 63. Dark are 21 and 22 in
# the second, and the square 42, 43, 46, 47 in the third.*

# %% [markdown]
# That is the [mask_indices_list](GLOSSARY.md#mask_indices_list). Beside each
# position stands a weight, 1 / (number of hidden patches in the same crop):
# 1/2 twice, 1/4 four times. It is the
# [masks_weight](GLOSSARY.md#masks_weight).
#
# What for? Say each hidden patch has a loss: 3 and 5 in entry 1; 1, 1, 1, 1 in
# entry 2. With the weights the sum is
#
# $$\tfrac12 (3 + 5) + \tfrac14 (1 + 1 + 1 + 1) = 4 + 1,$$
#
# the mean of entry 1 plus the mean of entry 2. Without them entry 2 would have
# twice the say, because more of it is hidden.

# %%
losses = torch.tensor([3.0, 5.0, 1.0, 1.0, 1.0, 1.0])  # [M]
print("weighted sum:", float((losses * weight).sum()))
print("sum of the two means:", float(losses[:2].mean() + losses[2:].mean()))
print("plain mean over M:", float(losses.mean()))

# %% [markdown]
# ## Rungs 6 to 8: positions by loop, at once, the package's
#
# The loop walks through the batch and counts. At once: flatten, ask for the
# places that are True, and look up the weight of each place's crop, which is
# `position // N`. We try both on the toy and on the eight crops from above.


# %%
def positions_loop(masks):
    indices, weight = [], []
    for i, mask in enumerate(masks):
        for k, hidden in enumerate(mask):
            if hidden:
                indices.append(i * len(mask) + k)
                weight.append(1 / int(mask.sum()))
    return torch.tensor(indices), torch.tensor(weight)


def positions(masks):
    indices = masks.flatten().nonzero()[:, 0]  # [M]
    return indices, 1 / masks.sum(dim=1)[indices // masks.shape[1]]


for some in (toy, masks):
    wanted = masking.mask_positions(some)
    for mine in (positions_loop(some), positions(some)):
        torch.testing.assert_close(mine, wanted)
    print("indices", list(wanted[0].shape), "weight", list(wanted[1].shape))
print(inspect.getsource(masking.mask_positions))

# %% [markdown]
# `clamp(min=1)` guards the crops without a mask: no division by 0. (Ours makes
# an infinity there, which no position ever looks up.)
#
# A network's patch features are `[2B, N, D]`. Flatten the first two axes, take
# the rows of the list, and only `[M, D]` goes on to the head of lesson 09: about
# a sixth of the patches (last line below). Student and teacher use the *same*
# list: so row `m` of both is the same patch, hidden for one, seen by the other.

# %%
torch.manual_seed(0)
features = torch.randn(4, 16, 3)  # [2B, N, D]
rows = features.flatten(0, 1)[indices]  # [M, D]
print("features", list(features.shape), "rows", list(rows.shape))
print("the same as features[toy]:", torch.equal(rows, features[toy]))
print("hidden in a batch of 8 photographs:", f"{507 / (16 * 196):.0%}")

# %% [markdown]
# ## Polarity: True = hidden
#
# A mask of booleans does not say what True means. Here it is *hidden*,
# everywhere: the embedding of such a patch is replaced by the [mask
# token](GLOSSARY.md#mask-token) (lesson 02). PyTorch itself has both meanings.
# Two keys, values 1 and 2, mask `[True, False]`:

# %%
mask = torch.tensor([[True, False]])
q, k = torch.zeros(1, 1, 2), torch.zeros(1, 2, 2)
v = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
print("scaled_dot_product_attention reads value", int(out[0, 0, 0]))
mha = torch.nn.MultiheadAttention(2, 1, batch_first=True)
_, weights = mha(q, k, v, key_padding_mask=mask)
print("key_padding_mask looks at key", int(weights[0, 0].argmax()) + 1)

# %% [markdown]
# For the first, True takes part; for the second, True is left out. Never guess a
# polarity. Count: `masks.sum(1)` must be the numbers of the ladder.
#
# The student does know *where* the holes are: a mask token stands at each, and
# RoPE turns its query and key by its place, as for any patch. The blue in our figures is for us.

# %% [markdown]
# ## Predict, then run
#
# **First.** What is the sum of `masks_weight` over a batch of 8 photographs,
# for any draw? **Second.** In 2000 masks with 30 percent hidden, is a corner
# hidden as often as the middle? **Third.** The option
# `mask_random_circular_shift` moves every mask by a random distance; what leaves
# on one side comes in on the other. What does it change?

# %%
for seed in range(3):
    generator = torch.Generator().manual_seed(seed)
    masks = masking.draw_masks(16, (14, 14), IbotConfig(), generator)
    print(f"sum {masking.mask_positions(masks)[1].sum():.4f}", end="  ")
print()
generator = torch.Generator().manual_seed(0)
many = masking.MaskingGenerator((14, 14))(torch.full((2000,), 58), generator)
runs = {"blocks": many, "shifted": masking.roll(many, generator)}
for name, some in runs.items():
    share = some.float().mean(dim=0)  # [14, 14]
    print(f"{name}: corner {share[0, 0]:.2f}, middle {share[7, 7]:.2f}")
viz.hidden_share_figure(runs)
plt.show()

# %% [markdown]
# *Figure: two maps of how often each patch is hidden, and the middle row of
# both as curves. Blocks: dark corners, bright middle, a hill. Shifted: one flat
# colour.*
#
# The sum is 8, the number of masked crops: each has weights that sum to 1.
#
# The corner is hidden far more rarely. A block must lie inside the grid, and
# only one of its positions covers the corner, while many cover the middle. The
# shift makes it even, at a price: blocks are torn apart at the edges. The
# default settings leave it off.

# %% [markdown]
# ## Explore
#
# The cat, the mask, the lazy student's paint. Move the ratio; then the aspect
# (height over width of every block). Watch the error, here of the cat alone. Why
# do very long blocks make it easy again?


# %%
def draw(ratio, aspect, seed):
    maker = masking.MaskingGenerator(
        (16, 16), min_aspect=aspect, max_aspect=aspect
    )
    count = torch.tensor([round(256 * ratio)])
    masks = maker(count, torch.Generator().manual_seed(seed))
    hidden = pixels(masks)
    off = error(images[:1], hidden)
    return viz.compare_figure(
        {
            f"{int(count)} of 256 hidden": viz.masks.covered(
                images[0], masks[0]
            ),
            f"painted, error {off:.2f}": paint(images[:1], hidden)[0],
        },
        width=5.0,
    )


viz.explore(
    draw,
    ratio=(0.1, 0.8, 0.1, 0.5),
    aspect=[1.0, 0.05, 0.1, 0.3, 3.3, 10.0, 20.0],
    seed=(0, 9, 1, 0),
)

# %% [markdown]
# *Figure: controls for ratio, aspect and seed, and below them the cat with half
# of its patches under blue blocks, and painted: fog where the blocks were.*
#
# Long blocks are thin: most hidden patches are next to a visible one. And a
# block as long as the grid is refused, so with extreme aspects only small pieces
# and single patches remain.

# %% [markdown]
# ## Against someone else
#
# `tests/golden/step_pretrain.safetensors` holds three batches from the official
# collate function: 4 photographs, crops of 4 x 4 patches. The dice differ, the
# rules must not. From the official masks we compute positions and weights; and
# our own masks must have the official counts.

# %%
golden = read_state_dict("../tests/golden/step_pretrain.safetensors")
keys = ["mask_indices_list", "masks_weight"]
for t in range(3):
    official = golden[f"batch.{t}.collated_masks"]  # [8, 16]
    mine = masking.mask_positions(official)
    for name, ours in zip(keys, mine, strict=True):
        torch.testing.assert_close(ours, golden[f"batch.{t}.{name}"])
    generator = torch.Generator().manual_seed(t)
    ours = masking.draw_masks(8, (4, 4), IbotConfig(), generator)
    print("official", official.sum(1).tolist(), "ours", ours.sum(1).tolist())
    assert sorted(ours.sum(1).tolist()) == sorted(official.sum(1).tolist())

# %% [markdown]
# Positions and weights are equal, and the counts are the same numbers in
# another shuffle: 3, 4, 6, 8 and four times 0.
#
# ## Common mistakes
#
# **Not flattened.** A position counts through all crops; `features` has only 4
# entries on its first axis.

# %% tags=["raises-exception"]
features[indices]

# %% [markdown]
# **Positions among tokens.** The list counts patches. With CLS and 4 registers
# still in front there are 21 tokens per crop, and it picks others. No error.

# %%
patch_ids = torch.arange(64).view(4, 16)  # who is who
prefix = torch.full((4, 5), -1)  # CLS and registers
tokens = torch.cat([prefix, patch_ids], dim=1)  # [2B, T] = [4, 21]
print("wanted", indices.tolist())
print("got   ", tokens.flatten()[indices].tolist())
print("right ", tokens[:, 5:].flatten()[indices].tolist())

# %% [markdown]
# The `-1` are CLS and registers: the student would be asked what the teacher's
# *CLS* or registers say.
#
# **The wrong order of crops.** Whoever views the batch as `[B, 2]` and takes
# the two entries of a row for one photograph gets this:

# %%
right = small.unflatten(0, (2, 4))[:, 0]  # both crops of photograph 0
wrong = small.unflatten(0, (4, 2))[0]
assert torch.equal(right[0], wrong[0])
partners = {"entry 0": right[0], "in [2, B]": right[1], "in [B, 2]": wrong[1]}
viz.compare_figure(partners, width=5.0)
plt.show()

# %% [markdown]
# *Figure: entry 0 of the batch, a part of the cat, and its partner. Viewed as
# [2, B], another part of the cat. Viewed as [B, 2], the astronaut.*
#
# No error here either: the loss would pull the cat towards the astronaut.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/08.py`.
#
# **08.1** (difficulty 1, 3 minutes) A batch of `B` photographs with 2 global
# crops each, `N` patches per crop. `counts` is a list with the number of hidden
# patches of each crop. Return the shapes of `masks`, `mask_indices_list` and
# `masks_weight`, a tuple of three tuples.
#
# <details><summary>Hint 1</summary>One mask per crop, not per
# photograph.</details>
# <details><summary>Hint 2</summary>The other two have one entry per hidden
# patch of the whole batch. A shape with one axis is `(M,)`.</details>


# %%
def shapes(B, N, counts):
    raise NotImplementedError("exercise 08.1")


check("08.1", shapes)

# %% [markdown]
# **08.2** (difficulty 2, 6 minutes) The ladder for any settings: how many
# patches are hidden in each masked crop, in rising order, as a list of ints.
# `share` of the `n_crops` crops are masked, with ratios from `low` to `high`, on
# `N` patches.
#
# <details><summary>Hint 1</summary>`n = int(n_crops * share)` crops are masked.
# The way from low to high has n steps.</details>
# <details><summary>Hint 2</summary>Take the end of each step, never `low`
# itself. Round down.</details>


# %%
def ladder_of(n_crops, N, share, low, high):
    raise NotImplementedError("exercise 08.2")


check("08.2", ladder_of)

# %% [markdown]
# **08.3** (difficulty 2, 6 minutes) The way back: from `indices`, a
# `mask_indices_list`, to the masks, a boolean tensor [n_crops, N], True =
# hidden.
#
# <details><summary>Hint 1</summary>Start with one long row of
# `n_crops * N` times False.</details>
# <details><summary>Hint 2</summary>Set the positions, then give it two
# axes.</details>


# %%
def masks_from(indices, n_crops, N):
    raise NotImplementedError("exercise 08.3")


check("08.3", masks_from)

# %% [markdown]
# **08.4** (difficulty 2, 6 minutes) Who is it? From one `position` of the list,
# in a batch of `B` photographs with grids of `h` x `w` patches, find
# `(photograph, crop, row, column)`, all from 0, as a tuple.
#
# <details><summary>Hint 1</summary>`divmod(position, h * w)` gives the entry
# of the batch and the patch in it.</details>
# <details><summary>Hint 2</summary>Entry `i` is photograph `i % B`, crop
# `i // B`.</details>
# <details><summary>Hint 3</summary>Row-major: a row has `w` patches.</details>


# %%
def who(position, B, h, w):
    raise NotImplementedError("exercise 08.4")


check("08.4", who)

# %% [markdown]
# **08.5** (difficulty 3, 12 minutes) Change the design: other shapes. Which
# share of the hidden patches of a mask [H, W] touches a visible one, above,
# below, left or right? Return a float. Beyond the edge there is nothing to see.
# Then try it on masks of `singles`, of `blocks`, and of blocks with aspect 10
# (a generator as in "Explore"). Which would you use, and why?
#
# <details><summary>Hint 1</summary>Pad the *visible* patches with one ring of
# False: `F.pad((~mask).float(), (1, 1, 1, 1))`.</details>
# <details><summary>Hint 2</summary>Four shifted slices of the padded tensor are
# the four neighbours: `p[:-2, 1:-1]` is the one above.</details>
# <details><summary>Hint 3</summary>Divide by the number of hidden patches, not
# of all.</details>


# %%
def exposed(mask):
    raise NotImplementedError("exercise 08.5")


check("08.5", exposed)

# %%
print(progress("08"))

# %% [markdown]
# ## Recap
#
# - You measured it: single patches can be painted from their neighbours, blocks
#   far less well.
# - You grew a mask block by block to an exact count, equal to the package's.
# - You computed the ladder: half of the crops, ratios up to 0.5, the same M in
#   every batch.
# - You worked out positions and weights by hand, and met the same numbers in
#   official batches.
# - You saw that True means hidden here, and that crop 0 of all photographs
#   comes before crop 1.
#
# Next: the M hidden patches go to a head. What does it compare them with?

# %% [markdown]
# ## Sources
#
# - iBOT, [arXiv 2111.07832](https://arxiv.org/abs/2111.07832), Sec. 3.1 (blocks),
#   Sec. 3.2 (ratios), App. B (why some crops stay whole).
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), App. C: ratio
#   and probability. The ladder is in the code, not in the paper.
# - Official code: `dinov3/data/masking.py`, class `MaskingGenerator`;
#   `dinov3/data/collate.py`, `collate_data_and_cast`.
# - BEiT, [arXiv 2106.08254](https://arxiv.org/abs/2106.08254), Algorithm 1: the
#   blocks' first home.
