# %% [markdown]
# # 19 Seeing features
#
# **What does it see?** Today you look into a trained network: groups of patches,
# patches that are alike, colours, attention, and how all of it came about. Next to
# every picture stand the same network untrained, and no network at all.

# %% [markdown]
# People come to DINO for its pictures. Here you learn to draw them, to say with a
# number how good they are, and not to be fooled by them.
#
# After this lesson you can
#
# - find groups of patches in whole photographs, and judge them,
# - ask which patches are like a chosen one, and count how often that is right,
# - draw PCA colours, attention, and a film over training,
# - name four things that look like seeing and are not,
# - compute attention rollout, and name what it leaves out.
#
# | | |
# |---|---|
# | you need | lessons 04, 06, 18 |
# | time | 60 minutes |
# | module | `dinolite/viz/` |
# | official | `notebooks/pca.ipynb` |
# | paper | DINOv3 Sec. 6.1.1, Figs. 3, 6, 13; DINO Sec. 4.2.2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures import scenes
from dinolite.eval import features, segmentation
from dinolite.models import pretrained
from dinolite.viz import attention, film, groups, pca, similarity
from dinolite_course import check, explorer, figures as viz, progress
from dinolite_course.measures import correspondence, regions
from sklearn import decomposition

# %% [markdown]
# ## What we look at, and with what
#
# The weights that come with the course: a ViT of width 64 with 4 layers, 2 heads,
# 2 [registers](GLOSSARY.md#register) and patches of 8 pixels. It was trained in 26
# minutes, on parts of sixteen grey photographs, without a label. Beside it the same
# net before its first step, and the plain pixels of each patch.
#
# We show it 21 photographs at 384 pixels, so 48 x 48 patches each: the sixteen, and
# five that it never saw. On all of them somebody has drawn regions by hand (*suit*,
# *meadow*, *cup*), which is how we can count.

# %%
F = torch.nn.functional
trained = pretrained.load("dinolite_tiny")
untrained = pretrained.untrained_twin(trained)  # the start of its run
nets = {"untrained": untrained, "trained": trained}
HOW = {"mean": (0.5,) * 3, "std": (0.2,) * 3}  # the pixels it was trained on
for net in nets.values():
    net.requires_grad_(False)
drawn = regions.labelled()  # photographs, and which region each patch is in
PHOTOS, LABELS = list(drawn.photos), drawn.labels  # [21, 48, 48], -1 = none
squares = [features.square(x, 384) for x in drawn.photos.values()]
images = features.as_grey(torch.cat(squares))


def patches_of(images):  # {name: [n, D, h, w]}
    found = {"pixels": segmentation.pixel_patches(images, 8)}
    for name, net in nets.items():
        found[name] = features.extract_patches(
            net, images, **HOW, batch_size=4
        )
    return found


patches = patches_of(images)
print("photographs", list(images.shape))
for name, x in patches.items():
    print(f"{name:11} {list(x.shape)}")

# %% [markdown]
# ## Groups of patches
#
# Let us ask the simplest question first: *which patches belong together?* We take
# all patches of six photographs and let [k-means](GLOSSARY.md#k-means) (lesson 18)
# put them into eight groups. It gets no place, no name, no label.
#
# Which six? Always those with the most regions, a rule that knows no result
# ([how examples are chosen](../docs/pictures.md)).

# %%
SIX = [PHOTOS.index(name) for name in regions.shown_photographs(6)]
six = {name: x[SIX] for name, x in patches.items()}
found = {name: groups.patch_groups(x, 8) for name, x in six.items()}
nmi = {
    name: 100 * regions.agreement(g, LABELS[SIX]).nmi
    for name, g in found.items()
}
a, b, c = nmi.values()
title = "Groups agree with hand-drawn regions:"
title += f" pixels {a:.0f}, untrained {b:.0f}, trained {c:.0f} %"
groups.groups_figure(images[SIX], found, 8, title).set_dpi(84)
plt.show()

# %% [markdown]
# *Figure: six photographs; below them the groups, one colour for one group in all
# of them. Pixels and the untrained net know bright, dark and edge. The trained net
# has a group for meadow and suit, one for sky, one for dark cloth, two for fur.*

# %% [markdown]
# There it is! Look at the meadow behind the man: to pixels it is the sky, since
# both are light grey. Only the trained net gives it a colour of its own. And fur is
# fur, whether a patch of it is light or dark.
#
# The numbers in the title are NMI, *normalised mutual information*: 0 % if the group
# tells nothing about the region, 100 % if each tells the other. How are the groups
# made? Mean off, a little smoothing, length 1, k-means:

# %%
source = inspect.getsource(groups.patch_groups).split('"""')[2]
print(source[source.index("    x = patches") :])

# %% [markdown]
# ## Which patches are like this one?
#
# Now you choose. Take one patch and ask for its
# cosine to all others (`similarity_map` subtracts
# the mean patch first; a mistake below shows why). An easy patch would be a dark
# one: "dark" answers that. So we ask for what grey values cannot know, and take
# from each of the six the *most textured* region, and from it the middle patch.
#
# **Predict:** for which of the six will the trained net fail?

# %%
keys, asked = [], []
for i in SIX:
    label = regions.most_textured_region(LABELS[i], images[i])
    keys.append((i, label))
    asked.append(regions.central_patch(LABELS[i], label))
maps, words, each = {}, {}, {}
for name, x in patches.items():
    maps[name] = torch.stack(
        [
            similarity.similarity_map(x, *patch, picture=i)[i]
            for (i, _), patch in zip(keys, asked, strict=True)
        ]
    )
    each[name] = regions.similarity_auc(x, LABELS)  # of all regions
    words[name] = [
        f"{drawn.names[key[1]]} {100 * each[name][key]:.0f} %" for key in keys
    ]
a, b, c = (100 * sum(e[k] for k in keys) / 6 for e in each.values())
title = "The framed patch finds its region:"
title += f" pixels {a:.0f}, untrained {b:.0f}, trained {c:.0f} %"
viz.queries_figure(images[SIX], maps, asked, title, 9, words).set_dpi(80)
plt.show()

# %% [markdown]
# *Figure: six photographs, a patch framed in each; below, what is like it, from
# dark (not at all) to bright. Pixels and untrained: wherever it is as bright. Trained:
# the meadow, the fur and most of the pagoda; flag and wheel hardly.*

# %% [markdown]
# Ask for grass, and you get grass, where pixels and the untrained net light up the
# sky as well. The numbers are AUC, *area under the curve*: take one other patch of
# the region and one from outside; how often is the first one more like the framed
# patch? (Averaged over all framed patches of the region.) Flag, wheel and wood stay
# nearer to chance: perhaps the pattern is too large for patches of 8 pixels.

# %% [markdown]
# ## How good is that? All regions, all photographs
#
# Six examples are a look. Here is the count, over all 63 regions: on the sixteen
# photographs, on those of their parts that no training window touched, and on the
# five that it never saw. And one more player, *place alone*: it knows the row and
# the column of a patch and nothing of the picture.

# %%
each["place alone"] = regions.similarity_auc(regions.place(21), LABELS)
patches_and_place = patches | {"place alone": regions.place(21)}
clear = drawn.parts()["untouched"]
print("AUC, %      sixteen  untouched  never seen")
for name, x in patches_and_place.items():
    mean = x.mean(dim=(0, 2, 3))
    parts = regions.similarity_auc(x[:16], clear[:16], mean=mean)
    columns = [
        [v for (i, _), v in each[name].items() if i < 16],
        list(parts.values()),
        [v for (i, _), v in each[name].items() if i >= 16],
    ]
    row = [100 * sum(c) / len(c) for c in columns]
    print(f"{name:11} {row[0]:7.0f} {row[1]:10.0f} {row[2]:11.0f}")

# %% [markdown]
# Ten points above the untrained net, in all three columns, and also where it had
# never been. So it is no mere memory of these photographs. Keep *place alone* in mind, we shall come back to it.
#
# ## Colours: PCA of the patches
#
# The most famous picture of all: three components of a
# [PCA](GLOSSARY.md#pca) become red, green and blue. One PCA over all photographs,
# so a colour means the same in each; the scale goes from the 2 % quantile to the
# 98 % quantile, so a few odd patches cannot wash out the rest.

# %%
auc, three = [], {name: x[:3] for name, x in six.items()}
for x in three.values():
    some = regions.similarity_auc(pca.pca_rgb(x), LABELS[SIX[:3]])
    auc.append(100 * sum(some.values()) / len(some))
a, b, c = auc
title = "Three colours tell regions apart:\n"
title += f"pixels {a:.0f}, untrained {b:.0f}, trained {c:.0f} %"
pca.pca_figure(images[SIX[:3]], three, title, 3.8)
plt.show()

# %% [markdown]
# *Figure: the first three of the six, then their colours. Pixels and untrained:
# dark is pink, light is blue-green, sky and meadow alike. Trained: meadow and suit
# are green, the sky runs from pink to red, dark cloth is nearly black.*
#
# Careful here: the upper rows are fine pictures, too, with crisper edges. A talk
# that shows only the second row would convince you that an untrained net finds
# objects. It finds *bright* and *dark*, and that we can measure: the correlation of
# each photograph's first component with the brightness of its patches.

# %%
light = F.avg_pool2d(images[SIX, :1].float(), 8).flatten(1)  # [6, 2304]
for name, x in six.items():
    first = viz.first_component(x).flatten(1)
    pairs = zip(first, light, strict=True)
    r = [torch.corrcoef(torch.stack(p))[0, 1].abs() for p in pairs]
    print(f"{name:10} {sum(r) / 6:.2f}, from {min(r):.2f} to {max(r):.2f}")

# %% [markdown]
# So even in the trained net the *first* colour is mostly brightness. What was
# learned is in the others. This is why this lesson has one rule: **every picture
# beside its control, and a number.**

# %% [markdown]
# ## Where does CLS look?
#
# `get_attention_maps` (lesson 04) gives [attention
# maps](GLOSSARY.md#attention-map) [B, h, T, T] per layer; T counts 1 CLS, 2
# registers and 2304 patches. We take the row of CLS and lay its last 2304 numbers
# over the photograph, here over the cat of lessons 03 to 05.

# %%
LAYERS, GRID = range(4), (48, 48)
CAT = PHOTOS.index("chelsea")
pixels = features.preprocess(images[CAT : CAT + 1], **HOW)  # what nets read
attentions = {
    name: net.get_attention_maps(pixels, LAYERS) for name, net in nets.items()
}
print(len(attentions["trained"]), list(attentions["trained"][0].shape))
last = {name: maps[-1][0] for name, maps in attentions.items()}
T = 1 + 2 + 48 * 48
a, b = (T * x[:, 0, 3:].max().item() for x in last.values())
title = f"The favourite patch: {a:.1f} even shares, trained {b:.0f}"
attention.attention_figure(images[CAT], last, GRID, title=title, width=8)
plt.gcf().set_dpi(80)
plt.show()

# %% [markdown]
# *Figure: the cat, then the last layer's attention of CLS over it, as mean and
# head by head. Untrained: even everywhere. Trained: both eyes, the nose and the
# stripes of the forehead; head 0 fills the eyes, head 1 draws their rims.*
#
# Nobody told this net what an eye is. (Why eyes? A guess, not tested: they are what
# tells crops of this photograph from crops of the others.)
#
# And in the other layers? And who looks at the *registers*, which were invented as
# a place for notes about the whole picture?

# %%
for name, maps in attentions.items():
    top = [f"{T * m[0, :, 0, 3:].max():.1f}" for m in maps]
    given = maps[-1][0, :, 3:, 1:3].sum(dim=-1).mean()
    print(f"{name:9} favourite patch, layers 0 to 3: {', '.join(top)}")
    print(f"{'':9} patches to registers: {T * given / 2:.2f} even shares")

# %% [markdown]
# > **The paper, in our words** (DINO Sec. 4.2.2): heads of the last layer attend to
# > different parts of a scene, and their maps outline objects, in nets trained on
# > over a million pictures. This one has seen parts of sixteen.
#
# Large nets without registers show a few bright specks here that mean nothing:
# patches with vectors of huge length (Registers Sec. 2.1; DINOv3 App. A.1). We
# look for them, in units of the median length:

# %%
for name, net in nets.items():
    raw = net.get_intermediate_layers(pixels, LAYERS, norm=False)
    norms = [x.norm(dim=-1) for x in raw]
    longest = [f"{(n.max() / n.median()).item():.1f}" for n in norms]
    print(f"{name:9} longest patch, layers 0 to 3: {', '.join(longest)}")

# %% [markdown]
# The trained net's patches are the more even ones: in the last layer none is twice
# as long as the median. What registers prevent we cannot show: the paper finds the
# specks in large models only.

# %% [markdown]
# ## A film: how it came to see
#
# The weights lie in the repository after many steps of one run (a second one of the
# same recipe). Here are four of them, as a [film strip](GLOSSARY.md#film-strip). The
# groups and colours of each step are turned so that they agree with the next step as
# well as possible: else colours would flip, since -z is as good a component as z.
#
# We watch the cat again, and its fur.

# %%
strip = {"step 0": patches["untrained"][SIX]}
for step in [500, 2000, 6000]:
    net = pretrained.load(f"dinolite_tiny_step{step:05d}")
    strip[f"step {step}"] = features.extract_patches(
        net, images[SIX], **HOW, batch_size=4
    )
HERE = SIX.index(CAT)
seen = {}
for name, x in strip.items():
    auc = regions.similarity_auc(x, LABELS[SIX])
    seen[name] = 100 * auc[HERE, keys[HERE][1]]
a, *_, c = seen.values()
title = f"Fur finds fur: {a:.0f} % at first, {c:.0f} % at the end"
print(", ".join(f"{name}: {v:.0f} %" for name, v in seen.items()))
film.film_figure(images[SIX], strip, asked[HERE], 8, HERE, title, 8)
plt.gcf().set_dpi(84)
plt.show()

# %% [markdown]
# *Figure: groups, what is like the framed patch, and colours; columns are steps of
# training. At first light and dark fur are strangers; at the end fur is one group,
# eye and nose are others. At step 2000 all follows the place: above and below.*
#
# You can see it learn: light and dark stripes become one cat. But look at step 2000.
# What is like the framed patch is the *upper half* of the picture. No fur has an
# upper half! That takes us to the second half of this lesson.

# %% [markdown]
# ## What fools you, 1: the place
#
# *Place alone* had 87 % on the sixteen, more than the trained net! Regions are
# compact, so "near" is nearly always right. A net that only knew *where* a patch is
# would draw fine maps. Is that what our net does? We compute which share of the
# variance comes from row and column alone (these, their squares and their product).

# %%
y, x = torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 2, indexing="ij")
where = torch.stack([y**0, y, x, y * y, x * x, x * y], dim=-1).flatten(0, 1)
where = where.repeat(6, 1)  # [13824, 6]
for name, f in {"pixels": six["pixels"], **strip}.items():
    f = f.permute(0, 2, 3, 1).flatten(0, 2)  # [13824, D]
    f = f - f.mean(dim=0)
    rest = f - where @ torch.linalg.lstsq(where, f).solution
    share = 1 - rest.square().sum() / f.square().sum()
    print(f"{name:9} {100 * share:.0f} % of the variance is the place")

# %% [markdown]
# The place is learned by step 2000 and mostly given up again by the end. Without
# the film we would not have asked.
#
# A sharper test: two views of one photograph. A patch should find *itself* in the
# other view, a [correspondence](GLOSSARY.md#correspondence). We cut the views, so
# we know the right answer; right is at most one patch off.

# %%
SIDE = 192


def right_share(one, two):
    hits = {}
    for i in SIX:
        a, b = (
            correspondence.cut_view(images[i], SIDE, **view)
            for view in (one, two)
        )
        both = patches_of(torch.stack([a.picture, b.picture]))
        for name, x in both.items():
            m = correspondence.match_views(a, b, x[0], x[1])
            hits.setdefault(name, []).append(m.right[m.visible])
    return {name: torch.cat(h).float().mean() for name, h in hits.items()}


near = {"zoom": 1.5}, {"zoom": 1.5, "shift": (0.07, 0.04)}
for name, share in right_share(*near).items():
    print(f"{name:10} {100 * share:.0f} % right")

# %% [markdown]
# A great gain! Before you put this into a paper: **predict** what happens if the
# second view is *mirrored*, left to right. And if the windows are so far apart
# that their common part lies at the right of one and at the left of the other.

# %%
games = {
    "mirrored": ({"zoom": 1.6}, {"zoom": 1.6, "mirror": True}),
    "far apart": (
        {"zoom": 2, "shift": (-0.2, 0)},
        {"zoom": 2, "shift": (0.22, 0.03)},
    ),
}
for game, views in games.items():
    shares = right_share(*views)
    row = [f"{name} {100 * share:.0f} %" for name, share in shares.items()]
    print(f"{game:9}", ", ".join(row))

# %% [markdown]
# Mirrored, most of the gain is gone; far apart, the trained net is behind. In the
# first game the right patch was near the *same place*, and the net knows places
# (RoPE, lesson 03): it was right for the wrong reason. It knows what *kind* of thing
# a patch shows, not which one it is. So we draw no lines between the views: fine
# lines would show the wrong thing.
#
# > DINOv3 is measured on pairs of real photographs of one thing from different
# > sides (DINOv3 Sec. 6.1.3, App. D.3). There the place in the picture is no help.

# %% [markdown]
# ## What fools you, 2: the average
#
# Ten points on average, but for which regions? The six that gained most, and the
# six that lost most:

# %%
gain = {k: v - each["untrained"][k] for k, v in each["trained"].items()}
order = sorted(gain, key=lambda k: -gain[k])
print(f"{'AUC, %':34} pixels  untrained  trained")
for i, label in order[:6] + order[-6:]:
    row = [100 * each[name][i, label] for name in patches]
    name = f"{PHOTOS[i]}, {drawn.names[label]}"
    print(f"{name:34} {row[0]:6.0f} {row[1]:10.0f} {row[2]:8.0f}")

# %% [markdown]
# What gained has *texture*: gland, meadow, flower, towers. What lost is *plain*:
# sky, cup, cloth. There grey values are right, and the trained features drift across
# the smooth area, so a sky is cut in two. A reason may be that windows without
# contrast were left out of the training; that was not tested.
#
# ## What fools you, 3: it knows the photograph
#
# Groups over several photographs may be groups *of* photographs. How well do the
# trained groups agree with the regions, against a player who knows nothing but
# which photograph a patch is from? And what is left inside a photograph?

# %%
found["which photograph"] = torch.arange(6)[:, None, None].expand(6, 48, 48)
print("NMI, %            over all  in a photograph")
for name, g in found.items():
    both = regions.agreement(g.contiguous(), LABELS[SIX])
    row = 100 * both.nmi, 100 * both.nmi_in_picture
    print(f"{name:17} {row[0]:8.0f} {row[1]:16.0f}")

# %% [markdown]
# The ignorant player wins the first column. Most of what the groups know is *which
# photograph*, and that fits the game: two crops of one picture must agree. Within a
# photograph there is a gain, but a smaller one. For all figures, three seeds and
# every photograph see [docs/pictures.md](../docs/pictures.md).

# %% [markdown]
# ## What fools you, 4: the foreground
#
# You may know PCA pictures with objects on black. The recipe: cut the first
# component at 0, call the side that owns most of the border background, and fit a
# second PCA to the [foreground](GLOSSARY.md#foreground). The official notebook
# uses a *classifier* instead, trained on pictures with masks. We test both on drawn
# scenes with true masks; the overlap is intersection over union.

# %%
drawings = scenes.make_scenes(64, seed=10, size=128)
truth = (drawings.masks > 0).long()  # [64, 128, 128]
for name, x in patches_of(features.as_grey(drawings.images)).items():
    probe = segmentation.segmentation_probe(
        x[:32], truth[:32], x[32:], truth[32:]
    )
    mask = viz.foreground_mask(x[32:])  # [32, 16, 16]
    mask = F.interpolate(mask[:, None].float(), 128)[:, 0] > 0
    both = (mask & (truth[32:] > 0)).sum() / (mask | (truth[32:] > 0)).sum()
    print(
        f"{name:10} first component {100 * both:.0f} %,",
        f"classifier {100 * probe.per_class[1]:.0f} %",
    )
print(f"everything is foreground: {100 * truth[32:].float().mean():.0f} %")

# %% [markdown]
# The first component finds no objects here, trained or not: calling *everything*
# foreground is hardly worse. The classifier finds them, best on trained features.
# So the features know it; their strongest direction is about something else.

# %% [markdown]
# ## The explorer
#
# Your turn. Move the patch with `row` and `column`, choose `picture`, `layer`
# (counted from 1), `step` of training and what to `view`; `head` counts for attention
# alone. Or load a picture of your own: it stays in memory and comes last.

# %%
shown = {n: drawn.photos[n] for n in ["astronaut", "camera", "chelsea"]}
explorer.patch_explorer(shown, width=380)  # 900 is better to look at

# %% [markdown]
# *Figure: controls; below them three photographs, then what is like the chosen
# patch (blue frame), a piece of the spacesuit, to raw pixels, to the untrained and
# to the trained net, on one scale. White frames: the most alike in each.*
#
# Things to try: the man's lawn; an eye; layer 1; `groups`; `attention`; step 100.
# Which row answers "bright or dark", and which "fur"? In a terminal, `dinolite
# explore` opens the same as a page where you point at the patch.

# %% [markdown]
# ## For the curious: attention rollout
#
# A map of layer 3 says where CLS looks *in layer 3*. But its patches have listened
# to others before. [Rollout](GLOSSARY.md#attention-rollout) follows what is handed
# on: in each layer a token is half itself (the residual), half what it looks at,
# $(A + I)/2$, and the layers are multiplied.
#
# <details><summary>By hand, for three tokens</summary>
#
# Tokens CLS, a, b. In layer 0, a looks at b alone, the others at themselves. In
# layer 1, CLS looks at a alone. After layer 0, a is half a, half b. After layer 1,
# CLS is half itself, half of that: 1/2 CLS, 1/4 a, 1/4 b. A quarter from b, at which
# it never looked.
# </details>

# %%
A0 = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])  # row = who looks
A1 = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
by_hand = (A1 + torch.eye(3)) / 2 @ (A0 + torch.eye(3)) / 2
shares = viz.attention_rollout([A0[None, None], A1[None, None]])[0]
assert torch.equal(shares, by_hand)
print("CLS (C) is made of", dict(zip("Cab", shares[0].tolist(), strict=True)))
print(inspect.getsource(viz.attention_rollout).split('"""')[2])

# %% [markdown]
# Does it matter where it looks? *Hide* the tenth of the patches with the largest
# rollout, the tenth with the smallest, and measure how far CLS moves (1 - cosine).
# The net knows the [mask token](GLOSSARY.md#mask-token) from its training. Then
# the same rollout in a copy whose tokens hand nothing over: every `proj` is zero.


# %%
def cls_change(net, x, hidden):  # hidden [m, N]
    before = net(x, is_training=True)["x_norm_clstoken"]  # [1, D]
    many = x.expand(len(hidden), -1, -1, -1)
    after = net(many, masks=hidden, is_training=True)["x_norm_clstoken"]
    return 1 - F.cosine_similarity(before, after)  # [m]


small = features.preprocess(features.scaled(images[SIX], 128), **HOW)
for name, net in nets.items():
    moved = []
    for x in small.split(1):  # [1, 3, 128, 128]
        flow = viz.attention_rollout(net.get_attention_maps(x, LAYERS))
        flow = flow[0, 0, 3:]  # [256]
        chosen = torch.stack([flow, -flow]).topk(25, dim=1).indices
        hidden = torch.zeros(2, 256, dtype=torch.bool)
        moved.append(cls_change(net, x, hidden.scatter(1, chosen, True)))
    top, low = torch.stack(moved).mean(dim=0)
    print(f"{name:9} hiding the top moves CLS {top / low:.1f} x the bottom")
silent = pretrained.load("dinolite_tiny").requires_grad_(False)
for block in silent.blocks:
    block.attn.proj.weight.zero_()
    block.attn.proj.bias.zero_()
flow = viz.attention_rollout(silent.get_attention_maps(small[:1], LAYERS))
out = silent(small, is_training=True)["x_norm_clstoken"]  # [6, 64]
print(f"silent net: {100 * flow[0, 0, 3:].sum():.0f} % of CLS from patches,")
print(f"CLS of six photographs differs by {(out - out[:1]).abs().max():.0f}")

# %% [markdown]
# In the trained net rollout points at something that counts. But in the silent net
# it claims that CLS comes from the picture, while CLS is the same for every
# photograph. Rollout tells which routes are open, not what travels on them.

# %% [markdown]
# ## Against someone else
#
# The official notebook uses scikit-learn's PCA with `whiten=True`. Ours must be the
# same, up to the signs. The official colours are sigmoid(2 z), ours go from
# quantile to quantile, so we scale theirs alike.

# %%
mine = pca.pca_rgb(six["trained"]).permute(0, 2, 3, 1).flatten(0, 2).double()
x = six["trained"].permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
theirs = decomposition.PCA(3, whiten=True, svd_solver="full").fit_transform(x)
theirs = torch.tensor(theirs)
low, high = theirs.quantile(torch.tensor([0.02, 0.98]).double(), dim=0)
theirs = ((theirs - low) / (high - low)).clamp(0, 1)
as_is, flipped = (
    (mine - theirs).abs().amax(0),
    (mine + theirs - 1).abs().amax(0),
)
off = torch.minimum(as_is, flipped).max()
assert off < 1e-3
print("patches", list(x.shape), f"largest difference {off:.3f}")

# %% [markdown]
# ## Common mistakes
#
# **A map that does not fit its grid.** Take all tokens but CLS for patches, and
# the registers are in the way. A question often asked about DINOv2 with its four:
# why 845 numbers for 841 patches?

# %% tags=["raises-exception"]
row_of_cls = attentions["trained"][-1][0, 0, 0]  # [T]
row_of_cls[1:].view(48, 48)

# %% [markdown]
# Count from the end: `row_of_cls[-2304:]`. (Lesson 04 shows what happens if you
# take the first 2304 instead: no error.)
#
# **A PCA per picture.** Colours then mean something else in each. The first
# photograph, once fitted alone, once together with the others; colours go from 0
# to 1:

# %%
together = pca.pca_rgb(six["trained"])[0]
alone = pca.pca_rgb(six["trained"][:1])[0]
print(f"mean difference of colours {(together - alone).abs().mean():.2f}")

# %% [markdown]
# **Cosine without the mean taken away.** What all patches share counts as
# likeness. For raw pixels, two random patches:

# %%
torch.manual_seed(0)
x = patches["pixels"].permute(0, 2, 3, 1).flatten(0, 2)
i, j = torch.randint(len(x), (2, 1000))
print(f"as it is {F.cosine_similarity(x[i], x[j]).mean():.2f}", end=", ")
x = x - x.mean(dim=0)
print(f"mean taken away {F.cosine_similarity(x[i], x[j]).mean():.2f}")

# %% [markdown]
# ## What was measured, and what not
#
# One small net of one run. Regions: 63, drawn by one person, on 21 photographs, of
# which five were never seen. Groups, colours, views, film and rollout: six
# photographs, all of them from its training. Attention: one cat. Foreground: 32
# drawn scenes. Two or three points mean nothing here. On DINOv3 itself nothing was
# measured.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/19.py`.
#
# **19.1** (difficulty 1, 3 minutes) `attention` is [h, T, T] of a net with some
# registers. Return the maps of CLS on the grid, [h, rows, columns].
#
# <details><summary>Hint 1</summary>CLS is token 0; rows ask.</details>
# <details><summary>Hint 2</summary>Patches are the last rows x columns tokens,
# row by row.</details>


# %%
def cls_maps(attention, rows, columns):
    raise NotImplementedError("exercise 19.1")


check("19.1", cls_maps)

# %% [markdown]
# **19.2** (difficulty 2, 6 minutes) `patches` is [N, D]. Return the cosine [N] of
# each with patch number `k`, the mean patch taken away first.
#
# <details><summary>Hint 1</summary>Mean over patches, then length 1.</details>
# <details><summary>Hint 2</summary>`F.normalize(x, dim=1)`, then a
# product.</details>


# %%
def likeness(patches, k):
    raise NotImplementedError("exercise 19.2")


check("19.2", likeness)

# %% [markdown]
# **19.3** (difficulty 3, 8 minutes) Rollout, but from *behind*: return the shares
# [T] of the input tokens in CLS, without any product of two matrices. `maps` is a
# list of [h, T, T], first layer first.
#
# <details><summary>Hint 1</summary>Only one row of the product is wanted, that
# of CLS.</details>
# <details><summary>Hint 2</summary>Start with the row of the last layer and go
# back: row @ matrix.</details>
# <details><summary>Hint 3</summary>Each matrix is the mean of heads, plus I,
# halved.</details>


# %%
def cls_rollout(maps):
    raise NotImplementedError("exercise 19.3")


check("19.3", cls_rollout)

# %% [markdown]
# **19.4** (difficulty 3, 8 minutes) `similarity` is [N, M], patches of view a by
# patches of view b. Return all mutual pairs (number in a, number in b) as [P, 2], in
# order of the patches of a.
#
# <details><summary>Hint 1</summary>Best of each row, best of each
# column.</details>
# <details><summary>Hint 2</summary>i chooses j. Whom does j
# choose?</details>


# %%
def mutual_pairs(similarity):
    raise NotImplementedError("exercise 19.4")


check("19.4", mutual_pairs)

# %% [markdown]
# **19.5** (difficulty 4, 12 minutes) Change the design: a foreground step for a
# dark *and* a bright object on grey. `z` [h, w] is the first component, of any
# sign; the border is background. Return True where z is further from the median
# of the border than `times` standard deviations of the border. Why can no cut
# at 0 do that?
#
# <details><summary>Hint 1</summary>Collect the border: first and last row, first
# and last column, each patch once.</details>
# <details><summary>Hint 2</summary>Further: to either side.</details>


# %%
def both_sides(z, times):
    raise NotImplementedError("exercise 19.5")


check("19.5", both_sides)

# %%
print(progress("19"))

# %% [markdown]
# ## Recap
#
# - You found groups of patches without labels, and judged them by regions drawn by
#   hand: 26, 28 and 47 %.
# - You asked for grass and got grass; over all regions the net gains ten points, and
#   also on photographs that it never saw.
# - You drew colours, attention and a film, each beside its control.
# - You named what fools you: the place, an average that hides plain areas, knowing
#   the photograph, and a foreground that is brightness.
# - You computed rollout: it shows open routes, not what travels on them.
#
# Some of what a net sees can get lost again while it trains. [Lesson
# 20](20_gram.ipynb) asks why, and what to do.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104): Sec. 6.1.1 and
#   Fig. 13, PCA; Fig. 3 and 6, similarity; Sec. 6.1.3, correspondences; App. A.1,
#   outliers.
# - Vision Transformers Need Registers,
#   [arXiv 2309.16588](https://arxiv.org/abs/2309.16588): Sec. 2.1 and 3.4. Read
#   it for its detective work.
# - Abnar and Zuidema, Quantifying Attention Flow in Transformers,
#   [arXiv 2005.00928](https://arxiv.org/abs/2005.00928): rollout.
# - Official code: `notebooks/pca.ipynb`, `notebooks/foreground_segmentation.ipynb`.
