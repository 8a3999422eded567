# %% [markdown]
# # 13 KoLeo
#
# **How to keep features apart?** You write a loss that knows no pictures and no
# labels: each feature is pushed away from the one nearest to it.

# %% [markdown]
# DINO and iBOT read what comes out of the heads. After training the heads are
# thrown away, and you keep the features. Who looks after those?
#
# After this lesson you can
#
# - compute KoLeo of four points by hand, and draw the push on each,
# - write it as a loop and as matrices, and check its gradient,
# - explain a value of 12 at the start, a value below zero, and inf,
# - say why the two crops of a picture never meet in it,
# - name what it does not prevent.
#
# | | |
# |---|---|
# | you need | lessons 06, 07, 09, 10 |
# | time | 40 minutes |
# | module | `dinolite/loss/koleo_loss.py` |
# | official | `loss/koleo_loss.py`: `KoLeoLoss`, `KoLeoLossDistributed` |
# | paper | DINOv2 Sec. 4, "KoLeo regularizer"; DINOv3 Sec. 3.2, Eq. (1) |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures import photographs
from dinolite.layers import dino_head
from dinolite.loss import koleo_loss
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("13")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "KoLeo" is lit, below the two other losses. No
# arrow is drawn to it: it reads the student ViT, before the heads.*
#
# ## Windows and an untrained net
#
# 48 small windows, cut from sixteen photographs, and the ViT of lesson 06 with
# two blocks. Nobody trained it. Its [CLS](GLOSSARY.md#cls-token) features are
# our material.

# %%
F = torch.nn.functional
KoLeoLoss = koleo_loss.KoLeoLoss
images, labels = photographs.make_windows(48, "train", seed=0)
pictures = (images / 255 - 0.5) / 0.25


def make_net(layerscale):
    torch.manual_seed(0)
    size = {"patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}
    ViT = vision_transformer.DinoVisionTransformer
    return ViT(**size, n_storage_tokens=4, layerscale_init=layerscale)


with torch.no_grad():
    cls = make_net(1.0)(pictures)
print("windows", list(images.shape), "CLS features", list(cls.shape))

# %% [markdown]
# ## The failure first
#
# Squeeze the features: shrink them to a hundredth and add 1 to every number.
# They now form a thin bundle that points one way. A head can undo this in its
# first layer, with weights a hundred times as large and another bias.


# %%
def cosines(x):
    x = F.normalize(x, dim=1)
    return x @ x.T


squeezed = 1 + 0.01 * cls
torch.manual_seed(0)
head = dino_head.DINOHead(64, 32, 3, 64, 32, last_layer_std=1.0)
other = dino_head.DINOHead(64, 32, 3, 64, 32)
other.load_state_dict(head.state_dict())
with torch.no_grad():
    first = other.mlp[0]
    first.bias -= 100 * first.weight.sum(dim=1)
    first.weight *= 100
    same = torch.allclose(head(cls), other(squeezed), atol=0.02)
print("same scores for 32 prototypes:", same)
print(f"mean cosine: before {cosines(cls).mean():.2f}", end=", ")
print(f"squeezed {cosines(squeezed).mean():.2f}")

# %% [markdown]
# Equal scores, so equal DINO loss, and [Sinkhorn](GLOSSARY.md#sinkhorn-knopp)
# sees nothing either. DINO, iBOT and Sinkhorn look behind the head. In front of it the
# features may crowd together and nobody minds. You will: stored in 16 bits, the
# bundle no longer tells who is near whom.


# %%
def nearest(x):
    """For each feature, which other one is nearest? [B, D] -> [B]."""
    return cosines(x).fill_diagonal_(-2).argmax(dim=1)


for name, x in {"before": cls, "squeezed": squeezed}.items():
    kept = (nearest(x) == nearest(x.bfloat16())).sum()
    print(f"{name:9} found again: over half {bool(kept > 24)}", end=", ")
    print(f"under a tenth {bool(kept < 5)}")

# %% [markdown]
# ## What do we ask for?
#
# That the features of a batch lie evenly on the sphere. Only their direction
# counts, so they are first scaled to length 1. Then each feature $x_i$ looks for
# its [nearest neighbour](GLOSSARY.md#nearest-neighbour), at distance $d_i$, and
#
# $$\text{KoLeo} = -\frac1n \sum_i \log d_i.$$
#
# Near neighbours cost much, far ones little or less than nothing.

# %% [markdown]
# > KoLeo makes the features of a batch spread evenly. It comes from an estimate
# > of differential entropy by Kozachenko and Leonenko, hence the name. (DINOv2
# > Sec. 4)
#
# Differential entropy says how spread out points are: low for a bundle, highest
# where every place is equally likely.
#
# Why the nearest one only? If it is far away, all are. And evenly spread means:
# nobody has a near neighbour.

# %% [markdown]
# ## By hand: four points on a circle
#
# Features of width 2 live on a circle. Those at the angles 0, 60, 150 and 270
# degrees are
#
# $$A = (1, 0),\; B = (\tfrac12, \tfrac{\sqrt3}2),\;
# C = (-\tfrac{\sqrt3}2, \tfrac12),\; D = (0, -1).$$
#
# Two points 60 degrees apart have distance 1, with 90 degrees $\sqrt2$. So
#
# | point | nearest | distance $d$ | $\log d$ |
# |---|---|---|---|
# | A | B | 1 | 0 |
# | B | A | 1 | 0 |
# | C | B | $\sqrt2$ | 0.35 |
# | D | A | $\sqrt2$ | 0.35 |
#
# KoLeo $= -(0 + 0 + 0.35 + 0.35) / 4 = -0.17$.


# %%
def on_circle(angles):
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


four = on_circle(torch.tensor([0.0, 60.0, 150.0, 270.0]).deg2rad())
assert nearest(four).tolist() == [1, 0, 1, 0]  # B, A, B, A
by_hand = -(2 * torch.tensor(2.0).sqrt().log()) / 4
longer = 3 * four  # scaled back to length 1 inside
torch.testing.assert_close(KoLeoLoss()(longer), by_hand)
print(f"features {list(four.shape)}, KoLeo {by_hand:.2f}")

# %% [markdown]
# C calls B its nearest, but B prefers A. *Nearest* is not mutual.

# %% [markdown]
# ## By hand: who is pushed where?
#
# Take the term of A, $-\frac14 \log |A - B|$. Downhill, it moves A straight away
# from B, and B away from A, with strength $\frac14 \cdot 1/d$. **The nearer, the
# harder.**
#
# A occurs in three terms: its own, that of B, and that of D, who calls A its
# nearest. Strength $1/d$ along $(A - D)/d$ is $(A - D)/d^2$, with $d^2 = 2$ for D:
#
# $$\tfrac14\Big(2\,\frac{A - B}{1} + \frac{A - D}{2}\Big) = (0.375, -0.308).$$
#
# The first number would make the feature longer, and length does not count.
# What stays is the part along the circle: $(0, -0.308)$, away from B.

# %%
x = four.clone().requires_grad_()
KoLeoLoss()(x).backward()
push = -x.grad  # [4, 2]
A, B, _, D = four
whole = (2 * (A - B) / 1 + (A - D) / 2) / 4
along = whole - (whole @ A) * A  # without the part along A
torch.testing.assert_close(along, push[0])
assert torch.allclose((push * four).sum(dim=1), torch.zeros(4), atol=1e-6)
for name, (a, b) in zip("ABCD", push.tolist(), strict=True):
    print(f"push on {name}: ({round(a, 4) + 0}, {round(b, 4) + 0})")
viz.circle_figure(
    {"nearest neighbour": four, "push": four},
    links={"nearest neighbour": nearest(four)},
    arrows={"push": 2 * push},
)
plt.show()

# %% [markdown]
# *Figure: the four points on the circle, twice. Left, an arrow from each to its
# nearest: A and B point at each other, C at B, D at A. Right, the push on each,
# drawn twice as long: A and B are pushed apart along the circle, C away from B
# and D away from A, into the wide gap between C and D.*
#
# Behind A stands D, behind B stands C, and each pushes back a little. So A and B
# part, but less fast than alone.

# %% [markdown]
# ## Rung 1: a loop
#
# Every feature measures the way to all *others* and keeps the shortest.


# %%
def koleo_loop(x):
    unit = [row / row.norm() for row in x]
    logs = []
    for i, a in enumerate(unit):
        ways = [(a - b).norm() for j, b in enumerate(unit) if j != i]
        logs.append(torch.stack(ways).min().log())
    return -torch.stack(logs).mean()


torch.testing.assert_close(koleo_loop(four), by_hand)
print("features", list(cls.shape), f"KoLeo {koleo_loop(cls):.4f}")

# %% [markdown]
# ## Rung 2: matrices
#
# All distances at once, `[B, B]`. On the diagonal stands everybody's distance to
# itself, 0: it is made infinite, so that nobody finds itself.


# %%
def koleo_cdist(x):
    x = F.normalize(x, dim=1)
    own = torch.eye(len(x), dtype=torch.bool)
    ways = torch.cdist(x, x).masked_fill(own, torch.inf)  # [B, B]
    return -ways.min(dim=1).values.log().mean()


torch.testing.assert_close(koleo_cdist(cls), koleo_loop(cls))
print(f"KoLeo {koleo_cdist(cls):.4f}")

# %% [markdown]
# ## Rung 3: search first, then measure
#
# For unit vectors $|a - b|^2 = 2 - 2\,a \cdot b$: the nearest one has the largest
# dot product. So one cheap matrix product finds it, and only `B` distances are
# measured. The search needs no gradient: its result is an index. `nearest` above
# is this search.


# %%
def my_koleo(x):
    x = F.normalize(x, dim=1)
    with torch.no_grad():
        index = nearest(x)  # [B]
    way = (x - x[index]).norm(dim=1)  # [B]
    return -way.log().mean()


torch.testing.assert_close(my_koleo(cls), koleo_loop(cls))
print(inspect.getsource(KoLeoLoss.forward))
torch.testing.assert_close(my_koleo(cls), KoLeoLoss()(cls))
print(f"equal, {KoLeoLoss()(cls):.4f}")

# %% [markdown]
# The same steps as yours. `search_group` returns the features among which to
# search; on one machine that is the batch, so `G = B`. `scatter_` writes -2 on
# the diagonal. New are `topk`, the `eps` and the `.float()`; more of each below.
#
# **The gradient, numerically.** `gradcheck` moves each number a little and
# compares, in 64 bits. And because `near` is *not* behind the
# [stop-gradient](GLOSSARY.md#stop-gradient), the neighbour is pushed, too:

# %%
x = cls[:6].double().requires_grad_()
assert torch.autograd.gradcheck(my_koleo, x)
y = cls[:6].clone().requires_grad_()
mine = torch.autograd.grad(my_koleo(x), x)[0]  # [6, D]
package = torch.autograd.grad(KoLeoLoss()(y), y)[0]
torch.testing.assert_close(mine.float(), package, rtol=1e-3, atol=1e-5)
print("gradient", list(package.shape), "numerically right, equal")

# %% [markdown]
# ## Let the points go
#
# No pictures now, only points, and KoLeo alone. Each step follows the gradient,
# then brings the points back to length 1.


# %%
def let_go(start, steps):
    x = start.clone().requires_grad_()
    adam = torch.optim.Adam([x], betas=(0.5, 0.9))
    path, loss = [start], KoLeoLoss()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        adam.zero_grad()
        loss(x).backward()
        adam.step()
        with torch.no_grad():
            x.copy_(F.normalize(x, dim=1))
        path.append(x.detach().clone())
    return torch.stack(path)  # [steps + 1, n, D]


def crowd(n, D):
    torch.manual_seed(0)
    return F.normalize(torch.eye(D)[0] + 0.3 * torch.randn(n, D), dim=1)


def even(n):
    return on_circle(torch.arange(n) * 2 * torch.pi / n)


paths = {n: let_go(crowd(n, 2), 100) for n in [12, 3, 4, 6, 8, 16]}
for n, path in paths.items():
    gap = KoLeoLoss()(path[-1]) - KoLeoLoss()(even(n))
    print(f"{n:2} points, nearly even: {bool(gap < 0.15)}")
path = paths[12]
torch.manual_seed(1)
random = on_circle(2 * torch.pi * torch.rand(12))
shown = {"before": path[0], "after": path[-1], "random": random}
viz.circle_figure(shown)
plt.show()

# %% [markdown]
# *Figure: twelve points on three circles. Before: crowded at the right. After
# 100 steps of KoLeo: all around, with nearly equal gaps. Random: pairs that
# almost touch, and wide gaps.*
#
# No point knows the circle, each flees one neighbour, and yet the whole becomes
# even. Choose a number of points and a step:


# %%
def draw(points, step):
    path = paths[points]
    now = f"step {step}, KoLeo {KoLeoLoss()(path[step]):.2f}"
    best = f"even, KoLeo {KoLeoLoss()(even(points)):.2f}"
    link = {now: nearest(path[step])}
    return viz.circle_figure({now: path[step], best: even(points)}, link)


viz.explore(draw, points=list(paths), step=(0, 100, 5, 10))

# %% [markdown]
# *Figure: a choice of the number of points, a slider for the step, and two
# circles: the points at this step with arrows to their nearest, and as many
# points at equal gaps.*
#
# ## Predict, then run: is random even?
#
# **Predict.** A hundred points on a sphere, in random directions. Evenly spread?
# Is KoLeo of the random ones lower or higher than after KoLeo's own work?

# %%
crowded = crowd(100, 3)
spread = let_go(crowded, 100)[-1]
torch.manual_seed(1)
random = F.normalize(torch.randn(100, 3), dim=1)
gain = KoLeoLoss()(random) - KoLeoLoss()(spread)
print("random costs more, by over 0.5:", bool(gain > 0.5))
viz.sphere_figure({"crowded": crowded, "random": random, "KoLeo": spread})
plt.show()

# %% [markdown]
# *Figure: 100 points on a sphere, above its front, below its back. Crowded: in
# one region. Random: clumps and holes. KoLeo: everywhere, each with room around
# it.*
#
# Random is uneven: chance makes clumps, and KoLeo feels each.
#
# **Predict again.** Sixteen random directions. How far is the nearest one, in 2
# dimensions, and in 384?

# %%
for D in [2, 3, 16, 384]:
    torch.manual_seed(0)
    x = F.normalize(torch.randn(500, 16, D), dim=2)  # 500 batches
    own = 9 * torch.eye(16)
    near = (torch.cdist(x, x) + own).min(dim=2).values  # [500, 16]
    print(f"D {D:3}  mean distance {near.mean():.3f}", end="  ")
    print(f"KoLeo {-near.log().mean():.3f}")

# %% [markdown]
# In 384 dimensions the *nearest* of sixteen is about 1.35 away, almost a right
# angle ($\sqrt2$). There is a lot of room. Features crowd because nets do not
# use it, not because it is scarce.
#
# ## My KoLeo is below zero
#
# Then all is well. A distance above 1 has a positive log. For at most $D + 1$
# features the best is that all are equally far apart, at $\sqrt{2n / (n - 1)}$.

# %%
for n in [2, 16, 64]:
    best = -0.5 * torch.tensor(2 * n / (n - 1)).log()
    corners = torch.eye(n) - 1 / n  # n points, all equally far apart
    torch.testing.assert_close(KoLeoLoss()(corners), best)
    print(f"{n} features: never below {best:.2f}")

# %% [markdown]
# So -0.3 is no bug but a good value. Compare runs only at the same batch size:
# among more features, somebody is always nearer.
#
# ## My KoLeo starts at 12
#
# The log has no ceiling. Two features at distance $d$: loss $-\log d$, and a
# gradient of $1/d$ on each.

# %%
ways, pulls = [10.0**-k for k in range(7)], []
for d in ways:
    x = on_circle(torch.tensor([0.0, 2 * torch.tensor(d / 2).asin()]))
    x.requires_grad_()
    loss = KoLeoLoss()(x)
    loss.backward()
    pulls.append(x.grad[0].norm().item())
    near_one = 0.8 < pulls[-1] * d < 1.2
    print(f"distance {d:.0e}: loss {round(loss.item(), 2) + 0:5}", end=", ")
    print("gradient times distance near 1:", near_one)

# %% [markdown]
# And that is where a run starts. In a fresh net every block has
# [LayerScale](GLOSSARY.md#layerscale) 0.00001 (lesson 05): it adds almost
# nothing, and the CLS token leaves as it came, nearly the same for every picture.


# %%
def between(x):
    """Distance to the nearest neighbour in 64 bits, and who it is."""
    x = F.normalize(x.detach().double(), dim=1)
    return (torch.cdist(x, x).fill_diagonal_(9)).min(dim=1)


features = {}
for scale in [1.0, 1e-5]:
    net = make_net(scale)
    features[scale] = net(pictures)  # [48, 64]
    loss = KoLeoLoss()(features[scale])
    loss.backward()
    grads = [w.grad.norm() for w in net.parameters() if w.grad is not None]
    size = torch.stack(grads).norm()
    print(f"LayerScale {scale:g}: KoLeo {round(loss.item())}", end=", ")
    print("gradient above 1000:", bool(size > 1000))

# %% [markdown]
# So a start at 10 to 12 is no bug, and it falls within a few steps. But its
# gradient drowns all others at first. This is one reason why gradients are
# clipped and the learning rate starts at 0 (lesson 16).
#
# > **Watch out.** If it *stays* there, look at LayerScale and at the learning
# > rate, and whether all pictures of the batch are the same one.
#
# **Predict.** In the fresh net the nearest are less than 0.00001 away. Does the
# search by dot product still find them?

# %%
assert between(features[1e-5]).values.max() < 1e-5
for scale, x in features.items():
    found = nearest(x.detach()) == between(x).indices
    print(f"LayerScale {scale:g}: found more than 45 of 48:", end=" ")
    print(bool(found.sum() > 45), "- fewer than 24:", bool(found.sum() < 24))

# %% [markdown]
# No. At $d = 10^{-5}$ the dot product is $1 - d^2/2 = 1 - 5 \cdot 10^{-11}$, which
# 32 bits round to 1: everyone looks equally near. Any neighbour is found, and
# pushed away from. That does no harm: soon the distances are large enough to see.

# %% [markdown]
# ## Why 32 bits, and what is eps for?
#
# Much of training runs in 16 bits. What is left of a distance if the features
# are stored so? 64 random pairs for each distance, in 384 dimensions.

# %%
torch.manual_seed(0)
a = F.normalize(torch.randn(64, 384), dim=1)
side = torch.randn(64, 384)
side = F.normalize(side - (side * a).sum(dim=1, keepdim=True) * a, dim=1)
stored = {"float32": [], "bfloat16": [], "float16": []}
for d in ways:
    b = F.normalize(a + d * side, dim=1)
    for name, found in stored.items():
        kind = getattr(torch, name)
        gap = a.to(kind).float() - b.to(kind).float()
        found.append(gap.norm(dim=1).median().item())
wrong = stored["bfloat16"]
print("bfloat16, 0.0001: over 3 times as far:", wrong[4] > 3 * ways[4])
print("bfloat16, a millionth: it is 0:", wrong[6] == 0)
lines = {"distance after storing": stored, "gradient": {"1 / distance": pulls}}
viz.lines_figure(lines, ways, "distance", log=lines, xscale="log")
plt.show()

# %% [markdown]
# *Figure: left, the distance after storing against the true one, both
# logarithmic. float32 is a straight line. Below 0.01 bfloat16 lies above it; it
# ends at 0.00001, since the last value is 0. float16 leaves it below 0.001. Right,
# the gradient: a straight line, up to a million where the distance is smallest.*
#
# Near points get wrong distances exactly where the gradient is largest. So the
# package switches automatic 16 bits off, and casts: `.float()`. (The official
# code does the first only.)

# %% [markdown]
# `eps` is $10^{-8}$. It is added to each difference and to the distance, so that
# *equal* features give a large number instead of $-\log 0$.

# %%
same = torch.ones(16, 64)
print(f"equal features: yours {my_koleo(same):.2f}", end=", ")
print(f"package {KoLeoLoss()(same):.2f}")
print("eps in float16:", torch.tensor(1e-8).half().item())

# %% [markdown]
# ## My KoLeo is inf
#
# Somewhere it is computed in float16, where `eps` is 0, and two features are
# equal. Such reports exist for the older code. Cast to 32 bits before you
# normalise.

# %% [markdown]
# ## Two crops: never together
#
# The student sees two [global crops](GLOSSARY.md#global-crop) of each picture.
# Why not one large batch of both? Because the nearest neighbour of a crop should
# be the other crop of the same picture, and DINO asks the two to be *equal*.
#
# By hand: DINO's pull is played by the squared distance $d^2$, and KoLeo on both
# together by $-2w \log d$ with $w = 0.1$, one term for each crop. The slope
# $2d - 2w/d$ is 0 at $d = \sqrt{w} = 0.32$. There they stop. Five pictures on
# the circle:


# %%
def play(together, w=0.1):
    torch.manual_seed(0)
    angles = torch.arange(5) * 2 * torch.pi / 5 + 0.3 * torch.randn(2, 5)
    x = on_circle(angles).requires_grad_()  # [2 crops, 5 pictures, 2]
    loss = KoLeoLoss()
    for step in range(150):
        u = F.normalize(x, dim=2)
        pull = (u[0] - u[1]).square().sum(dim=1).mean()
        if together:
            push = 2 * loss(u.flatten(0, 1))
        else:
            push = loss(u[0]) + loss(u[1])
        (slope,) = torch.autograd.grad(pull + w * push, x)
        with torch.no_grad():
            x -= 0.5 * (1 - step / 150) * slope
    return F.normalize(x.detach(), dim=2)


ends = {"together": play(True), "each crop alone": play(False)}
for name, u in ends.items():
    apart = (u[0] - u[1]).norm(dim=1).mean()
    print(f"{name:15} crops of a picture apart: {apart:.2f}")
ends = {name: u.flatten(0, 1) for name, u in ends.items()}
viz.circle_figure(ends, groups=torch.arange(10) % 5)
plt.show()

# %% [markdown]
# *Figure: two crops each of five pictures, one colour per picture. Together: ten
# points, the two of a colour side by side. Each crop alone: five points evenly
# around, the two crops of each picture on the same spot.*
#
# So KoLeo is called once per crop, and the two are summed:
#
# $$\text{total} = \dots + 0.1 \cdot (\text{KoLeo}_1 + \text{KoLeo}_2).$$
#
# The log shows their mean. Local crops and the teacher have no KoLeo.
#
# > The weight of KoLeo is 0.1 in the total loss (DINOv3 Sec. 3.2, Eq. (1)). App.
# > C speaks of the first global crop; the official code takes both.

# %% [markdown]
# ## topk, and many machines
#
# `topk = k` takes the mean over the `k` nearest. With more neighbours, the push
# comes from more sides. The recipes use 1.

# %%
for k in [1, 2, 3]:
    print(f"topk {k}: KoLeo of A, B, C, D {KoLeoLoss(topk=k)(four):.2f}")

# %% [markdown]
# > DINOv3 computes KoLeo in small groups of 16 samples, across GPUs if needed
# > (Sec. 3.2).
#
# With `distributed=True` the features of all processes are gathered, with
# gradient, and searched in groups of `loss_group_size`: a GPU with few pictures
# then still has enough features to search among (lesson 23).

# %% [markdown]
# ## Look: KoLeo alone on a net
#
# The fresh net, and no loss but KoLeo. Gradients longer than 3 are cut to that
# length.

# %%
net = make_net(1e-5)
adam = torch.optim.AdamW(net.parameters(), lr=3e-3)
losses = []
for _ in range(15):
    loss = KoLeoLoss()(net(pictures))
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
    adam.step()
    losses.append(loss.item())
pushed = net(pictures).detach()
print("starts above 9:", losses[0] > 9, "- ends below 2:", losses[-1] < 2)
torch.manual_seed(0)
shown = {
    "fresh net": features[1e-5],
    "KoLeo alone, 15 steps": pushed,
    "random directions": torch.randn(48, 64),
}
shown = {name: between(x).values for name, x in shown.items()}
viz.histogram_figure(shown, "distance to nearest", low=0, high=1.5)
plt.show()

# %% [markdown]
# *Figure: how far the nearest neighbour is, for 48 windows. Fresh net: all at 0.
# After 15 steps of KoLeo: most between 0.4 and 0.9. Random directions: around 1.2.*
#
# Who are the neighbours?


# %%
def three_nearest(x):
    x = F.normalize(x.detach().double(), dim=1)
    return torch.cdist(x, x).fill_diagonal_(9).argsort(dim=1)[:, :3]


found = {"untrained": features[1e-5], "KoLeo alone": pushed}
found = {name: three_nearest(x) for name, x in found.items()}
for name, who in found.items():
    share = (labels[who[:, 0]] == labels).float().mean()
    print(f"{name:11} same photograph in under 30 %:", bool(share < 0.3))
rows = {name: who[:4] for name, who in found.items()}
viz.neighbours_figure(images, labels, images[:4], labels[:4], rows)
plt.show()

# %% [markdown]
# *Figure: four windows at the left, then their three nearest in the untrained
# net and after KoLeo alone. A green frame means the same photograph, an orange one
# another. All but one are orange.*
#
# Chance would be 1 in 16. Spread out is not the same as understood: KoLeo knows
# nothing of pictures. It keeps room free, and DINO and iBOT have to furnish it.
#
# > **Tutor's note.** Does it push cats away from cats? Yes, if a cat is the
# > nearest. But the push fades as $1/d$ and weighs 0.1, while DINO pulls.
# > DINOv2 reports better image retrieval with KoLeo (Sec. 6.4, Table 3).

# %% [markdown]
# ## What KoLeo does not do
#
# It looks before the head, so it cannot see what the head makes of the features.
# Break the head: whatever comes in, its answer is the same.

# %%
torch.manual_seed(0)
broken = dino_head.DINOHead(64, 32, 3, 64, 32)
with torch.no_grad():
    broken.mlp[-1].weight.zero_()
    broken.mlp[-1].bias.fill_(1.0)
x = pushed.clone().requires_grad_()
answers = broken(x)  # [48, 32]
loss = KoLeoLoss()(x)
loss.backward()
print("all answers equal:", bool((answers == answers[0]).all()))
print("KoLeo below 2:", bool(loss < 2))
reached = [w.grad is not None for w in broken.parameters()]
print("weights of the head that KoLeo reaches:", sum(reached))

# %% [markdown]
# [Collapse](GLOSSARY.md#collapse) of the head is the work of Sinkhorn (lesson
# 11). KoLeo looks after the other end. Lesson 17 switches off one after the other
# and watches.
#
# ## Against someone else
#
# `tests/golden/koleo_loss.safetensors` has features, loss and gradient that the
# official code computed once.

# %%
golden = pretrained.read_state_dict("../tests/golden/koleo_loss.safetensors")
x = golden["input"].requires_grad_()
for name, function in {"package": KoLeoLoss(), "yours": my_koleo}.items():
    loss = function(x)
    (slope,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(loss, golden["loss"])
    torch.testing.assert_close(slope, golden["grad"], rtol=1e-3, atol=1e-6)
    print(f"{name}: features {list(x.shape)}, loss {loss:.4f}", end=", ")
    print("loss and gradient equal")

# %% [markdown]
# ## Common mistakes
#
# **The diagonal forgotten.** Everybody is its own nearest, at distance 0.

# %%
unit = F.normalize(cls, dim=1)
index = (unit @ unit.T).argmax(dim=1)
wrong = -(unit - unit[index]).norm(dim=1).log().mean()
itself = (index == torch.arange(48)).sum()
print("found itself:", int(itself), "of 48, loss", wrong.item())

# %% [markdown]
# **Not normalised.** Then the cheapest way apart is to grow: features ten times
# as long, and the loss falls by log 10 without any turning.

# %%
for x in [cls, 10 * cls]:
    way = (x - x[nearest(x)]).norm(dim=1)
    print(f"wrong {-way.log().mean():.2f}, right {KoLeoLoss()(x):.2f}")

# %% [markdown]
# **A batch of one.** There is no neighbour. The official code returns a constant;
# here it is an error.

# %% tags=["raises-exception"]
KoLeoLoss()(cls[:1])

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/13.py`.
#
# **13.1** (difficulty 1, 3 minutes) Look at the package's `forward`. For `B`
# features of width `D` and `topk = k`: which shapes have `similarity`, `near` and
# `distance`? Return three tuples.
#
# <details><summary>Hint 1</summary>Read the comments in the
# source.</details>
# <details><summary>Hint 2</summary>On one machine G = B.</details>
# <details><summary>Hint 3</summary>A distance sums over the width, and the `k`
# stays.</details>


# %%
def shapes(B, D, k):
    raise NotImplementedError("exercise 13.1")


check("13.1", shapes)

# %% [markdown]
# **13.2** (difficulty 2, 6 minutes) From features `x` `[B, D]` of any length, the
# indices of each one's `k` nearest others by direction, `[B, k]`, the nearest
# first. In one of the cases *all* cosines between different features are
# negative.
#
# <details><summary>Hint 1</summary>Normalise, then one matrix
# product.</details>
# <details><summary>Hint 2</summary>What has to stand on the diagonal so that it
# never wins?</details>
# <details><summary>Hint 3</summary>`topk(k, dim=1)` returns values and
# `indices`, the largest first.</details>


# %%
def k_nearest(x, k):
    raise NotImplementedError("exercise 13.2")


check("13.2", k_nearest)

# %% [markdown]
# **13.3** (difficulty 3, 8 minutes) KoLeo in groups, as DINOv3 has it: of `x`
# `[B, D]`, the first `size` features search among themselves, then the next
# `size`, and so on; `B` is a multiple of `size`. The loss is the mean over all
# features, one number `[]`. Try it without `KoLeoLoss`, as one tensor
# `[B / size, size, D]`.
#
# <details><summary>Hint 1</summary>With the class: one call per group, and the
# mean.</details>
# <details><summary>Hint 2</summary>`x.view(-1, size, D)` has the groups; `cdist`
# takes them all at once.</details>
# <details><summary>Hint 3</summary>Rung 2 is the rest: infinite on each
# diagonal, minimum, log, mean, sign.</details>


# %%
def koleo_in_groups(x, size):
    raise NotImplementedError("exercise 13.3")


check("13.3", koleo_in_groups)

# %% [markdown]
# **13.4** (difficulty 2, 4 minutes) `cls` `[2, B, D]` holds the student's CLS
# features of both global crops. Return what KoLeo adds to the total loss, with
# the given `weight`: one number `[]`. You may use `KoLeoLoss()`.
#
# <details><summary>Hint 1</summary>Who must not be whose neighbour?</details>
# <details><summary>Hint 2</summary>Sum or mean? The formula stands in "Two
# crops".</details>


# %%
def koleo_of_crops(cls, weight):
    raise NotImplementedError("exercise 13.4")


check("13.4", koleo_of_crops)

# %% [markdown]
# **13.5** (difficulty 4, 12 minutes) Change the design: who is at least `far`
# away from its nearest is not pushed any more. Each feature of `x` `[B, D]`, of
# any length, costs $-\log(d / \text{far})$ if $d < \text{far}$, else 0. Return
# the mean over all features, one number `[]`.
# Then think: what is better in such a loss, and which choice is harder?
#
# <details><summary>Hint 1</summary>Without an `if`: cut the distance off before
# the log.</details>
# <details><summary>Hint 2</summary>`clamp` has a gradient of 0 where it
# cuts.</details>
# <details><summary>Hint 3</summary>From above (`max=`).</details>


# %%
def resting_koleo(x, far):
    raise NotImplementedError("exercise 13.5")


check("13.5", resting_koleo)

# %%
print(progress("13"))

# %% [markdown]
# ## Recap
#
# - You computed -0.17 for four points, and drew the push on each: away from the
#   nearest, and from those who call you nearest.
# - You wrote a loop, a matrix, a search, and met the official loss and gradient.
# - You can explain 12 (a fresh net), below zero (all is well), inf (float16).
# - You saw crops stay apart when both are searched together.
# - You broke a head, and KoLeo did not notice.
#
# All losses are there. But who is the teacher that they all listen to? Lesson 14
# makes it, out of the student.

# %% [markdown]
# ## Sources
#
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 4, "KoLeo
#   regularizer": the formula; Sec. 6.4, Table 3: what it brings.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2, Eq.
#   (1), and App. C: weight and groups.
# - KoLeo, [arXiv 1806.03198](https://arxiv.org/abs/1806.03198), "Spreading
#   vectors for similarity search": where the idea comes from, with another use.
# - Official code: `dinov3/loss/koleo_loss.py`, classes `KoLeoLoss` and
#   `KoLeoLossDistributed`; here one class, `dinolite/loss/koleo_loss.py`.
