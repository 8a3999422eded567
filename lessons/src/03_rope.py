# %% [markdown]
# # 03 Rotary positions
#
# **How does a patch know where it is, at any resolution?** Its row and its
# column become angles, and numbers are turned by them. Nothing is learned.

# %% [markdown]
# Attention treats its input as a bag: order is lost.
# [RoPE](GLOSSARY.md#rope) (rotary position embedding) brings it back, without
# one weight, for grids of any size.
#
# After this lesson you can
#
# - show that attention without positions is blind to order,
# - turn a pair by hand and show that the dot product knows only the distance,
# - compute the angle table of a grid and apply it,
# - predict what another size or shape of the picture does to it,
# - say why a model gives other features at every call, and stop it.
#
# | | |
# |---|---|
# | you need | lessons 01, 02 |
# | time | 45 minutes |
# | module | `dinolite/layers/rope_position_encoding.py` |
# | official | `layers/rope_position_encoding.py`: `RopePositionEmbedding` |
# | paper | DINOv3 Sec. 3.2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers import attention, rope_position_encoding
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# Today's box hands every block of the ViT a table of angles.

# %%
viz.pipeline_map("03")
plt.show()

# %% [markdown]
# *Figure: the pipeline of the course. The box RoPE is lit, between tokens and
# block, over the box attention.*
#
# One word in advance. In attention every token makes a
# [query and a key](GLOSSARY.md#query-and-key), two vectors. The dot product of
# my query with your key says how much I look at you. Both are cut into `h`
# slices of `d = D / h` numbers, the [heads](GLOSSARY.md#attention-head), and
# each head looks for itself. Lesson 04 has the rest.

# %% [markdown]
# ## The failure first
#
# Take a photograph of 64 x 64 pixels, 8 x 8 patches of 8. Make a second
# picture of the same 64 patches, shuffled.

# %%
_ = torch.set_grad_enabled(False)  # nothing is trained today
photos = photographs()


def small(name, height, width):
    picture = photos[name][None].float() / 255
    size = {"size": (height, width), "mode": "bilinear", "antialias": True}
    return torch.nn.functional.interpolate(picture, **size)[0]


def shuffle(picture, order):
    tiles = picture.unflatten(1, (8, 8)).unflatten(3, (8, 8))
    tiles = tiles.permute(1, 3, 0, 2, 4).flatten(0, 1)  # [64, 3, 8, 8]
    tiles = tiles[order].unflatten(0, (8, 8)).permute(2, 0, 3, 1, 4)
    return tiles.flatten(3, 4).flatten(1, 2)  # [3, 64, 64]


order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
astronaut = small("astronaut", 64, 64)
shuffled = shuffle(astronaut, order)
print(list(astronaut.shape), list(shuffled.shape))

# %% [markdown]
# Both go through an untrained network of width `D = 32` with two heads: patches
# become [tokens](GLOSSARY.md#token), each brought to mean 0 and spread 1
# (`layer_norm`, lesson 05), and one layer of attention looks at them, without
# positions.

# %%
torch.manual_seed(0)
sizes = {"patch_size": 8, "embed_dim": 32, "num_heads": 2, "depth": 4}
vit = vision_transformer.DinoVisionTransformer(**sizes).eval()
attn = attention.SelfAttention(dim=32, num_heads=2)


def patch_tokens(picture):
    x = vit.patch_embed(picture[None]).flatten(1, 2)  # [1, 64, 32]
    return torch.nn.functional.layer_norm(x, [32])


x, y = patch_tokens(astronaut), patch_tokens(shuffled)
same = torch.allclose(attn(x)[:, order], attn(y), atol=1e-5)
print("tokens", list(x.shape), "output", list(attn(x).shape))
print("shuffled photo: the same output, only permuted:", same)

# %% [markdown]
# To this layer the two pictures are the same. Let us see what one patch of the
# face looks at, in both.

# %%
chosen = 1 * 8 + 3  # row 1, column 3
there = int((order == chosen).nonzero())  # its new place
looks = [
    attn.attention_map(x)[0, 0, chosen].view(8, 8),
    attn.attention_map(y)[0, 0, there].view(8, 8),
]
places = [divmod(chosen, 8), divmod(there, 8)]
panels = {
    f"patch {places[0]}": astronaut,
    "where it looks": looks[0],
    f"patch {places[1]}": shuffled,
    "where it looks now": looks[1],
}
framed = [[places[0]]] * 2 + [[places[1]]] * 2
viz.compare_figure(panels, scale="shared", patch=framed)
plt.show()

# %% [markdown]
# *Figure: the astronaut with a patch of her face framed, and how much this
# patch looks at each one (untrained, head 0; yellow: most). Then the shuffled picture,
# the same patch framed at its new place, and its map: the same 64 values, at
# other places.*
#
# So positions must be added. What do we want of them?
#
# - What counts is where patches lie *relative to each other*: an eye is an
#   eye, wherever the face is.
# - Any size of picture, also one never seen in training.
# - The content stays readable.
#
# > **Tutor's note.** DINOv2 added one learned vector per place. For another
# > size its table must be stretched by interpolation. RoPE computes instead.

# %% [markdown]
# ## By hand: turn two arrows
#
# Turning the pair $(a, b)$ by the angle $\theta$ gives
#
# $$(a\cos\theta - b\sin\theta,\; b\cos\theta + a\sin\theta).$$
#
# Let one place be a quarter turn: $(a, b) \to (-b, a)$. Take the query
# $q = (2, 1)$ and the key $k = (1, 3)$, and turn each by its place:
#
# | q at | k at | turned q | turned k | dot product |
# |---|---|---|---|---|
# | 1 | 2 | (-1, 2) | (-1, -3) | 1 - 6 = -5 |
# | 2 | 3 | (-2, -1) | (3, -1) | -6 + 1 = -5 |
# | 1 | 1 | (-1, 2) | (-3, 1) | 3 + 2 = 5 |
#
# One place apart: -5, wherever they are. At the same place: 5, as if nobody
# had been turned.


# %%
def turn(pair, angle):
    a, b = pair
    sin, cos = torch.as_tensor(angle).sin(), torch.as_tensor(angle).cos()
    return torch.stack([a * cos - b * sin, b * cos + a * sin])


q, k, quarter = (
    torch.tensor([2.0, 1.0]),
    torch.tensor([1.0, 3.0]),
    torch.pi / 2,
)
arrows = {}
for at_q, at_k, by_hand in [(1, 2, -5.0), (2, 3, -5.0), (1, 1, 5.0)]:
    pair = turn(q, at_q * quarter), turn(k, at_k * quarter)
    assert torch.allclose(pair[0] @ pair[1], torch.tensor(by_hand), atol=1e-5)
    arrows[f"q at {at_q}, k at {at_k}, dot {by_hand:.0f}"] = pair
    print(f"q at {at_q}, k at {at_k}: {pair[0] @ pair[1]:.2f}")

# %%
viz.turned_pairs_figure(arrows)
plt.show()

# %% [markdown]
# *Figure: three panels, in each the turned query (blue) and key (orange). From
# the first panel to the second both arrows turn by a quarter, and the opening
# between them stays. In the third it is another one.*
#
# A dot product is lengths times the cosine of the opening. Turn both arrows by
# the same angle and nothing of that changes. It works for any angles:

# %%
near = turn(q, 0.3) @ turn(k, 0.8)
moved = turn(q, 1.3) @ turn(k, 1.8)
print("the same:", torch.allclose(near, moved, atol=1e-5))
kept = torch.allclose(turn(q, 0.3).norm(), q.norm(), atol=1e-5)
print("the length stays:", kept)

# %% [markdown]
# > RoFormer asks: put positions into queries and keys so that their inner
# > product knows only the difference of the two. Its answer for two numbers
# > is this turn (RoFormer Sec. 3.1, Eq. 11, and Sec. 3.2.1).
#
# Relative positions, by treating each token alone.

# %% [markdown]
# ## Rung 1: one pair, one axis, a loop
#
# Where is a patch? At its centre. In a row of four patches the centres are at
# 0.5, 1.5, 2.5, 3.5. Divide by 4, then stretch to a *box* from -1 to 1:
# -0.75, -0.25, 0.25, 0.75.
#
# A [period](GLOSSARY.md#period) says how long the way for a full turn is,
# measured in the box: period 1 is half the picture. The angle at coordinate
# $c$ is $2\pi c\,/\,\text{period}$.


# %%
def centres(n):
    return 2 * (torch.arange(n) + 0.5) / n - 1  # [n]


def turn_loop(pairs, c, period):
    turned = torch.empty_like(pairs)  # [N, 2]
    for n in range(len(pairs)):
        turned[n] = turn(pairs[n], 2 * torch.pi * c[n] / period)
    return turned


print(centres(4).tolist())
assert torch.equal(centres(4), torch.tensor([-0.75, -0.25, 0.25, 0.75]))
print(list(turn_loop(torch.ones(4, 2), centres(4), 1.0).shape))

# %% [markdown]
# ## Rung 2: all pairs of an axis
#
# A head has many pairs, each with its own period: fast pairs tell neighbours
# apart, slow ones tell far from near. Which numbers form a pair? The official
# code takes number $i$ and number $i + d/2$ of a head with $d$ numbers:
# [rotate half](GLOSSARY.md#rotate-half). In code, `chunk(2)` separates them.
#
# We start with one axis, the rows. Of a head with `d = 16` it gets half: 8
# numbers, four pairs. The rest is for the columns, in rung 3.


# %%
def rotate(x, angle):
    a, b = x.chunk(2, dim=-1)  # [N, pairs] each
    sin, cos = angle.sin(), angle.cos()  # [N, pairs]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


periods = 100 ** (torch.arange(4) / 4)
torch.manual_seed(1)
x = torch.randn(6, 8)  # six patches, four pairs
c = centres(6)
fast = rotate(x, 2 * torch.pi * c[:, None] / periods)
for i in range(4):
    pair = [i, i + 4]
    slow = turn_loop(x[:, pair], c, periods[i])
    assert torch.allclose(fast[:, pair], slow, atol=1e-5)
print(list(fast.shape), "periods", [f"{p:.4f}" for p in periods])

# %% [markdown]
# The periods are $100^{4i/d}$, with $d$ all numbers of a head, 16 here: the
# exponents are $i/4$. Two axes share the periods, and each needs pairs, so there
# are only $d/4$ of them. A released model has $d = 64$, 16 periods. There are
# two ways to choose them:

# %%
Rope = rope_position_encoding.RopePositionEmbedding
by_base = Rope(384, num_heads=6).periods
assert torch.allclose(by_base, 100 ** (4 * torch.arange(16) / 64), rtol=1e-4)
ends = {"base": None, "min_period": 0.5, "max_period": 30.0}
by_ends = Rope(384, num_heads=6, **ends).periods
print(list(by_base.shape), f"from {by_base[0]:.4f} to {by_base[-1]:.4f}")
print(list(by_ends.shape), f"from {by_ends[0]:.4f} to {by_ends[-1]:.4f}")

# %% [markdown]
# With a base (100 unless you say otherwise) the slowest period stays below it:
# 75, not 100. Or one names both ends. Either way each period is the one before
# times a fixed factor.
#
# The box is 2 long. So with base 100 the fastest pair makes two full turns across
# the picture, and the slowest turns by about 10 degrees: it hardly feels
# positions, and can carry what does not depend on them.

# %% [markdown]
# ## Rung 3: two axes
#
# A patch has a row and a column. The first quarter of the numbers is turned by
# the row, the second by the column. Their partners stand `d / 2` further on, in
# the third and fourth quarter. So the table of angles has the layout [rows,
# columns, rows, columns].


# %%
def table(H, W, periods):
    rows, cols = torch.meshgrid(centres(H), centres(W), indexing="ij")
    c = torch.stack([rows, cols], dim=-1).flatten(0, 1)  # [N, 2]
    angle = 2 * torch.pi * c[:, :, None] / periods  # [N, 2, d / 4]
    angle = angle.flatten(1).tile(2)  # [N, d]
    return angle.sin(), angle.cos()


def apply(x, sin, cos):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


torch.manual_seed(2)
H, W = 3, 5
x = torch.randn(H * W, 16)  # [N, d]
sin, cos = table(H, W, periods)
turned = apply(x, sin, cos)
print("table", list(sin.shape), "turned", list(turned.shape))

# %% [markdown]
# Is it rung 2, axis by axis? Numbers 0 to 3 and 8 to 11 belong to the row, the
# others to the column.

# %%
row_part, col_part = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
down = centres(H).repeat_interleave(W)  # [N]: row of every patch
across = centres(W).repeat(H)  # [N]: column of every patch
for part, c in [(row_part, down), (col_part, across)]:
    alone = rotate(x[:, part], 2 * torch.pi * c[:, None] / periods)
    equal = torch.allclose(turned[:, part], alone, atol=1e-5)
    assert equal
    print(list(alone.shape), "equal:", equal)

# %% [markdown]
# Here is the whole table over a square grid.

# %%
viz.angle_field_figure(table(14, 14, periods), (14, 14))
plt.show()

# %% [markdown]
# *Figure: the eight pairs of a head with 16 numbers over a 14 x 14 grid, sines
# above and cosines below (purple: +1, white: 0, orange: -1). Pairs 0 to 3
# change from top to bottom, pairs 4 to 7
# from left to right. Pairs 0 and 4 make two full waves; pairs 3 and 7 are
# almost flat.*

# %% [markdown]
# ## Rung 4: the package's
#
# `RopePositionEmbedding` makes the table, `apply_rope` uses it. Read both; you
# know every line that computes. `Float[Tensor, "N 2"]` is a note for the
# reader: floats of shape [N, 2]. `coords` are the stacked centres, what
# `rope.coordinates(H, W)` returns.

# %%
print(inspect.getsource(Rope.table))
print(inspect.getsource(attention.apply_rope))

# %% [markdown]
# The tuple is (sin, cos), in this order. Everything is computed in float32,
# also when the network runs in a shorter format: angles are sensitive.

# %%
rope = Rope(32, num_heads=2).eval()
theirs = rope(H=H, W=W)
assert torch.allclose(rope.periods, periods, rtol=1e-4)
for mine, other in zip(table(H, W, periods), theirs, strict=True):
    assert torch.allclose(mine, other, atol=1e-5)
heads = x.expand(1, 2, -1, -1)  # [B, h, N, d]
turned_heads = attention.apply_rope(heads, theirs)
assert torch.allclose(turned_heads[0, 1], turned, atol=1e-5)
print("table", list(theirs[0].shape), "heads", list(turned_heads.shape))

# %% [markdown]
# One table serves all heads and samples. And the tokens without a place? CLS
# and the [registers](GLOSSARY.md#register) stand first. `apply_rope` counts: the
# *last* N tokens are patches, those before stay as they are.

# %%
torch.manual_seed(3)
q = torch.randn(1, 2, 1 + 2 + H * W, 16)  # CLS, two registers, patches
after = attention.apply_rope(q, theirs)
print("q", list(q.shape))
print("first three untouched:", torch.equal(after[:, :, :3], q[:, :, :3]))
print("patches untouched:", torch.equal(after[:, :, 3:], q[:, :, 3:]))

# %% [markdown]
# The failure again, now with positions:

# %%
x, y = patch_tokens(astronaut), patch_tokens(shuffled)
with_places = attn(x, rope(H=8, W=8))[:, order]
same = torch.allclose(with_places, attn(y, rope(H=8, W=8)), atol=1e-5)
print("shuffled photo: the same output, only permuted:", same)

# %% [markdown]
# ## Look at it: likeness by place alone
#
# Give all patches the same query and key, all ones. What is left in their dot
# products comes from their places alone. Divided by $d$ it is at most 1.

# %%
rope64 = Rope(384, num_heads=6).eval()


def likeness(rope, H, W, row, column):
    ones = torch.ones(1, 1, H * W, rope.head_dim)
    x = attention.apply_rope(ones, rope(H=H, W=W))[0, 0]  # [N, d]
    return (x @ x[row * W + column] / rope.head_dim).view(H, W)


camera = small("camera", 98, 98)  # to look at; what counts is the grid
one = likeness(rope64, 14, 14, 3, 6)
two = likeness(rope64, 14, 14, 10, 2)
# the same steps away, the same likeness
assert torch.allclose(one[3:5, 6:9], two[10:12, 2:5], atol=1e-5)
print(list(one.shape), f"own place {one[3, 6]:.4f}, next {one[3, 7]:.4f}")

# %%
shown = {"2 patches": camera, "for (3, 6)": one, "for (10, 2)": two}
framed = [[(3, 6), (10, 2)], [(3, 6)], [(10, 2)]]
viz.compare_figure(shown, scale="shared", patch=framed)
plt.show()

# %% [markdown]
# *Figure: a man at a camera, two of 14 x 14 patches framed, and the likeness of
# all places with the first and with the second. Both maps are brightest in
# the frame and form a cross along its row and column; only its place differs.*
#
# Why a cross and not a round spot? Rows and columns have separate pairs, and
# their shares are added. A patch in my row agrees with me in half of the
# pairs, however far it is.
#
# > **Watch out.** The network does not have to prefer its neighbours. Here all
# > contents are equal. Real queries choose their own directions, and may ask
# > for "two to the left".

# %% [markdown]
# ## Predict, then run: shift everybody
#
# Add 0.3 to all coordinates. Patches keep their distances. **Which dot products
# change: patch with patch? CLS with patch?** Decide before you run.

# %%
vit_tokens, grid = vit.prepare_tokens_with_masks(small("coffee", 64, 64)[None])
normed = torch.nn.functional.layer_norm(vit_tokens, [32])  # [1, 65, 32]
place = rope.coordinates(*grid)  # [64, 2]


def dots(coordinates):
    q, k, _ = attn.queries_keys_values(normed, rope.table(coordinates))
    return q @ k.mT  # [1, 2, 65, 65]


here, shifted = dots(place), dots(place + 0.3)
print("tokens", list(normed.shape), "dots", list(here.shape))
for name, i in [("patch-patch", slice(1, None)), ("CLS-patch", 0)]:
    equal = torch.allclose(here[:, :, i, 1:], shifted[:, :, i, 1:], atol=1e-4)
    print(f"{name} unchanged: {equal}")

# %% [markdown]
# Between patches RoPE is relative. But CLS is not turned, so against it each
# key shows its full angle: CLS can tell the top of the picture from the
# bottom.

# %% [markdown]
# ## Pictures that are not square
#
# Coffee, 128 x 192 pixels: 8 rows and 12 columns of patches. The box can be
# filled in three ways (`normalize_coords`). In rung 1 we divided the centres
# by the number of patches: *separate* does this for each axis by itself. *Max*
# and *min* divide both axes by the larger or the smaller of the two numbers.
# The upper left corner is at (-1, -1) in all three.
#
# **Predict:** under *separate*, are one patch down and one patch to the right
# the same distance?

# %%
coffee = small("coffee", 48, 72)  # to look at
boxes = {}
for mode in ["separate", "max", "min"]:
    boxes[mode] = Rope(32, num_heads=2, normalize_coords=mode).coordinates(
        8, 12
    )
    c = boxes[mode].view(8, 12, 2)
    down, right = c[1, 0, 0] - c[0, 0, 0], c[0, 1, 1] - c[0, 0, 1]
    print(f"{mode}: a step down {down:.4f}, a step right {right:.4f}")

# %%
viz.coordinates_figure(coffee, boxes, (8, 12))
plt.show()

# %% [markdown]
# *Figure: the photograph laid into coordinates (columns to the right, rows
# down), a dot at each patch's centre, the box from -1 to 1 dashed. Separate
# squeezes it into the square. Max keeps its shape and leaves the lower third of
# the box empty. Min keeps its shape and sticks out on the right.*
#
# The default is *separate*. A square patch is then not square in the box, and
# the same step means another angle down than across. In return every picture
# fills the box, whatever its shape.

# %%
maps = {
    mode: likeness(Rope(384, num_heads=6, normalize_coords=mode), 8, 12, 3, 4)
    for mode in boxes
}
shown = {"patch (3, 4)": coffee, **maps}
viz.compare_figure(shown, scale="shared", patch=(3, 4))
plt.show()

# %% [markdown]
# *Figure: coffee with patch (3, 4) framed and the likeness by place under the
# three ways. Under separate the vertical arm of the cross fades faster than
# the horizontal one; under max and min both arms fade alike, fastest under
# min.*

# %% [markdown]
# ## Another resolution: the same box, more patches
#
# 224 pixels make 14 x 14 patches, 448 make 28 x 28. The box stays. Where one
# patch was there are now four, and their mean coordinate is the old one. No
# interpolation, no new weights.
#
# **Predict:** with three times as many patches on each side, 42 x 42, how many
# of the 196 old rows of the table are found again, exactly?

# %%
coarse = rope64.coordinates(14, 14).view(14, 14, 2)
fine = rope64.coordinates(28, 28).view(14, 2, 14, 2, 2).mean(dim=(1, 3))
print("four children, one mean:", torch.allclose(fine, coarse, atol=1e-6))
old = rope64(H=14, W=14)[0].view(14, 14, 64)
new = rope64(H=42, W=42)[0].view(42, 42, 64)
again = (new[1::3, 1::3] - old).abs().amax(dim=-1) < 1e-5
print("found again:", int(again.sum()), "of", again.numel())

# %% [markdown]
# All of them: the middle one of three small patches has the centre of the old
# patch.

# %%
maps = {
    "14 x 14": likeness(rope64, 14, 14, 3, 6),
    "28 x 28": likeness(rope64, 28, 28, 6, 12),
}
shown = {"patch (3, 6)": camera, **maps}
viz.compare_figure(shown, scale="shared", patch=(3, 6))
plt.show()

# %% [markdown]
# *Figure: the man at the camera, patch (3, 6) of 14 x 14 framed, and its
# likeness map. Then the map of patch (6, 12) on a 28 x 28 grid, the upper left
# quarter of the frame: the same cross with finer grain.*
#
# > **Tutor's note.** The box belongs to the crop, not to the photograph. A
# > small local crop of 7 x 7 patches spans [-1, 1] as well as a large global
# > one of 16 x 16. One step means another angle in each. That is a weakness,
# > which training softens ("In training the box breathes", below).

# %% [markdown]
# ## Explore
#
# Move the sliders. `frequency` is the number of the period, 0 to 15; two pairs
# have it, one for the rows and one for the columns. What does the fast one (0)
# see, what the slow one (15)? Where does 0 take a far patch for its own?


# %%
def draw(frequency, row, column, grid):
    r, c = min(row, grid - 1), min(column, grid - 1)
    _, cos = rope64(H=grid, W=grid)
    ones = torch.ones(1, 1, grid * grid, 64)
    x = attention.apply_rope(ones, rope64(H=grid, W=grid))[0, 0]  # [N, 64]
    mine = x[:, [frequency, frequency + 16, frequency + 32, frequency + 48]]
    maps = {
        "cos, rows": cos[:, frequency],
        "cos, columns": cos[:, frequency + 16],
        "likeness, this": mine @ mine[r * grid + c] / 4,
        "likeness, all": x @ x[r * grid + c] / 64,
    }
    maps = {name: values.view(grid, grid) for name, values in maps.items()}
    return viz.compare_figure({"the patch": camera, **maps}, patch=(r, c))


viz.explore(
    draw,
    frequency=(0, 15, 1, 2),
    row=(0, 27, 1, 3),
    column=(0, 27, 1, 6),
    grid=(4, 28, 2, 14),
)

# %% [markdown]
# *Figure: sliders for frequency, row, column and grid; below, the photograph
# with the chosen patch framed, the cosines of one frequency along rows and
# along columns, the likeness by this frequency alone (waves), and by all
# together (one cross). Purple: +1, white: 0, orange: -1.*
#
# Period 0 is 1 long, and half the picture further everything looks as here.
# Only together do the periods know one place.

# %% [markdown]
# ## In training the box breathes
#
# > While training, the paper stretches the box to [-s, s] with a random s
# > between 0.5 and 2, so that the network copes with other resolutions, scales
# > and shapes (DINOv3 Sec. 3.2, "Updated Model Architecture").
#
# In the code this is `rescale_coords=2`. There are two more: `shift_coords`
# adds a random shift per axis, `jitter_coords` stretches each axis by its own
# factor.

# %%
torch.manual_seed(242)
settings = {
    "eval": {},
    "shift 0.5": {"shift_coords": 0.5},
    "jitter 2": {"jitter_coords": 2.0},
    "rescale 2": {"rescale_coords": 2.0},
}
boxes = {}
for name, kind in settings.items():
    module = Rope(32, num_heads=2, **kind)
    boxes[name] = module.augment(module.coordinates(8, 8))
print({name: list(c.shape) for name, c in boxes.items()})

# %%
viz.coordinates_figure(small("camera", 64, 64), boxes, (8, 8))
plt.show()

# %% [markdown]
# *Figure: the photograph in the dashed box as in evaluation; then one random
# draw each of shift (moved), jitter (here made wider and flatter), and rescale
# (larger as a whole).*
#
# It happens in training mode only. Two calls:

# %%
torch.manual_seed(5)
moving = Rope(32, num_heads=2, rescale_coords=2.0)
for mode in [True, False]:
    moving.train(mode)
    first, second = moving(H=8, W=8)[0], moving(H=8, W=8)[0]
    print("train" if mode else "eval", "equal:", torch.equal(first, second))

# %% [markdown]
# How often is it drawn? In training the ViT asks for a table in every block, for
# every crop size. Let us listen, with a [forward hook](GLOSSARY.md#forward-hook), a
# function that PyTorch calls each time a module has run. Four blocks, one
# large and one small crop:

# %%
torch.manual_seed(6)
vit = vision_transformer.DinoVisionTransformer(
    **sizes, pos_embed_rope_rescale_coords=2.0
)
crops = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 24, 24)]
seen = []
vit.rope_embed.register_forward_hook(lambda m, a, out: seen.append(out[0]))
for mode in [True, False]:
    seen.clear()
    vit.train(mode)(crops, is_training=True)
    different = {tuple(sin.flatten().tolist()) for sin in seen}
    name = "train" if mode else "eval"
    print(f"{name}: {len(seen)} tables, {len(different)} different")

# %% [markdown]
# Eight draws in training, one for each block and crop size; in evaluation one
# table per crop size. All samples of a batch share a draw.
#
# > **Watch out.** `torch.hub` hands over the official DINOv3 in training mode,
# > with rescale 2 switched on. Its features are then random: two calls, two
# > answers. Call `.eval()`. Teachers are always in eval mode.

# %% [markdown]
# ## Against someone else
#
# Once, the official code computed tables for four settings; the numbers lie in
# `tests/golden/rope.safetensors`. We give our class the same settings:

# %%
path = "../tests/golden/rope.safetensors"
golden = pretrained.read_state_dict(path)
cases = [
    {"H": 7, "W": 5},
    {"H": 7, "W": 5, "normalize_coords": "min"},
    {"H": 4, "W": 9, "normalize_coords": "max"},
    {"H": 3, "W": 3, "base": None, "min_period": 0.3, "max_period": 40.0},
]
for i, case in enumerate(cases):
    H, W = case.pop("H"), case.pop("W")
    module = Rope(96, num_heads=3, **case).eval()
    sin, cos = module(H=H, W=W)
    ours = {"sin": sin, "cos": cos, "periods": module.periods}
    for name, values in ours.items():
        assert torch.allclose(values, golden[f"{i}.{name}"], atol=1e-5)
    print(f"{H} x {W} {case}: equal, {list(sin.shape)}")

# %% [markdown]
# ## Common mistakes
#
# **(cos, sin) for (sin, cos).** No error, lengths stay, and the result is still
# relative. What is wrong then?

# %%
torch.manual_seed(7)
q, k = torch.randn(2, 1, 1, 20, 16)
sin, cos = rope(H=4, W=5)


def dot_products(sin, cos):
    turned = [attention.apply_rope(t, (sin, cos)) for t in (q, k)]
    return turned[0] @ turned[1].mT


swapped = dot_products(cos, sin)
print("right:", torch.allclose(swapped, dot_products(sin, cos), atol=1e-4))
print("mirrored:", torch.allclose(swapped, dot_products(-sin, cos), atol=1e-4))

# %% [markdown]
# Swapping turns by $90^\circ - \theta$: the patches see each other in a mirror, left
# for right and up for down. A network trained so from the start would cope.
# Loaded weights do not.
#
# **Neighbouring numbers as pairs.** RoFormer pairs 0 with 1, 2 with 3 (its
# Eq. 34). With the table of rotate half this is no turn at all:

# %%
a, b = q[..., 0::2], q[..., 1::2]
partner = torch.stack([-b, a], dim=-1).flatten(-2)
wrong = q * cos + partner * sin
right = attention.apply_rope(q, (sin, cos))
for name, z in [("rotate half", right), ("neighbours", wrong)]:
    kept = torch.allclose(z.norm(dim=-1), q.norm(dim=-1), atol=1e-4)
    print(f"{name}: lengths stay {kept}")

# %% [markdown]
# **Periods given twice.** `base` is 100 unless you take it away.

# %% tags=["raises-exception"]
Rope(32, num_heads=2, min_period=0.5, max_period=30.0)

# %% [markdown]
# **A head that cannot be cut into two axes of pairs.** Here a head has 6
# numbers.

# %% tags=["raises-exception"]
Rope(24, num_heads=4)

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer and run the cell.
# Nothing later depends on it. Solutions are in `lessons/solutions/03.py`.
#
# **03.1** (difficulty 1, 3 minutes) What is the shape of the table `sin` for a
# picture of `height` x `width` pixels in patches of side `patch`, and a network
# of width `embed_dim`? Return a tuple.
#
# <details><summary>Hint 1</summary>One row per patch.</details>
# <details><summary>Hint 2</summary>Which tokens have no place?</details>
# <details><summary>Hint 3</summary>All heads share one table, as wide as a
# head.</details>


# %%
def table_shape(height, width, patch, embed_dim, heads):
    raise NotImplementedError("exercise 03.1")


check("03.1", table_shape)

# %% [markdown]
# **03.2** (difficulty 2, 5 minutes) Take the pair that is turned by the column,
# with period number `i` (from 0 to `head_dim / 4 - 1`). How many full turns does
# it make from the left edge of the picture to the right edge, under *separate*?
# `base` takes the place of our 100. One line.
#
# <details><summary>Hint 1</summary>How long is the box?</details>
# <details><summary>Hint 2</summary>The period is the way for one
# turn.</details>
# <details><summary>Hint 3</summary>For i = 0 the answer is 2, whatever the
# base.</details>


# %%
def turns(i, base, head_dim):
    raise NotImplementedError("exercise 03.2")


check("03.2", turns)

# %% [markdown]
# **03.3** (difficulty 3, 10 minutes) Write the other layout: pairs are numbers
# (0, 1), (2, 3), ... of `x` [N, d]; `angle` [N, d / 2] has one angle per pair.
# Return [N, d].
#
# <details><summary>Hint 1</summary>`x[:, 0::2]` are all first numbers, [N,
# d / 2].</details>
# <details><summary>Hint 2</summary>The formula is that of `rotate`; only the
# cutting and the putting together differ.</details>
# <details><summary>Hint 3</summary>`torch.stack` on a new last axis, then
# flatten.</details>


# %%
def turn_neighbours(x, angle):
    raise NotImplementedError("exercise 03.3")


check("03.3", turn_neighbours)

# %% [markdown]
# **03.4** (difficulty 3, 10 minutes) Change the design: a box that *grows* with
# the grid. For `n` patches on an axis give the coordinates [n] such that one
# step is as long as in training with `n_train` patches, and the middle of the
# picture is at 0. Then explain to yourself: what does a network meet on a
# larger grid now, and what did it meet before?
#
# <details><summary>Hint 1</summary>How long is a step of
# `centres(n_train)`?</details>
# <details><summary>Hint 2</summary>How far, in patches, is centre i from the
# middle n / 2?</details>
# <details><summary>Hint 3</summary>For n = n_train it is
# `centres(n)`.</details>


# %%
def growing_box(n, n_train):
    raise NotImplementedError("exercise 03.4")


check("03.4", growing_box)

# %% [markdown]
# **03.5** (difficulty 4, 15 minutes) Video: a token has a frame, a row and a
# column. `periods` is a tensor [P], the same for all three axes. Give the angles
# (no sine yet) as [frames * rows * columns, 3 * P]: for each token all P of the
# frame, then of the row, then of the column. The tokens stand frame by frame, in
# each row by row. Each axis has its own box [-1, 1].
#
# <details><summary>Hint 1</summary>`table` of rung 3, with three
# axes.</details>
# <details><summary>Hint 2</summary>`meshgrid` with "ij" takes three axes as
# well.</details>
# <details><summary>Hint 3</summary>After `stack` you have [T, H, W, 3]; no
# `tile` is asked for.</details>


# %%
def video_angles(frames, rows, columns, periods):
    raise NotImplementedError("exercise 03.5")


check("03.5", video_angles)

# %%
print(progress("03"))

# %% [markdown]
# ## Recap
#
# - Without positions attention gives the same output, only permuted.
# - Turned pairs: the dot product knows the distance, not the place.
# - The table: centres in [-1, 1], angle $2\pi c$ / period, layout [rows,
#   columns, rows, columns], number i with i + d / 2, (sin, cos).
# - Another size samples the same box more finely; another shape stretches it.
# - In training mode the box is drawn anew per block and crop size; `.eval()`
#   stops it.
#
# Queries and keys now know where they are. Next: what do they do with it?

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2: the
#   box and its jittering. Base and periods stand in the code only.
# - Official code: `layers/rope_position_encoding.py`, class
#   `RopePositionEmbedding`; `layers/attention.py`, `apply_rope`.
# - RoFormer, [arXiv 2104.09864](https://arxiv.org/abs/2104.09864), Sec. 3.1 and
#   3.2: read it for the question it asks.
# - RoPE-ViT, [arXiv 2403.13298](https://arxiv.org/abs/2403.13298), Sec. 3.2:
#   axial and mixed turns for images.
