# %% [markdown]
# # 19 Seeing features
#
# **What does it see?** You look into a trained network in six ways, and next to
# every picture stands the same network untrained.

# %% [markdown]
# A picture of features convinces at once. But an untrained net makes fine ones,
# too.
#
# After this lesson you can
#
# - draw attention of every layer, head and register, and read its scale,
# - compute attention rollout, and name what it leaves out,
# - make PCA colours with a foreground step, and test it,
# - match patches of two views, and find out why,
# - draw a film strip whose colours do not flip.
#
# | | |
# |---|---|
# | you need | lessons 04, 06, 18 |
# | time | 45 minutes |
# | module | `lessons/dinolite_course/figures/` |
# | official | `notebooks/pca.ipynb` |
# | paper | DINOv3 Sec. 6.1.1, Figs. 3, 6, 13; DINO Sec. 4.2.2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import explore
from dinolite.data.demo_pictures import photographs, scenes
from dinolite.eval import features, segmentation
from dinolite.models import pretrained
from dinolite_course import check, explorer, figures as viz, progress
from dinolite_course.measures import correspondence
from sklearn import decomposition

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("19")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "see features" is lit; it stands at the end,
# behind the trained backbone.*
#
# ## What we look at, and with what
#
# The weights that come with the course: a ViT of width 64 with 4 layers, 2 heads,
# 2 [registers](GLOSSARY.md#register) and patches of 8 pixels, trained on parts of
# sixteen grey photographs. Beside it the same net as it was before the first
# step.

# %%
F = torch.nn.functional
trained = pretrained.load("dinolite_tiny")
untrained = pretrained.untrained_twin(trained)  # the start of its run
nets = {"untrained": untrained, "trained": trained}
HOW = {"mean": (0.5,) * 3, "std": (0.2,) * 3}  # the pixels it was trained on
for net in nets.values():
    net.requires_grad_(False)

# %% [markdown]
# Five photographs. Four of them were in the training; the rocket was not, it
# lies unused beside them. All are made grey, since this net knows nothing else.

# %%
whole = photographs.photographs()  # sixteen
rocket = photographs.photograph_path("chelsea").with_name("rocket.jpg")
whole["rocket"] = torch.tensor(plt.imread(rocket)).permute(2, 0, 1)


def square(name, side):  # the middle, grey, [1, 3, side, side]
    grey = features.square(whole[name], side).float().mean(1, keepdim=True)
    return grey.expand(-1, 3, -1, -1).to(torch.uint8)


NAMES = ["chelsea", "coffee", "coins", "camera", "rocket"]
images = torch.cat([square(name, 256) for name in NAMES])
seen = torch.cat([square(name, 64) for name in NAMES])  # small, for figures
pixels = features.preprocess(images, **HOW)  # what the nets read


def patches_of(images):  # {name: [n, D, h, w]}
    raw = {"raw pixels": segmentation.pixel_patches(images, 8)}
    return raw | {
        name: features.extract_patches(net, images, **HOW)
        for name, net in nets.items()
    }


patches = patches_of(images)
print("images", list(images.shape))
for name, x in patches.items():
    print(name, list(x.shape))

# %% [markdown]
# ## The failure first: a fine picture from a net that knows nothing
#
# The famous colours: [PCA](GLOSSARY.md#pca) of the patch vectors, three
# components as red, green and blue. Three sources, no names. Which one is
# trained?

# %%
chosen = [1, 3, 4]  # cup, man, rocket
some = [x[chosen] for x in patches.values()]
letters = dict(zip("ABC", some, strict=True))
viz.pca_figure(seen[chosen], letters, width=4)
plt.show()

# %% [markdown]
# *Figure: three grey photographs, a cup, a man with a camera, a rocket; below them
# three rows of coloured patches. Cup, man and rocket are plain to see in all three
# rows. A and B are speckled, C has softer shades.*
#
# A is raw pixels, B untrained, C trained. Who had only B in a talk would believe
# that it finds objects. What do the colours show? We correlate the first component of
# each picture with the mean brightness of its patches (of either sign).

# %%
light = F.avg_pool2d(images[:, :1].float(), 8).flatten(1)  # [5, 1024]
first = {name: viz.first_component(x) for name, x in patches.items()}
for name, z in first.items():
    pairs = zip(z.flatten(1), light, strict=True)
    r = [torch.corrcoef(torch.stack(p))[0, 1].abs() for p in pairs]
    print(f"{name:10} all above 0.7:", bool(min(r) > 0.7))

# %% [markdown]
# Mostly brightness, in all three. No training is needed for that, and training did not
# change it. So this lesson has one rule: **every picture beside its control, and
# where it matters, a number.**

# %% [markdown]
# ## Attention of all heads in all layers
#
# `get_attention_maps` (lesson 04) gives [attention
# maps](GLOSSARY.md#attention-map) [B, h, T, T] per layer; T counts 1 CLS, 2 registers
# and 1024 patches. We take the row of CLS and lay its last 1024 numbers out as 32
# x 32.

# %%
LAYERS, GRID = range(4), (32, 32)
attentions = {  # of the cat and the rocket
    name: net.get_attention_maps(pixels[[0, 4]], LAYERS)
    for name, net in nets.items()
}
print(len(attentions["trained"]), list(attentions["trained"][0].shape))
cat = {name: [m[0] for m in maps] for name, maps in attentions.items()}
viz.layers_figure(seen[0], cat, GRID, width=5)
plt.show()

# %% [markdown]
# *Figure: the cat, and where CLS looks, in four rows: two heads untrained, two
# trained; four columns, one per layer; 2.1 is layer 2, head 1. Untrained maps are
# flat, max 1.0 or 1.1.
# Trained maps have few bright places, other ones in each: the bridge of the nose
# in layer 1 of head 0, eyes in layer 3, scattered spots in layer 2.*
#
# *max* counts in even shares: 1 means that the favourite patch gets 1/1027, what each
# of 1027 tokens would get from an even look.

# %%
for name, maps in attentions.items():
    top = [1027 * m[:, :, 0, 3:].amax().item() for m in maps]  # per layer
    print(f"{name:9} largest share above 1.5: {[t > 1.5 for t in top]}")
    print(f"{'':9} largest share above 10:  {[t > 10 for t in top]}")

# %% [markdown]
# The trained net chooses, and heads choose differently. Whether what they choose
# *matters* is another question, and comes below.
#
# > DINO: heads of the last layer attend to different parts of a scene, and their
# > maps outline objects, in nets trained on over a million pictures (DINO Sec.
# > 4.2.2).
#
# This one has seen parts of sixteen.

# %% [markdown]
# ## What do registers look at?

# %%
last = {name: maps[-1][0] for name, maps in attentions.items()}
viz.prefix_attention_figure(seen[0], last, GRID, width=4.2)
plt.show()

# %% [markdown]
# *Figure: the cat, and the last layer's attention of CLS, register 0 and register
# 1, mean of heads. Untrained: flat. Trained: all three look at the eyes and the
# nose; the registers also at fur.*
#
# And who looks at *them*? A patch that looked evenly would give the two
# registers 2 of 1027 shares.

# %%
for name, maps in attentions.items():
    given = maps[-1][:, :, 3:, 1:3].sum(dim=-1).mean()  # last layer
    print(f"{name:9} clearly less than even: {bool(given < 0.8 * 2 / 1027)}")

# %% [markdown]
# Registers were invented for large nets that lack a place for global notes. In ours,
# patches of the last layer hardly read what stands there.
#
# ## Are there outliers?
#
# > In large models a few patches get vectors of huge length, in the middle layers,
# > after a third of the training; they lie where patches repeat their neighbours.
# > With registers they vanish (Registers Sec. 2.1 and 3.2, Figs. 4 and 7; DINOv3 App.
# > A.1).
#
# We look for them: length of every patch vector, before the final norm, by
# layer, in units of the layer's median.

# %%
norms = {}
for name, net in nets.items():
    raw = net.get_intermediate_layers(pixels, LAYERS, norm=False)
    norms[name] = [x.norm(dim=-1).flatten() for x in raw]  # each [5120]
    far = [(n > 3 * n.median()).float().mean().item() for n in norms[name]]
    print(f"{name:9} above 3 medians, under 1 %: {[f < 0.01 for f in far]}")
    print(f"{'':9} none at all:                {[f == 0 for f in far]}")
panels = {
    f"layer {i}": {name: x[i] / x[i].median() for name, x in norms.items()}
    for i in LAYERS
}
viz.histogram_figure(panels, "length / median", 0, 6, limit=3)
plt.show()

# %% [markdown]
# *Figure: four histograms, one per layer, counts on a logarithmic scale. The
# untrained net ends at 2.4 medians in all layers. The trained one has a tail to 4
# medians in layer 0; then it gets shorter, and in layer 3 it ends below 2.*
#
# An honest answer: no outliers in the last layer, with 2 registers and 4 layers.
# We cannot show what registers prevent, for we have no net of this size without
# them, and the paper finds the artefact in large models only.

# %% [markdown]
# ## Where did it come from? By hand: rollout for three tokens
#
# A map of layer 3 says where CLS looks *in layer 3*. But its patches have
# listened to others in layers 0 to 2. [Attention
# rollout](GLOSSARY.md#attention-rollout) follows what is handed on.
#
# Tokens CLS, a, b. In layer 0, a looks at b alone, the others at themselves. In
# layer 1, CLS looks at a alone. Every token also keeps itself, by the [residual
# connection](GLOSSARY.md#residual-connection); rollout counts that as one half:
# $(A + I)/2$.
#
# After layer 0, a is half a, half b. After layer 1, CLS is half itself, half of
# that: **1/2 CLS, 1/4 a, 1/4 b.** A quarter from b, at which it never looked.

# %%
A0 = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])  # row = who looks
A1 = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
I3 = torch.eye(3)
steps = {"layer 0": (A0 + I3) / 2, "layer 1": (A1 + I3) / 2}
steps["rollout"] = steps["layer 1"] @ steps["layer 0"]
assert torch.equal(steps["rollout"][0], torch.tensor([0.5, 0.25, 0.25]))
assert A1[0, 2] == 0  # layer 1 alone: nothing from b
viz.matrix_figure(steps, side=0.5)
plt.show()

# %% [markdown]
# *Figure: three matrices of 3 x 3: the two layers, halved with the identity, and
# their product. Its first row reads 0.50, 0.25, 0.25.*
#
# ## Rung 1: a loop over paths
#
# From an input token j to an output token i: by way of any token k of the layer
# between. Multiply along the path, add all paths.


# %%
def rollout_loops(maps):  # a list of [T, T]
    T = len(maps[0])
    shares = torch.eye(T)
    for A in maps:
        longer = torch.zeros(T, T)
        for i in range(T):
            for j in range(T):
                for k in range(T):
                    step = (A[i, k] + (i == k)) / 2
                    longer[i, j] += step * shares[k, j]
        shares = longer
    return shares


assert torch.equal(rollout_loops([A0, A1]), steps["rollout"])

# %% [markdown]
# ## Rung 2: matrices, rung 3: heads
#
# The sum over k is a matrix product. The later layer stands at the left, since
# rows are those who receive. Heads: their mean, one more thing that rollout
# assumes.


# %%
def rollout(maps):  # a list of [h, T, T]
    shares = torch.eye(maps[0].shape[-1])
    for A in maps:
        shares = (A.mean(dim=0) + torch.eye(len(shares))) / 2 @ shares
    return shares


torch.manual_seed(0)
toy = [torch.randn(2, 5, 5).softmax(dim=-1) for _ in range(3)]
torch.testing.assert_close(
    rollout(toy), rollout_loops([A.mean(dim=0) for A in toy])
)
theirs = viz.attention_rollout([A[None] for A in toy])  # [1, 5, 5]
torch.testing.assert_close(rollout(toy), theirs[0])
print("package", list(theirs.shape), "equal; rows sum to 1:", end=" ")
print(torch.allclose(theirs.sum(dim=-1), torch.tensor(1.0)))
print(inspect.getsource(viz.attention_rollout).split('"""')[2])

# %% [markdown]
# ## Does it matter where it looks? We hide it and see
#
# The test of any such map: *hide* the patches it names, and measure how far CLS
# moves (1 - cosine). The net knows the [mask token](GLOSSARY.md#mask-token) from
# its training, so we use it. A tenth of the patches: those with the largest
# rollout, those with the smallest, and, ten times, random ones.


# %%
def cls_change(net, x, hidden):  # hidden [m, N]
    before = net(x, is_training=True)["x_norm_clstoken"]  # [1, D]
    many = x.expand(len(hidden), -1, -1, -1)
    after = net(many, masks=hidden, is_training=True)["x_norm_clstoken"]
    return 1 - F.cosine_similarity(before, after)  # [m]


def tenths(scores, draw):  # [N] -> [12, N]: top, bottom, ten random ones
    chance = torch.rand(10, len(scores), generator=draw)
    rows = torch.cat([scores[None], -scores[None], chance])
    chosen = rows.topk(len(scores) // 10, dim=1).indices
    return torch.zeros(rows.shape, dtype=torch.bool).scatter(1, chosen, True)


draw = torch.Generator().manual_seed(0)
small = F.avg_pool2d(images.float(), 2)
small = features.preprocess(small, **HOW, value_range=(0, 255))
moved = {name: [] for name in nets}
for name, net in nets.items():
    for x in small.split(1):  # [1, 3, 128, 128]
        maps = net.get_attention_maps(x, LAYERS)
        flow = viz.attention_rollout(maps)[0, 0, 3:]  # [256]
        moved[name].append(cls_change(net, x, tenths(flow, draw)))
    top, low, *random = torch.stack(moved[name]).mean(dim=0)  # over pictures
    random = torch.stack(random).mean()
    print(f"{name:9} top / low {top / low:.1f}", end=", ")
    print(f"top / random {top / random:.1f}")

# %% [markdown]
# So in the trained net rollout points at something that counts: its top moves CLS
# nine times as far as its bottom. In the untrained net the two are nearly the same.
#
# And the finest question, patch by patch? We hide each of 256 patches alone and
# compare the ranks.


# %%
def rank(x):
    return x.argsort(dim=-1).argsort(dim=-1).float()


net, shown = nets["trained"], [0, 2, 4]  # cat, coins, rocket
rows = {"last layer": [], "rollout": [], "hiding": [], "untrained": []}
for x in small[shown].split(1):
    maps = net.get_attention_maps(x, LAYERS)
    rows["last layer"].append(maps[-1][0, :, 0, 3:].mean(dim=0))
    rows["rollout"].append(viz.attention_rollout(maps)[0, 0, 3:])
    rows["hiding"].append(cls_change(net, x, torch.eye(256) > 0))
    maps = nets["untrained"].get_attention_maps(x, LAYERS)
    rows["untrained"].append(viz.attention_rollout(maps)[0, 0, 3:])
rows = {name: torch.stack(values) for name, values in rows.items()}
for name in ["last layer", "rollout"]:
    pairs = zip(rank(rows[name]), rank(rows["hiding"]), strict=True)
    r = [torch.corrcoef(torch.stack(p))[0, 1].item() for p in pairs]
    print(f"{name:10} rank correlation", [round(c, 1) for c in r])
maps = {name: values.view(3, 16, 16) for name, values in rows.items()}
pictures = {"": seen[shown]}
viz.rows_figure(pictures | maps, width=4.5, scale="positive")
plt.show()

# %% [markdown]
# *Figure: cat, coins and rocket; below each, maps of 16 x 16. Last layer: the
# cat's eyes, a band of coins, the sky around the rocket. Rollout: lower corners
# of the cat, one patch at the left edge of the coins, lamps under the rocket.
# Hiding: an eye and the corners, that same patch of the coins, the lamps. Rollout
# of the untrained net: one flat colour.*

# %% [markdown]
# Rollout found the one patch of the coins on which CLS hangs, the last layer did
# not. But it also misses an eye. As an order of all patches it is middling, and the
# last layer is worse.
#
# ## Predict, then run: a net without conversation
#
# We make a copy of the trained net and set the last matrix of every attention
# layer, `proj`, to zero. Now no token hands anything to another. Which share
# of CLS does rollout assign to the patches? And what does CLS really know of
# the picture?

# %%
silent = pretrained.load("dinolite_tiny").requires_grad_(False)
for block in silent.blocks:
    block.attn.proj.weight.zero_()
    block.attn.proj.bias.zero_()
x = small[:1]
flow = viz.attention_rollout(silent.get_attention_maps(x, LAYERS))[0, 0]
print("rollout: more than 0.8 from patches:", bool(flow[3:].sum() > 0.8))
out = silent(small, is_training=True)["x_norm_clstoken"]  # [5, 64]
print("CLS the same for all five pictures:", bool((out == out[:1]).all()))

# %% [markdown]
# Rollout says: most of CLS comes from the picture. The truth: nothing. It
# reads only who *looks*. What is handed over, the values and `proj`, the FFN, and
# how long a vector is beside the residual, it does not know.
#
# > **Watch out.** Rollout tells which routes are open, not what travels on them.
# > Where it matters, hide and measure.

# %% [markdown]
# ## Which patches are like this one?
#
# Now the vectors themselves. Choose a patch and ask for the cosine to all
# patches, in this picture and in others. `similarity_map` subtracts the mean
# patch first; a mistake below shows why.

# %%
ROW, COLUMN = 10, 9
some = {name: x[[0, 3]] for name, x in patches.items()}
viz.similarity_figure(seen[[0, 3]], some, ROW, COLUMN, width=3)
plt.show()

# %% [markdown]
# *Figure: cat and man, a patch of the cat's eye marked orange; below, cosines from
# orange, -1, over white to purple, 1. Raw pixels and untrained: whatever is dark is
# purple, in both pictures. Trained: much of the cat is purple; the man is pale, the
# sky orange.*
#
# Who is right? One thing can be counted. For a fifth of all patches, take the
# ten most alike ones, neighbours nearer than five patches left out. How many are
# from the same photograph? By chance about one in five.

# %%
n = torch.arange(5 * 1024)
photo, row, column = n // 1024, n % 1024 // 32, n % 32
asked = n[::5]
near = (row[asked, None] - row).abs() <= 4
near &= (column[asked, None] - column).abs() <= 4
near &= photo[asked, None] == photo  # [1024, 5120]
for name, x in patches.items():
    x = x.permute(0, 2, 3, 1).flatten(0, 2)  # [5120, D]
    x = F.normalize(x - x.mean(dim=0), dim=1)
    cosine = (x[asked] @ x.T).masked_fill(near, -2)
    found = photo[cosine.topk(10, dim=1).indices]
    same = (found == photo[asked, None]).float().mean(dim=1)  # [1024]
    new = same[photo[asked] == 4].mean()  # the rocket
    print(f"{name:10} {100 * same.mean():.0f} %, rocket {100 * new:.0f} %")

# %% [markdown]
# That is what training did to patches: they know to which photograph they
# belong, even the rocket's, which it never saw (there the untrained net was good,
# too). It fits the game: crops of one picture must agree. It shows in numbers, hardly
# in the picture.

# %% [markdown]
# ## Two views: does a patch find itself again?
#
# A [correspondence](GLOSSARY.md#correspondence) is a pair of patches that show
# the same thing in two pictures. We cut two views out of a photograph; the cut
# is ours, so we know the right answer. A pair counts if each is the other's
# [nearest neighbour](GLOSSARY.md#nearest-neighbour). It is right if it lies at
# most one patch off.


# %%
def match(name, one, two):
    photo = square(name, 384)[0]
    a = correspondence.cut_view(photo, 192, **one)
    b = correspondence.cut_view(photo, 192, **two)
    both = patches_of(torch.stack([a.picture, b.picture]))
    found = {
        source: correspondence.match_views(a, b, x[0], x[1])
        for source, x in both.items()
    }
    return a, b, found


one, two = {"zoom": 1.5}, {"zoom": 1.5, "shift": (0.07, 0.04)}
a, b, found = match("chelsea", one, two)
pair = {name: found[name].pairs() for name in nets}
left, right = (v.picture[:, 1::3, 1::3] for v in (a, b))  # small
viz.correspondences_figure(left, right, pair, (24, 24), every=6, width=5)
plt.show()

# %% [markdown]
# *Figure: two views of the cat, side by side, for the untrained net and for the
# trained one, with lines between patches that chose each other: green is right,
# orange wrong. One pair in six is drawn; above stand the right ones / all. Trained:
# nearly twice as many, and more of them green and level.*
#
# Here is how two patches choose each other, and the count over nine photographs:
# for all patches whose place is inside both views, the share whose nearest
# neighbour is right.

# %%
source = inspect.getsource(correspondence.mutual_neighbours)
print(source.split('"""')[2])
MORE = [*NAMES, "astronaut", "china", "flower", "motorcycle_left"]


def right_share(one, two):
    hits = {}
    for name in MORE:
        for source, m in match(name, one, two)[2].items():
            hits.setdefault(source, []).append(m.right[m.visible])
    return {source: torch.cat(h).float().mean() for source, h in hits.items()}


for source, share in right_share(one, two).items():
    print(f"{source:10} {100 * share:.0f} % right")

# %% [markdown]
# Twice as many as the controls! Before you put this into a paper: **predict.**
# Mirror the second view, left to right. And: move the windows so far apart that
# their common part lies at the right of one and at the left of the other.

# %%
games = {
    "mirrored": ({"zoom": 1.6}, {"zoom": 1.6, "mirror": True}),
    "far apart": (
        {"zoom": 2, "shift": (-0.2, 0)},
        {"zoom": 2, "shift": (0.22, 0.03)},
    ),
}
for game, (first_view, second_view) in games.items():
    shares = right_share(first_view, second_view)
    words = [f"{name} {100 * share:.0f} %" for name, share in shares.items()]
    print(f"{game:9}", ", ".join(words))

# %% [markdown]
# Most of the gain is gone, in the second game all of it. Before, the right patch was
# near the *same place*, and the net knows places (RoPE, lesson 03). It was right for
# the wrong reason. Where the place does not help, raw pixels do about as well.
#
# > DINOv3 is measured on pairs of real photographs of one thing from different
# > sides (DINOv3 Sec. 6.1.3, App. D.3). There the place in the picture is no help.

# %% [markdown]
# ## The foreground step, explained
#
# How are PCA pictures made with objects on black? Three steps:
#
# 1. Fit a PCA to all patches of a picture, and keep component 1.
# 2. Cut at 0. A component has no sign of its own: we say that the side which
#    owns most of the border is background. The rest is
#    [foreground](GLOSSARY.md#foreground).
# 3. Fit a second PCA to the foreground only. Its three components are colours;
#    background is black.
#
# Why twice? The strongest direction of all is spent on object against
# background; left out, three colours are free for differences *within* objects.

# %%
some = {name: patches[name][2:] for name in nets}
viz.foreground_figure(seen[2:], some, width=3.3)
plt.show()

# %% [markdown]
# *Figure: coins, man, rocket; then for each net the first component, purple above 0
# and orange below, and the colours of what counts as foreground, the rest black.
# Untrained: coins, man and rocket come out whole. Trained: the table, not the coins;
# the man with the meadow; the ground around the rocket.*
#
# The untrained net wins this beauty contest. Is it foreground, or brightness?
#
# Drawn scenes have true masks. We count the
# overlap (intersection over union, as in mIoU, lesson 18) of step 2 with the
# truth. Beside it what the official notebook does instead: a linear *classifier*,
# trained on pictures with masks: here 32 scenes. All are tested on 32 others.

# %%
drawn = scenes.make_scenes(64, seed=10, size=128)
grey = drawn.images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1)
truth = (drawn.masks > 0).long()  # [64, 128, 128]
for name, x in patches_of(grey.to(torch.uint8)).items():
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
every = truth[32:].float().mean()
print(f"all foreground: {100 * every:.0f} %")

# %% [markdown]
# The first component finds no objects here, trained or not: calling *everything*
# foreground is hardly worse. The classifier finds them, and far better on trained
# features. So the features *know* it; their strongest
# direction is about something else. The first component is a recipe known from
# pictures of DINOv2; DINOv3's notebook no longer relies on it.
#
# > **Watch out.** The notebook loads that classifier from a file that another
# > notebook must write first: one reason why readers cannot redraw the figure.

# %% [markdown]
# ## My PCA colours flip
#
# Fit a PCA anew and a colour may turn into its opposite: -z is as good a
# component as z. Two cures. **One PCA over all pictures** you want to compare.
# And over training time, where one PCA cannot serve, since every step has
# features of its own: turn the three axes of each step so that they agree with
# the next step's as well as possible.

# %% [markdown]
# ## A film strip
#
# One run at five steps of its training: a [film
# strip](GLOSSARY.md#film-strip). It is a second run of the same recipe and seed by
# slightly newer code; after thousands of steps tiny differences in rounding make
# another net.

# %%
film = {"step 0": nets["untrained"]}
for step in [500, 1000, 2000, 6000]:
    film[f"step {step}"] = pretrained.load(f"dinolite_tiny_step{step:05d}")
strip = {
    name: features.extract_patches(net, images, **HOW)
    for name, net in film.items()
}
some = {name: x[chosen] for name, x in strip.items()}
viz.film_figure(seen[chosen], some, width=4.2)
plt.show()

# %% [markdown]
# *Figure: cup, man and rocket, then their colours at steps 0, 500, 1000, 2000 and
# 6000. From 500 on the rim stays yellow, the man mostly blue. The colours also drift
# smoothly, over saucer, meadow and sky alike, most of all at 1000 and 2000.*
#
# At first brightness and edges. Then colours begin to run across a whole picture,
# whatever lies there. What is that? Predict, then measure: which share of the
# variance can be computed from row and column alone (these, their squares and their
# product)? Raw pixels are the control.

# %%
y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
place = torch.stack([y**0, y, x, y * y, x * x, x * y], dim=-1).flatten(0, 1)
place = place.repeat(5, 1)  # [5120, 6]
for name, f in {"pixels": patches["raw pixels"], **strip}.items():
    f = f.permute(0, 2, 3, 1).flatten(0, 2)  # [5120, 64]
    f = f - f.mean(dim=0)
    rest = f - place @ torch.linalg.lstsq(place, f).solution
    share = 1 - rest.square().sum() / f.square().sum()
    print(f"{name:9} {100 * share:.0f} % of the variance is the place")

# %% [markdown]
# It is the *place*: learned by step 2000, mostly given up by the end, when the share
# is near that of raw pixels. Without the strip we would not have asked. (Six numbers
# only see smooth drift; the mirror asked about all of it.)

# %% [markdown]
# ## The explorer
#
# Your turn. Move the patch with `row` and `column`, choose `picture` (0 to 2),
# `layer` (counted from 1 here) and what to `view`; `head` counts for attention alone.
# Or load a picture of your own: it stays in memory and is `picture` 3.

# %%
eyes = {"trained": explore.NetSource(nets["trained"], **HOW, grey=True)}
eyes["untrained"] = explore.NetSource(nets["untrained"], **HOW, grey=True)
eyes["raw pixels"] = explore.PixelSource(8, grey=True)
shown = {name: whole[name] for name in ["chelsea", "camera", "rocket"]}
explorer.patch_explorer(shown, eyes, width=600)

# %% [markdown]
# *Figure: controls; below them cat, man and rocket, then how alike every patch is to
# the chosen one (blue frame): to raw pixels, to the untrained and to the trained net,
# all on one scale. White frames: what the trained net finds most alike in each.*
#
# Things to try: the man's lawn; an eye; layer 1; `groups`; `attention`, within one
# picture. Which row answers "bright or dark", and which "fur"? In a terminal,
# `dinolite explore` opens the same as a page, where you point at the patch, and a
# slider shows it after 100, 500, ... 6,000 steps of training.
#
# ## Against someone else
#
# The official notebook uses scikit-learn's PCA with `whiten=True`, on the
# foreground. Ours must be the same, up to the signs. The official colours are
# sigmoid(2 z); ours go from the 2 % quantile of a component to its 98 % quantile.

# %%
keep = viz.foreground_mask(patches["trained"])  # [5, 32, 32]
mine = viz.pca_rgb(patches["trained"], keep)  # [5, 3, 32, 32]
x = patches["trained"].permute(0, 2, 3, 1)[keep].double().numpy()
theirs = decomposition.PCA(3, whiten=True, svd_solver="full").fit_transform(x)
z = mine.permute(0, 2, 3, 1)[keep].double()  # colours
theirs = torch.tensor(theirs)
low, high = theirs.quantile(torch.tensor([0.02, 0.98]).double(), dim=0)
theirs = ((theirs - low) / (high - low)).clamp(0, 1)
flipped = (z - theirs).abs().sum(dim=0) > (z + theirs - 1).abs().sum(dim=0)
theirs = torch.where(flipped, 1 - theirs, theirs)
print("foreground patches", list(x.shape), "colours", list(mine.shape))
print("equal up to signs:", torch.allclose(z, theirs, atol=1e-3))

# %% [markdown]
# ## Common mistakes
#
# **A map that does not fit its grid.** Take all tokens but CLS for patches, and
# the registers are in the way. A question often asked about DINOv2 with its four:
# why 845 numbers for 841 patches?

# %% tags=["raises-exception"]
row_of_cls = attentions["trained"][-1][0, 0, 0]  # [T]
row_of_cls[1:].view(32, 32)

# %% [markdown]
# Count from the end: `row_of_cls[-1024:]`. (Lesson 04 shows what happens to those
# who take the first 1024 instead: no error.)
#
# **A PCA per picture.** Colours then mean something else in each. The coins'
# picture twice, once fitted alone, once together with the others:

# %%
together = viz.pca_rgb(patches["trained"])[2]
alone = viz.pca_rgb(patches["trained"][2:3])[0]
print("mean difference of colours above 0.1:", end=" ")
print(bool((together - alone).abs().mean() > 0.1))

# %% [markdown]
# **Cosine without the mean taken away.** What all patches share counts as
# likeness. For raw pixels, two random patches:

# %%
torch.manual_seed(0)
x = patches["raw pixels"].permute(0, 2, 3, 1).flatten(0, 2)
i, j = torch.randint(len(x), (2, 1000))
print(f"as it is {F.cosine_similarity(x[i], x[j]).mean():.2f}", end=", ")
x = x - x.mean(dim=0)
print(f"mean taken away {F.cosine_similarity(x[i], x[j]).mean():.2f}")

# %% [markdown]
# ## What was measured, and what not
#
# One small net of one run, on few pictures. Brightness, hiding and neighbours: five
# photographs, four of them from its training. Ranks: three. Matches: nine, eight of
# them from its training. Foreground: 32 drawn scenes. Place: five photographs, and a
# second run. A few per cent more or less mean nothing here. Maps, colours and the
# explorer show single examples. On DINOv3 itself nothing was measured.

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
# - You drew all heads and registers in even shares: a trained net chooses,
#   untrained maps are flat.
# - You multiplied rollout by hand. It names patches that count, and is blind to
#   what is handed over.
# - You made PCA colours with a foreground step. Here it cuts by brightness; a
#   classifier finds the objects.
# - You matched views. The gain went with the place, as a mirror showed.
# - You drew a film whose colours stay, and saw the place come and go.
#
# Some of what a net sees can get lost again while it trains. Lesson 20 asks why,
# and what to do.

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
