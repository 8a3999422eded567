# %% [markdown]
# # 11 Sinkhorn-Knopp
#
# **Why do they not agree on nothing?** Two networks that are rewarded for
# agreeing can agree without looking. You see them do it, and you write what
# stops them.

# %% [markdown]
# In lesson 10 the student was paid for saying what the teacher says. Nothing in
# that loss asks the two to look at the picture. What keeps them honest is how
# the teacher's scores become [targets](GLOSSARY.md#target).
#
# After this lesson you can
#
# - tell the two forms of collapse apart by two numbers,
# - say what centring and sharpening each prevent,
# - compute Sinkhorn-Knopp by hand and write it so that it never overflows,
# - predict how low the loss can go: the entropy floor,
# - choose batch size, number of prototypes and temperature.
#
# | | |
# |---|---|
# | you need | lessons 09, 10 |
# | time | 45 minutes |
# | module | `dinolite/loss/sinkhorn_knopp.py` |
# | official | `loss/dino_clstoken_loss.py`: `sinkhorn_knopp_teacher` |
# | paper | DINOv3 Sec. 3.2; DINO Sec. 3.1, 5.3; SwAV Sec. 3.1 |

# %%
import inspect
import math
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.loss import dino_clstoken_loss, sinkhorn_knopp
from dinolite.models import pretrained
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# Some short names.

# %%
F = torch.nn.functional
SoftmaxCenter = dino_clstoken_loss.SoftmaxCenter
dino_loss = dino_clstoken_loss.DINOLoss(student_temp=0.1)
package = sinkhorn_knopp.sinkhorn_knopp

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("11")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Lit is the box Sinkhorn, between the teacher's head and
# the losses. The student's side has no such box.*
#
# ## The failure first
#
# Sixteen pictures, two crops each, $K = 16$
# [prototypes](GLOSSARY.md#prototype). Two lazy pairs: one says "prototype 3"
# for everything, one says "all alike" for everything. What do they pay?

# %%
K = 16
always, even = torch.zeros(2, 16, K), torch.zeros(2, 16, K)
always[..., 3] = 20.0
for name, scores in {"prototype 3": always, "all alike": even}.items():
    student = scores.clone().requires_grad_()  # [2, 16, K]
    targets = (scores / 0.1).softmax(dim=-1)  # [2, 16, K]
    paid = dino_loss(student, targets, ignore_diagonal=True)
    paid.backward()
    moved = bool(student.grad.abs().max() > 1e-6)
    print(f"{name:12} loss {paid:.4f}, gradient: {moved}")
print(f"ln K {math.log(K):.4f}")

# %% [markdown]
# The first pays nothing. The second pays ln K, a loss that looks like work in
# progress. Neither gets a gradient: both are stuck for ever.
#
# ## What is collapse? Two forms
#
# [Collapse](GLOSSARY.md#collapse) means agreeing without looking at the picture.
# It has two forms, and two numbers tell them apart. Both come from the
# [entropy](GLOSSARY.md#entropy) $H$: $e^H$ counts answers, as $K$ equal answers
# have entropy $\ln K$.
#
# - *per crop*: $e^H$, with the mean entropy of the targets. How many prototypes
#   does one crop hesitate between?
# - *used*: $e^H$ of the mean target. How many prototypes does the whole batch
#   use?


# %%
def entropy(p):
    """-sum p log p over the last axis."""
    return -(p * p.clamp(min=1e-12).log()).sum(dim=-1)


def counts(p):
    """(per crop, used) of targets [n, K]."""
    per_crop = entropy(p).mean().exp()
    return per_crop.item(), entropy(p.mean(dim=0)).exp().item()


healthy = torch.eye(16)
cases = {
    "one for all": (always[0] / 0.1).softmax(dim=1),
    "even for all": (even[0] / 0.1).softmax(dim=1),
    "healthy": healthy,
}
for name, p in cases.items():
    per_crop, used = counts(p)
    print(
        f"{name:13} {list(p.shape)} per crop {per_crop:4.1f}  used {used:4.1f}"
    )

# %% [markdown]
# | | per crop | used |
# |---|---|---|
# | form 1, one prototype for all | 1 | 1 |
# | form 2, the even answer for all | K | K |
# | healthy | few | many |
#
# Watch both. A low *per crop* alone is also what form 1 looks like. What tells
# that targets depend on the picture is the gap between the two.

# %% [markdown]
# ## A small game on real photographs
#
# We want to see it happen. Sixteen photographs, shrunk to 64 x 64; from each,
# two random squares of 16 x 16 pixels, half to nine tenths as wide. `zoom` and
# `shift` say which square, `grid_sample` cuts it out.

# %%
photos = photographs()
small = torch.stack(
    [
        F.interpolate(p[None] / 255, (64, 64), mode="bicubic", antialias=True)
        for p in photos.values()
    ]
)[:, 0].clamp(0, 1)  # [16, 3, 64, 64]


def views(draw):
    """Two views of each photograph, [32, 3, 16, 16] in [0, 1]."""
    zoom = 0.5 + 0.4 * torch.rand(32, 1, generator=draw)
    shift = (1 - zoom) * (2 * torch.rand(32, 2, generator=draw) - 1)
    where = [zoom[:, :, None] * torch.eye(2), shift[:, :, None]]
    grid = F.affine_grid(torch.cat(where, dim=2), (32, 3, 16, 16), False)
    return F.grid_sample(small.repeat(2, 1, 1, 1), grid, align_corners=False)


x = views(torch.Generator().manual_seed(0))
print(list(small.shape), "->", list(x.shape))
shown = {}
for i, name in enumerate(["astronaut", "chelsea", "coffee", "motorcycle"]):
    shown |= {f"{name}, 1": x[i], f"{name}, 2": x[16 + i]}
viz.compare_figure(shown)
plt.show()

# %% [markdown]
# *Figure: four photographs, two views of each, 16 x 16 pixels: astronaut, cat,
# coffee, motorcycle. The views show different parts of the same photograph.*
#
# A tiny network: two layers, unit length, and $K$ prototypes to compare with.


# %%
class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(768, 64)
        self.second = torch.nn.Linear(64, 32)
        self.prototypes = torch.nn.Linear(32, K, bias=False)

    def forward(self, x):  # [n, 3, 16, 16]
        x = self.second(F.gelu(self.first(x.flatten(1))))
        return self.prototypes(F.normalize(x, dim=-1))  # [n, K]


# %% [markdown]
# The training loop is that of lesson 10, "copy"; the teacher follows the student
# slowly (the [EMA](GLOSSARY.md#ema) of lesson 14). `make_targets` turns its
# scores into targets: today's only question. We log *per crop*, *used*, and
# the [KL divergence](GLOSSARY.md#kl-divergence), loss minus target entropy.


# %%
def play(make_targets, steps=200):
    torch.manual_seed(3)
    draw = torch.Generator().manual_seed(3)
    student, teacher = Tiny(), Tiny()
    teacher.load_state_dict(student.state_dict())
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    log = []
    for _ in range(steps):
        x = 2 * views(draw) - 0.6  # from [0, 1] to [-0.6, 1.4]
        with torch.no_grad():
            p = make_targets(teacher(x))  # [32, K]
        pairs = student(x).view(2, 16, K), p.view(2, 16, K)
        paid = dino_loss(*pairs, ignore_diagonal=True)
        optimiser.zero_grad()
        paid.backward()
        optimiser.step()
        both = teacher.parameters(), student.parameters()
        with torch.no_grad():
            for slow, w in zip(*both, strict=True):
                slow.lerp_(w, 0.1)
        log.append((*counts(p), (paid - entropy(p).mean()).item()))
    return log, p


# %% [markdown]
# ## What does centring do?
#
# Some prototype is always a little ahead: bright pictures, a lucky start. The
# student copies, the teacher follows, the lead grows: form 1.
# [Centring](GLOSSARY.md#centring) takes the lead away. From the score of each
# prototype it subtracts its mean $c$, over this batch and those before (an EMA
# again). What is left says how *this* crop differs from the others.
#
# > DINO: the centre acts like a bias added to the teacher, and its momentum
# > makes it work for batches of many sizes. (Sec. 3.1, Eq. (4))

# %%
center = SoftmaxCenter(out_dim=3, momentum=0.9)
scores = torch.tensor([[5.0, 1.0, 0.0], [5.0, 0.0, 1.0]])  # [2, 3]
print("before ", center(scores, 1.0).argmax(dim=1).tolist())
for _ in range(50):
    center.update(scores)
print("centre ", [round(c, 2) for c in center.center[0].tolist()])
print("after  ", center(scores, 1.0).argmax(dim=1).tolist())
print(inspect.getsource(SoftmaxCenter.update))

# %% [markdown]
# Both crops said prototype 0. Its lead of 5 said nothing about the crops, and
# is gone: one says 1 now, the other 2. (`all_reduce` adds up over all
# processes, if there are several: lesson 23.)
#
# ## What does sharpening do?
#
# [Sharpening](GLOSSARY.md#sharpening) is a lower temperature for the teacher
# (0.04 to 0.07) than for the student (0.1). The target is surer than the
# student is, so the student has to commit itself. Half the temperature squares
# the probabilities, up to a factor: (3, 2, 1) / 6 becomes (9, 4, 1) / 14.

# %%
answer = torch.tensor([3.0, 2.0, 1.0]) / 6
sharper = (answer.log() / 0.5).softmax(dim=0)
assert torch.allclose(sharper, torch.tensor([9.0, 4.0, 1.0]) / 14)
print("entropy", f"{entropy(answer):.4f} -> {entropy(sharper):.4f}")

# %% [markdown]
# Each pulls its own way. **Predict first:** what happens with sharpening alone
# (the teacher's temperature 0.05, no centre)? With centring alone (0.1, as the
# student's)?


# %%
def centred(temp):
    center = SoftmaxCenter(K)

    def make_targets(scores):
        p = center(scores, temp)
        center.update(scores)
        return p

    return make_targets


ways = {
    "sharpening only": lambda scores: (scores / 0.05).softmax(dim=1),
    "centring only": centred(0.1),
    "both": centred(0.05),
    "Sinkhorn": lambda scores: package(scores, 0.05),
}
runs = {name: play(make_targets) for name, make_targets in ways.items()}
for name, (log, p) in runs.items():
    per_crop, used, kl = log[-1]
    verdict = "one for all" if used < 3 else "crops differ"
    verdict = "even for all" if per_crop > 10 else verdict
    print(f"{name:16} targets {list(p.shape)}  {verdict}")
few, many = runs["both"][0][-1][1], runs["Sinkhorn"][0][-1][1]
print("Sinkhorn uses more prototypes than both:", many > few + 2)

# %% [markdown]
# Each alone falls, and into opposite holes.

# %%
viz.targets_figure({name: p for name, (_, p) in runs.items()})
plt.show()

# %% [markdown]
# *Figure: the last targets of four runs, a row per crop, first views above
# second views, a column per prototype. Sharpening only: nearly one bright
# column. Centring only: nearly one dark shade. Both: single bright squares in
# about half of the columns.
# Sinkhorn: bright squares in nearly all columns. Bars below, each on its own
# scale: share of the batch; dotted, the even share.*

# %%
curves = {}
for name, (log, _) in runs.items():
    tens = torch.tensor(log).view(20, 10, 3).mean(dim=1)  # [20, 3]
    columns = tens.T.tolist()
    curves[name] = dict(zip(["per crop", "used", "KL"], columns, strict=True))
viz.lines_figure(viz.panels_of(curves), range(5, 200, 10), "step")
plt.show()

# %% [markdown]
# *Figure: per crop, used and KL over 200 steps, means of ten. Sharpening only
# sinks to about 1 in the first two panels; centring only rises to about 16 in
# both. The run "both" and Sinkhorn come down to few per crop; used stays near 16 with Sinkhorn and
# is well below in "both". The KL goes to zero in the two runs that fell.*
#
# > **Tutor's note.** The setting of this game was tuned until both collapses
# > showed. One seed, sixteen photographs: it shows which way each part pulls, and
# > ranks nothing. DINO was trained with centring, and well.

# %% [markdown]
# | | prevents | alone falls into |
# |---|---|---|
# | centring | one prototype for all | the even answer |
# | sharpening | the even answer | one prototype for all |
#
# > DINO: without either one, the KL divergence goes to zero, and the entropy
# > to 0 or ln K. (Sec. 5.3, Fig. 7)
#
# > **Watch out.** KL at zero is no success by itself. It says that student and
# > teacher agree, and not on what.

# %% [markdown]
# ## By hand: four crops, three prototypes
#
# Centring corrects with a memory. DINOv3 corrects within the batch, with
# [Sinkhorn-Knopp](GLOSSARY.md#sinkhorn-knopp). Two wishes:
#
# - every crop gives away one unit of mass (its target sums to 1),
# - every prototype gets the same share: of 4 units, 4/3 for each of 3.
#
# Start with $Q = e^{\,score / temperature}$. Divide every column by its sum,
# then every row by its sum. Repeat. (Columns come to 1 and not to 4/3; the
# factor is the same for all, and the rows take it out again.)
#
# > SwAV: the codes are $Diag(u)\; e^{C^T Z / \varepsilon}\; Diag(v)$, rows and
# > columns rescaled until the sums are right. (Sec. 3.1, Eq. (5))

# %% [markdown]
# Take a pencil. All four crops like prototype 0 best:
#
# | | $Q$ | columns / (72, 4, 8) | rows / their sums |
# |---|---|---|---|
# | crop 0 | 36, 1, 1 | 1/2, 1/4, 1/8 | 4/7, 2/7, 1/7 |
# | crop 1 | 18, 1, 1 | 1/4, 1/4, 1/8 | 2/5, 2/5, 1/5 |
# | crop 2 | 12, 1, 2 | 1/6, 1/4, 1/4 | 1/4, 3/8, 3/8 |
# | crop 3 | 6, 1, 4 | 1/12, 1/4, 1/2 | 1/10, 3/10, 6/10 |
#
# The row sums in the middle are 7/8, 5/8, 2/3, 5/6. That was one round.

# %%
Q = torch.tensor([[36.0, 1, 1], [18, 1, 1], [12, 1, 2], [6, 1, 4]])  # [4, 3]
scores = Q.log()  # at temperature 1
columns = Q / torch.tensor([72.0, 4, 8])
by_hand = torch.tensor(
    [
        [4 / 7, 2 / 7, 1 / 7],
        [2 / 5, 2 / 5, 1 / 5],
        [1 / 4, 3 / 8, 3 / 8],
        [1 / 10, 3 / 10, 6 / 10],
    ]
)
row_sums = torch.tensor([[7 / 8], [5 / 8], [2 / 3], [5 / 6]])
assert torch.allclose(columns / row_sums, by_hand)
assert torch.allclose(package(scores, 1.0, n_iterations=1), by_hand)
softmax = scores.softmax(dim=1)
for name, p in {"softmax": softmax, "one round": by_hand}.items():
    print(f"{name:10}", [round(s, 2) for s in p.sum(dim=0).tolist()])
viz.matrix_figure({"softmax": softmax, "columns": columns, "rows": by_hand})
plt.show()

# %% [markdown]
# *Figure: three 4 x 3 matrices with their numbers. In the softmax, the first
# column has the largest number of every row. After dividing columns and rows,
# the first crop prefers the first prototype and the last crop the last.*
#
# With softmax prototype 0 takes 3.19 of the 4 units; after one round each
# gets about 1.33. Crop 3 liked prototype 0 best of all three, but less than
# the *others* do: so it gets prototype 2. **Being special counts, not being
# liked.** That is centring again: subtracting from a score divides its column.

# %% [markdown]
# ## Rung 1: loops
#
# Three rounds, as plain as it gets.


# %%
def loops(scores, temp, rounds=3):
    n, K = scores.shape
    q = [[math.exp(s / temp) for s in row] for row in scores.tolist()]
    for _ in range(rounds):
        for k in range(K):
            total = sum(q[i][k] for i in range(n))
            for i in range(n):
                q[i][k] /= total
        for i in range(n):
            total = sum(q[i])
            q[i] = [value / total for value in q[i]]
    return torch.tensor(q)


assert torch.allclose(loops(scores, 1.0, rounds=1), by_hand)
print(list(loops(scores, 1.0).shape))

# %% [markdown]
# ## Rung 2: vectorised


# %%
def exp_form(scores, temp, rounds=3):
    q = (scores / temp).exp()  # [n, K]
    for _ in range(rounds):
        q = q / q.sum(dim=0, keepdim=True)  # every prototype alike
        q = q / q.sum(dim=1, keepdim=True)  # every crop one unit
    return q


torch.manual_seed(0)
made_up = 0.3 * torch.randn(8, 16)  # [8, 16]
assert torch.allclose(exp_form(made_up, 0.1), loops(made_up, 0.1), atol=1e-5)
print(list(made_up.shape), "equal to the loops")

# %% [markdown]
# ## Sinkhorn gives NaN: overflow
#
# A float32 ends near $3.4 \cdot 10^{38}$, which is $e^{88.7}$. Divided by a
# temperature of 0.04, a score of 3.55 is there. **Predict:** of 8 crops and 16
# prototypes, we raise *one* score to 3.6. How many of the 128 targets break?

# %%
print("e to the 88, 89:", torch.tensor([88.0, 89.0]).exp().isfinite().tolist())
for top in [3.5, 3.6]:
    scores = made_up.clone()
    scores[0, 0] = top
    broken = exp_form(scores, 0.04).isnan().sum()
    print(f"score {top}: {broken} of {scores.numel()} are nan")

# %% [markdown]
# All of them. Infinity over infinity is nan, the row's sum is nan, and the next
# round's column sums carry it to every crop. The official code has this form.
#
# ## Rung 3: in log space
#
# Dividing is subtracting logarithms. `logsumexp` takes the largest number out
# before it exponentiates, so nothing overflows.


# %%
def log_form(scores, temp, rounds=3):
    log_q = scores / temp  # [n, K]
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()


gap = log_form(made_up, 0.1) - exp_form(made_up, 0.1)
assert gap.abs().max() < 1e-5
for top in [3.6, 1000.0]:
    scores = made_up.clone()
    scores[0, 0] = top
    p = log_form(scores, 0.04)  # [8, 16]
    print(f"score {top}: nan {int(p.isnan().sum())}, p[0, 0] {p[0, 0]:.4f}")

# %% [markdown]
# Even a score of 1000 does not get all of its crop: see the floor below.
#
# ## Rung 4: the package

# %%
for temp in [0.04, 0.07, 0.1]:
    assert torch.allclose(package(made_up, temp), log_form(made_up, temp))
print(inspect.getsource(package))

# %% [markdown]
# Yours, with a check of the arguments. `logsumexp_over_samples` adds up the
# columns over all processes when there are several (lesson 23).
#
# > **Tutor's note.** The official code also divides by K and by the number of
# > crops, as the books on optimal transport do. These are constants: the next
# > division takes them out again.

# %% [markdown]
# ## Are three rounds enough?
#
# DINOv2 and DINOv3 take three. We take 64 crops, 128 prototypes, and give
# prototype 0 a lead of 2. Columns are counted in even shares: 1 is right.

# %%
torch.manual_seed(0)
scores = 0.3 * torch.randn(64, 128)  # [64, 128]
scores[:, 0] += 2
history = {}
for temp in [0.04, 0.07, 0.1]:
    ends = []
    for rounds in range(11):
        p = (scores / temp).softmax(dim=1)  # before the first round
        p = package(scores, temp, rounds) if rounds else p
        share = p.sum(dim=0) * 128 / 64
        ends.append((share.min().item(), share.max().item()))
        if temp == 0.07 and rounds in [0, 1, 3, 10]:
            ones = torch.allclose(p.sum(dim=1), torch.ones(64), atol=1e-5)
            print(f"{rounds:2} rounds: columns {ends[-1][0]:.2f} to ", end="")
            print(f"{ends[-1][1]:.2f}, rows all 1: {ones}")
    names = ["smallest column", "largest column"]
    both = zip(*ends, strict=True)
    history[f"T {temp}"] = dict(zip(names, both, strict=True))
viz.lines_figure(viz.panels_of(history), xlabel="rounds", log=names)
plt.show()

# %% [markdown]
# *Figure: the smallest and the largest column over rounds, on logarithmic
# axes, for three temperatures. Round 0 is the softmax: the largest is 128, the
# smallest far below 1. After one round all are near 1, and they creep closer;
# the coldest is the slowest.*
#
# The first round does nearly all; three leave columns between 0.68 and 1.22 at
# temperature 0.07. Rows are exact, as they come last: a target must sum to 1.
# Equal shares are a means against collapse, no aim in themselves, so "nearly"
# will do.

# %% [markdown]
# ## The entropy floor
#
# Evenness has a price. The $n$ crops bring $n$ units, so a prototype gets
# $n / K$. No entry of a column can be larger than the column's sum, so no crop
# can put more than $n / K$ on one prototype. If $K > n$, every crop must spread
# over at least $K / n$ prototypes:
#
# $$ H \ge \ln (K / n) $$
#
# This is the [entropy floor](GLOSSARY.md#entropy-floor). The loss is target
# entropy plus KL, so it cannot get below the floor either. **Predict:** 32 crops, 1024
# prototypes; $\ln 32$ is 3.47. Does a very low temperature get below?

# %%
torch.manual_seed(1)
scores = 0.3 * torch.randn(32, 1024)  # [32, 1024]
for temp in [0.1, 0.07, 0.01, 0.001]:
    alone = entropy((scores / temp).softmax(dim=1)).mean()
    shared = entropy(package(scores, temp)).mean()
    print(f"T {temp:<5}  softmax {alone:.2f}  Sinkhorn {shared:.2f}")
print(f"floor {math.log(1024 / 32):.2f}, ln K {math.log(1024):.2f}")

# %% [markdown]
# It gets to the floor and stays. A softmax would go to 0.
#
# > **Tutor's note.** After three rounds columns are not quite even, so at tiny
# > temperatures a measured entropy can lie a little below its floor.

# %%
crops = [2, 4, 8, 16, 32, 64, 128, 256, 512]
torch.manual_seed(2)
pool = {k: 0.3 * torch.randn(512, k) for k in [128, 1024]}
measured = {}
for k, scores in pool.items():
    measured[k] = {}
    for temp in [0.07, 0.04, 0.01]:
        p = [package(scores[:n], temp) for n in crops]
        measured[k][f"T {temp}"] = [entropy(x).mean().item() for x in p]
    lowest = measured[k]["T 0.01"]
    print(f"K {k}, T 0.01:", [round(h, 1) for h in lowest[::2]])
    for n, h in zip(crops, lowest, strict=True):
        assert h > math.log(k / n) - 0.1
print("crops:", crops[::2])
viz.entropy_floor_figure(crops, measured)
plt.show()

# %% [markdown]
# *Figure: target entropy (in nats: the unit that goes with the natural
# logarithm) over the number of crops, for 128 and 1024 prototypes. The coldest
# curve falls along the dotted floor, the warmer ones level off above it. With two
# crops, all lie within 0.7 of ln K, the grey line.*

# %% [markdown]
# ## My loss does not go down: which batch size is enough?
#
# At the start the loss is near ln K (lesson 10); it can fall to the floor. In
# between lies all the room there is: $\ln K - \ln(K / n) = \ln n$, or $\ln K$ if
# that is less. With Sinkhorn, **the batch buys the room**. $n$ counts both
# global crops of all pictures of all processes.

# %%
print(" pictures  crops      K   start   floor")
runs_like = [(8, 65536), (32, 65536), (32, 1024), (32, 128), (2048, 65536)]
for pictures, k in runs_like:
    n = 2 * pictures
    floor = max(math.log(k / n), 0)
    print(f"{pictures:9} {n:6} {k:6} {math.log(k):7.2f} {floor:7.2f}")

# %% [markdown]
# 32 pictures with the official $K = 65536$: at best the loss goes from 11.1 to
# 6.9, and a flat curve near 7 is *at its floor*, not broken. Subtract the
# target entropy: the KL tells whether the student still learns.
#
# 1. Lower K first: the cheapest. With K at $n$ the floor is 0.
# 2. More GPUs count: columns are summed over all of them.
# 3. Gradient accumulation does not: each small batch is shared out by itself.
# 4. A queue of earlier scores does (exercise 11.5; SwAV Sec. 3.1).
# 5. Centring has no floor: its memory replaces the batch.

# %%
torch.manual_seed(3)
scores = 0.3 * torch.randn(64, 1024)  # [64, 1024]
parts = torch.cat([package(part, 0.01) for part in scores.split(16)])
print(f"64 crops together   {entropy(package(scores, 0.01)).mean():.2f}")
print(f"4 times 16 crops    {entropy(parts).mean():.2f}")
one = package(scores[:1], 0.07)  # [1, 1024]
even_answer = torch.full_like(one, 1 / 1024)
print("1 crop: even answer:", torch.allclose(one, even_answer))
equal = package(scores[:1].expand(64, -1), 0.07)  # [64, 1024]
print("64 equal crops, too:", torch.allclose(equal, one.expand(64, -1)))
center = SoftmaxCenter(1024)  # fresh: its centre is 0
print(f"1 crop, centring    {entropy(center(scores[:1], 0.07))[0]:.2f}")

# %% [markdown]
# A crop that is alone must serve all prototypes alike: form 2, made by hand.
#
# > **Watch out.** So must crops with equal scores. Sinkhorn shares out
# > differences; it cannot make them. If a net gives all pictures the same
# > feature, its targets are even, and nothing in this lesson saves it. Keeping
# > features apart is the work of KoLeo (lesson 13).

# %% [markdown]
# ## How do I choose K?
#
# Near the number of teacher crops of the whole batch: the recipe `demo` of this
# package has 128 for 64 crops, a floor of 0.69. Much smaller, and different
# pictures must share a prototype. Much larger, and each crop is smeared over
# $K / n$. Official sizes fit official batches: 4096 crops and 65536 prototypes
# give 2.77. For iBOT $n$ counts hidden patches, far more than crops; there the
# floor seldom matters.

# %% [markdown]
# ## How do I choose the temperature?
#
# Lower than the student's 0.1, or nothing sharpens. Lower is closer to the
# floor, and also trusts an untrained teacher more: DINO and DINOv3 start low,
# at 0.04, and warm up to 0.07 in their released settings.
#
# > DINOv3 uses constant schedules, and warms up two things: the learning rate
# > and the teacher's temperature. (Sec. 3.2, "Optimization")

# %% [markdown]
# Try it. First as a still: 16 crops, 64 prototypes, softmax beside Sinkhorn.


# %%
def shared_out(crops, prototypes, temperature, lead):
    draw = torch.Generator().manual_seed(0)
    scores = 0.3 * torch.randn(crops, prototypes, generator=draw)
    scores[:, 3] += lead
    soft = (scores / temperature).softmax(dim=1)
    even = package(scores, temperature)
    floor = max(math.log(prototypes / crops), 0)
    titles = [f"{entropy(p).mean():.2f}" for p in (soft, even)]
    panels = {
        f"softmax, entropy {titles[0]}": soft,
        f"Sinkhorn, entropy {titles[1]}, floor {floor:.2f}": even,
    }
    return viz.targets_figure(panels, vmax=None)


shared_out(16, 64, 0.05, 1.0)
plt.show()

# %% [markdown]
# *Figure: on the left softmax, one bright column and one high bar: prototype 3
# takes most of the batch. On the right Sinkhorn, bright spots all over, and bars
# close to the dotted even share.*
#
# Move `lead` up: the left half collapses, the right does not change, since the
# first division takes a prototype's lead away. Move `crops` down and watch the
# floor rise.

# %%
viz.explore(
    shared_out,
    crops=(1, 128, 1, 16),
    prototypes=[64, 16, 256],
    temperature=(0.01, 0.2, 0.01, 0.05),
    lead=(0.0, 3.0, 0.1, 1.0),
)

# %% [markdown]
# *Figure: the same picture under four controls.*
#
# ## The teacher gets no gradient
#
# In lesson 10 a teacher with a gradient made its targets easy, and both nets
# collapsed. So Sinkhorn-Knopp runs under
# `no_grad`, and for the student the targets are constants. Its gradient, with
# $q$ for its answer, is $(q - p) / 0.1$ over the number of crops. We check it
# against `gradcheck`, which moves every score a little and compares.

# %%
torch.manual_seed(4)
teacher_scores = torch.randn(6, 5, requires_grad=True)  # [6, 5]
p = package(teacher_scores, 0.5)
print("targets need a gradient:", p.requires_grad)
p = p.double()


def cross_entropy(student):
    return -(p * (student / 0.1).log_softmax(dim=1)).sum(dim=1).mean()


student = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
print("numerical check:", torch.autograd.gradcheck(cross_entropy, student))
cross_entropy(student).backward()
q = (student / 0.1).softmax(dim=1)
print("(q - p) / T:", torch.allclose(student.grad, (q - p) / 0.1 / 6))

# %% [markdown]
# ## Against someone else
#
# Once, the official code turned scores into targets, with Sinkhorn-Knopp and,
# by its older functions, with centring. Its numbers lie in `tests/golden`;
# the temperature was 0.07, with three rounds.

# %%
for name in ["dino_loss", "ibot_loss"]:
    golden = pretrained.read_state_dict(f"../tests/golden/{name}.safetensors")
    scores = golden["teacher_logits"]
    equal = torch.allclose(
        package(scores, 0.07), golden["sinkhorn"], atol=1e-5
    )
    print(f"{name}: {list(scores.shape)} Sinkhorn equal: {equal}")
    if name == "dino_loss":
        center = SoftmaxCenter(96, momentum=0.9)
        before = center(scores, 0.07)
        center.update(scores)
        after = center(scores, 0.07)
        assert torch.allclose(before, golden["softmax_first"], atol=1e-5)
        c = golden["center_after_update"]
        assert torch.allclose(center.center, c, atol=1e-6)
        assert torch.allclose(after, golden["softmax_after_update"], atol=1e-5)
        print("centring equal, before and after an update")

# %% [markdown]
# ## Common mistakes
#
# **Columns last.** Both divisions are there, in the wrong order. No error, but
# the targets are no distributions:

# %%
torch.manual_seed(5)
scores = 0.3 * torch.randn(8, 16)  # [8, 16]
p = package(scores, 0.07)
columns_last = p / p.sum(dim=0, keepdim=True)
for name, x in {"right": p, "columns last": columns_last}.items():
    rows = x.sum(dim=1)
    print(f"{name:13} rows sum to {rows.min():.2f} ... {rows.max():.2f}")

# %% [markdown]
# **Each crop's own maximum subtracted, "for stability".** For a softmax that is
# neutral. Here the columns are summed first, so a crop's constant decides how
# much that crop counts. A constant per *prototype* does no harm:

# %%
own = scores - scores.amax(dim=1, keepdim=True)
per_prototype = scores - scores.amax(dim=0, keepdim=True)
for name, x in {"crop": own, "prototype": per_prototype}.items():
    same = torch.allclose(package(x, 0.07), p, atol=1e-4)
    print(f"maximum per {name}: same targets: {same}")

# %% [markdown]
# **Temperature 0**, for targets as sharp as can be:

# %% tags=["raises-exception"]
package(scores, teacher_temp=0)

# %% [markdown]
# ## Exercises
#
# Solve them in any order. Solutions are in `lessons/solutions/11.py`.
#
# **11.1** (difficulty 1, 3 minutes) `n` crops, `K` prototypes. Return the shape
# of the targets, the sum of a row, and the sum of a column after many rounds:
# `(rows, columns, row_sum, column_sum)`.
#
# <details><summary>Hint 1</summary>A row is what one crop gives away.</details>
# <details><summary>Hint 2</summary>All rows together are n units.</details>
# <details><summary>Hint 3</summary>In the toy, 4 crops and 3 prototypes gave
# columns of 4/3.</details>


# %%
def sums(n, K):
    raise NotImplementedError("exercise 11.1")


check("11.1", sums)

# %% [markdown]
# **11.2** (difficulty 2, 4 minutes) One line: centred and sharpened targets from
# `logits` `[n, K]`, `center` `[1, K]` and `temp`.
#
# <details><summary>Hint 1</summary>Centre first, then divide.</details>
# <details><summary>Hint 2</summary>`.softmax(dim=...)`: each crop chooses among
# the prototypes.</details>
# <details><summary>Hint 3</summary>The centre is subtracted from the scores as
# they are, before the temperature comes in.</details>


# %%
def targets_by_centring(logits, center, temp):
    raise NotImplementedError("exercise 11.2")


check("11.2", targets_by_centring)

# %% [markdown]
# **11.3** (difficulty 3, 10 minutes) Sinkhorn-Knopp with `rounds` rounds, that
# survives scores of any size. Try it without looking at rung 3.
#
# <details><summary>Hint 1</summary>Begin with the scores over the
# temperature; they are log Q already.</details>
# <details><summary>Hint 2</summary>`x.logsumexp(dim=0, keepdim=True)` is the log
# of the column sums.</details>
# <details><summary>Hint 3</summary>Prototypes first, crops last; `exp` once, at
# the very end.</details>


# %%
def sinkhorn(logits, temp, rounds):
    raise NotImplementedError("exercise 11.3")


check("11.3", sinkhorn)

# %% [markdown]
# **11.4** (difficulty 3, 5 minutes) The entropy floor of a run with `K`
# prototypes and `pictures` per process on `processes` processes, each picture
# with two global crops. Entropies are never negative. Which is better for the
# floor: twice the GPUs or half the prototypes?
#
# <details><summary>Hint 1</summary>Count all crops that are shared out
# together.</details>
# <details><summary>Hint 2</summary>`math.log` is the natural
# logarithm.</details>
# <details><summary>Hint 3</summary>`max(..., 0)`.</details>


# %%
def floor_of_a_run(K, pictures, processes):
    raise NotImplementedError("exercise 11.4")


check("11.4", floor_of_a_run)

# %% [markdown]
# **11.5** (difficulty 4, 10 minutes) Change the design: small batch, many
# prototypes. Keep the scores of earlier batches, `queue` `[m, K]` (`m` is 0 at
# first), and share out both together. Return the targets of the `n` own crops only.
# You may call `package(scores, temp)`. Where is the floor now, and what is the price?
#
# <details><summary>Hint 1</summary>`torch.cat` makes one matrix of n + m
# rows.</details>
# <details><summary>Hint 2</summary>Your crops must come out where you put
# them.</details>
# <details><summary>Hint 3</summary>The teacher of the earlier scores was an
# older one.</details>


# %%
def with_queue(logits, queue, temp):
    raise NotImplementedError("exercise 11.5")


check("11.5", with_queue)

# %%
print(progress("11"))

# %% [markdown]
# ## Recap
#
# - You told the two collapses apart by *per crop* and *used*: 1 and 1, or K
#   and K.
# - You saw centring prevent the one and sharpening the other, and each alone
#   fall.
# - You did a round of Sinkhorn-Knopp by hand and climbed to a form that
#   survives any score.
# - You derived and measured the floor ln(K / n).
# - You know what to turn when the loss stays flat: K first.
#
# Next: the same targets for single patches, in a game of hidden words.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2,
#   "Learning Objective": Sinkhorn-Knopp in both losses.
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 4,
#   "Sinkhorn-Knopp centering": three iterations.
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 3.1 and 5.3:
#   read these for the two collapses; Sec. 5.5 trains with small batches.
# - SwAV, [arXiv 2006.09882](https://arxiv.org/abs/2006.09882), Sec. 3.1: where
#   the even shares and the queue come from.
# - Official code: `dinov3/loss/dino_clstoken_loss.py`, class `DINOLoss`; here
#   `dinolite/loss/sinkhorn_knopp.py`.
