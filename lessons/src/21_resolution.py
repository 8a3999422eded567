# %% [markdown]
# # 21 Resolution
#
# **How does one net look at pictures of any size?** Today you show one set of
# weights the same photographs at several sizes and shapes. You measure what it
# still knows, what that costs, and where it breaks.

# %% [markdown]
# DINOv3 is known for maps that stay clean in very large pictures. RoPE is why a
# grid of any size goes in; whether good features come out must be measured.
#
# After this lesson you can
#
# - measure whether a place keeps its features at another
#   [resolution](GLOSSARY.md#resolution),
# - show why places in a box carry over and places counted in patches do not,
# - say what a wide picture keeps exactly,
# - count what a larger picture costs,
# - read the recipe of the high-resolution stage.
#
# | | |
# |---|---|
# | you need | lessons 03, 06, 18, 20 |
# | time | 45 minutes |
# | module | `dinolite/layers/rope_position_encoding.py`, `dinolite/models/vision_transformer.py`, recipe `official_vit7b_highres` |
# | official | `layers/rope_position_encoding.py`: `RopePositionEmbedding` |
# | paper | DINOv3 Sec. 3.2, 5.1, App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import timm
import torch.utils.flop_counter
from dinolite import config
from dinolite.data.demo_pictures import photographs
from dinolite.eval import features, knn, linear, segmentation
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress
from dinolite_course.measures import collages, regions, resolution

# %% [markdown]
# Some short names.

# %%
F = torch.nn.functional
Rope = vision_transformer.RopePositionEmbedding  # layers/rope_position_...
_ = torch.set_grad_enabled(False)  # nothing is trained today
HOW = {"mean": (0.5,) * 3, "std": (0.2,) * 3}  # as in their training

# %% [markdown]
# ## One photograph, four sizes
#
# We take the weights of the course, with patches of 8 pixels, and the same net
# untrained. It was trained on grey crops of 64 x 64 pixels (8 x 8 patches) and 24 x
# 24 (3 x 3), and never saw anything larger. Now it gets one photograph at 128,
# 256, 512 and 1,024 pixels: up to 128 x 128 patches.

# %%
trained = pretrained.load("dinolite_tiny")
untrained = pretrained.untrained_twin(trained)  # the start of its run
nets = {"untrained": untrained, "trained": trained}
photos = photographs.photographs()


def grey(picture):  # uint8 [n, 3, H, W]
    mean = picture.float().mean(dim=1, keepdim=True)
    return mean.expand(-1, 3, -1, -1).to(torch.uint8)


def patches_of(images):  # {name: [n, D, h, w]}
    raw = {"pixels": segmentation.pixel_patches(images, 8)}
    return raw | {
        name: features.extract_patches(net, images, **HOW)
        for name, net in nets.items()
    }


SIZES = [128, 256, 512, 1024]
camera = [grey(features.square(photos["camera"], side)) for side in SIZES]
large = [patches_of(picture) for picture in camera]
for side, x in zip(SIZES, large, strict=True):
    print(f"{side:5} px: {list(x['trained'].shape)}")

# %% [markdown]
# Which patches are like one patch of the meadow? The outlines of meadow, sky,
# coat and so on were drawn by hand ([docs/pictures.md](../docs/pictures.md)). The
# **AUC** says how often a patch of the meadow is more like that patch than one of the
# rest is: 1 always, 0.5 is chance.


# %%
def likeness(x, place):  # [D, h, w] -> [h, w]
    h, w = x.shape[1:]
    row, column = int(place[0] * h), int(place[1] * w)
    return viz.similarity_map(x[None], row, column)[0]


def auc(values, photo, name):  # [h, w], as like as they are
    parts = regions.read_regions()[photo]
    names = list(dict.fromkeys(part.name for part in parts))
    labels = regions.region_map(parts, names, len(values))
    inside, outside = labels == names.index(name), labels >= 0
    rest = values[outside & ~inside]
    return float(collages.auc(values[inside][None], rest[None])[0])


meadow = (0.74, 0.74)  # shares of height and width: its middle
like = {
    name: [likeness(x[name][0], meadow) for x in large] for name in large[0]
}
for name, row in like.items():
    found = [f"{auc(m, 'camera', 'meadow'):.2f}" for m in row]
    print(f"{name:10} AUC at 128, 256, 512, 1024 px:", *found)

# %%
few, many = (auc(like["trained"][i], "camera", "meadow") for i in [0, 3])
title = "Trained on 64 pixels, it finds the meadow at 128 and at 1,024"
title += f"\n(AUC {few:.2f} and {many:.2f}; pixels and untrained near 0.5)"
viz.sizes_figure([x[0] for x in camera], like, title, meadow, width=6.4)
plt.show()

# %% [markdown]
# *Figure: one photograph at four sizes, the same place of the meadow framed;
# below, what is like it. Pixels and untrained: meadow and sky alike. Trained: the
# meadow alone, its border sharper from size to size, until grass shows between the
# legs of the tripod.*
#
# There it is: the larger the picture, the finer the map, from the same weights.
# Pixels and the untrained net cannot tell grass from sky at any size, because both
# are equally bright.
#
# > **Watch out.** The file has 512 pixels. At 1,024 it is enlarged: the grid gets
# > finer, the photograph does not. And windows of this photograph, among those of
# > fifteen others, were in the training.

# %% [markdown]
# **Chosen how?** By places and pixels, not by features: of the six photographs with
# most regions those with 512 pixels of their own, their most textured regions, and
# of these the larger one. What of the other five, asked the same at 256 pixels?

# %%
PLACES = {
    "astronaut": ("flag", 0.30, 0.07),
    "motorcycle_left": ("wheel", 0.66, 0.16),
    "camera": ("meadow", *meadow),
    "coffee": ("wood", 0.26, 0.84),
    "chelsea": ("fur", 0.24, 0.36),
    "china": ("building", 0.51, 0.24),
}
for photo, (part, *spot) in PLACES.items():
    x = patches_of(grey(features.square(photos[photo], 256)))
    found = {n: auc(likeness(m[0], spot), photo, part) for n, m in x.items()}
    print(f"{part:9}", *(f"{n} {a:.2f}" for n, a in found.items()), sep="  ")

# %% [markdown]
# Fur gains, too; wheel and flag gain, but stay near chance; the building gains
# nothing, and on the wood the untrained net is slightly ahead. One picture
# convinces, six are a measurement.
#
# Do patches keep their *group*? Five groups of alike patches, three sizes sorted
# together, so that a colour means the same in all columns (lesson 19):


# %%
def on_one_grid(x):  # [1, D, g, g] -> [1, D, 64, 64]
    g = x.shape[2]
    return F.avg_pool2d(x, g // 64) if g > 64 else F.interpolate(x, size=64)


groups = {}
for name in large[0]:
    together = torch.cat([on_one_grid(large[i][name]) for i in [0, 1, 3]])
    groups[name] = viz.patch_groups(together, 5)  # [3, 64, 64]
groups = {n: viz.renumbered(g, groups["trained"]) for n, g in groups.items()}
for name, g in groups.items():
    kept = [f"{(g[i] == g[2]).float().mean():.2f}" for i in range(2)]
    print(f"{name:10} at 128 and 256 px in the group of 1,024:", *kept)

# %%
title = "Only the trained net groups\nthe meadow apart from the sky"
shown = [camera[i][0] for i in [0, 1, 3]]
viz.sizes_figure(shown, groups, title, width=4.4)
plt.show()

# %% [markdown]
# *Figure: the photograph at three sizes and its groups in colours. Pixels and
# untrained give sky and meadow one colour. Trained: the meadow has its own, at every
# size; the sky has two, along a line that is not there.*
#
# All three keep their colours at four places of five or more. So it is not that the
# trained net changes less with the size: what its colours fall on makes more sense.
#
# ## The map

# %%
viz.pipeline_map("21")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "resolution" is lit, at the lower right, among
# what one does with a net after its training.*
#
# ## Sixteen photographs at the size of training
#
# For measuring we take all sixteen photographs, their middles, in grey, at 64,
# 128 and 256 pixels: **once, twice and four times** the size of training.


# %%
def squares(side):
    parts = [features.square(photo, side) for photo in photos.values()]
    return grey(torch.cat(parts))


SIDES = [64, 128, 256]
images = {side: squares(side) for side in SIDES}
print({side: list(x.shape) for side, x in images.items()})

# %% [markdown]
# ## The failure first: one learned vector per place
#
# Before RoPE a ViT had a table with one learned vector per place, added to the
# patches. Trained at 64 pixels it has 64 rows. Here comes a picture of 128:

# %% tags=["raises-exception"]
places = torch.zeros(1, 64, 64)  # [1, N, D], as a ViT without RoPE has it
pixels = features.preprocess(images[128][:1], **HOW)
tokens = nets["trained"].patch_embed(pixels).flatten(1, 2)
print(list(tokens.shape))
tokens + places

# %% [markdown]
# The way out was to stretch the table by interpolation, to values that no
# training ever saw. RoPE has no table to stretch. The same weights at once, twice
# and four times:

# %%
maps = {side: patches_of(x) for side, x in images.items()}
for side, named in maps.items():
    print(side, {name: list(x.shape) for name, x in named.items()})

# %% [markdown]
# No error. You saw above that something of use comes out; now let us see why, and
# how much.

# %% [markdown]
# ## By hand: two patches become four
#
# One row of two patches. In the box their centres are -0.5 and 0.5: one apart.
# Give a pair of numbers in a query (lesson 03) the period 8. A query on the left and
# a key on the right differ by an angle of $360^\circ \cdot 1 / 8 = 45^\circ$.
#
# At twice the size there are four: -0.75, -0.25, 0.25, 0.75. The left half has
# its mean at -0.5, the right half at 0.5. Still one apart, still $45^\circ$.
#
# Now count in patches, one step always 1: the halves of four patches have means
# $-1$ and $1$. Two apart, $90^\circ$: an angle that training never saw.


# %%
def in_box(n):
    return 2 * (torch.arange(n) + 0.5) / n - 1


def in_patches(n, n_train):  # a step as long as in a box of n_train
    return (torch.arange(n) + 0.5 - n / 2) * 2 / n_train


assert torch.equal(in_box(2), torch.tensor([-0.5, 0.5]))
assert torch.equal(in_patches(2, 2), in_box(2))
for name, four in {"box": in_box(4), "patches": in_patches(4, 2)}.items():
    left, right = four.view(2, 2).mean(dim=1)
    print(f"{name:8}{four.tolist()} angle {360 * (right - left) / 8:.0f}")

# %% [markdown]
# What the box keeps: far and near, left and right *of the picture*. What it gives
# up: the step from one patch to the next, which is halved. Counting keeps the
# step and gives up the picture. Which of the two does a net need?

# %% [markdown]
# ## A measure: is a place found again?
#
# Take a patch at 64 pixels. At 128 the same place is covered by 2 x 2 patches; we
# take their mean. Among the means of all places of that picture, is the
# right one the most alike? First subtract each picture's mean patch, or all
# are alike.
#
# **Rung 1: loops.**


# %%
def found_loops(small, large):  # [n, D, h, w], [n, D, 2h, 2w]
    hits, (n, _, h, w) = 0, small.shape
    for a, b in zip(small, large, strict=True):
        a = a - a.mean(dim=(1, 2), keepdim=True)
        b = b - b.mean(dim=(1, 2), keepdim=True)
        cells = [
            b[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(dim=(1, 2))
            for i in range(h)
            for j in range(w)
        ]
        for k, patch in enumerate(a.flatten(1).T):
            cosines = [torch.cosine_similarity(patch, c, dim=0) for c in cells]
            hits += int(torch.stack(cosines).argmax()) == k
    return hits / (n * h * w)


x, y = maps[64]["trained"][:2], maps[128]["trained"][:2]
by_loops = found_loops(x, y)
print(f"two photographs, 128 places, {128 * by_loops:.0f} found again")

# %% [markdown]
# **Rung 2: all at once.** Means by `avg_pool2d`, cosines by one matrix product
# per picture. For each place: was it found?


# %%
def found(small, large):  # [n, D, h, w], [n, D, m h, m w] -> [n, h, w]
    n, _, h, w = small.shape
    both = [small, F.avg_pool2d(large, large.shape[2] // h)]
    a, b = (
        F.normalize((t - t.mean(dim=(2, 3), keepdim=True)).flatten(2), dim=1)
        for t in both
    )
    nearest = (a.mT @ b).argmax(dim=2)  # [n, N]
    return (nearest == torch.arange(h * w)).view(n, h, w)


count = int(found(x, y).sum())
print(f"{count} found again, as {list(found(x, y).shape)}")
assert count == round(by_loops * 128)

# %% [markdown]
# **Rung 3: the course's.** It also gives the mean cosine of the same place, and
# takes grids that are not square.

# %%
source = inspect.getsource(resolution.agreement)
print(source[source.index("    again = ") :])
assert round(resolution.agreement(x, y).found * 128) == count

# %% [markdown]
# ## Predict, then run: who keeps a place?
#
# 16 photographs, 64 places each; chance is 1/64, under 0.02. Raw pixels, untrained
# or trained: who finds most places at twice the size, and at four times?

# %%
for name in maps[64]:
    again = [
        resolution.agreement(maps[64][name], maps[side][name])
        for side in [128, 256]
    ]
    shares = " ".join(f"{a.found:.2f}" for a in again)
    cosines = " ".join(f"{a.cosine:.2f}" for a in again)
    print(f"{name:11}found {shares}  cosine {cosines}")

# %% [markdown]
# The trained net is ahead, but not by much: a patch at four times the size shows
# another thing, a hair instead of fur, and positions cannot help there.
#
# And look at the cosine: by it raw pixels would win. Light stays light at any size,
# and that makes up most of a cosine. So we count places.

# %% [markdown]
# ## Do I have to search at the size of the bank?
#
# Now whole pictures: k-NN of CLS on windows of photographs (lesson 18), bank and
# queries from different parts. The same windows at 64 and at 128 pixels.
#
# **Predict:** trained at 64. Is a search at 128 in a bank at 128 better or worse?
# And a search at 128 in a bank at 64?

# %%
cls, labels = {}, {}
for split, n, seed in [("train", 600, 1), ("test", 200, 2)]:
    for side in [64, 128]:
        x, labels[split] = photographs.make_windows(n, split, seed, side)
        for name, net in nets.items():
            out = features.extract_features(net, x, 32, **HOW)
            cls[name, split, side] = out.cls  # [n, 64]


def search(name, bank, query):
    train, test = cls[name, "train", bank], cls[name, "test", query]
    y = labels["train"], labels["test"]
    return knn.knn_accuracy(train, y[0], test, y[1], ks=(20,))[20]


for name in nets:
    for bank, query in [(64, 64), (128, 128), (64, 128)]:
        share = search(name, bank, query)
        print(f"{name:10}bank {bank:3} px, query {query:3} px: {share:.2f}")

# %% [markdown]
# Chance is 1/16, 0.06. At 128 in both the trained net is about as good as at the
# size of training (with 200 queries, five points are within chance). But mixed, more
# than a third is lost: the CLS of a window moves when the window gets finer.
#
# > **Watch out.** One bank, one size. If you change the size of the queries, make
# > the bank anew.
#
# Do patches move as CLS does? Ask a probe (lesson 18): can it tell the size from one
# patch? Twelve photographs to learn from, four to be tested on, four times; chance
# is 0.33.


# %%
def tells_size(name):
    every = [maps[side][name].flatten(2).mT for side in SIDES]  # [16, N, D]
    some = [x[:, torch.randperm(x.shape[1])[:64]] for x in every]
    x = torch.stack(some)  # [3, 16, 64, D]
    y = torch.arange(3)[:, None, None].expand(3, 16, 64)
    right = []
    for k in range(4):
        test = torch.arange(16) % 4 == k
        rest = x[:, ~test].flatten(0, 2), y[:, ~test].flatten()
        answer = linear.ridge_probe(*rest, 3).scores(x[:, test]).argmax(-1)
        right.append((answer == y[:, test]).float().mean())
    return torch.stack(right).mean()


torch.manual_seed(1)
for name in maps[64]:
    print(f"{name:11}{tells_size(name):.2f}")

# %% [markdown]
# Hardly: what a patch says depends on what it shows more than on how large the
# picture is.

# %% [markdown]
# ## Box or counted patches? Measured
#
# The [RoPE](GLOSSARY.md#rope) of these nets divides each axis by its own number of
# patches: `separate`. `max` and `min` divide both by the longer or the shorter
# one. The fourth way counts in patches, as above. We put it into the same net:
# at 8 x 8 all four are equal, so nothing changes at the size of training.


# %%
class InPatches(Rope):
    def coordinates(self, H, W):
        rows, columns = in_patches(H, 8), in_patches(W, 8)
        grid = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack(grid, dim=-1).flatten(0, 1)  # [N, 2]


WAYS = ["separate", "max", "min", "patches"]


def with_way(way):
    if way == "patches":
        return InPatches(64, num_heads=2).eval()
    return Rope(64, num_heads=2, normalize_coords=way).eval()


boxes = {}
for way in WAYS:
    eight = with_way(way).coordinates(8, 8)
    assert torch.allclose(eight, with_way("separate").coordinates(8, 8))
    c = with_way(way).coordinates(16, 24)  # [384, 2]
    boxes[way] = c.view(8, 2, 12, 2, 2).mean(dim=(1, 3)).flatten(0, 1)
print(list(c.shape), "drawn as", list(boxes["patches"].shape))

# %% [markdown]
# Now photographs that are 3:2, at 64 x 96, 128 x 192 and 256 x 384 pixels.


# %%
def wide(name, height):
    photo = photos[name]
    H = min(photo.shape[1], photo.shape[2] * 2 // 3)
    W = H * 3 // 2
    top, left = (photo.shape[1] - H) // 2, (photo.shape[2] - W) // 2
    x = photo[None, :, top : top + H, left : left + W].float()
    size = (height, height * 3 // 2)
    x = F.interpolate(x, size=size, mode="bicubic", antialias=True)
    return grey(x.round().clamp(0, 255))


WIDE = ["chelsea", "coffee", "china", "flower", "motorcycle_left", "astronaut"]
wides = {s: torch.cat([wide(name, s) for name in WIDE]) for s in SIDES}
viz.coordinates_figure(wides[128][1], boxes, (8, 12))
plt.show()

# %% [markdown]
# *Figure: coffee laid into four sets of places, here of 16 x 24 patches, a dot for
# each 2 x 2, the box from -1 to 1 dashed. Separate squeezes it into the box, max
# fills the upper two thirds, min sticks out on the right. Counted patches reach to 2
# downwards and to 3 sideways, far outside.*
#
# **Predict:** which of the four lets the trained net find its places again? (Other
# pictures than above, so other shares.)


# %%
def score(net, way):
    own, net.rope_embed = net.rope_embed, with_way(way)
    x = {s: features.extract_patches(net, p, **HOW) for s, p in wides.items()}
    net.rope_embed = own
    return [resolution.agreement(x[64], x[s]).found for s in [128, 256]]


for name, net in nets.items():
    for way in WAYS:
        twice, four = score(net, way)
        print(f"{name:10}{way:9} 2x {twice:.2f}  4x {four:.2f}")
raw = {s: segmentation.pixel_patches(p, 8) for s, p in wides.items()}
by_pixels = [resolution.agreement(raw[64], raw[s]).found for s in [128, 256]]
print(f"pixels              2x {by_pixels[0]:.2f}  4x {by_pixels[1]:.2f}")

# %% [markdown]
# The three boxes are alike. Counted patches throw the trained net back to raw
# pixels. And the untrained net does not care: its attention is so even that
# positions hardly reach the features.
#
# > **Tutor's note.** Fair? This net was trained with the box; farther out than in
# > 8 x 8, counting is new to it. So we also trained nets with counted patches from
# > the start: see "Does rescaling help?" below.

# %% [markdown]
# ## A picture that is not square
#
# The net needs no square: 3:2, nothing cut off. What holds exactly, and what does
# not? Exactly: the number of tokens, and the angles of the rows, which do not
# depend on the width (under *separate*). Under *min* the left 8 x 8 of 8 x 12
# patches have the very places of a square.

# %%
sin_square, _ = with_way("separate")(H=8, W=8)  # [64, 32]
sin_wide, _ = with_way("separate")(H=8, W=12)  # [96, 32]
rows = list(range(8)) + list(range(16, 24))  # turned by the row
first = sin_wide.view(8, 12, 32)[:, :8, rows]
off = (first - sin_square.view(8, 8, 32)[..., rows]).abs().max()
print(f"largest difference of the rows' sines: {off:.1f}")
left = with_way("min").coordinates(8, 12).view(8, 12, 2)[:, :8].flatten(0, 1)
square_box = with_way("min").coordinates(8, 8)
print(f"min, left part less the square: {(left - square_box).abs().max():.1f}")
net = nets["trained"]
for size in [(64, 96), (96, 64)]:
    out = net(torch.zeros(1, 3, *size), is_training=True)
    print(size, "tokens", out["x_prenorm"].shape[1])

# %% [markdown]
# Not exactly: features. A patch in the middle of the wide picture has the same
# pixels as in a square cut from the middle, but other neighbours and other places.
# And a picture laid on its side is another picture, because what each patch shows
# is turned as well.

# %%
for way in WAYS[:3]:
    own, net.rope_embed = net.rope_embed, with_way(way)
    x = features.extract_patches(net, wides[128], **HOW)
    cut = features.extract_patches(net, wides[128][..., 32:160], **HOW)
    net.rope_embed = own
    cosine, share = resolution.agreement(cut, x[..., 4:20])
    print(f"{way:9}cosine {cosine:.2f}, found {share:.2f}")
x = features.extract_patches(net, wides[128], **HOW)  # [6, D, 16, 24]
lying = features.extract_patches(net, wides[128].mT.contiguous(), **HOW)
cosine, share = resolution.agreement(x, lying.mT)
print(f"on its side: cosine {cosine:.2f}, found {share:.2f}")

# %% [markdown]
# *Min* keeps the step of the square and moves the origin only, so it keeps most. And a
# picture on its side is, to this net, nearly another picture.

# %% [markdown]
# ## Shift: what moves when the origin moves?
#
# `shift_coords` adds one number to all rows and one to all columns, drawn at random;
# here both are 0.5. **Predict:** whose features change more, those of patches or of
# CLS?


# %%
class Moved(Rope):
    factor, shift = 1.0, 0.0

    def coordinates(self, H, W):
        return super().coordinates(H, W) * self.factor + self.shift


def outputs(net, images, factor=1.0, shift=0.0):  # {"patches", "CLS"}
    own, net.rope_embed = net.rope_embed, Moved(64, num_heads=2).eval()
    net.rope_embed.factor, net.rope_embed.shift = factor, shift
    out = net(features.preprocess(images, **HOW), is_training=True)
    net.rope_embed = own
    patches = out["x_norm_patchtokens"]  # [n, N, D]
    return {"patches": patches, "CLS": out["x_norm_clstoken"][:, None]}


before, after = outputs(net, images[64]), outputs(net, images[64], shift=0.5)
for name, x in before.items():
    same = F.cosine_similarity(x, after[name], dim=-1).mean()
    print(f"{name:8}{list(x.shape)} cosine {same:.3f}")

# %% [markdown]
# Patch and patch see only their distance (lesson 03), and a shift cancels. CLS and
# registers are not turned, so what they see of a patch depends on its own angle. And so
# it is CLS that notices where the origin lies; patches hear of it only through CLS
# and registers.

# %% [markdown]
# ## Rescale: train for sizes you do not have
#
# A box of 16 patches has half the step of one of 8. So whoever stretches the box at
# random in training shows the net the steps of other grids, for free: the
# [rescale augmentation](GLOSSARY.md#rescale-augmentation).
#
# > The paper stretches it by a random factor between 0.5 and 2 (DINOv3 Sec. 3.2).

# %%
torch.manual_seed(0)
for name in ["shift", "jitter", "rescale"]:
    rope = Rope(64, num_heads=2, **{f"{name}_coords": 2.0})
    box = rope.coordinates(8, 8)
    c = torch.stack([rope.augment(box).view(8, 8, 2) for _ in range(500)])
    down = (c[:, 1, 0, 0] - c[:, 0, 0, 0]) / 0.25  # [500]
    right = (c[:, 0, 1, 1] - c[:, 0, 0, 1]) / 0.25
    both = torch.allclose(down, right, atol=1e-4)
    axes = "both axes alike" if both else "each axis its own"
    print(f"{name:8}steps times {down.min():.1f} to {down.max():.1f}, {axes}")

# %% [markdown]
# Jitter stretches each axis by a factor of its own, rescale both by one: shapes stay.
#
# Our weights were trained without it. How well do they bear another box? 64 pixels,
# the same photographs, and only the box times a factor:

# %%
FACTORS = [0.25, 0.5, 1, 2, 4]
lines = {"patches": {}, "CLS": {}}
for name, net in nets.items():
    one = outputs(net, images[64])
    for factor in FACTORS:
        now = outputs(net, images[64], factor=factor)
        for token, line in lines.items():
            a, b = (t - t.mean(dim=(0, 1)) for t in (one[token], now[token]))
            cosine = F.cosine_similarity(a, b, dim=-1).mean().item()
            line.setdefault(name, []).append(cosine)
for token, line in lines.items():
    print(token, {n: [f"{c:.2f}" for c in cs] for n, cs in line.items()})
look = {"xscale": "doubling", "width": 7}
viz.lines_figure(lines, FACTORS, "box times", "cosine", **look)
plt.show()

# %% [markdown]
# *Figure: cosine with the features at factor 1, over the factor, patches left and
# CLS right. Untrained: a flat line at 1. Trained: a roof with its top at 1, which
# falls faster to the right; CLS more than patches, to 0.74 at factor 4.*
#
# The untrained net hardly changes, because it has not learned to look at places. And
# the trained one bears a smaller box, the neighbours of a *larger* picture,
# better than a wider one.

# %% [markdown]
# ## Does rescaling help?
#
# We measured it once: three trainings on three seeds each, 600 steps; 1x is the size
# of training, 48 pixels. Means in percent; all figures are in
# [docs/resolution.md](../docs/resolution.md). Raw pixels find 30 and 24.
#
# | trained with | k-NN 1x | k-NN 2x | found 2x | found 4x |
# |---|---|---|---|---|
# | nothing, untrained | 16 | 22 | 26 | 20 |
# | box | 30 | 36 | 43 | 33 |
# | box, rescale 2 | 33 | 41 | 40 | 32 |
# | counted patches | 30 | 33 | 34 | 25 |
# | counted, then read in the box | 30 | 36 | 40 | 32 |

# %% [markdown]
# - **Counted patches lose** at larger sizes, on every seed. Even nets trained with
#   them get better there when they are read in the box.
# - **Rescale**: features bear another box better (cosine at double the box 0.97 to
#   0.98), on every seed. k-NN is higher, but not only at other sizes: by 3.1 points
#   at the size of training, by 4.4 at twice. Places found at twice the size are fewer,
#   on every seed.
#
# So at this scale there is no gain that belongs to resolution alone: two sizes of
# crops in one box already teach these nets two grids.

# %% [markdown]
# ## What does a larger picture cost?
#
# With $T$ tokens of width $D$ a block of these nets (FFN twice as wide) multiplies
#
# - $8TD^2$ times in its linear layers: `qkv` 3, `proj` 1, FFN 4;
# - $2T^2D$ times in attention: scores, and means of values.
#
# The first grows with $T$, the second with $T^2$. Is the formula right? PyTorch
# counts for us, two operations for each multiplication (it is also added), with
# attention written out.


# %%
def operations(T, D=64, blocks=4):
    return {"linear": 2 * blocks * 8 * T * D * D,
            "attention": 2 * blocks * 2 * T * T * D}  # fmt: skip


def counted(net, side):
    math = torch.nn.attention.SDPBackend.MATH
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    with torch.nn.attention.sdpa_kernel(math), counter:
        net(torch.zeros(1, 3, side, side))
    ops, aten = counter.get_flop_counts()["Global"], torch.ops.aten
    return {"linear": ops[aten.addmm], "attention": ops[aten.bmm]}


for side in SIDES:
    T = 1 + 2 + (side // 8) ** 2  # CLS, registers, patches
    assert counted(net, side) == operations(T)
    linear, attention = operations(T).values()
    share = attention / (linear + attention)
    print(
        f"{side} px: T {T:5}, {linear + attention:13,}, attention {share:.2f}"
    )

# %%
T = [3 + (side // 8) ** 2 for side in [32, 64, 128, 256, 512, 1024]]
ways = {
    "width 64": [operations(t) for t in T],
    "width 1024": [operations(t, D=1024) for t in T],
}
curves = {
    title: {part: [n[part] for n in ns] for part in ns[0]}
    for title, ns in ways.items()
}
viz.lines_figure(curves, T, "tokens", log=curves, xscale="log")
plt.show()

# %% [markdown]
# *Figure: operations over tokens, both axes logarithmic, two panels. Linear grows
# with slope 1, attention with slope 2. They cross near 260 tokens at width 64, and
# near 4100 at width 1024.*
#
# They are equal at $T = 4D$ (with the usual FFN, four times as wide, at $6D$). So a
# wide net can go far before attention costs most; in a narrow one it does so early.

# %% [markdown]
# ## My picture is 300 x 451
#
# The cat's photograph as it is:

# %% tags=["raises-exception"]
whole = grey(photos["chelsea"][None])
net(features.preprocess(whole, **HOW))

# %% [markdown]
# Sides must be multiples of the patch. Three ways out: *cut* (the official code
# drops the rest of the edge without a word), *pad* (the edge is then a thing to
# look at), or *scale* each side to the nearest multiple. The last changes
# proportions a little, here by about two percent:

# %%
H, W = (8 * round(side / 8) for side in whole.shape[2:])
fitted = F.interpolate(whole.float(), size=(H, W), mode="bicubic")
fitted = fitted.round().clamp(0, 255).to(torch.uint8)
x = features.extract_patches(net, fitted, **HOW)
print((H, W), list(x.shape), f"proportions {(W / H) / (451 / 300):.3f}")

# %% [markdown]
# ## The high-resolution stage, as a recipe
#
# Could one train at the large size from the start? It would pay for large
# pictures in every one of a million steps. The official ViT-7B learns at 256
# pixels, and ends with a short
# [high-resolution stage](GLOSSARY.md#high-resolution-stage). What changes?


# %%
def flat(tree, head=""):
    for key, value in tree.items():
        if isinstance(value, dict) and not head:
            yield from flat(value, f"{key}.")
        else:
            yield head + key, value


def short(value):  # of a schedule only what is set
    if not isinstance(value, dict):
        return str(value)
    return " ".join(f"{k} {v}" for k, v in value.items() if v and k != "kind")


first, last = (
    config.load_config(f"official_vit7b_{name}")
    for name in ["pretrain", "highres"]
)
one, two = (dict(flat(c.model_dump())) for c in (first, last))
for key in one:
    if one[key] != two[key]:
        print(f"{key:39} {short(one[key]):28} {short(two[key])}")

# %% [markdown]
# Read it in groups.
#
# - **Sizes**: global crops from 256 to 512, at patches of 16 a grid of 32 x 32.
# - **It goes on**: student and Gram teacher begin as the teacher of stage 2. No
#   warm-up of the teacher's temperature, no frozen last layer: all is trained by now.
# - **Small steps**: a quarter of the learning rate (less by the smaller batch, lesson
#   16), a slower teacher.
# - **Gram** (lesson 20) with a teacher that reads 768 pixels.
# - **The other losses**: KoLeo over several processes, local crops with less weight.
# - **Housekeeping**: workers, recomputation, how often a checkpoint is written.
#
# And what did *not* change is `pos_embed_rope_rescale_coords = 2`.

# %% [markdown]
# Why so short? Because every step is expensive, and because little is left to learn.
# Count the patches of a picture, two global and eight local crops, in both stages:


# %%
def patches_per_picture(c):
    g = (c.crops.global_crops_size // 16) ** 2
    small = (c.crops.local_crops_size // 16) ** 2
    return 2 * g + c.crops.local_crops_number * small


total = {}
for name, c in {"pretrain": first, "highres": last}.items():
    each = patches_per_picture(c)
    total[name] = c.train.iterations * c.train.batch_size_per_gpu * each
    print(f"{name}: {each} patches for a picture")
share = total["highres"] / total["pretrain"]
print(f"all of highres / all of pretrain: {share:.3f}")

# %% [markdown]
# 2.7 times the patches in a picture, and 4 percent of all patches seen.
#
# > The paper mixes sizes in this stage, global crops of 512 or 768 with local ones of
# > 112 to 336, for 10k iterations, and needs Gram anchoring for it (DINOv3 Sec. 5.1,
# > Fig. 11, App. C).
#
# The released settings run 30,000 iterations, the rate rising over the first
# 10,000. `dinolite` trains at one size, the first of the mix. Nobody ran this
# recipe here: it asks for 256 GPUs.

# %% [markdown]
# ## Gram and the larger crop
#
# The Gram teacher gets *the same part of the photograph, larger and clean*: 768
# pixels, 48 x 48 patches, where the student has 32 x 32; and none of the student's
# changes of colour and no blur, since both official Gram recipes set
# `gram_teacher_no_distortions`. Its map is scaled down to the student's grid, and
# only how patches relate is compared (DINOv3 Sec. 4.3). Why here? At another size a
# patch shows other things. The anchor holds how patches related when they were good.

# %%
grid = {
    "student": last.crops.global_crops_size // 16,
    "Gram teacher": last.crops.gram_teacher_crops_size // 16,
}
print({name: f"{n} x {n}" for name, n in grid.items()})
for name in ["gram", "highres"]:
    crops = config.load_config(f"official_vit7b_{name}").crops
    assert crops.gram_teacher_no_distortions  # a clean crop in both
torch.manual_seed(0)
large = torch.rand(1, 8, 48, 48)  # [1, D, h, w], stands for features
small = F.interpolate(large, size=(32, 32), mode="bicubic")  # [1, D, 32, 32]
table = F.normalize(small.flatten(2), dim=1)
print("Gram matrix", list((table.mT @ table).shape))

# %% [markdown]
# ## Against someone else
#
# timm has its own RoPE for DINOv3. Does it agree for grids of any shape, in all
# three boxes? It hands over sine and cosine side by side.

# %%
for way in WAYS[:3]:
    theirs = timm.layers.RotaryEmbeddingDinoV3(32, normalize_coords=way)
    for H, W in [(8, 8), (8, 12), (12, 8), (37, 56)]:
        both = torch.cat(with_way(way)(H=H, W=W), dim=1)  # [N, 64]
        assert torch.allclose(both, theirs.get_embed([H, W]), atol=1e-5)
    print(f"{way:9}equal on four grids, the last {list(both.shape)}")

# %% [markdown]
# ## Explore
#
# One photograph at three sizes, one patch; its row and column count in eighths of the
# picture. It opens on the meadow. Then try the cat's fur (row 1, column 2), a coin, an
# edge. Which maps get sharper with the size, and where does the untrained net do
# as well?


# %%
def draw(row, column, photograph):
    sides = [128, 256, 384]
    x = [grey(features.square(photos[photograph], side)) for side in sides]
    spot = ((row + 0.5) / 8, (column + 0.5) / 8)
    every = [patches_of(picture) for picture in x]
    named = {n: [likeness(m[n][0], spot) for m in every] for n in every[0]}
    title = "What is like the framed patch?"
    return viz.sizes_figure([p[0] for p in x], named, title, spot, width=4.6)


viz.explore(
    draw,
    row=(0, 7, 1, 5),
    column=(0, 7, 1, 5),
    photograph=["camera", "chelsea", "coffee", "coins", "astronaut", "page"],
)

# %% [markdown]
# *Figure: sliders for row and column, a choice of photograph; below, the cameraman
# at three sizes with a patch of the meadow framed, and what is like it: pixels,
# untrained, trained.*

# %% [markdown]
# ## Common mistakes
#
# **Rows and columns exchanged.** `H=12, W=8` for 8 rows and 12 columns gives a
# table of the same shape. No error, and on squares no difference either:


# %%
class Exchanged(Rope):
    def coordinates(self, H, W):
        return super().coordinates(W, H)


for name, x in {"square": images[64], "wide": wides[64]}.items():
    right = features.extract_patches(net, x, **HOW)
    own, net.rope_embed = net.rope_embed, Exchanged(64, num_heads=2).eval()
    wrong = features.extract_patches(net, x, **HOW)
    net.rope_embed = own
    off = (right - wrong).abs().max()
    print(f"{name}: features differ by up to {off:.1f}")

# %% [markdown]
# So test with a picture that is not square.
#
# **Weights of another patch size.** The grid is free, the patch is not:

# %% tags=["raises-exception"]
other = vision_transformer.build_backbone(
    config.load_config("tiny").student.model_copy(update={"patch_size": 16}),
    teacher=True,
)
other.load_state_dict(net.state_dict())

# %% [markdown]
# **Enlarging what is not there.** A picture of 64 pixels, blown up to 256: 16 times
# the patches, and nothing new in them. Are they at least the features of the
# true large photograph?

# %%
blown = F.interpolate(images[64].float(), size=(256, 256), mode="bicubic")
blown = blown.round().clamp(0, 255).to(torch.uint8)
cosine, share = resolution.agreement(
    maps[256]["trained"], features.extract_patches(net, blown, **HOW)
)
print(f"of 1024 places found: {share:.2f}, cosine {cosine:.2f}")

# %% [markdown]
# Far from it. You pay for 256 pixels and get the features of a blurred picture.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer and run the cell. Nothing
# later depends on it. Solutions are in `lessons/solutions/21.py`.
#
# **21.1** (difficulty 1, 3 minutes) How many tokens, all counted, does a block get
# for a picture of `height` x `width` pixels? Both are multiples of `patch`.
#
# <details><summary>Hint 1</summary>Rows times columns of patches.</details>
# <details><summary>Hint 2</summary>Which tokens are no patches?</details>
# <details><summary>Hint 3</summary>64 x 96 pixels in patches of 8 with 2 registers:
# see "A picture that is not square".</details>


# %%
def tokens(height, width, patch, registers):
    raise NotImplementedError("exercise 21.1")


check("21.1", tokens)

# %% [markdown]
# **21.2** (difficulty 2, 5 minutes) By which factor must the box of `n` patches on a
# side be multiplied, so that neighbours are as far apart as in the box of
# `n_train`? One line. Then, for yourself: which grids does a rescale of 2 stand
# for, if 16 x 16 was trained?
#
# <details><summary>Hint 1</summary>How long is one step in a box of n
# patches?</details>
# <details><summary>Hint 2</summary>The box is 2 long, always.</details>
# <details><summary>Hint 3</summary>For n = n_train it is 1.</details>


# %%
def box_factor(n, n_train):
    raise NotImplementedError("exercise 21.2")


check("21.2", box_factor)

# %% [markdown]
# **21.3** (difficulty 3, 10 minutes) Which size fits? Scale a picture so that its
# shorter side would be `short` pixels, then round *each* side to the nearest
# multiple of `patch`, at least one patch. Return (height, width).
#
# <details><summary>Hint 1</summary>One factor for both sides: short / the shorter
# one.</details>
# <details><summary>Hint 2</summary>Nearest multiple: divide, round,
# multiply.</details>
# <details><summary>Hint 3</summary>Do not round before the last step.</details>


# %%
def fitting_size(height, width, short, patch):
    raise NotImplementedError("exercise 21.3")


check("21.3", fitting_size)

# %% [markdown]
# **21.4** (difficulty 3, 15 minutes) Change the design: cut a square picture of
# `side` pixels into square tiles of `tile` pixels (nothing is left over), and let
# the net read each alone. How many pairs (query, key) does one head of one block
# then look at, in all tiles together? A token looks at itself, too. Each pass has
# `prefix` tokens besides its patches. Then explain to yourself: what does a tile not
# see, and in which box do its patches lie?
#
# <details><summary>Hint 1</summary>With one tile it is T squared.</details>
# <details><summary>Hint 2</summary>How many tiles are there?</details>
# <details><summary>Hint 3</summary>Every tile has its own prefix.</details>


# %%
def tiled_pairs(side, tile, patch, prefix):
    raise NotImplementedError("exercise 21.4")


check("21.4", tiled_pairs)

# %%
print(progress("21"))

# %% [markdown]
# ## Recap
#
# - Trained on 64 pixels, the net finds the meadow at 1,024, more sharply than at 128.
# - A place is found again at another size, or it is not: count it, beside raw pixels
#   and the untrained net. And search at the size of the bank.
# - The box carries over, because it keeps where in the picture a patch lies; counted
#   patches meet angles that no training saw.
# - Not square: tokens and angles hold exactly, features do not.
# - Attention grows with the square of the tokens, and overtakes at $T = 4D$ here.
# - The high-resolution stage is short, goes on from a good teacher with small steps,
#   and holds patches by Gram.
#
# Next: real weights, and real pictures.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2: the
#   box and its stretching; Sec. 5.1 with Fig. 11 and App. C: the stage; Sec. 4.3:
#   the larger crop for Gram. Read Fig. 11: what the stage changes, task by task.
# - Official code: `layers/rope_position_encoding.py`, class
#   `RopePositionEmbedding`; the settings of the three stages in its `configs`.
# - RoPE-ViT, [arXiv 2403.13298](https://arxiv.org/abs/2403.13298), Sec. 4.1:
#   classification at many sizes, with RoPE and without.
# - Ours: `docs/resolution.md` has the runs.
