# %% [markdown]
# # 12 The iBOT loss
#
# **How do patches learn from a hidden-word game?** You hide patches from the
# student, ask it what the teacher sees there, and write the loss that counts
# the answers.

# %% [markdown]
# "The cat drinks its ____." The other words tell you the hidden one. Here is
# that game for pictures; patches are the words.
#
# After this lesson you can
#
# - say why a patch that both can see is no question,
# - follow a patch from the mask to its row of `[M, K]`,
# - compute the loss by hand, and say why it starts at half of ln K,
# - derive its gradient, and say which pixels it reaches,
# - tell with a control whether a student uses what it sees.
#
# | | |
# |---|---|
# | you need | lessons 08, 10, 11 |
# | time | 45 minutes |
# | module | `dinolite/loss/ibot_patch_loss.py` |
# | official | `loss/ibot_patch_loss.py`: `iBOTPatchLoss` |
# | paper | iBOT Sec. 3.1, 3.2; DINOv2 Sec. 4; DINOv3 Sec. 3.2, Eq. (1) |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import masking
from dinolite.data.demo_pictures import photographs
from dinolite.layers import dino_head
from dinolite.loss import ibot_patch_loss, sinkhorn_knopp
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# Some short names. Everything below has $K = 16$
# [prototypes](GLOSSARY.md#prototype).

# %%
F = torch.nn.functional
ViT = vision_transformer.DinoVisionTransformer
DINOHead = dino_head.DINOHead
sinkhorn = sinkhorn_knopp.sinkhorn_knopp
ibot = ibot_patch_loss.iBOTPatchLoss(student_temp=0.1)
K = 16
ln_K = torch.tensor(float(K)).log().item()

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("12")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "iBOT loss" is lit, below the DINO loss. It
# gets arrows from the student's heads and, through Sinkhorn, from the
# teacher's.*
#
# ## Pictures and a small network
#
# Sixteen photographs, 128 x 128 pixels. The net is the ViT of lesson 06 with two
# blocks, patches of 8, and the head of lesson 09 behind its *patches*.
#
# The official start weights are small, and a net this tiny would need long to
# wake up. So we start with larger ones.


# %%
def square(photo):  # the middle of a photograph
    side = min(photo.shape[1:])
    top, left = ((n - side) // 2 for n in photo.shape[1:])
    x = photo[None, :, top : top + side, left : left + side] / 255
    return F.interpolate(x, (128, 128), mode="bilinear", antialias=True)


def net(seed, prototype_std):
    torch.manual_seed(seed)
    vit = ViT(patch_size=8, embed_dim=48, depth=2, num_heads=4)
    head = DINOHead(48, K, 3, 64, 32, last_layer_std=prototype_std)
    for m in [*vit.modules(), *head.mlp]:
        if isinstance(m, torch.nn.Linear):
            torch.nn.init.normal_(m.weight, std=m.in_features**-0.5)
    return torch.nn.ModuleDict({"backbone": vit, "ibot_head": head})


def features(net, x, masks=None):  # x [n, 3, H, W] in [0, 1]
    x = (x - 0.45) / 0.25
    return net["backbone"](x, masks=masks, is_training=True)


files = photographs.photographs()
photos = torch.cat([square(p) for p in files.values()])
out = features(net(0, 0.2), photos[:1])
print("photographs", list(photos.shape))
print("one of them, patch features", list(out["x_norm_patchtokens"].shape))

# %% [markdown]
# ## The failure first: nobody asks the patches
#
# In lesson 10 only CLS was asked. Which gradient do the patch features get, as
# they leave the net?

# %%
cls, patches = out["x_norm_clstoken"], out["x_norm_patchtokens"]
gradients = torch.autograd.grad(cls.sum(), patches, allow_unused=True)
print("gradient at the patches:", gradients[0])

# %% [markdown]
# None. Patches matter only as far as CLS looks at them inside. What they say at
# the exit, which we want for segmentation, is nobody's business.
#
# ## Ask about what both can see? Too easy
#
# So let every patch agree with the teacher's. At the start of training the
# student *is* a copy of the teacher. We ask it about all 256 patches of the
# astronaut: once whole, once with half of them hidden. At each patch we measure
# the [KL divergence](GLOSSARY.md#kl-divergence) between the two answers.


# %%
def answers(net, x, masks=None):  # scores of all patches, [n, N, K]
    return net["ibot_head"](features(net, x, masks)["x_norm_patchtokens"])


def kl(p, scores):
    return (p * (p.log() - (scores / 0.1).log_softmax(dim=-1))).sum(dim=-1)


teacher, copy = net(0, 0.2), net(0, 0.2)
person = photos[:1]  # [1, 3, 128, 128], the astronaut
all_masked = config.IbotConfig(mask_sample_probability=1.0)
draw = torch.Generator().manual_seed(3)
mask = masking.draw_masks(1, (16, 16), all_masked, draw)  # [1, 256]
with torch.no_grad():
    p = (answers(teacher, person) / 0.1).softmax(dim=-1)  # [1, 256, K]
maps = {}
for name, hide in {"whole": None, "half hidden": mask}.items():
    gap = kl(p, answers(copy, person, hide))  # [1, 256]
    weight = copy["ibot_head"].last_layer.weight
    slope = torch.autograd.grad(gap.mean(), weight)[0].abs().max()
    print(f"{name}: a gradient above 0.001: {bool(slope > 1e-3)}")
    maps[f"KL, {name}"] = gap.detach().view(16, 16)
largest = maps["KL, whole"].abs().max()
print("KL of the whole crop is 0:", bool(largest < 1e-5))
hole = mask.view(16, 16)
inside, outside = gap[mask].mean(), gap[~mask].mean()
print(f"half hidden: KL inside {inside:.2f}, outside {outside:.2f}")
panels = {"what the student sees": viz.masks.covered(person[0], hole)} | maps
viz.compare_figure(panels, width=6.5, scale="shared")
plt.show()

# %% [markdown]
# *Figure: the astronaut with half of the patches blue; beside it two maps of
# the KL divergence. For the whole crop the map is dark everywhere: 0. With
# holes, all bright patches lie in the holes, the brightest on the suit. Some
# hidden patches stay dark, and so do nearly all that are seen.*
#
# What the student can see it answers perfectly, by being a copy. Nothing to
# gain, no gradient, nothing learned. The questions are where it *cannot* look.

# %% [markdown]
# ## The game: who sees what
#
# 1. The **teacher** gets all global crops, *whole*, without gradient.
# 2. The **student** gets the same crops; in half of them, hidden patches are
#    replaced by the [mask token](GLOSSARY.md#mask-token).
# 3. From both, take the `M` hidden patches, by
#    [mask_indices_list](GLOSSARY.md#mask_indices_list).
# 4. Both run through a head: scores `[M, K]`.
# 5. The teacher's scores become the [targets](GLOSSARY.md#target).
#
# > iBOT: the teacher is a tokenizer that learns along, where earlier methods
# > needed one trained beforehand. (Sec. 3.1)

# %% [markdown]
# Now with one random crop of each photograph, 64 x 64 pixels, so 8 x 8 patches.
# `zoom` and `shift` choose a square, as in lesson 11. Unlike in a real run, the
# student has a start of its own: it must learn the teacher's numbering, too.


# %%
def cut(draw):
    """A random square of each photograph, [16, 3, 64, 64]."""
    zoom = 0.4 + 0.5 * torch.rand(16, 1, generator=draw)
    shift = (1 - zoom) * (2 * torch.rand(16, 2, generator=draw) - 1)
    where = [zoom[:, :, None] * torch.eye(2), shift[:, :, None]]
    grid = F.affine_grid(torch.cat(where, dim=2), (16, 3, 64, 64), False)
    return F.grid_sample(photos, grid, align_corners=False)


student = net(1, 0.02)  # untrained; small prototypes: undecided
draw = torch.Generator().manual_seed(0)
crops = cut(draw)
masks = masking.draw_masks(16, (8, 8), config.IbotConfig(), draw)
indices, weight = masking.mask_positions(masks)  # [M], [M]
print("crops", list(crops.shape), "masks", list(masks.shape))
print("hidden in each:", masks.sum(dim=1).tolist())
with torch.no_grad():
    seen = features(teacher, crops)["x_norm_patchtokens"]
    guessed = features(student, crops, masks)["x_norm_patchtokens"]
    print("patch features", list(seen.shape))
    rows = [x.flatten(0, 1)[indices] for x in (seen, guessed)]  # [M, D]
    teacher_scores = teacher["ibot_head"](rows[0])
    student_scores = student["ibot_head"](rows[1])
print("rows", list(rows[0].shape), "scores", list(student_scores.shape))
few = viz.masks.covered(crops[2:7], masks.view(16, 8, 8)[2:7])
viz.rows_figure([few], width=6)
plt.show()

# %% [markdown]
# *Figure: five of the sixteen crops as the student sees them. Cup and motorcycle
# are whole; the stars, the tissue and the bricks have blue blocks.*
#
# Gathering before the head saves work: 163 of 1024 patches, a sixth. With $K$ in
# the tens of thousands, scores are among the largest tensors of a step.
#
# Whole crops have no question here. They still serve the loss of CLS.

# %% [markdown]
# ## By hand: four crops, six hidden patches
#
# The batch of lesson 08: crop 1 hides patches 5 and 6, crop 2 hides 10, 11, 14,
# 15, crops 0 and 3 nothing. Say the teacher is sure of prototype 0 everywhere.
# Then a patch costs $-\ln q$, with the student's $q$ for prototype 0. That is
# [cross-entropy](GLOSSARY.md#cross-entropy).
#
# | crop | $q$ | cost / ln 2 | mean |
# |---|---|---|---|
# | 0 | | | 0 |
# | 1 | 1/16, 1/4 | 4, 2 | 3 |
# | 2 | 1/2 four times | 1, 1, 1, 1 | 1 |
# | 3 | | | 0 |

# %% [markdown]
# First the mean in each crop, then the mean over *all four* crops:
# $(0 + 3 + 1 + 0) / 4 = 1$, so the loss is $\ln 2$.

# %%
toy = torch.zeros(4, 16, dtype=torch.bool)  # [n, N]
toy[1, [5, 6]] = True
toy[2, [10, 11, 14, 15]] = True
_, toy_weight = masking.mask_positions(toy)
q = torch.tensor([1 / 16, 1 / 4, 1 / 2, 1 / 2, 1 / 2, 1 / 2])  # [M]
toy_scores = 0.1 * torch.stack([q, 1 - q], dim=1).log()  # [M, 2]
toy_targets = torch.tensor([[1.0, 0.0]]).expand(6, 2)
cost = ibot.cross_entropy(toy_scores, toy_targets)  # [M]
ln2 = torch.tensor(2.0).log()
loss = ibot.forward_masked(toy_scores, toy_targets, toy_weight, n_images=4)
assert torch.allclose(cost / ln2, torch.tensor([4.0, 2, 1, 1, 1, 1]))
assert torch.allclose(loss, ln2)
print("masks_weight", toy_weight.tolist())
costs = torch.zeros(4, 16)
costs[toy] = cost / ln2
grids = {f"crop {i}": costs[i].view(4, 4) for i in (1, 2)}
viz.matrix_figure(grids, decimals=0, side=0.4)
plt.show()

# %% [markdown]
# *Figure: the two masked crops as grids of 4 x 4, with the cost of each patch in
# ln 2. Crop 1 has a 4 and a 2, crop 2 a square of four 1s. All other places
# are 0.*
#
# Two other ways to average would be as natural. The plain mean over six
# patches: 10/6. The mean over the two masked crops: 2. Keep the three numbers
# in mind: 1, 5/3 and 2.
#
# In one formula, with $m_i$ the hidden patches of crop $i$:
#
# $$ L = \frac{1}{n} \sum_{i=1}^{n} \frac{1}{|m_i|} \sum_{j \in m_i}
# \Big( - \sum_k p_{ijk} \ln q_{ijk} \Big) $$
#
# This is the [iBOT loss](GLOSSARY.md#ibot-loss).

# %% [markdown]
# ## Rung 1: a loop over crops and patches
#
# Targets first: Sinkhorn-Knopp, as in lesson 11. For the loop we put scores and
# targets back to their places, `[n, N, K]`.

# %%
targets = sinkhorn(teacher_scores, 0.05)  # [M, K]
scores_all, targets_all = torch.zeros(2, 16, 64, K)  # [n, N, K] each
scores_all[masks], targets_all[masks] = student_scores, targets


def loop(scores, targets, masks):
    total = 0.0
    for z, p, hidden in zip(scores, targets, masks, strict=True):
        costs = []  # of this crop
        for k in range(len(hidden)):
            if hidden[k]:
                log_q = (z[k] / 0.1).log_softmax(dim=0)  # [K]
                costs.append(-(p[k] * log_q).sum())
        if costs:
            total = total + sum(costs) / len(costs)
    return total / len(masks)


looped = loop(scores_all, targets_all, masks)
print(f"scores {list(scores_all.shape)}, loss {looped:.4f}")

# %% [markdown]
# ## Rung 2: all patches at once
#
# The cost everywhere, times 0 where nothing is hidden. `clamp` keeps whole
# crops from dividing 0 by 0.


# %%
def dense(scores, targets, masks):
    log_q = (scores / 0.1).log_softmax(dim=-1)  # [n, N, K]
    cost = -(targets * log_q).sum(dim=-1)  # [n, N]
    hidden = masks.float()
    means = (cost * hidden).sum(dim=1) / hidden.sum(dim=1).clamp(min=1)
    return means.mean()


torch.testing.assert_close(dense(scores_all, targets_all, masks), looped)
print("equal to the loop")

# %% [markdown]
# ## Rung 3: only the hidden ones
#
# In `[M, K]` nobody knows any more which row is from which crop. Nobody needs
# to: [masks_weight](GLOSSARY.md#masks_weight) brings 1 / (number of hidden
# patches of that crop) along, row by row.


# %%
def gathered(scores, targets, weight, n_images):
    log_q = (scores / 0.1).log_softmax(dim=-1)  # [M, K]
    cost = -(targets * log_q).sum(dim=-1)  # [M]
    return (cost * weight).sum() / n_images


mine = gathered(student_scores, targets, weight, len(masks))
torch.testing.assert_close(mine, looped)
print("weights", list(weight.shape), f"sum {weight.sum():.4f}")

# %% [markdown]
# The weights of a crop sum to 1, so all sum to 8: eight masked crops.
#
# ## Rung 4: the package
#
# `forward` is rung 2; `forward_masked` is rung 3, and what training uses.

# %%
theirs = ibot.forward_masked(student_scores, targets, weight, len(masks))
torch.testing.assert_close(theirs, looped)
torch.testing.assert_close(ibot(scores_all, targets_all, masks), looped)
print("both equal to the loop")
print(inspect.getsource(ibot.forward_masked))

# %% [markdown]
# ## Sinkhorn over M patches
#
# [Sinkhorn-Knopp](GLOSSARY.md#sinkhorn-knopp) shares the prototypes out over
# the `M` hidden patches of the *whole batch*, here 163. Each is one row of mass
# 1; `masks_weight` plays no part yet.
#
# **Predict:** what if we shared them out in each crop by itself? Take the crop
# with most holes. *Used* counts prototypes, $e^H$ of the mean target (lesson
# 11).


# %%
def used(p):  # [m, K]
    mean = p.mean(dim=0).clamp(min=1e-12)
    return (-(mean * mean.log()).sum()).exp().item()


most = int(masks.sum(dim=1).argmax())
mine = indices // 64 == most  # [M], the rows of that crop
alone = sinkhorn(teacher_scores[mine], 0.05)
softmax = (teacher_scores / 0.05).softmax(dim=1)
shown = {"softmax": softmax, "batch": targets}
for name, p in shown.items():
    print(f"{name:8} {list(p.shape)} used {used(p):4.1f}", end="   ")
    print(f"by that crop {used(p[mine]):4.1f}")
print(f"alone    {list(alone.shape)}  by that crop {used(alone):4.1f}")
figure = viz.targets_figure({**shown, "that crop alone": alone})
figure.axes[0].set_ylabel("hidden patch")
plt.show()

# %% [markdown]
# *Figure: targets, a row per hidden patch, a column per prototype; below, the
# share of each prototype; dotted, 1/16. Softmax: two bars tower above the rest.
# Shared out in the batch: no bar is far from the dotted line. That crop alone:
# the same, but within a single picture.*
#
# In the batch all prototypes are used, and one crop uses those that fit it, here
# about ten. Alone, the crop must use all 16 alike, even if it showed nothing but
# sky.
#
# The entropy floor of lesson 11 is $\ln (K / M)$ now. There are far more hidden
# patches than crops, so it is seldom in the way.

# %% [markdown]
# ## My iBOT loss starts at half of ln K
#
# Our untrained student is undecided: about 1/16 for each prototype. **Predict
# first:** what is the loss of this batch? And if a quarter of the crops are
# masked, or all?

# %%
ratio = {"divide by all": [], "divide by masked": []}
shares = [0.25, 0.5, 0.75, 1.0]
for share in shares:
    draw = torch.Generator().manual_seed(0)
    some = config.IbotConfig(mask_sample_probability=share)
    m = masking.draw_masks(16, (8, 8), some, draw)
    where, w = masking.mask_positions(m)
    with torch.no_grad():
        z = answers(student, crops, m).flatten(0, 1)[where]  # [M, K]
        p = sinkhorn(answers(teacher, crops).flatten(0, 1)[where], 0.05)
    n_masked = int(m.any(dim=1).sum())
    for way, n in zip(ratio, [16, n_masked], strict=True):
        ratio[way].append(ibot.forward_masked(z, p, w, n).item() / ln_K)
    value = ratio["divide by all"][-1]
    print(f"{share:.0%} masked: {value:.3f} ln K", end="")
    print(f", scores {list(z.shape)}")
viz.lines_figure({"loss / ln K": ratio}, shares, "share of masked crops")
plt.show()

# %% [markdown]
# *Figure: the loss in units of ln K over the share of masked crops. Divided by
# the masked crops it is flat near 1. Divided by all, it is a straight line
# through the share itself.*
#
# Whole crops add 0 and are counted. So with half of the crops masked, the
# number is **half** of the cross-entropy. A log that starts near $0.5 \ln K$ is
# healthy; an iBOT loss below the DINO loss says nothing.
#
# > **Watch out.** Runs with different shares cannot be compared by this number.
# > Divide it by the share first.

# %% [markdown]
# Why divide so? It makes the loss a mean over crops, in which a whole crop has
# no question. The share is the same in every batch (the ladder of lesson 08),
# so it is a constant factor: with half of the crops masked, iBOT has half the
# weight beside DINO that its loss weight says.
#
# > iBOT: a mask ratio of 0 with probability 0.5, and the losses are summed
# > without scaling. (Sec. 3.2)

# %% [markdown]
# ## The gradient
#
# Lesson 10 had $(q - p) / T$ for one answer. Here each row comes with its weight
# and with $1/n$:
#
# $$ \frac{\partial L}{\partial z_m} = \frac{w_m}{n} \cdot
# \frac{q_m - p_m}{T}, \qquad T = 0.1 $$
#
# `gradcheck` moves each score a little and compares; it needs float64, so it
# gets our rung 3.

# %%
z = student_scores[:5].double().requires_grad_()
p, w = targets[:5].double(), weight[:5].double()
numerical = torch.autograd.gradcheck(lambda z: gathered(z, p, w, 16), z)
print("rung 3, numerically:", numerical)
z = student_scores.clone().requires_grad_()  # [M, K]
ibot.forward_masked(z, targets, weight, 16).backward()
q = (z.detach() / 0.1).softmax(dim=1)
formula = weight[:, None] / 16 * (q - targets) / 0.1
torch.testing.assert_close(z.grad, formula)
print("package, by the formula:", list(z.grad.shape))

# %% [markdown]
# ## How do visible patches learn, if only hidden ones are asked?
#
# Back to the astronaut. Which pixels can change the loss? We ask for its
# gradient at the *picture*, and add up its size in every patch.

# %%
x = person.clone().requires_grad_()
where, w = masking.mask_positions(mask)
z = answers(student, x, mask).flatten(0, 1)[where]  # [M, K]
with torch.no_grad():
    p = sinkhorn(answers(teacher, person).flatten(0, 1)[where], 0.05)
ibot.forward_masked(z, p, w, 1).backward()
size = F.avg_pool2d(x.grad.abs().sum(dim=1), 8)[0]  # [16, 16]
print("hidden patches with a gradient: ", int((size[hole] > 0).sum()))
print("visible patches with a gradient:", int((size[~hole] > 0).sum()))
scaled = size / size.max()
panels = {"what the student sees": viz.masks.covered(person[0], hole)}
panels["gradient"] = scaled
viz.compare_figure(panels, width=5.0, scale="shared")
plt.show()

# %% [markdown]
# *Figure: the astronaut with holes, and the size of the gradient at each patch.
# It is exactly 0 in the holes, and spread over all visible patches; the upper
# right corner has most.*
#
# The mask token knows nothing but its place. All it can do is look at visible
# patches, by attention. So *they* get the gradient: be such that your
# neighbours can be guessed from you. That is how they learn.

# %% [markdown]
# ## Play: does it learn to guess?
#
# We train small students from scratch. To have one question at a time, the
# teacher stays as it is: frozen and random (the [EMA](GLOSSARY.md#ema) is lesson
# 14). It teaches nothing about cats. It groups patches by colour and texture,
# and that is enough to ask. All crops are masked, so the loss starts at ln K.
#
# Three games:
#
# - *hidden*: the real one.
# - *visible*: the same questions, but the student sees the whole crop.
# - *wrong photo*, the **control**: holes and questions as before, but the student
#   sees *another* photograph.


# %%
def ask(student, game, draw):
    x = cut(draw)
    masks = masking.draw_masks(16, (8, 8), all_masked, draw)
    where, w = masking.mask_positions(masks)
    with torch.no_grad():
        rows = features(teacher, x)["x_norm_patchtokens"].flatten(0, 1)
        p = sinkhorn(teacher["ibot_head"](rows[where]), 0.05)  # [M, K]
    if game == "wrong photo":
        by = torch.randint(1, 16, (1,), generator=draw)
        x = x.roll(int(by), dims=0)
    seen = features(student, x, None if game == "visible" else masks)
    rows = seen["x_norm_patchtokens"].flatten(0, 1)[where]  # [M, D]
    return ibot.forward_masked(student["ibot_head"](rows), p, w, 16), p


def train(game, steps=60):
    student, log = net(1, 0.02), {"loss": [], "target entropy": []}
    draw = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(student.parameters(), lr=2e-3)
    for _ in range(steps):
        loss, p = ask(student, game, draw)  # new crops, new masks
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        log["loss"].append(loss.item())
        sure = -(p * p.clamp(min=1e-12).log()).sum(dim=1).mean()
        log["target entropy"].append(sure.item())
    return student, log


# %% [markdown]
# **Predict:** where does the control end? Think of what a student can say that
# knows nothing of the picture, while all prototypes have the same share.

# %%
games = ["hidden", "visible", "wrong photo"]
trained = {game: train(game) for game in games}
for game, (_, log) in trained.items():
    last = sum(log["loss"][-10:]) / 10
    print(f"{game:12} 0.3 below ln K: {last < ln_K - 0.3}", end="   ")
    print(f"within 0.1 of ln K: {abs(last - ln_K) < 0.1}")
logs = {game: log for game, (_, log) in trained.items()}
viz.lines_figure(logs, None, "step", "nats", {"ln K": ln_K})
plt.show()

# %% [markdown]
# *Figure: loss and target entropy over 60 steps, for three games. All start at
# the dashed line ln K. "visible" falls fastest and lowest, "hidden" falls well
# below the line, "wrong photo" stays on it. The target entropy is about the
# same in all.*
#
# Sinkhorn makes all prototypes equally frequent. So whoever ignores the picture
# can do no better than "1/K each", which costs ln K. **Below ln K means: it uses
# what it sees.** That is why the control stays.

# %% [markdown]
# The loss of *visible* is lowest. Is it the better student? Ask all three about
# *hidden* patches, on five new batches.


# %%
@torch.no_grad()
def asked(student, game):
    draws = [torch.Generator().manual_seed(100 + i) for i in range(5)]
    return sum(ask(student, game, d)[0].item() for d in draws) / 5


saved = {g: ln_K - asked(s, "hidden") for g, (s, _) in trained.items()}
print("hidden, against visible:", saved["hidden"] > saved["visible"] + 0.1)
print("wrong photo saves nothing:", abs(saved["wrong photo"]) < 0.1)
before = ln_K - asked(net(1, 0.02), "hidden")
print("untrained saves nothing:  ", abs(before) < 0.1)

# %% [markdown]
# No: at hidden patches it is clearly worse than the one that played for real. It
# was never asked about a patch that it could not see.
#
# ## See it on photographs
#
# For each hidden patch, the prototype with the largest target, and the
# student's best guess, both as a colour. Chance would get one of 16 right.


# %%
@torch.no_grad()
def asked_for(x):  # the target's favourite for all patches, [16, 64]
    p = sinkhorn(answers(teacher, x).flatten(0, 1), 0.05)
    return p.view(16, 64, K).argmax(dim=-1)


@torch.no_grad()
def guessed_by(student, x, m):  # at hidden patches; elsewhere -1
    best = answers(student, x, m).argmax(dim=-1)
    return best.where(m, torch.tensor(-1))


students = {"untrained": net(1, 0.02), "trained": trained["hidden"][0]}
draw = torch.Generator().manual_seed(8)
x = cut(draw)  # [16, 3, 64, 64]
m = masking.draw_masks(16, (8, 8), all_masked, draw)  # [16, 64]
choices = {"target": asked_for(x)}
for name, s in students.items():
    guess = choices[name] = guessed_by(s, x, m)
    right = (guess == choices["target"])[m].float().mean()
    chance, better = bool(right < 0.15), bool(right > 0.2)
    print(f"{name:9} near chance: {chance}, 1 in 5 right: {better}")
rows = [0, 2, 14]  # astronaut, coffee, flower
shown = {name: c[rows].view(3, 8, 8) for name, c in choices.items()}
viz.assignments_figure(x[rows], m[rows].view(3, 8, 8), shown, width=6.5)
plt.show()

# %% [markdown]
# *Figure: three crops, one per row. From left: the crop, what the student sees,
# the target's prototype for each patch, the untrained student's guesses at the
# holes, the trained student's. Targets are patchworks: light green on the suit,
# light blue behind the astronaut, orange on and around the cup, brown behind the
# flower. The untrained student says purple nearly everywhere. The trained one says
# light green and light blue at the astronaut, orange at the cup, brown at the
# flower.*

# %% [markdown]
# The teacher is untrained, too: its regions follow colour and texture, as a
# random net's do. The student has learned to guess them from *around* the hole.
# It guesses coarsely, mostly one prototype for all holes of a crop: "more of the
# same". Sixty steps buy no shapes.
#
# > **Tutor's note.** In a real run the teacher follows the student, and the
# > prototypes become more than colours.
#
# Try other holes.


# %%
def holes(photo, hidden, seed):
    draw = torch.Generator().manual_seed(seed)
    i = list(files).index(photo)
    x = cut(draw)  # [16, 3, 64, 64]
    m = torch.zeros(16, 64, dtype=torch.bool)
    blocks = masking.MaskingGenerator((8, 8))
    m[i] = blocks(torch.tensor([hidden]), draw).flatten()
    target = asked_for(x)
    choices = {"target": target[i].view(1, 8, 8)}
    for name, s in students.items():
        guess = guessed_by(s, x, m)
        right = int((guess == target)[i].sum())
        choices[f"{name}: {right} of {hidden}"] = guess[i].view(1, 8, 8)
    crop, mask = x[i : i + 1], m[i].view(1, 8, 8)
    return viz.assignments_figure(crop, mask, choices, width=6.5)


viz.explore(
    holes,
    photo=["coffee", "chelsea", "flower", "astronaut", "brick", "china"],
    hidden=(4, 60, 4, 20),
    seed=(0, 20, 1, 1),
)

# %% [markdown]
# *Figure: the same five pictures for one crop, under three controls, with the
# number of right guesses.*

# %% [markdown]
# ## My iBOT loss does not go down
#
# 1. Divide it by the share of masked crops. At ln K? Then nothing is guessed
#    yet. Below? It has begun.
# 2. Subtract the target entropy. What is left is the KL; part of it stays, as
#    some holes cannot be guessed by anybody.
# 3. Check `masks.sum(dim=1)`: half of the crops 0, the rest by the ladder.
# 4. Does the teacher see *whole* crops? With masks on both sides, there is
#    nothing to find out.
# 5. A fall far below ln K with poor features? Run the control *wrong photo*: if
#    it falls too, targets depend on the place in the crop and not on the picture.

# %% [markdown]
# ## Why not guess pixels? Why a second head?
#
# *Pixels.* Nobody can guess every blade of grass, and a loss on pixels punishes
# each. "Grass" is a fair question, and prototypes ask it.
#
# *Heads.* DINO and iBOT could share one head. The official code gives iBOT its
# own, with its own prototypes: things and pieces of things are different words.
#
# > iBOT shares the head (Sec. 3.1, 3.2). DINOv2 found separate heads better at scale
# > (Sec. 4, "Untying head weights"), and DINOv3 keeps them (Sec. 3.2).

# %% [markdown]
# ## Against someone else
#
# Torch's own cross-entropy takes targets that are distributions. And the
# official code has left scores, targets, its loss and its gradient in
# `tests/golden`.

# %%
cost = F.cross_entropy(student_scores / 0.1, targets, reduction="none")
torch.testing.assert_close((cost * weight).sum() / 16, looped)
file = "../tests/golden/ibot_loss.safetensors"
golden = pretrained.read_state_dict(file)
z = golden["student_logits"].requires_grad_()  # [M, K]
p = sinkhorn(golden["teacher_logits"], 0.07)
where, w = masking.mask_positions(golden["masks"])
assert torch.equal(where, golden["mask_indices_list"])
torch.testing.assert_close(w, golden["masks_weight"])
torch.testing.assert_close(p, golden["sinkhorn"], atol=1e-5, rtol=1e-4)
loss = ibot.forward_masked(z, p, w, len(golden["masks"]))
loss.backward()
torch.testing.assert_close(loss, golden["loss_masked"])
torch.testing.assert_close(z.grad, golden["grad_masked"])
whole = [golden[f"dense_{n}"] for n in ("student_logits", "teacher_probs")]
torch.testing.assert_close(ibot(*whole, golden["masks"]), golden["loss_dense"])
print("scores", list(z.shape), "hidden", golden["masks"].sum(1).tolist())
print(f"loss {loss:.4f}, gradient and dense loss: all equal")

# %% [markdown]
# Its scores are random and of size 1, so the student is sure and wrong. Three of
# four crops are masked: undecided would be 0.75 ln 96 = 3.42.
#
# ## Common mistakes
#
# **Forgetting the crops.** The list numbers the whole batch. Without `flatten`,
# it is read as numbers of crops. Its last one alone shows it:

# %% tags=["raises-exception"]
seen[indices[-1:]]  # seen is [16, 64, 48]

# %% [markdown]
# **The mask upside down.** No error. The loss now asks about what is visible,
# and whole crops dominate:

# %%
where, w = masking.mask_positions(~masks)
z, p = (x.flatten(0, 1)[where] for x in (guessed, seen))  # [M, D]
print(f"asked: {len(where)} patches instead of {len(indices)}")
print("crops with a question:", int((~masks).any(dim=1).sum()))
with torch.no_grad():
    p = sinkhorn(teacher["ibot_head"](p), 0.05)
    wrong = ibot.forward_masked(student["ibot_head"](z), p, w, 16)
print(f"loss {wrong / ln_K:.2f} ln K instead of {looped / ln_K:.2f} ln K")

# %% [markdown]
# So a start near ln K with half of the crops masked is a warning.
#
# **A plain mean.** On the toy: 5/3 instead of 1. Not only the value changes:
# crop 2 now has twice the say of crop 1.

# %%
cost = ibot.cross_entropy(toy_scores, toy_targets) / ln2  # [M]
print(f"plain mean {cost.mean():.4f}")
print(f"by weights {(cost * toy_weight).sum() / 4:.4f}")
places, _ = masking.mask_positions(toy)  # [M]
owner = places // toy.shape[1]  # [M], the crop of each hidden patch
say = torch.bincount(owner)[owner.unique()] / len(owner)
print("say of the masked crops, plain:", [round(x, 2) for x in say.tolist()])

# %% [markdown]
# ## Exercises
#
# Solve them in any order. Solutions are in `lessons/solutions/12.py`.
#
# **12.1** (difficulty 1, 3 minutes) `counts` has the number of hidden patches of
# each crop of a batch, a list of integers, zeros included. Where does the iBOT
# loss of an undecided student start, with `K` prototypes? Return a Python float.
#
# <details><summary>Hint 1</summary>What does one hidden patch cost, and what is
# the mean in a crop?</details>
# <details><summary>Hint 2</summary>A crop without a mask adds 0.</details>
# <details><summary>Hint 3</summary>`torch.tensor(float(K)).log().item()` is ln
# K.</details>


# %%
def start(counts, K):
    raise NotImplementedError("exercise 12.1")


check("12.1", start)

# %% [markdown]
# **12.2** (difficulty 2, 3 minutes) One line: from patch features `[n, N, D]`
# and `indices` `[M]`, the hidden patches `[M, D]`.
#
# <details><summary>Hint 1</summary>Position = crop times N plus
# patch.</details>
# <details><summary>Hint 2</summary>Make one axis of crops and
# patches.</details>
# <details><summary>Hint 3</summary>`flatten` with two arguments, then
# square brackets.</details>


# %%
def gather(features, indices):
    raise NotImplementedError("exercise 12.2")


check("12.2", gather)

# %% [markdown]
# **12.3** (difficulty 3, 10 minutes) The loss, without the package: student
# `scores` `[M, K]`, `targets` `[M, K]` (probabilities), `masks` `[n, N]`, and the
# student's `temp`. The rows are the hidden patches of crop 0, from first to last,
# then those of crop 1, and so on. Return one number, `[]`. Scores of several
# hundred must work too.
#
# <details><summary>Hint 1</summary>You need the weight of each row, so the crop
# of each row.</details>
# <details><summary>Hint 2</summary>`masks.nonzero()` is [M, 2]: crop and patch
# of each row.</details>
# <details><summary>Hint 3</summary>The rest is rung 3.</details>


# %%
def loss_of(scores, targets, masks, temp):
    raise NotImplementedError("exercise 12.3")


check("12.3", loss_of)

# %% [markdown]
# **12.4** (difficulty 3, 8 minutes) The gradient of that loss at `scores`, `[M,
# K]`, without autograd, from `scores`, `targets`, `weight` `[M]`, `n_images` and
# `temp`.
#
# <details><summary>Hint 1</summary>Student minus target.</details>
# <details><summary>Hint 2</summary>Three factors: the weight, the temperature,
# the number of images.</details>
# <details><summary>Hint 3</summary>`weight[:, None]` stands beside `[M,
# K]`.</details>


# %%
def slope(scores, targets, weight, n_images, temp):
    raise NotImplementedError("exercise 12.4")


check("12.4", slope)

# %% [markdown]
# **12.5** (difficulty 4, 8 minutes) Change the design: every hidden *patch*
# shall have the same say. From `masks` `[n, N]` return weights `[M]` with which
# `forward_masked(..., weights, n)` is the plain mean over the `M` patches. Which
# crops does this favour? Where does the loss start now?
#
# <details><summary>Hint 1</summary>All weights are equal.</details>
# <details><summary>Hint 2</summary>`forward_masked` divides by n; a mean divides
# by M.</details>
# <details><summary>Hint 3</summary>On the toy they are 4/6.</details>


# %%
def equal_say(masks):
    raise NotImplementedError("exercise 12.5")


check("12.5", equal_say)

# %%
print(progress("12"))

# %% [markdown]
# ## Recap
#
# - You asked a copy about what it sees: no error, no gradient. Only holes ask.
# - You followed hidden patches from `[n, N, D]` by `mask_indices_list` to
#   `[M, K]`.
# - You computed ln 2 by hand, and know why half masked starts at half of ln K.
# - You checked the gradient, and saw it reach visible patches only.
# - You told by the control *wrong photo* that below ln K means using the picture.
#
# Next: KoLeo, which keeps the features of different pictures apart.

# %% [markdown]
# ## Sources
#
# - iBOT, [arXiv 2111.07832](https://arxiv.org/abs/2111.07832), Sec. 3.1: read
#   this for the game; Sec. 2.1 tells it as distillation; Sec. 3.2 has the ratios.
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 4,
#   "Patch-level objective": the same loss in three sentences.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2, Eq.
#   (1): its place in the sum; App. C: how much is hidden.
# - Official code: `dinov3/loss/ibot_patch_loss.py`, class `iBOTPatchLoss`; here
#   `dinolite/loss/ibot_patch_loss.py`.
