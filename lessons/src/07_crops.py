# %% [markdown]
# # 07 Crops
#
# **What game are student and teacher playing?** You cut the views by which
# DINOv3 learns, change their colours, and watch three cheats fail.

# %% [markdown]
# Without labels, the network gets a task that needs none: to say the same of
# two views of one photograph. What the views have in common is all that can be
# learned.
#
# After this lesson you can
#
# - say what the teacher sees and what the student sees,
# - work out a random box by hand, and draw a thousand at once,
# - name each change of colour and the cheat that it bars,
# - explain the blur probabilities 0, 0.9 and 0.5,
# - count the pairs, and what local crops cost.
#
# | | |
# |---|---|
# | you need | lessons 00, 01 |
# | time | 50 minutes |
# | module | `dinolite/data/augmentations.py`, `batched_augmentations.py` |
# | official | `data/augmentations.py`: `DataAugmentationDINO` |
# | paper | DINO Sec. 3.1; SwAV Sec. 3.2; DINOv3 Sec. 3.2, App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import augmentations, batched_augmentations as fast, masking
from dinolite.data.demo_pictures.photographs import photographs
from dinolite_course import check, figures as viz, progress
from torchvision.transforms import v2

# %% [markdown]
# ## The map
#
# Today's box is the very first. All that follows sees the world through it.

# %%
viz.pipeline_map("07")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "crops", at the far left, is lit; one arrow
# leads from it to the teacher ViT, one over masking to the student ViT.*
#
# ## The failure first: one view
#
# Let both see the same view, and let a player play who knows nothing: shrink
# each picture to 8 x 8 pixels and compare those, place by place. Which of the
# 16 photographs of the course is this?

# %%
F = torch.nn.functional
files = photographs()


def shrink(x, side):  # the shorter side becomes `side` pixels
    f = side / min(x.shape[1:])
    x = F.interpolate(x[None] / 255, scale_factor=f, mode="area")
    return (255 * x[0]).round().byte()


def by_place(x):
    return F.adaptive_avg_pool2d(x, 8).flatten(1)  # [n, 192]


def right(player, a, b):  # nearest neighbour among the others' views
    nearest = torch.cdist(player(a), player(b)).argmin(dim=1)
    return int((nearest == torch.arange(len(a))).sum())


square = [F.adaptive_avg_pool2d(x / 255, 64) for x in files.values()]
same = torch.stack(square)
print("views", list(same.shape))
print(right(by_place, same, same), "of 16 are right")

# %% [markdown]
# A perfect score, and nothing was understood. The two views must differ in
# everything that does not matter, and agree in what does. That is done in two
# ways: cut different parts, and change the colours. Random changes that leave
# the content alone are called [augmentation](GLOSSARY.md#augmentation).

# %% [markdown]
# ## Who sees what
#
# Each photograph becomes two large [global crops](GLOSSARY.md#global-crop) and
# `L` small [local crops](GLOSSARY.md#local-crop). Together:
# [multi-crop](GLOSSARY.md#multi-crop). First the result, from the package. A
# batch needs photographs of several sizes in one tensor, so they lie in the
# upper left of a black *canvas*, and `sizes` says how far each reaches.


# %%
def canvas_of(pictures):
    sizes = torch.tensor([p.shape[1:] for p in pictures])  # [B, 2]
    canvas = torch.zeros(len(pictures), 3, *sizes.amax(0), dtype=torch.uint8)
    for slot, p in zip(canvas, pictures, strict=True):
        slot[:, : p.shape[1], : p.shape[2]] = p
    return canvas, sizes


names = ["astronaut", "chelsea", "coffee"]
three = [shrink(files[name], 192) for name in names]
canvas, sizes = canvas_of(three)
c = config.CropsConfig(
    global_crops_size=64, local_crops_size=32, local_crops_number=4
)
draw = torch.Generator().manual_seed(2)
crops = fast.BatchedAugmentation(c)(canvas, sizes, draw)
# What is hidden from the student, in patches of 8 x 8 pixels: lesson 08.
masks = masking.draw_masks(6, (8, 8), config.IbotConfig(), draw)
positions = masking.mask_positions(masks)
batch = masking.SSLBatch(**crops, masks=masks, mask_indices_list=positions[0],
                         masks_weight=positions[1])  # fmt: skip
print("canvas", list(canvas.shape), "sizes", sizes.tolist())
print({name: list(x.shape) for name, x in crops.items()})
viz.batch_figure(batch, c, pictures=2)
plt.show()

# %% [markdown]
# *Figure: two rows, astronaut and cat. Each has two global crops for the teacher,
# the same two for the student, then four local crops. Black blocks hide parts
# of the student's cat; the astronaut's crops are among the half that stays
# whole. Colours differ; some crops are grey or blurred.*

# %% [markdown]
# | | global crops | local crops |
# |---|---|---|
# | teacher | both, whole | none |
# | student | both, some with hidden patches | all |
#
# The teacher sees more: the cat, say, where the student sees an ear. The
# student's task is to say what the teacher says.
#
# > All crops go through the student, only the global ones through the teacher.
# > So the student learns to infer the whole from a part, "local-to-global"
# > (DINO Sec. 3.1).

# %% [markdown]
# ### Does the teacher see a cleaner picture?
#
# No. The student's global crops are *the same pixels*, colours and all; only
# some patches are hidden (lesson 08). The official code also prepares
# `global_crops_teacher`, and nothing ever reads it.
#
# ### Why does the teacher never see local crops?
#
# Its answer is the target. Asked about an ear alone it would know little, and
# a vague target teaches little.

# %% [markdown]
# ## By hand: one random box
#
# A crop begins with a box. Two numbers are drawn: its *share* of the
# photograph's area, and its *aspect*, width / height. For a box of area $A$
# and aspect $a$
#
# $$w = \sqrt{A\,a}, \qquad h = \sqrt{A / a}.$$
#
# A photograph of 60 x 80 pixels (height x width) has 4800. **First try:** share
# 1, aspect 3/4: $w = \sqrt{3600} = 60$, $h = \sqrt{6400} = 80$. Too high, so
# draw again. **Second try:** share 1/4, aspect 4/3: $A = 1200$, $w =
# \sqrt{1600} = 40$, $h = \sqrt{900} = 30$. It fits.

# %% [markdown]
# Where? The top edge has 60 - 30 + 1 = 31 places, the left one 41. Half of the
# way down: 15. A quarter to the right: 10.

# %% [markdown]
# ## Rung 1: a loop
#
# All luck comes in as numbers `u` from 0 to 1, so that we can compare: a row
# each for share, aspect, top and left, a column for each try. Aspects go from
# 3/4 to 4/3. Wide and tall should be equally likely, so the *logarithm* is
# drawn evenly. That is $a = \frac34 \cdot (\frac{16}{9})^u$: the half,
# $u = 0.5$, is exactly 1.


# %%
def first_box(height, width, scale, u):  # u: [4, tries]
    for share, aspect, down, across in u.T.tolist():
        share = scale[0] + share * (scale[1] - scale[0])
        area, aspect = height * width * share, 3 / 4 * (16 / 9) ** aspect
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w <= width and h <= height:
            top, left = down * (height - h + 1), across * (width - w + 1)
            return [int(top), int(left), h, w]


u = torch.tensor([[1.0, 0.25], [0.0, 1.0], [0.5, 0.5], [0.5, 0.25]])
box = first_box(60, 80, (0, 1), u)
assert box == [15, 10, 30, 40]
print("top, left, height, width:", box)

# %% [markdown]
# ## Rung 2: a thousand boxes
#
# A loop that stops early cannot run on many boxes at once. So we work out all
# ten tries of every box, and take the first that fits. `argmax` of a row of 0s
# and 1s is the place of its first 1.


# %%
def boxes_at_once(height, width, scale, u):  # u: [4, n, 10]
    area = height * width * (scale[0] + u[0] * (scale[1] - scale[0]))
    aspect = 3 / 4 * (16 / 9) ** u[1]
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w <= width) & (h <= height)  # [n, 10]
    top = (u[2] * (height - h + 1)).floor()
    left = (u[3] * (width - w + 1)).floor()
    boxes = torch.stack([top, left, h, w], dim=-1)  # [n, 10, 4]
    return boxes[torch.arange(len(fits)), fits.int().argmax(-1)].long()


draw = torch.Generator().manual_seed(0)
u = torch.rand(4, 1000, 10, generator=draw, dtype=torch.float64)
boxes = boxes_at_once(192, 288, (0.32, 1.0), u)
loop = [first_box(192, 288, (0.32, 1.0), u[:, n]) for n in range(1000)]
assert boxes.tolist() == loop
print("boxes", list(boxes.shape), "the first", boxes[0].tolist())

# %% [markdown]
# ## Rung 3: the package's
#
# `random_boxes` does it for several photographs, and several crops of each. Same
# luck, same boxes. (If all ten tries fail it takes the largest box in the
# middle; a very long photograph needs that.)

# %%
draw = torch.Generator().manual_seed(0)
size = torch.tensor([[192, 288]])  # one photograph
theirs = fast.random_boxes(size, 1000, (0.32, 1.0), draw)
print("boxes", list(theirs.shape), "[photographs, crops, 4]")
print("equal:", torch.equal(theirs[0], boxes))

# %% [markdown]
# ## Look at it: boxes on a photograph
#
# Two global boxes with a share between 0.32 and 1, eight local ones between
# 0.05 and 0.32: the official ranges. They meet at 0.32, without a gap.

# %%
cat = shrink(files["chelsea"], 96)  # [3, 96, 144]
draw = torch.Generator().manual_seed(10)
size = torch.tensor([cat.shape[1:]])
big = fast.random_boxes(size, 2, (0.32, 1.0), draw)  # [1, 2, 4]
small = fast.random_boxes(size, 8, (0.05, 0.32), draw)  # [1, 8, 4]
no = torch.zeros(1, 10, dtype=torch.bool)  # nothing mirrored
both = torch.cat([big, small], dim=1)
cut = fast.crop_and_resize(cat[None], both, no, 48)
print("boxes", list(both.shape), "crops", list(cut.shape))
viz.boxes_figure(cat, big[0], small[0], list(cut))
plt.show()

# %% [markdown]
# *Figure: the cat with two blue frames, G1 and G2, and eight orange ones,
# numbered. At the right the ten crops, all drawn equally large; each is square,
# so boxes that were not square are a little stretched.*
#
# A share of 0.05 of the area is about $\sqrt{0.05} = 0.22$ of each side. Local
# crops are cut from the *photograph*, not from a global crop. (The official code
# has an option for that, `localcrops_subset_of_globalcrops`, off by default.)

# %% [markdown]
# ## Predict, then run: what do they share?
#
# The student gets a local crop and must guess what the teacher says of G1. How
# often do the two show *nothing* in common? How often does all of the local
# crop lie in G1? Guess two percentages. We paint the boxes and count pixels.


# %%
def painted(boxes, height, width):  # [n, 4] -> True inside, [n, H, W]
    y, x = torch.arange(height)[:, None], torch.arange(width)
    top, left, h, w = boxes.T[:, :, None, None]  # each [n, 1, 1]
    return (y >= top) & (y < top + h) & (x >= left) & (x < left + w)


def inside(scale, local_scale, n, seed=0):  # share of a local box in G1
    draw, size = torch.Generator().manual_seed(seed), torch.tensor([[96, 144]])
    one = fast.random_boxes(size, n, scale, draw)[0]
    other = fast.random_boxes(size, n, local_scale, draw)[0]
    one, other = painted(one, 96, 144), painted(other, 96, 144)
    return (one & other).sum((1, 2)) / other.sum((1, 2))  # [n]


share = inside((0.32, 1.0), (0.05, 0.32), 1000)
print("shares", list(share.shape))
print("nothing in common, percent:", int(100 * (share == 0).float().mean()))
print("wholly inside, percent:", int(100 * (share == 1).float().mean()))
print(f"mean share {share.mean():.2f}")

# %% [markdown]
# Two thirds lie partly in, partly out. Copying cannot be enough: the student
# must guess what comes beside its crop. And now and then there is nothing in
# common but that both show the same scene. That is asked, too.

# %% [markdown]
# ## Explore
#
# Move the ranges and the number of local crops. The title has the mean share of
# a local box that lies in G1. What happens when local boxes get tiny? Can you
# make global boxes that miss each other?


# %%
def draw_boxes(global_low, local_low, local_high, n_local, seed):
    draw = torch.Generator().manual_seed(seed)
    local_scale = (min(local_low, local_high), local_high)
    big = fast.random_boxes(size, 2, (global_low, 1.0), draw)[0]
    small = fast.random_boxes(size, n_local, local_scale, draw)[0]
    share = inside((global_low, 1.0), local_scale, 100, seed).mean()
    title = f"share of a local box in G1: {share:.2f}"
    return viz.boxes_figure(cat, big, small, title=title)


viz.explore(
    draw_boxes,
    global_low=(0.05, 1.0, 0.05, 0.3),
    local_low=(0.01, 0.5, 0.01, 0.05),
    local_high=(0.02, 1.0, 0.02, 0.32),
    n_local=(1, 12, 1, 8),
    seed=(0, 20, 1, 10),
)

# %% [markdown]
# *Figure: five sliders, and the cat with two blue and eight orange frames. The
# title gives the mean share of a local box in G1, about 0.7.*

# %% [markdown]
# ## Rung 4: scaling is a matrix
#
# Boxes have all sizes, crops have one. One by one, that is a cut and
# `F.interpolate`. At once? Every new pixel is a weighted mean of old ones, so
# scaling a row of pixels is a *matrix*. Rows of it sum to 1. And cutting is in
# the same matrix: zeros for all pixels outside. Here pixels 2 to 5 of 8, once
# kept, once shrunk to two.

# %%
start, length = torch.tensor(2), torch.tensor(4)
m = {
    "pixels 2 to 5 -> 4": fast.resize_matrix(start, length, 8, 4),
    "pixels 2 to 5 -> 2": fast.resize_matrix(start, length, 8, 2),
}
assert torch.equal(m["pixels 2 to 5 -> 4"], torch.eye(8)[2:6])
torch.testing.assert_close(m["pixels 2 to 5 -> 2"].sum(1), torch.ones(2))
no_minus = {name: x + 0.0 for name, x in m.items()}  # -0.00 -> 0.00
viz.matrix_figure(no_minus, side=0.5)
plt.show()

# %% [markdown]
# *Figure: two matrices of eight columns. The left has four rows, each with a
# single 1, in columns 2 to 5. The right has two rows: new pixel 0 takes most
# from old pixels 2 and 3, new pixel 1 from 4 and 5; columns 0, 1, 6 and 7 are
# 0.*
#
# A crop is then rows' matrix x picture x columns' matrix, and all crops are two
# batched products. Mirroring is free: turn the columns' matrix upside down. The
# weights are those of *bicubic* scaling: some are a little negative, which keeps
# edges sharp, so results are clamped to 0 and 1.

# %%
at = [cat[:, t : t + h, left : left + w] for t, left, h, w in both[0].tolist()]
one_by_one = [
    F.interpolate(x[None] / 255, (48, 48), mode="bicubic", antialias=True)
    for x in at
]
one_by_one = torch.cat(one_by_one).clamp(0, 1)  # [10, 3, 48, 48]
torch.testing.assert_close(cut, one_by_one, atol=2e-3, rtol=0)
mirrored = fast.crop_and_resize(cat[None], both, ~no, 48)
print("crops", list(cut.shape))
print("mirrored:", torch.allclose(mirrored, cut.flip(-1), atol=1e-5))

# %% [markdown]
# ## By hand: colours
#
# A pixel (0.8, 0.4, 0.2), an orange.
#
# - **Grey** weighs as eyes do: $0.299 \cdot 0.8 + 0.587 \cdot 0.4 + 0.114 \cdot
#   0.2 = 0.497$.
# - **Brightness** 1.2 multiplies: (0.96, 0.48, 0.24).
# - **Saturation** 0.5 goes half of the way to grey: $0.497 + 0.5\,(0.8 -
#   0.497) = 0.648$, and so on.
# - **[Solarise](GLOSSARY.md#solarise)** inverts what is at or above half: (0.2,
#   0.4, 0.2). Orange has become dark green.
#
# Contrast does as saturation, towards the mean grey of the picture. Hue turns
# the circle of colours. Brightness, contrast, saturation and hue together are
# [colour jitter](GLOSSARY.md#colour-jitter). Last, *blur* makes each pixel a
# weighted mean of those around it; its `sigma` says how far that reaches.

# %%
orange = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1)
factor = torch.ones(1, 1, 1, 1)
draw = torch.Generator().manual_seed(0)
results = {
    "grey": fast.grayscale(orange),
    "brightness": fast.adjust_brightness(orange, 1.2 * factor),
    "saturation": fast.adjust_saturation(orange, 0.5 * factor),
    "solarise": fast.random_solarize(orange, 1.0, draw),
}
for name, x in results.items():
    print(name, [f"{value:.3f}" for value in x.flatten().tolist()])
assert abs(results["grey"].item() - 0.497) < 5e-4
assert abs(results["saturation"][0, 0].item() - 0.648) < 1e-3

# %% [markdown]
# ## Rung 5: own luck for each picture
#
# In a batch each picture has a factor of its own. A loop, or one product with
# the factors as [n, 1, 1, 1]; torch stretches the 1s.

# %%
factors = torch.linspace(0.6, 1.4, 10)  # one for each crop
loop = torch.stack([x * f for x, f in zip(cut, factors, strict=True)])
at_once = cut * factors[:, None, None, None]  # [10, 3, 48, 48]
assert torch.equal(loop, at_once)
package = fast.adjust_brightness(cut, factors[:, None, None, None])
print("equal:", torch.equal(at_once.clamp(0, 1), package))
change = {
    "brightness": v2.functional.adjust_brightness,
    "contrast": v2.functional.adjust_contrast,
    "saturation": v2.functional.adjust_saturation,
}
for name, torchvisions in change.items():
    each = [
        torchvisions(x, float(f)) for x, f in zip(cut, factors, strict=True)
    ]
    mine = vars(fast)["adjust_" + name](cut, factors[:, None, None, None])
    close = torch.allclose(mine, torch.stack(each), atol=1e-3)
    print(name, "as torchvision, one by one:", close)

# %% [markdown]
# ## Look at it: before and after

# %%
photo = F.interpolate(three[0][None] / 255, (48, 48), mode="area")
draw = torch.Generator().manual_seed(0)
after = {
    "original": photo,
    "mirrored": photo.flip(-1),
    "brightness 1.4": fast.adjust_brightness(photo, 1.4 * factor),
    "contrast 0.6": fast.adjust_contrast(photo, 0.6 * factor),
    "saturation 1.2": fast.adjust_saturation(photo, 1.2 * factor),
    "hue +0.1": fast.adjust_hue(photo, 0.1 * factor),
    "hue -0.1": fast.adjust_hue(photo, -0.1 * factor),
    "grey": fast.grayscale(photo).expand(1, 3, 48, 48),
    "blur, sigma 2": fast.gaussian_blur(photo, torch.tensor([2.0])),
    "solarised": fast.random_solarize(photo, 1.0, draw),
}
viz.compare_figure({name: x[0] for name, x in after.items()}, columns=5)
plt.show()

# %% [markdown]
# *Figure: the astronaut ten times, 48 x 48 pixels: original, mirrored, brighter,
# with less contrast, a little more saturated, with the hue turned either way
# (the orange suit becomes yellow or pink), grey, blurred, and solarised (the suit
# green, the white background dark).*
#
# The extremes of the official ranges: a factor is drawn from 1 - 0.4 to 1 + 0.4,
# for saturation from 0.8 to 1.2; hue turns by up to 0.1 of the circle. How
# often does each change come?

# %%
print("mirrored 0.5, jitter", c.color_jitter_prob, "grey", c.grayscale_prob)
for name in ["brightness", "contrast", "saturation", "hue"]:
    print(" ", name, "+-", vars(c)[name])
print("blur: G1, G2, local", c.blur_prob, "sigma", c.blur_sigma)
print("solarised: G2 alone", c.solarize_prob)

# %% [markdown]
# ## Why is the blur 0, 0.9, 0.5?
#
# Look again: G1 is never blurred, G2 nearly always. Yet the official code
# *asks* for 1.0, 0.1 and 0.5. A wrapper hands `1 - p` on to torchvision's
# `RandomApply`. We do the same, with a marker in place of the blur, and count.

# %%
torch.manual_seed(0)
mark = v2.Lambda(lambda x: x + 1)
for name, p in {"G1": 1.0, "G2": 0.1, "local": 0.5}.items():
    wrapped = v2.RandomApply([mark], p=1 - p)
    marked = sum(int(wrapped(torch.zeros(1))) for _ in range(1000))
    print(f"{name}: asks for {p}, gets it {marked} times of 1000")

# %% [markdown]
# Not one. `RandomApply`'s `p` is the probability *to apply*, so every wish is
# inverted, and only 0.5 survives. DINOv2 has the same bug. The released models
# were trained with it, so dinolite writes down what really happens: `(0.0, 0.9,
# 0.5)`. Mending it would be another recipe.
#
# > **Tutor's note.** "Blurred" is not always visible: sigma is drawn from 0.1
# > on, and at 0.1 pixels the neighbour's weight is $e^{-50}$.

# %% [markdown]
# ## Rung 6: all of it
#
# Now put the parts together. The luck must be drawn in the package's order; then
# every number must agree.


# %%
def views(canvas, sizes, c, draw):
    def cut(n, scale, size):
        boxes = fast.random_boxes(sizes, n, scale, draw)
        flips = torch.rand(len(sizes), n, generator=draw) < 0.5
        x = fast.crop_and_resize(canvas, boxes, flips, size)
        return fast.ColorChange.draw(len(x), c, draw)(x)  # jitter, grey

    def blur(x, p):
        return fast.random_blur(x, p, c.blur_sigma, draw)

    first, second = cut(2, c.global_crops_scale, c.global_crops_size).chunk(2)
    first, second = blur(first, c.blur_prob[0]), blur(second, c.blur_prob[1])
    second = fast.random_solarize(second, c.solarize_prob, draw)
    large = torch.cat([first, second])  # [2 B, 3, g, g]
    local = cut(c.local_crops_number, c.local_crops_scale, c.local_crops_size)
    local = blur(local, c.blur_prob[2])  # [L B, 3, l, l]
    return [
        augmentations.normalize(x, c.rgb_mean, c.rgb_std)
        for x in (large, local)
    ]


mine = views(canvas, sizes, c, torch.Generator().manual_seed(2))
for x, name in zip(mine, ["global_crops", "local_crops"], strict=True):
    print(name, list(x.shape), "equal:", torch.equal(x, crops[name]))

# %% [markdown]
# The last step, `normalize`, subtracts a mean and divides by a spread per
# channel, those of many natural photographs. The package's local crops, for
# comparison (`shared` is for an option, off by default: one jitter for all crops
# of a photograph):

# %%
print(inspect.getsource(fast.BatchedAugmentation.local_crops))

# %% [markdown]
# ## Against someone else: one by one
#
# The official code treats one photograph after the other with torchvision's
# transforms. dinolite has this, too: `DataAugmentationDINO`. With all dice off
# (every box the whole photograph, no change of colour) the two must agree.

# %%
plain = {
    "color_jitter_prob": 0.0,
    "grayscale_prob": 0.0,
    "blur_prob": (0.0, 0.0, 0.0),
    "solarize_prob": 0.0,
    "global_crops_size": 64,
    "local_crops_size": 32,
    "local_crops_number": 1,
}
whole = {"global_crops_scale": (1.0, 1.0), "local_crops_scale": (1.0, 1.0)}
off = config.CropsConfig(**plain, **whole, horizontal_flips=False)
torch.manual_seed(0)
astronaut = three[0]  # [3, 192, 192]
a = fast.BatchedAugmentation(off)(astronaut[None], sizes[:1])
b = augmentations.DataAugmentationDINO(off)(astronaut / 255)
for name in a:
    x, y = (viz.crops.restore(crop[name], off) for crop in (a, b))
    print(name, list(x.shape), "agree:", torch.allclose(x, y, atol=5e-3))

# %% [markdown]
# Then why batches? Now all dice are on, and we count the calls into torch, for
# 2 photographs and for 8.


# %%
class Count(torch.overrides.TorchFunctionMode):
    calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **(kwargs or {}))


always = {
    "color_jitter_prob": 1.0,
    "grayscale_prob": 1.0,
    "blur_prob": (1.0, 1.0, 1.0),
}
on = config.CropsConfig(**{**plain, **always}, horizontal_flips=False)
at_once = fast.BatchedAugmentation(on)
single = augmentations.DataAugmentationDINO(on)
counts = {"at once": [], "one by one": []}
torch.manual_seed(0)
for B in [2, 8]:
    many = astronaut.expand(B, -1, -1, -1)
    with Count() as count:
        at_once(many, torch.full((B, 2), 192))
    counts["at once"].append(count.calls)
    with Count() as count:
        [single(x) for x in many]
    counts["one by one"].append(count.calls)
for name, (two, eight) in counts.items():
    print(
        f"{name}: 4 times the photographs, {eight / two:.0f} times the calls"
    )

# %% [markdown]
# Each call costs a little, however small the picture. On a GPU, where one call
# can do much, few large calls keep it busy. The price: jitter does its four
# changes in a random order, which is drawn once for a batch, not for each crop.

# %% [markdown]
# ## Does it work? Three cheats
#
# Back to the game. Two global crops each of 16 photographs: which belong
# together? Three players who know nothing of the world compare
#
# - *place*: 8 x 8 pixels, as before,
# - *colour*: the pixels of each channel, sorted, so that places are forgotten,
# - *grain*: how different neighbouring pixels are, against pixels four apart.
#
# Ten rounds, so 160 is all right and 10 is chance. The first line has boxes of
# the whole photograph. **Predict:** which change stops whom?


# %%
def by_colour(x):
    return F.adaptive_avg_pool2d(x, 16).flatten(2).sort().values.flatten(1)


def by_grain(x):
    near = (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))
    far = (x[..., 4:] - x[..., :-4]).abs().mean((1, 2, 3))
    return (near / far)[:, None].log()  # [n, 1]


def play(**changes):
    c = config.CropsConfig(**{**plain, **changes})
    augment = fast.BatchedAugmentation(c)
    draw, score = torch.Generator().manual_seed(0), {}
    for _ in range(10):
        large = augment(*album, draw)["global_crops"]
        a, b = viz.crops.restore(large, c).chunk(2)  # each [16, 3, 64, 64]
        for player in (by_place, by_colour, by_grain):
            name = player.__name__
            score[name] = score.get(name, 0) + right(player, a, b)
    return score


album = canvas_of([shrink(x, 96) for x in files.values()])
jitter = {"color_jitter_prob": 0.8, "grayscale_prob": 0.2}
soft = {"blur_prob": (0.0, 0.9, 0.5)}
print("whole, mirrored", play(global_crops_scale=(1.0, 1.0)))
print("crops, mirrored", play())
print("and jitter     ", play(**jitter))
print("and blur       ", play(**soft))
print("all            ", play(**jitter, **soft, solarize_prob=0.2))

# %% [markdown]
# Mirroring and cutting cost *place* a third of its points, jitter half of the
# rest. *Colour* hardly minds being cut; jitter and grey more than halve it.
# *Grain* suffers most from cutting, since boxes are scaled differently, and blur
# takes most of the rest. Each cheat has its own worst enemy.
#
# Only *grain* comes near chance: cheats become dear, not impossible. What is
# left to win by is knowing what such scenes look like.
#
# > **Watch out.** An augmentation is a claim: *this does not matter*. Hue does
# > matter for ripe fruit, mirroring for text.

# %% [markdown]
# ### Which changes suit my pictures?
#
# Ask of each: is the picture after it still a picture I could meet? For text
# or left and right hands turn mirroring off (`horizontal_flips`); DINOv3's
# largest model was trained without. For grey pictures hue does nothing. Small
# pictures bear less blur, since sigma counts in pixels. If local crops show
# too little to recognise anything, raise `local_crops_scale`.

# %% [markdown]
# ## How many pairs?
#
# Every view of the student meets every view of the teacher, except itself: the
# student's G1 shows the pixels of the teacher's G1. First a loop, then a
# formula: $G(G-1) + GL$. And the price, in [patches](GLOSSARY.md#patch) read, for
# the official crops of 224 and 96 pixels and patches of 16.


# %%
def pairs(G, L):
    students = [("G", i) for i in range(G)] + [("L", i) for i in range(L)]
    teachers = [("G", i) for i in range(G)]
    return [(t, s) for t in teachers for s in students if s != t]


large, little = (224 // 16) ** 2, (96 // 16) ** 2
print("patches in a global crop", large, "in a local crop", little)
for G, L in [(2, 0), (2, 8), (4, 0)]:
    n = len(pairs(G, L))
    assert n == G * (G - 1) + G * L
    print(f"G = {G}, L = {L}: {n} pairs;", end=" ")
    print(
        f"student reads {G * large + L * little} patches, teacher {G * large}"
    )
met = torch.ones(2, 10, dtype=torch.bool)
met[0, 0] = met[1, 1] = False
assert int(met.sum()) == len(pairs(2, 8))
viz.meetings_figure(met)
plt.show()

# %% [markdown]
# *Figure: two rows, the teacher's G1 and G2, and ten columns, the student's G1,
# G2 and local crops 1 to 8. All squares are dark but two with an x: G1 with G1
# and G2 with G2.*
#
# Two global and eight local crops give 18 pairs; four global ones 12, at a
# higher price. That is why local crops have few pixels, too, not only small
# boxes.
#
# > DINOv3 trains with 2 global crops of 256 pixels and 8 local ones of 112
# > (DINOv3 Sec. 3.2, "Optimization"). Multi-crop comes from SwAV (Sec. 3.2).
#
# All 18 pairs weigh the same: the global loss gets 2/18, the local one 16/18
# (lesson 15).

# %% [markdown]
# ## Common mistakes
#
# First, **photographs of several sizes in one tensor.** What the canvas is for:

# %% tags=["raises-exception"]
torch.stack(three)

# %% [markdown]
# Second, **width first.** Pillow says (width, height), torch (height, width).
# With `sizes` turned around, boxes reach below the photograph, into the black of
# the canvas or past its end. No error.

# %%
wide, real = canvas_of(three[1:])  # cat and cup, 192 x 288 both
for name, given in {"right": real, "turned": real.flip(1)}.items():
    draw = torch.Generator().manual_seed(0)
    boxes = fast.random_boxes(given, 100, (0.05, 0.32), draw)
    top, _, height, _ = boxes.unbind(-1)  # each [2, 100]
    below = (top + height > 192).float().mean()
    flips = torch.zeros(2, 100, dtype=torch.bool)  # nothing mirrored
    tiny = fast.crop_and_resize(wide, boxes, flips, 8)  # [200, 3, 8, 8]
    lost = tiny.isnan().flatten(1).any(1)
    print(f"{name}: {100 * below:.0f} percent of the boxes reach below;",
          f"{int(lost.sum())} of {len(lost)} crops are nan")  # fmt: skip

# %% [markdown]
# The nan, 0 / 0, gives it away: boxes wholly outside. On a higher canvas you
# would get black stripes, and no sign.
#
# Third, **whose crop is this?** Crops lie in
# [crop-major order](GLOSSARY.md#crop-major-order): G1 of all photographs, then
# G2 of all. Who reads it photograph by photograph pairs an astronaut with a
# cat. The shape is right, nothing complains, and nothing is learned.

# %%
shown = viz.crops.restore(crops["global_crops"], c)  # [6, 3, 64, 64]
shown = F.adaptive_avg_pool2d(shown, 40)  # smaller, to look at
good, bad = shown.view(2, 3, 3, 40, 40), shown.view(3, 2, 3, 40, 40)
print("good [crop, photograph, ...]", list(good.shape))
print("bad  [photograph, crop, ...]", list(bad.shape))
rows = {}
for n in range(3):
    rows |= {f"good {n}: G1": good[0, n], f"good {n}: G2": good[1, n]}
for n in range(3):
    rows |= {f"bad {n}: G1": bad[n, 0], f"bad {n}: G2": bad[n, 1]}
viz.compare_figure(rows, columns=6)
plt.show()

# %% [markdown]
# *Figure: two rows of three pairs. Above, good: two astronauts, two cats, two
# cups. Below, bad: astronaut with cat, cup with astronaut, cat with cup.*
#
# A fourth makes no noise either: **an even draw of the aspect**. Between 3/4
# and 4/3 a share of $(4/3 - 1) / (4/3 - 3/4) = 4/7$ is wider than tall.

# %%
u = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
print(f"even: {(3 / 4 + u * (4 / 3 - 3 / 4) > 1).float().mean():.2f} are wide")
print(f"log:  {(3 / 4 * (16 / 9) ** u > 1).float().mean():.2f} are wide")

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/07.py`.
#
# **07.1** (difficulty 1, 3 minutes) A batch of `B` photographs in colour, with 2
# global crops of `g` x `g` pixels and `L` local ones of `s` x `s` each. Return
# the shapes of `global_crops` and `local_crops`, two tuples.
#
# <details><summary>Hint 1</summary>Look at the printed shapes below "Who sees
# what".</details>
# <details><summary>Hint 2</summary>One axis for all crops of a kind, then
# channels, height, width.</details>


# %%
def shapes(B, L, g, s):
    raise NotImplementedError("exercise 07.1")


check("07.1", shapes)

# %% [markdown]
# **07.2** (difficulty 2, 5 minutes) Height and width, rounded to whole pixels,
# of a box with that `share` of the area of a `height` x `width` photograph, and
# that `aspect` (width / height). Return `(h, w)`.
#
# <details><summary>Hint 1</summary>First the area of the box.</details>
# <details><summary>Hint 2</summary>The two formulas of "By hand"; which of them
# divides?</details>


# %%
def box_size(height, width, share, aspect):
    raise NotImplementedError("exercise 07.2")


check("07.2", box_size)

# %% [markdown]
# **07.3** (difficulty 3, 10 minutes) Contrast. `x` is [n, 3, H, W], `factor` [n].
# Factor 1 leaves a picture, 0 makes it flat: the *mean of its grey* everywhere.
# In between and beyond, go that far. Values stay from 0 to 1.
#
# <details><summary>Hint 1</summary>Saturation by hand: grey + factor (x - grey).
# Here one number per picture is in the place of grey.</details>
# <details><summary>Hint 2</summary>`mean(dim=(1, 2, 3), keepdim=True)` gives
# [n, 1, 1, 1].</details>
# <details><summary>Hint 3</summary>The factors need the same shape, and the
# result a `clamp`.</details>


# %%
def contrast(x, factor):
    raise NotImplementedError("exercise 07.3")


check("07.3", contrast)

# %% [markdown]
# **07.4** (difficulty 2, 5 minutes) Who meets whom, as a bool tensor [G, G + L]:
# a row for each view of the teacher, a column for each of the student (global
# ones first), True where the two are compared.
#
# <details><summary>Hint 1</summary>The figure with the x shows it for G = 2 and
# L = 8.</details>
# <details><summary>Hint 2</summary>`torch.eye(G, G + L)`.</details>


# %%
def counted(G, L):
    raise NotImplementedError("exercise 07.4")


check("07.4", counted)

# %% [markdown]
# **07.5** (difficulty 4, 12 minutes) Change the design. `a` and `b` are boxes
# [n, 4], (top, left, height, width). Which share of each `a` lies in its `b`?
# No painting: with numbers alone. Return [n] shares. Then try local scales
# (0.01, 0.04) and (0.32, 1.0) in the explorer. What would each do to the game?
#
# <details><summary>Hint 1</summary>What two boxes share is a box.</details>
# <details><summary>Hint 2</summary>It starts at the larger of the two tops and
# ends at the smaller of the two bottoms.</details>
# <details><summary>Hint 3</summary>Apart: it would end before it starts.</details>


# %%
def overlap(a, b):
    raise NotImplementedError("exercise 07.5")


check("07.5", overlap)

# %%
print(progress("07"))

# %% [markdown]
# ## Recap
#
# - You know who sees what: the teacher whole global crops, the student these
#   with holes, and local crops.
# - You drew a box by hand, then a thousand at once; matrices cut and scale
#   them.
# - You saw each change of colour, and what it costs which cheat.
# - You know why the blur is 0, 0.9, 0.5: an inverted wish, kept on purpose.
# - You counted 18 pairs, and what small crops save.
#
# Some patches of the global crops are hidden from the student. Which, how many,
# in which shape? That is lesson 08.

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 3.1 and Eq.
#   (3): local-to-global and the pairs.
# - SwAV, [arXiv 2006.09882](https://arxiv.org/abs/2006.09882), Sec. 3.2 and Fig.
#   3: where multi-crop comes from, and why small crops.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2,
#   "Optimization", and App. C: numbers and sizes.
# - Official code: `dinov3/data/augmentations.py`, class `DataAugmentationDINO`,
#   and `data/transforms.py`, class `GaussianBlur`; here
#   `dinolite/data/augmentations.py`.
# - SimCLR, [arXiv 2002.05709](https://arxiv.org/abs/2002.05709): tried many
#   augmentations one by one; the best reading on which of them matter.
