# %% [markdown]
# # 01 Patches
#
# **How does an image become a sequence?** You cut photographs into squares,
# turn every square into a vector, and measure what gets lost on the way.

# %% [markdown]
# A transformer reads a sequence of vectors. A photograph is a grid of
# pixels. Something has to stand between the two, and in DINOv3 it is one
# small layer.
#
# After this lesson you can
#
# - count the patches of a picture, and the pairs that attention compares,
# - cut a picture into patches and put it together again,
# - show that a strided convolution is one matrix applied to every patch,
# - find the place of patch number `n` in the picture,
# - measure what a narrow embedding loses.
#
# | | |
# |---|---|
# | you need | 00 |
# | time | 60 minutes |
# | module | `dinolite/layers/patch_embed.py` |
# | official | `layers/patch_embed.py`: `PatchEmbed` |
# | paper | DINOv3 Sec. 3.2, "Updated Model Architecture" |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers.patch_embed import PatchEmbed
from dinolite_course import check, figures as viz, progress
from einops import rearrange

# %% [markdown]
# ## The map
#
# Today's box is the entrance of the ViT. Student and teacher both have it,
# and every crop goes through it.

# %%
viz.pipeline_map("01")
plt.show()

# %% [markdown]
# *Figure: the pipeline of lesson 00. The box "patches" is lit, at the lower
# left: the first one inside the ViT. An arrow leads from it to "tokens".*
#
# ## The failure first
#
# Take the photograph of an astronaut, at 224 x 224 pixels. Why not hand every
# pixel to the transformer, as a [token](GLOSSARY.md#token) of its own?

# %%
F = torch.nn.functional
files = photographs()


def photo(name, height=224, width=224):
    picture = files[name][None] / 255  # whole numbers 0..255 become 0..1
    size = (height, width)
    return F.interpolate(picture, size, mode="bilinear", antialias=True)


x = photo("astronaut")
print("one picture [B, C, H, W]:", list(x.shape))

# %% [markdown]
# Attention (lesson 04) compares every token with every token: `N * N` pairs. Each
# pair is a number of 4 bytes. `p` is the side of a token in pixels.

# %%
for side in [1, 16]:
    N = (224 // side) ** 2
    pairs = N * N
    print(f"p = {side}: {N:,} tokens, {pairs:,} pairs, {4e-6 * pairs:,.1f} MB")

# %% [markdown]
# Pixels as tokens: 2.5 billion pairs, ten gigabytes, for one
# [attention head](GLOSSARY.md#attention-head) of one layer of one small picture.
# (A layer has several; the boxes "heads" of the map are something else.) With
# squares of 16 x 16 pixels, 196 tokens are left.
#
# But why *squares*? A picture in memory is a flat list, one row after the
# other. We could cut the list into 196 pieces of 256 pixels. To compare, let
# each piece say one thing only: its mean colour.


# %%
def kept(original, copy):
    spread = (original - original.mean()).square().mean()
    return 1 - (original - copy).square().mean().item() / spread.item()


pieces = x.reshape(1, 3, 196, 256).mean(-1, keepdim=True)
strips = pieces.expand(1, 3, 196, 256).reshape(x.shape)
colors = F.avg_pool2d(x, 16)  # [1, 3, 14, 14]
squares = F.interpolate(colors, scale_factor=16, mode="nearest")
print(f"kept by strips {kept(x, strips):.2f}")
print(f"kept by squares {kept(x, squares):.2f}")

# %% [markdown]
# `kept` is the share of the picture's variance that the copy explains: 1 is
# the same picture, 0 is one flat grey.

# %%
three = {"photograph": x, "196 strips": strips, "196 squares": squares}
viz.compare_figure({k: F.avg_pool2d(v, 2)[0] for k, v in three.items()}, 6)
plt.show()

# %% [markdown]
# *Figure: left the photograph. Middle: pieces of the flat list, flat
# horizontal bands in which nobody is to be seen. Right: mean colours of
# squares; a coarse astronaut can be made out.*
#
# Both copies hold 196 colours. Pixels are like their neighbours in *both*
# directions, and a square keeps neighbours together. Such a square is a
# [patch](GLOSSARY.md#patch).
#
# ## By hand
#
# A grey picture of 4 x 4 pixels, patches of 2 x 2:
#
# $$\begin{array}{cc|cc} 1&1&0&8\\ 1&1&0&8\\ \hline 4&4&9&9\\ 4&4&1&1
# \end{array}$$
#
# Read every patch row by row: (1,1,1,1), (0,8,0,8), (4,4,4,4), (9,9,1,1).

# %% [markdown]
# Now one matrix for all patches, with two rows. The first takes the mean, the
# second the mean of the right side minus that of the left:
#
# $$W = \begin{pmatrix} 1/4 & 1/4 & 1/4 & 1/4 \\ -1/2 & 1/2 & -1/2 & 1/2
# \end{pmatrix}$$
#
# The second patch gives $16/4 = 4$ and $(8+8)/2 - (0+0)/2 = 8$. Do the others on
# paper: (1, 0), (4, 8), (4, 0), (5, 0). Four patches, four vectors of width 2.

# %%
picture = torch.tensor(
    [[1.0, 1, 0, 8], [1, 1, 0, 8], [4, 4, 9, 9], [4, 4, 1, 1]]
)
matrix = torch.tensor([[0.25, 0.25, 0.25, 0.25], [-0.5, 0.5, -0.5, 0.5]])
corners = [picture[r : r + 2, c : c + 2] for r in (0, 2) for c in (0, 2)]
tokens = torch.stack([matrix @ square.flatten() for square in corners])
print(tokens)
assert tokens.tolist() == [[1, 0], [4, 8], [4, 0], [5, 0]]

# %% [markdown]
# Compare the vectors. The second patch and the third have the same mean; the
# second number tells them apart. But the last patch has an edge, bright above dark,
# and its vector says "flat, 5". No row of $W$ looks for that edge.
#
# > **Tutor's note.** What no row of the matrix looks at is gone from the vector.
# > A later layer can at best guess it. How well? You will measure it.
#
# ## Rung 1: a loop
#
# The same on photographs. Colour adds a dimension: a patch has `C * p * p`
# numbers, here 3 * 16 * 16 = 768. Each becomes a vector of width `D`. This is
# the [patch embedding](GLOSSARY.md#patch-embedding).


# %%
def embed_loop(x, weight, bias, p):
    B, _, H, W = x.shape
    out = []
    for top in range(0, H, p):  # rows outside, columns inside
        for left in range(0, W, p):
            square = x[:, :, top : top + p, left : left + p]  # [B, C, p, p]
            out.append(square.reshape(B, -1) @ weight.T + bias)  # [B, D]
    return torch.stack(out, dim=1)  # [B, N, D]


p, D = 16, 64
generator = torch.Generator().manual_seed(0)
weight = torch.randn(D, 3 * p * p, generator=generator) / 28  # about 768**0.5
bias = torch.randn(D, generator=generator)
images = torch.cat([photo("chelsea", 128, 192), photo("coffee", 128, 192)])
loop = embed_loop(images, weight, bias, p)
print(list(images.shape), "becomes", list(loop.shape))

# %% [markdown]
# Two pictures (`chelsea` is a cat) of 128 x 192 pixels: 8 rows and 12 columns of
# patches, `N = 96`.
#
# ## Rung 2: without a loop
#
# Cutting needs no loop, only another view of the same numbers. Split the
# height into `h` rows of `p` pixels, the width into `w` columns of `p` pixels.
# Then bring the two counters `h`, `w` to the front.


# %%
def cut(x, p):
    B, C, H, W = x.shape
    h, w = H // p, W // p
    x = x.reshape(B, C, h, p, w, p)
    x = x.permute(0, 2, 4, 1, 3, 5)  # [B, h, w, C, p, p]
    return x.reshape(B, h * w, C * p * p)  # [B, N, C p p]


by_view = cut(images, p) @ weight.T + bias
named = rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=p, q=p)
print("patches:", list(cut(images, p).shape))
assert torch.equal(named, cut(images, p))
assert torch.allclose(by_view, loop, atol=1e-5)

# %% [markdown]
# `rearrange`, from the library einops, says the same in one line. Read its
# pattern aloud: the height is `h` times `p`, the width `w` times `q`; `h` and `w`
# go to the sequence, the rest into the vector. On the right, `(h w)` means: `h`
# outside, `w` inside.
#
# Let us look, at a small picture of 64 x 96 pixels.

# %%
coffee = photo("coffee", 64, 96)
viz.patch_grid_figure(coffee[0], 16, width=4.5)
plt.show()

# %% [markdown]
# *Figure: a cup of coffee under a grid of 4 rows and 6 columns. The patches
# are numbered like words on a page: 0 to 5 in the first row, 6 to 11 in the
# second, up to 23 at the lower right.*
#
# This order, rows outside and columns inside, is called
# [row-major](GLOSSARY.md#row-major-order). With `w` patches in a row, patch
# `n` stands in row `n // w`, column `n % w`.

# %%
row, column = divmod(13, 6)
top, left = 16 * row, 16 * column
square = coffee[:, :, top : top + 16, left : left + 16]
print("patch 13: row", row, "column", column, "pixel", (top, left))
assert torch.equal(cut(coffee, 16)[:, 13], square.flatten(1))

# %%
viz.sequence_figure(cut(coffee, 16)[0].view(24, 3, 16, 16))
plt.show()

# %% [markdown]
# *Figure: the 24 patches of the coffee in one row, from 0 to 23. Parts of
# the cup come back every six patches, where the next row of the grid starts.*
#
# This row is what the transformer gets. Patches 7 and 13 touch in the picture,
# one above the other, and stand six places apart in the row. Nothing here says
# that they touch. Lesson 03 will tell each patch where it is.
#
# ## Rung 3: unfold
#
# PyTorch has an operator that cuts. With a `stride` equal to the patch size the
# squares lie side by side.

# %%
unfolded = F.unfold(images, kernel_size=p, stride=p)
print("unfold gives", list(unfolded.shape), "= [B, C p p, N]")
assert torch.equal(unfolded.transpose(1, 2), cut(images, p))

# %% [markdown]
# ## Rung 4: a convolution
#
# A convolution lays a small window of weights, a kernel, on the picture,
# multiplies and adds, and moves on by its stride. With kernel size `p` and
# stride `p` the window meets every patch exactly once. One kernel is one row
# of our matrix, folded into the shape of a patch. `D` kernels are `D` rows.

# %%
kernels = weight.view(D, 3, p, p)
convolved = F.conv2d(images, kernels, bias, stride=p)
print("matrix", list(weight.shape), "as kernels", list(kernels.shape))
print("convolution gives", list(convolved.shape), "= [B, D, h, w]")
assert torch.allclose(convolved.flatten(2).transpose(1, 2), loop, atol=1e-5)

# %% [markdown]
# So a [strided convolution](GLOSSARY.md#strided-convolution) *is* "one matrix
# for every patch". The windows do not overlap, and no list of patches has to be
# written down first.
#
# ## Rung 5: the package's version
#
# Read it once; the last line of each method does the work.

# %%
print(inspect.getsource(PatchEmbed.__init__))
print(inspect.getsource(PatchEmbed.forward))

# %% [markdown]
# It keeps the grid, `[B, h, w, D]`, so that the backbone knows `h` and `w`;
# flattening the two gives our sequence. We give it our matrix and compare.

# %%
torch.manual_seed(0)
embed = PatchEmbed(patch_size=p, embed_dim=D)
embed.load_state_dict({"proj.weight": kernels, "proj.bias": bias})
grid = embed(images)
print("PatchEmbed gives", list(grid.shape), "= [B, h, w, D]")
equal = torch.allclose(grid.flatten(1, 2), loop, atol=1e-5)
print("equal to the loop:", equal)
assert equal

# %% [markdown]
# ## Back again
#
# Is cutting reversible? Walk `cut` backwards: split the sequence into `h` and
# `w`, bring `h` next to its pixels, join. We need to be told `h` and `w`: 96
# patches could be 8 x 12 or 6 x 16.


# %%
def paste(patches, h, w, p):
    B = len(patches)
    x = patches.reshape(B, h, w, -1, p, p)  # [B, h, w, C, p, p]
    x = x.permute(0, 3, 1, 4, 2, 5)  # [B, C, h, p, w, p]
    return x.reshape(B, -1, h * p, w * p)  # [B, C, H, W]


again = paste(cut(images, p), 8, 12, p)
print("the same pictures:", torch.equal(again, images))

# %% [markdown]
# Cutting loses nothing. If something is lost, it is lost in the matrix.
#
# ## Against someone else
#
# Two operators of PyTorch do our two steps: `PixelUnshuffle`, made for networks
# that sharpen pictures, packs squares of pixels into channels; `Fold` adds
# squares up into a picture.

# %%
packed = torch.nn.PixelUnshuffle(p)(images).flatten(2).transpose(1, 2)
put = torch.nn.Fold((128, 192), kernel_size=p, stride=p)
print("cut:", torch.equal(packed, cut(images, p)))
print("paste:", torch.equal(put(unfolded), images))

# %% [markdown]
# And a number that we can check in the paper.
#
# > DINOv3 trains on batches of 4096 photographs, each seen as 2 global crops of
# > 256 pixels and 8 local crops of 112 pixels. That makes 3.7 million tokens a
# > batch. (Sec. 3.2, "Optimization"; patches of 16 pixels: Table 2)

# %%
per_photo = 2 * (256 // 16) ** 2 + 8 * (112 // 16) ** 2
print(f"{per_photo} patches per photograph, {4096 * per_photo:,} per batch")

# %% [markdown]
# So the paper counts patches and nothing else.
#
# ## What the matrix loses
#
# A patch of 16 x 16 has 768 numbers. DINOv3 comes in sizes: ViT-B keeps 768 per
# [token](GLOSSARY.md#token), the largest (7B) 4096, but ViT-S only 384. The matrix
# of ViT-S has [rank](GLOSSARY.md#rank) 384 at most: half of all directions are
# invisible to it.
#
# We go further and keep 48 of 768, with a matrix drawn at random. Let us build a
# picture with *exactly the same tokens* as the astronaut.

# %%
few = torch.Generator().manual_seed(0)
narrow = (2 * torch.rand(768, 48, generator=few) - 1) / 768**0.5
print("rank", torch.linalg.matrix_rank(narrow).item(), "of 768")
patches = cut(x, 16)  # [1, 196, 768]
back = torch.linalg.pinv(narrow)  # [48, 768]
twin = 0.5 + (patches - 0.5) @ narrow @ back
same = torch.allclose(twin @ narrow, patches @ narrow, atol=1e-4)
print(f"same tokens: {same}, kept: {kept(patches, twin):.2f}")

# %% [markdown]
# `pinv`, the pseudo-inverse, finds among all pictures with these tokens the one
# closest to a plain grey. It keeps next to nothing of the astronaut, and the
# tokens cannot tell the two apart.
#
# **Predict first.** Now someone studies the tokens of 13 *other* photographs, and
# fits the best linear map from tokens back to pixels (least squares): a *reader*.
# What share of the astronaut can it restore: 10 %, half, or more than 90 %?

# %%
held_out = ["astronaut", "chelsea", "coffee"]
others = torch.cat([photo(name) for name in files if name not in held_out])
rows = cut(others, 16).flatten(0, 1)  # [13 * 196, 768]
center = rows.mean(0)
fit = torch.linalg.lstsq((rows - center) @ narrow, rows - center)
read = center + (patches - center) @ narrow @ fit.solution
print("from", list(rows.shape), "a reader", list(fit.solution.shape))
print(f"kept: {kept(patches, read):.2f}")


# %%
def window(patches, p=16):  # a part of the picture, for a closer look
    side = 224 // p
    return paste(patches, side, side, p)[0, :, 16:80, 64:128]


three = {"photograph": patches, "same tokens": twin, "best reader": read}
viz.compare_figure({k: window(v) for k, v in three.items()}, width=6)
plt.show()

# %% [markdown]
# *Figure: left the face, 4 x 4 patches of the photograph. Middle: coloured noise
# on grey, a picture that has exactly the same tokens. Right: what the reader
# restores from these tokens: a coarse and blotchy face, but a face.*
#
# More than 90 %, from 6 % of the numbers, through kernels that are noise. How?
# Patches of photographs are not arbitrary. Most are smooth, and a few dozen
# numbers say nearly all about a smooth square. 48 measurements, even random ones,
# pin those numbers down.
#
# > **Tutor's note.** The middle picture is not a photograph. A network only has
# > to tell apart what occurs. That is why a narrow embedding can work.

# %% [markdown]
# ## The best few numbers
#
# Random kernels are not the best choice. Which `D` directions lose least over
# many photographs? [PCA](GLOSSARY.md#pca) computes them, from the same 13
# photographs. The astronaut is not among them.


# %%
def pca(rows):
    mean = rows.mean(0)
    _, directions = torch.linalg.eigh((rows - mean).T @ (rows - mean))
    return mean, directions.flip(1)  # columns, the strongest first


def restore(patches, basis, D):
    mean, directions = basis
    best = directions[:, :D]  # [C p p, D]
    return (patches - mean) @ best @ best.T + mean


bases = {side: pca(cut(others, side).flatten(0, 1)) for side in [4, 8, 16]}
for side, basis in bases.items():
    exact = cut(x, side)
    a, b = (kept(exact, restore(exact, basis, D)) for D in (3, 12))
    print(f"p = {side}: 3 numbers keep {a:.2f}, 12 keep {b:.2f}")

# %% [markdown]
# At the same width, larger patches lose more: there is more in them. See it
# for `p = 16`, with more and more numbers per patch.

# %%
steps = {f"D = {D}": restore(patches, bases[16], D) for D in (1, 3, 12, 48)}
steps["all 768"] = patches
viz.compare_figure({k: window(v) for k, v in steps.items()}, width=7)
plt.show()

# %% [markdown]
# *Figure: a face, 4 x 4 patches of the photograph, five times. One number per
# patch: grey squares. Three: skin colour and a slope from left to right. Twelve: a
# blurred face, cut at the edges of the patches. 48: a little rough. Right: all.*
#
# Now for all patch sizes: the lost share, `1 - kept`, over the width.

# %%
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for side, basis in bases.items():
    exact = cut(x, side)
    widths = [3 * 2**k for k in range(8) if 2**k < side**2]
    lost = [1 - kept(exact, restore(exact, basis, D)) for D in widths]
    ax.plot(widths, lost, "o-", label=f"p = {side}, PCA")
lost = 1 - kept(patches, read)
ax.plot(48, lost, "kx", label="p = 16, random")
ax.set(xscale="log", yscale="log", xlabel="width D", ylabel="lost share")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# *Figure: three falling curves on logarithmic axes, lost share against width D.
# The curve of p = 16 lies highest, that of p = 4 lowest. A cross at D = 48, the
# random kernels with their reader, lies above the curve of p = 16.*

# %%
share = kept(patches, restore(patches, bases[16], 384))
print("384 of 768 numbers keep more than 0.999:", share > 0.999)

# %% [markdown]
# So the width of ViT-S costs next to nothing at this entrance, if its kernels are
# good. And why not small patches always? **Predict:** halve `p` from 16 to 8.
# By which factor do tokens and pairs grow?

# %%
for side in [16, 8, 4]:
    N = (224 // side) ** 2
    times = N**2 // 196**2
    print(f"p = {side}: {N} tokens, {times} times the pairs of p = 16")

# %% [markdown]
# Four times the tokens, and the *square* of that in pairs: sixteen. Small patches
# buy detail and pay with attention. Play with both.


# %%
def draw(picture="astronaut", patch=16, numbers=12):
    exact = cut(photo(picture), patch)
    D = min(numbers, 3 * patch**2)
    copy = restore(exact, bases[patch], D)
    share = f"{100 * kept(exact, copy):.1f} % kept"
    both = {
        f"{D} of {3 * patch**2} numbers, {share}": window(copy, patch),
        "photograph": window(exact, patch),
    }
    return viz.compare_figure(both, width=5)


viz.explore(draw, picture=held_out, patch=[16, 8, 4], numbers=(1, 192, 1, 12))

# %% [markdown]
# *Figure: left the face from 12 numbers per patch, blurred, with the edges of the
# patches showing; right the original. With a live kernel three controls stand
# above.*
#
# Try `numbers = 1`, then 3. Then compare 48 numbers for `patch = 16` with 12 for
# `patch = 8`. A quarter of the numbers for four times the patches: the same count
# for the whole picture, and about as good. Which of the two is cheaper for
# attention?

# %% [markdown]
# ## Predict, then run: a shuffled world
#
# Draw one order of the 256 pixels in a patch, and shuffle the pixels of *every*
# patch in that order. **Predict:** how much harder does this make it for the
# patch embedding?

# %%
torch.manual_seed(0)
order = torch.randperm(256)


def shuffle(patches):
    split = patches.unflatten(2, (3, 256))  # [B, N, C, pixels]
    return split[..., order].flatten(2)


mixed = shuffle(patches)
basis = pca(shuffle(cut(others, 16)).flatten(0, 1))
print(f"plain: {kept(patches, restore(patches, bases[16], 48)):.2f}")
print(f"shuffled: {kept(mixed, restore(mixed, basis, 48)):.2f}")
other = shuffle(weight[None])[0]  # the columns of the matrix, shuffled too
same = torch.allclose(mixed @ other.T, patches @ weight.T, atol=1e-4)
print("same tokens:", same)

# %%
pair = {"plain": patches, "shuffled in every patch": mixed}
viz.compare_figure({k: window(v) for k, v in pair.items()}, width=4.5)
plt.show()

# %% [markdown]
# *Figure: left the face, right the same with the pixels of each patch mixed: grain
# inside every square, only coarse colours remain.*
#
# Not harder at all. A matrix does not know which pixels are neighbours. Whatever
# it can say of the plain patch, another matrix says of the shuffled one. To a ViT
# the inside of a patch is a list of numbers, and no picture.

# %% [markdown]
# ## What do kernels look like?
#
# Each kernel has the shape of a patch, so we can draw it. Before training,
# `reset_parameters` draws every weight uniformly from
# $\pm 1/\sqrt{C p^2}$, as the official code does.

# %%
torch.manual_seed(0)
untrained = PatchEmbed(patch_size=16, embed_dim=384)
untrained.reset_parameters()
bound = untrained.proj.weight.abs().max()
print("kernels:", list(untrained.proj.weight.shape))
print(f"largest weight {bound:.4f}, 1/sqrt(768) = {768**-0.5:.4f}")
directions = bases[16][1].T.reshape(768, 3, 16, 16)
first = untrained.proj.weight[:7]
viz.kernels_figure({"untrained": first, "PCA": directions[:7]}, 7)
plt.show()

# %% [markdown]
# *Figure: above, seven kernels of an untrained PatchEmbed: coloured noise.
# Below, the first seven PCA directions: flat brightness, one flat colour, ramps
# from side to side and from top to bottom, then slow waves.*
#
# The upper row is noise: read nothing into it. The lower row was *computed* from
# 13 photographs; no network learned it. It answers "what is worth looking for in a
# patch?": first the mean colour, then slopes, then finer waves.
#
# > **Watch out.** PCA keeps what varies most, not what matters most. A thin
# > whisker is little variance. DINOv3 learns its kernels with everything else.

# %% [markdown]
# ## Common mistakes
#
# **The wrong order.** Swap `h` and `w` on the way in, or forget to permute at
# all. Every shape is right, and no message warns you.

# %%
small = photo("astronaut", 64, 64)  # 8 x 8 patches of 8 pixels
split = small.reshape(1, 3, 8, 8, 8, 8)
swapped = split.permute(0, 4, 2, 1, 3, 5).reshape(1, 64, 192)
unmoved = small.reshape(1, 64, 192)
print(list(swapped.shape), list(unmoved.shape), list(cut(small, 8).shape))
both = {"columns first": swapped, "no permute": unmoved}
viz.compare_figure({k: paste(v, 8, 8, 8)[0] for k, v in both.items()}, 4.5)
plt.show()

# %% [markdown]
# *Figure: the astronaut, put together from wrong patches. Left, columns first:
# mirrored at the diagonal, while each square by itself stands upright. Right, no
# permute: squares of torn coloured stripes, in which nothing can be recognised.*
#
# Such a network trains without complaint. Put the patches back and look.
#
# **A size that does not fit.** 100 is not a multiple of 16.

# %% tags=["raises-exception"]
embed(torch.zeros(1, 3, 100, 100))

# %% [markdown]
# The official code goes on without a word, because a convolution does:

# %%
silent = F.conv2d(torch.zeros(1, 3, 100, 100), kernels, bias, stride=16)
print(list(silent.shape[2:]), "patches cover", 6 * 16, "of 100 pixels")

# %% [markdown]
# Four rows and four columns of pixels were never looked at. In this package it
# is an error, since a mask or a label of the whole picture would no longer fit.
#
# **Forgotten normalisation.** A network expects pixels with mean near 0 and
# spread near 1. A file gives whole numbers from 0 to 255.

# %%
mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
good, bad = untrained((x - mean) / std), untrained(255 * x)
print(f"spread of the tokens: {good.std():.2f} and {bad.std():.2f}")
try:
    untrained((255 * x).byte())
except ValueError as error:
    print("whole numbers:", str(error).partition(",")[0])

# %% [markdown]
# Whole numbers are refused. Floats from 0 to 255 give, without a word, tokens a
# hundred times too large. The three means and spreads are those of ImageNet,
# which the official code uses for photographs.

# %% [markdown]
# ## Exercises
#
# **01.1** (difficulty 1, 3 minutes) A picture of `H` x `W` pixels (multiples of
# `p`), patches of `p` x `p`: how many patches are there, and how many pairs does
# attention compare? Return `(patches, pairs)`.
#
# <details><summary>Hint 1</summary>Rows of patches times columns of
# patches.</details>
# <details><summary>Hint 2</summary>Every patch with every patch, itself too,
# and both ways round.</details>


# %%
def patches_and_pairs(H, W, p):
    raise NotImplementedError("exercise 01.1")


check("01.1", patches_and_pairs)

# %% [markdown]
# **01.2** (difficulty 1, 5 minutes) At which pixel does patch `n` begin, in a
# picture that is `width` pixels wide? All count from 0. Return `(top, left)`.
#
# <details><summary>Hint 1</summary>First find the row and the column on the
# grid of patches.</details>
# <details><summary>Hint 2</summary>How many patches are there in a row? Not
# `width`.</details>
# <details><summary>Hint 3</summary>A step on the grid is `p` pixels.</details>


# %%
def corner(n, width, p):
    raise NotImplementedError("exercise 01.2")


check("01.2", corner)

# %% [markdown]
# **01.3** (difficulty 2, 8 minutes) Other programs keep the three colours of a
# pixel together. Write their `cut`: `[B, C, H, W]` becomes `[B, N, p p C]`, patches
# in row-major order, pixels in row-major order inside a patch, channels innermost.
#
# <details><summary>Hint 1</summary>Start like `cut`: `H` is `h, p` and `W` is
# `w, p`. Now there are six dimensions.</details>
# <details><summary>Hint 2</summary>Which of the six belong to the sequence?
# They come first, after `B`.</details>
# <details><summary>Hint 3</summary>The channels move from the second place to the
# last.</details>


# %%
def to_patches(x, p):
    raise NotImplementedError("exercise 01.3")


check("01.3", to_patches)

# %% [markdown]
# **01.4** (difficulty 3, 8 minutes) And back: `[B, N, p p C]` and the grid `h`, `w`
# become `[B, C, h p, w p]`. If it goes wrong, you see what you made.
#
# <details><summary>Hint 1</summary>Undo the last step of the way there first.
# </details>
# <details><summary>Hint 2</summary>Before the last reshape, `h` must stand
# right before its `p`, and `w` right before its own.</details>


# %%
def to_picture(patches, h, w, p):
    raise NotImplementedError("exercise 01.4")


check("01.4", to_picture)

# %% [markdown]
# **01.5** (difficulty 4, 10 minutes) Change the design: a network was trained
# on colour, and you have X-ray pictures with one channel. From its kernels
# `[D, 3, p, p]` make kernels `[D, 1, p, p]` such that a grey picture gives the
# tokens that its three-fold copy (R = G = B) would have given. Then explain to
# yourself what the new network cannot tell apart.
#
# <details><summary>Hint 1</summary>Write the token of a patch as a sum over the
# three channels. What do the three terms share?</details>
# <details><summary>Hint 2</summary>(a + b + c) times g.</details>


# %%
def grey_kernels(weight):
    raise NotImplementedError("exercise 01.5")


check("01.5", grey_kernels)

# %%
print(progress("01"))

# %% [markdown]
# ## Recap
#
# - You counted: 224 x 224 pixels are 196 patches of 16, and half the patch size
#   means 16 times the pairs.
# - You cut and pasted: `reshape`, `permute`, `reshape`, and nothing is lost.
# - You showed that loop, view, unfold, convolution and `PatchEmbed` agree.
# - You found patch `n` in row `n // w`, column `n % w`.
# - You measured the loss: a narrow matrix cannot tell all pictures apart, but
#   photographs fill few directions.
#
# Next, lesson 02: who else sits in the sequence beside the patches?

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2 and
#   Table 2: patch size 16, and what else changed since DINOv2.
# - Official code: `dinov3/layers/patch_embed.py`, class `PatchEmbed`; here
#   `dinolite/layers/patch_embed.py`.
# - ViT, [arXiv 2010.11929](https://arxiv.org/abs/2010.11929), "An Image is Worth
#   16x16 Words": where patches as words come from. Read it for its figure of
#   trained kernels, and compare with our two rows.
