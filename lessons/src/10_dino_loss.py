# %% [markdown]
# # 10 The DINO loss
#
# **How can two networks agree without labels?** You write the loss by which a
# student learns from a teacher that nobody taught.

# %% [markdown]
# Nobody says what is in the pictures. Yet two crops of one photograph show the
# same thing, and this can be asked: *you see a corner; what does the teacher
# say of the whole?*
#
# After this lesson you can
#
# - compute the loss of one pair of crops by hand,
# - say which pairs count and why the same crop is left out,
# - derive its gradient and check it numerically,
# - say what happens when the teacher gets a gradient,
# - split a loss curve into two parts and read it.
#
# | | |
# |---|---|
# | you need | lessons 07, 09 |
# | time | 50 minutes |
# | module | `dinolite/loss/dino_clstoken_loss.py` |
# | official | `loss/dino_clstoken_loss.py`: `DINOLoss` |
# | paper | DINO Sec. 3.1, Eq. (1) to (3); DINOv3 Sec. 3.2, Eq. (1) |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import batched_augmentations
from dinolite.data.demo_pictures import photographs
from dinolite.layers.dino_head import DINOHead
from dinolite.loss import dino_clstoken_loss, sinkhorn_knopp
from dinolite.models.pretrained import read_state_dict
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("10")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "DINO loss" is lit. Arrows come into it from
# the student's head and, through Sinkhorn, from the teacher's.*
#
# ## The crops
#
# Sixteen photographs, and crops as in lesson 07: two global ones, which both
# networks see, and four local ones for the student alone. To keep runs short
# there is no ViT today. A crop is shrunk to 8 x 8 pixels, and its 192 numbers
# go straight into the head of lesson 09.

# %%
DINOLoss = dino_clstoken_loss.DINOLoss
F = torch.nn.functional
crops = {"global_crops_size": 32, "local_crops_size": 16}
six = config.CropsConfig(**crops, local_crops_number=4)
augment = batched_augmentations.BatchedAugmentation(six)
resized = {"size": (64, 64), "mode": "bilinear", "antialias": True}
photos = photographs.photographs()
floats = [p[None].float() for p in photos.values()]
canvas = [F.interpolate(p, **resized) for p in floats]
canvas = torch.cat(canvas).byte()  # [B, 3, 64, 64]


def small(crops, n):  # [n B, 3, s, s] -> [n, B, 192]
    return F.adaptive_avg_pool2d(crops, 8).flatten(1).unflatten(0, (n, -1))


def views(count, seed):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        sizes = torch.full((16, 2), 64)  # height and width of each photograph
        out = augment(canvas, sizes, draw)
        parts = small(out["global_crops"], 2), small(out["local_crops"], 4)
        yield torch.cat(parts)  # [6, B, 192], the two global ones first


train, new = list(views(100, seed=0)), list(views(10, seed=1))
print("photographs", list(canvas.shape), "views", list(train[0].shape))

# %% [markdown]
# ## The failure first
#
# Two networks with 64 scores each see two crops of the same photograph. We
# train both, so that the squared difference of their scores falls. `spread`
# says how much a network's scores differ from photograph to photograph.

# %%
K = 64


def head(seed, std=0.02):
    torch.manual_seed(seed)
    # 3 layers, 64 wide inside, a bottleneck of 32, K prototypes
    return DINOHead(192, K, 3, 64, 32, last_layer_std=std)


def spread(net):
    return net(new[0][0]).std(dim=0).mean().item()


one, two = head(0, std=0.2), head(1, std=0.2)
both = [*one.parameters(), *two.parameters()]
optimiser = torch.optim.AdamW(both, lr=3e-3)
spread_before, gaps = spread(one), []
for batch in train:
    gap = (one(batch[0]) - two(batch[1])).square().mean()
    optimiser.zero_grad()
    gap.backward()
    optimiser.step()
    gaps.append(gap.item())
print("scores", list(one(new[0][0]).shape))
print("difference below 2 percent:", gaps[-1] < 0.02 * gaps[0])
print("spread below 20 percent:", spread(one) < 0.2 * spread_before)

# %% [markdown]
# They agree, and they say nearly the same of the cat, the cup and the brick
# wall. Agreement alone is cheap. Two things were missing. **A choice:** an
# answer should commit itself to some things and against others. **Roles:** one
# asks, the other answers, and nobody may bend the question until it fits the
# answer.

# %% [markdown]
# ## A question with K answers
#
# For the choice, scores become a distribution over `K`
# [prototypes](GLOSSARY.md#prototype), by [softmax](GLOSSARY.md#softmax). The
# teacher's distribution $p$ for one crop is the
# [target](GLOSSARY.md#target). The student, who sees *another* crop of the same
# photograph, gives $q$. Both sum to 1.
#
# How wrong is $q$? If the answer were prototype $k$, the student's surprise
# would be $-\log q_k$: 0 if it was sure of it, large if it thought it
# impossible. The teacher is undecided, so we take the mean with its weights,
# the [cross-entropy](GLOSSARY.md#cross-entropy):
#
# $$\text{loss} = -\sum_k p_k \log q_k .$$

# %% [markdown]
# ## By hand: three prototypes
#
# Target $p = (\tfrac34, \tfrac14, 0)$, student $q = (\tfrac12, \tfrac14,
# \tfrac14)$. The surprises $-\log q_k$ are 0.69, 1.39, 1.39, so
#
# $$0.75 \cdot 0.69 + 0.25 \cdot 1.39 + 0 \cdot 1.39 = 0.87.$$
#
# Could the student reach 0? Its best answer is $q = p$, and even that costs
#
# $$0.75 \cdot 0.29 + 0.25 \cdot 1.39 = 0.56.$$
#
# This is the [entropy](GLOSSARY.md#entropy) of the target, $H(p) = -\sum_k p_k
# \log p_k$: how undecided the teacher is. The rest, $0.87 - 0.56 = 0.30$ (with
# all decimals), is the student's own fault: the [KL
# divergence](GLOSSARY.md#kl-divergence) $\sum_k p_k \log(p_k / q_k)$. It is
# never below 0.

# %%
p = torch.tensor([0.75, 0.25, 0.0])  # [K] = [3]
q = torch.tensor([0.5, 0.25, 0.25])
cross = -(p * q.log()).sum()
entropy = torch.special.entr(p).sum()  # entr(x) = -x log x, and 0 at 0
kl = F.kl_div(q.log(), p, reduction="sum")
for value, by_hand in [(cross, 0.87), (entropy, 0.56), (kl, 0.30)]:
    assert abs(value.item() - by_hand) < 0.005
torch.testing.assert_close(cross, entropy + kl)
print(f"{cross:.2f} = {entropy:.2f} + {kl:.2f}")
viz.bars_figure({"target p": p, "student q": q, "p * -log q": -p * q.log()})
plt.show()

# %% [markdown]
# *Figure: three groups of three bars. Target: 0.75, 0.25, nothing. Student: 0.5,
# 0.25, 0.25. Their shares of the loss: 0.52, 0.35, nothing. The student's bar at
# prototype 2, where the target has none, costs nothing directly: it is missing
# elsewhere.*
#
# $$\textbf{loss} = H(p) + \text{KL}(p\,\|\,q) .$$
#
# Keep this line. The first part belongs to the teacher, the second to the
# student, and the loss shows their sum.

# %% [markdown]
# ## Where every curve starts: ln K
#
# A student that knows nothing gives each of `K` prototypes $1/K$. Its surprise
# is $-\log(1/K) = \ln K$ whatever the target is. So the first loss of a run is
# known before the run. (`log` is the natural one throughout.)


# %%
def ln(K):
    return torch.tensor(float(K)).log().item()


flat = torch.full((3,), 1 / 3)
for target in [p, flat, torch.tensor([0.0, 0.0, 1.0])]:
    assert abs(-(target * flat.log()).sum().item() - ln(3)) < 1e-5
for K_ in [64, 1024, 65_536, 262_144]:
    print(f"K = {K_}: the loss starts near {ln(K_):.2f}")

# %% [markdown]
# > DINOv3's 7B model has 256k prototypes in this head (DINOv3 Sec. 3.2, Table
# > 2).
#
# That is the last line of the print. A head as lesson 09 starts it has scores
# near 0, and almost equal, so it *is* such a student. Its teacher here, `sharp`,
# is a head with ten times larger prototypes, so with clear opinions. `DINOLoss`
# is the package's loss, which you write below; it divides the student's scores
# by 0.1.

# %%
untrained, sharp = head(0), head(1, std=0.2)
with torch.no_grad():
    scores = untrained(new[0])  # [6, B, K]
    target = (sharp(new[0][:2]) / 0.04).softmax(dim=-1)  # [2, B, K]
first = DINOLoss()(scores, target)
print("scores", list(scores.shape), "target", list(target.shape))
print(f"first loss {first:.2f}, ln K {ln(K):.2f}")

# %% [markdown]
# ## Two temperatures
#
# Before softmax, scores are divided by a temperature. Here are one head's scores
# for a crop of the cat, this time with 8 prototypes.

# %%
torch.manual_seed(3)
eight = DINOHead(192, 8, 3, 64, 32, last_layer_std=0.08)
with torch.no_grad():
    cat, cat_again = eight(new[0][:2, 1])  # each [8]


def entropy_of(p):
    return torch.special.entr(p).sum(dim=-1).mean().item()


shown = {}
for temp in [1.0, 0.1, 0.04, 0.01]:
    p = (cat / temp).softmax(dim=-1)
    shown[f"temp {temp}, entropy {entropy_of(p):.2f}"] = p
viz.bars_figure(shown)
plt.show()

# %% [markdown]
# *Figure: the same 8 scores at four temperatures. At 1 all bars have nearly the
# same height and the entropy is close to ln 8 = 2.08. Lower temperatures raise the
# tallest bar; at 0.01 it has almost everything.*
#
# > The student's temperature is 0.1; the teacher's is lower, and rises from
# > 0.04 to 0.07 early in training (DINO Sec. 3.2).
#
# Why two? Let student and teacher be the *same* net looking at the *same* crop.
# With one temperature there is nothing to learn: $q = p$. With a sharper target
# the student is told: *you are right, now be surer of it*.

# %%
for temp in [0.2, 0.1, 0.04]:
    z = cat.clone().requires_grad_()
    target = (cat / temp).softmax(dim=-1)
    DINOLoss()(z[None, None], target[None, None]).backward()  # [1, 1, 8]
    step = -z.grad[cat.argmax()].item()  # where a step would move the score
    sign = "stays" if abs(step) < 1e-4 else "rises" if step > 0 else "falls"
    print(f"teacher {temp}, student 0.1: the highest score {sign}")

# %% [markdown]
# A teacher softer than the student would talk it out of its favourite.
#
# Try it with two crops of the cat. Which slider changes the entropy, and which
# one only the KL?


# %%
def draw(teacher_temp, student_temp):
    p = (cat / teacher_temp).softmax(dim=-1)
    log_q = (cat_again / student_temp).log_softmax(dim=-1)
    kl = F.kl_div(log_q, p, reduction="sum")
    target = f"target, entropy {entropy_of(p):.2f}"
    student = f"student, KL {kl:.2f}, loss {entropy_of(p) + kl:.2f}"
    return viz.bars_figure({target: p, student: log_q.exp()})


viz.explore(
    draw,
    teacher_temp=(0.01, 0.3, 0.01, 0.04),
    student_temp=(0.01, 0.3, 0.01, 0.1),
)

# %% [markdown]
# *Figure: two sliders, and below them the target and the student's distribution
# for two crops of the cat. The titles have the entropy, the KL and the loss.*

# %% [markdown]
# ## Rung 1: loops
#
# Now many crops. The student sees `s` crops of each of `B` photographs, the
# teacher `t` of them. Each pair of crops of *one photograph* is a question.


# %%
def loss_loops(student, target, temp):
    values = []
    for i in range(len(student)):  # a crop of the student
        for j in range(len(target)):  # a crop of the teacher
            for b in range(student.shape[1]):  # the same photograph
                log_q = (student[i, b] / temp).log_softmax(dim=0)
                values.append(-(target[j, b] * log_q).sum())
    return torch.stack(values).mean()


torch.manual_seed(4)
student = torch.randn(5, 3, 7)  # [s, B, K]
target = torch.randn(2, 3, 7).softmax(dim=-1)  # [t, B, K]
print(f"loss {loss_loops(student, target, 0.5):.4f}")

# %% [markdown]
# ## Rung 2: one table of pairs
#
# `einsum` multiplies what carries the same letter and sums over letters that
# are gone. Both sides share `b` and `k`; what stays is a table, one number for
# each pair of crops. The log and the softmax are one operation, which is safe
# for large scores.


# %%
def table(student, target, temp):
    log_q = F.log_softmax(student / temp, dim=-1)  # [s, B, K]
    B = student.shape[1]
    return -torch.einsum("sbk,tbk->st", log_q, target) / B


pairs = table(student, target, 0.5)
torch.testing.assert_close(pairs.mean(), loss_loops(student, target, 0.5))
print("table", list(pairs.shape))

# %% [markdown]
# ## Which pairs count?
#
# With real crops: a cat, two global crops and eight local ones as in DINOv3. The
# student here is an exact copy of the teacher, as at the start of every run. We
# let both be `sharp`, so that the losses differ clearly. That puts many of them
# above ln K = 4.16: such a student is often sure and wrong.

# %%
large = config.CropsConfig(global_crops_size=64, local_crops_size=32)
photo = F.interpolate(photos["chelsea"][None] / 1.0, (256, 256)).byte()
draw_crops = torch.Generator().manual_seed(5)
cutter = batched_augmentations.BatchedAugmentation(large)
out = cutter(photo, torch.tensor([[256, 256]]), draw_crops)
shown = {n: viz.crops.restore(out[n], large) for n in out}
seen = torch.cat([small(out["global_crops"], 2), small(out["local_crops"], 8)])
with torch.no_grad():
    scores = sharp(seen)  # [10, 1, K]; the first two are also the teacher's
target = (scores[:2] / 0.04).softmax(dim=-1)
losses = table(scores, target, 0.1)  # [10, 2]
counted = ~torch.eye(10, 2, dtype=torch.bool)
print("table", list(losses.shape), "pairs that count:", int(counted.sum()))
for j, lowest in enumerate(losses.argmin(dim=0).tolist()):
    print(f"teacher {j}: the lowest loss is that of student {lowest}")
viz.crop_pairs_figure(
    [*shown["global_crops"], *shown["local_crops"]],
    list(shown["global_crops"]),
    losses,
    counted,
)
plt.show()

# %% [markdown]
# *Figure: ten crops of the cat on top, two large and eight small, for the
# student; the two large ones at the left for the teacher. Each pair has a
# coloured square with its loss, except two gaps where the same crop stands on
# both sides.*
#
# Three kinds of pairs:
#
# - **local to global**, 8 x 2 = 16: guess the whole from a part;
# - **global to another global**, 2: the same thing, cut differently;
# - **the same crop**, 2: left out.
#
# The teacher sees no local crops: a part would be a poor judge of the whole.

# %% [markdown]
# Why leave the same crop out? The print says it: there the untaught copy is
# best already. Same pixels, same net, same answer; nothing has to be
# understood.
#
# > DINO sums over all crops of the student and both global crops of the teacher,
# > without the pairs of the same crop (DINO Sec. 3.1, Eq. (3)).
#
# > **Tutor's note.** In DINOv3 patches of some global crops are hidden from the
# > student (lesson 08). The pair is left out all the same.

# %% [markdown]
# ## Rung 3: a function, and the package's
#
# Drop the diagonal of the table, and divide by the number of pairs that are
# left: `s t - min(s, t)`.


# %%
def dino_loss(student, target, temp, ignore_diagonal=False):
    pairs = table(student, target, temp)
    if not ignore_diagonal:
        return pairs.mean()
    count = pairs.numel() - min(pairs.shape)
    return (pairs.sum() - pairs.diagonal().sum()) / count


print(inspect.getsource(DINOLoss.forward))

# %%
theirs = DINOLoss(student_temp=0.5)
for ignore in [False, True]:
    mine = dino_loss(scores, target, 0.5, ignore)
    torch.testing.assert_close(mine, theirs(scores, target, ignore))
    print(f"same crops left out: {ignore}; equal, {mine:.4f}")
between_global = theirs(scores[:2], target, ignore_diagonal=True)
from_local = theirs(scores[2:], target)
weighted = (2 * between_global + 16 * from_local) / 18
torch.testing.assert_close(weighted, theirs(scores, target, True))

# %% [markdown]
# The last four lines are how training calls it: once for global crops, once for
# local ones, weighted 2 to 16. So the log has two curves,
# `dino_global_crops_loss` and `dino_local_crops_loss`, and their weighted mean
# counts each of the 18 pairs once.

# %% [markdown]
# ## The gradient
#
# What does the loss do to one score $z_k$ of the student? For one pair and a
# temperature $\tau$, with $q = \text{softmax}(z / \tau)$:
#
# $$\text{loss} = -\sum_j p_j \frac{z_j}{\tau} + \log \sum_j e^{z_j / \tau},
# \qquad \frac{\partial\,\text{loss}}{\partial z_k} = \frac{-p_k}{\tau} +
# \frac{q_k}{\tau} = \frac{q_k - p_k}{\tau} .$$
#
# (The second term of the loss is multiplied by $\sum_j p_j$, which is 1.) Where
# the student says too much, the score is pushed down; too little, up. Three
# checks: autograd, a small nudge by hand, and `gradcheck`, which nudges every
# number.

# %%
torch.manual_seed(6)
z = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)  # [B, K]
p = torch.randn(3, 7, dtype=torch.float64).softmax(dim=-1)


def one_pair(z):
    return dino_loss(z[None], p[None], 0.1)


formula = ((z / 0.1).softmax(dim=-1) - p) / 0.1 / 3  # a mean over B = 3
(auto,) = torch.autograd.grad(one_pair(z), z)
torch.testing.assert_close(auto, formula)
nudge = torch.zeros_like(z)
nudge[1, 4] = 1e-6
by_hand = (one_pair(z + nudge) - one_pair(z - nudge)) / 2e-6
torch.testing.assert_close(by_hand, formula[1, 4], rtol=1e-5, atol=1e-7)
print("gradient", list(auto.shape))
print("gradcheck:", torch.autograd.gradcheck(one_pair, z))

# %% [markdown]
# `gradcheck` needs float64. The package's loss computes in float32 whatever it is
# given, so it gets our function here; the package's own gradient is compared
# with the official one below.

# %%
p = (cat / 0.04).softmax(dim=-1)
q = (cat_again / 0.1).softmax(dim=-1)
assert abs((q - p).sum()) < 1e-5
push = {"target": p, "student": q, "gradient (q - p) / 0.1": (q - p) / 0.1}
viz.bars_figure(push, same_scale=False)
plt.show()

# %% [markdown]
# *Figure: 8 bars each. The target has one tall bar and a few small ones, the
# student is flatter. The gradient is below zero where the target is taller,
# above zero where the student is; together the bars sum to zero.*
#
# The gradient sums to 0: a prototype can only win what others lose. And $1 /
# \tau = 10$ multiplies it: this is the pull of the student's temperature.

# %% [markdown]
# ## Stop-gradient: the teacher must not be pulled
#
# The loss depends on $p$ as well. What would it do to the teacher, if one let
# it? Take the three prototypes from above and ask autograd for both sides. (Here
# the target has 0.001 in place of its 0, since 0 has no logarithm.)

# %%
q, p = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.75, 0.249, 0.001])
z_s = (0.1 * q.log()).requires_grad_()  # scores that give q at 0.1
z_t = (0.04 * p.log()).requires_grad_()
target = (z_t / 0.04).softmax(dim=-1)
DINOLoss()(z_s[None, None], target[None, None]).backward()
for name, z in [("student", z_s), ("teacher", z_t)]:
    moves = [round(-g.item(), 1) + 0.0 for g in z.grad]
    print(f"{name}: a step moves the scores by", moves)

# %% [markdown]
# The student is moved towards the target, as wished. The teacher is moved to
# *what the student likes best already*: 0 up, 1 down. The answer sheet runs
# towards the answer. And it runs faster: its gradient is multiplied by 1 / 0.04,
# the student's by 1 / 0.1.
#
# So the teacher is computed behind a
# [stop-gradient](GLOSSARY.md#stop-gradient): `torch.no_grad()`. To the student
# $p$ is a constant, and so is $H(p)$. **Only the KL has a gradient.**

# %%
z = z_s.detach().clone().requires_grad_()
(of_loss,) = torch.autograd.grad(-(p * (z / 0.1).log_softmax(-1)).sum(), z)
kl = F.kl_div((z / 0.1).log_softmax(-1), p, reduction="sum")
(of_kl,) = torch.autograd.grad(kl, z)
print("same gradient:", torch.allclose(of_loss, of_kl, atol=1e-6))
print("in the package:")
print(inspect.getsource(dino_clstoken_loss.SoftmaxCenter.forward))

# %% [markdown]
# That is one of two ways to make targets (lesson 11). Note its first line.
#
# > **Watch out.** `DINOLoss` itself stops nothing. If you make the targets
# > yourself and forget `no_grad`, no error tells you.

# %% [markdown]
# ## Four teachers
#
# Time to train. `play` trains a student for 300 steps and notes the entropy of
# the targets and the KL. Four ways to have a teacher:
#
# - **frozen**: a random head that never changes;
# - **pulled**: the same, but without the stop-gradient;
# - **copy**: a slow copy of the student behind a stop-gradient, its
#   [EMA](GLOSSARY.md#ema), as in DINO (lesson 14);
# - **copy, balanced**: targets by the function of lesson 11.


# %%
def sharpen(z, temp):
    return (z / temp).softmax(dim=-1)


def balance(z, temp):  # lesson 11
    target = sinkhorn_knopp.sinkhorn_knopp(z.flatten(0, 1), temp)
    return target.unflatten(0, (2, -1))


def play(student, teacher, temps, pulled=False, copy=False, make=sharpen):
    nets = [student, teacher] if pulled else [student]
    weights = [w for net in nets for w in net.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=3e-3)
    parts = []
    for step, temp in enumerate(temps):
        batch = train[step % 100]  # [6, B, 192]
        with torch.set_grad_enabled(pulled):
            target = make(teacher(batch[:2]), temp)  # [2, B, K]
        loss = DINOLoss()(student(batch), target, ignore_diagonal=True)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        entropy = entropy_of(target.detach())
        parts.append((entropy, max(loss.item() - entropy, 0.0)))
        if copy:
            pairs = zip(
                teacher.parameters(), student.parameters(), strict=True
            )
            for slow, fast in pairs:
                slow.data.lerp_(fast.data, 0.05)
    return tuple(zip(*parts, strict=True))


# %% [markdown]
# The loss minus the mean entropy of the targets is the mean KL, exactly: every
# target counts in equally many pairs. How good is a net afterwards? `recognises`
# takes two new crops of each photograph, and asks for each first crop which of
# the 16 second crops has the most similar bottleneck: is it from the same
# photograph? Chance is 1 in 16.


# %%
@torch.no_grad()
def recognises(net):
    hits = []
    for batch in new:
        a, b = net.bottleneck(batch[:2])  # each [B, 32]
        hits.append((a @ b.T).argmax(dim=1) == torch.arange(16))
    return torch.stack(hits).float().mean().item()


@torch.no_grad()
def used(net):  # how many prototypes are somebody's favourite
    best = [net(batch[:2]).argmax(dim=-1).flatten() for batch in new]
    return len(torch.cat(best).unique())


def start():  # a student, and a random teacher with clear opinions
    return head(0), head(1, std=0.2)


temps = 300 * [0.04]
students, runs = {}, {}
for name, how in {
    "frozen": {},
    "pulled": {"pulled": True},
    "copy": {"copy": True},
    "copy, balanced": {"copy": True, "make": balance},
}.items():
    student, teacher = start()
    if "copy" in how:
        teacher = head(0)
    runs[name] = play(student, teacher, temps, **how)
    students[name] = student
for name, net in students.items():
    print(f"{name}: one favourite for all crops: {used(net) == 1}")
kls = runs["copy, balanced"][1]
print("copy, balanced: KL grew:", sum(kls[-50:]) > 1.5 * sum(kls[:50]))
viz.loss_split_figure(runs, ln(K))
plt.show()

# %% [markdown]
# *Figure: four loss curves, each in two layers, entropy of the target below, KL
# above; ln K = 4.16 is dashed. Frozen: from ln K to about 3; the entropy stays
# near 1, only the KL shrinks. Pulled: zero within fifty steps. Copy: nearly all is
# entropy, and within a hundred steps it is gone. Balanced: the loss falls slowly,
# and the KL grows.*

# %% [markdown]
# **Pulled** has a perfect loss, and it is dead: one prototype for everything.
# This is called [collapse](GLOSSARY.md#collapse).
#
# **Copy** shows that the stop-gradient alone does not save us: the teacher
# follows, a little later, and both sharpen themselves into one answer. Lesson 11
# mends this by sharing the prototypes out evenly: **copy, balanced**.
#
# **Frozen** cannot collapse, since the teacher does not move. But what is there
# to learn from a teacher that knows nothing?

# %% [markdown]
# ## Predict, then run
#
# **First.** A random teacher recognises a photograph about as often as an
# untrained student. After 600 steps, does its student recognise *less often* than
# this teacher, equally often, or *more often*?

# %%
student, teacher = start()
before, its = recognises(student), recognises(teacher)
parts = play(student, teacher, 2 * temps)
print("untrained and teacher about the same:", abs(before - its) < 0.1)
print("student above its teacher:", recognises(student) > its + 0.1)
print("and above one half:", recognises(student) > 0.5)
balanced = recognises(students["copy, balanced"])
print("copy, balanced, above one half:", balanced > 0.5)

# %% [markdown]
# More often. In no pair does the student see the very crop that the teacher
# judged. It can only answer from what its own crop *shares* with it: colours and
# forms of the photograph, not the cut, the flip or the blur. It has to overlook
# what changes between crops. The answers are arbitrary; what is needed to foresee
# them is not. This is how two networks can agree without labels, on something.
#
# And if the better student became the next teacher, for its own student? That is
# the slow copy.

# %% [markdown]
# **Second.** The frozen teacher again, but its temperature rises from 0.02 to
# 0.2. In the last 100 steps, is the loss higher or lower than in steps 50 to
# 150? Has the student become worse?

# %%
rising = [0.02 + 0.18 * step / 300 for step in range(300)]
student, teacher = start()
entropies, kls = play(student, teacher, rising)
early, late = slice(50, 150), slice(200, 300)
kl_early, kl_late = sum(kls[early]), sum(kls[late])
loss_early = sum(entropies[early]) + kl_early
loss_late = sum(entropies[late]) + kl_late
print("loss higher at the end:", loss_late > 1.05 * loss_early)
print("KL at most half:", kl_late < 0.5 * kl_early)
print("student above its teacher:", recognises(student) > its + 0.05)
pair = {"0.04": runs["frozen"], "0.02 to 0.2": (entropies, kls)}
viz.loss_split_figure(pair, ln(K))
plt.show()

# %% [markdown]
# *Figure: two curves in layers. Left, temperature 0.04: the loss falls, the
# entropy stays. Right, rising temperature: after a short dip the loss climbs back
# towards ln K, since the entropy below it grows, while the KL on top gets thin.*
#
# The loss climbs, and nothing is wrong: the teacher became less decided. (The
# thin KL is partly the student's merit and partly an easier question.)

# %% [markdown]
# ## What should my curve look like?
#
# **The loss is not a progress bar.** Above, the lowest losses belong to nets
# that say one thing to everything, and one loss rose while all was well. Even
# the KL grew in the run that is most like DINOv3: its teacher got sharper, and the
# question harder.
#
# A usual curve
#
# 1. starts near ln K,
# 2. stays there for a while: flat targets ask for nothing, and the learning rate
#    is still warming up,
# 3. falls, and levels off above a floor that lesson 11 derives,
# 4. may rise slowly while the teacher's temperature rises.

# %% [markdown]
# So watch something else: [k-NN](GLOSSARY.md#k-nn) on the features (lesson 18),
# and the entropy of the targets, which should be near neither 0 nor ln K.
#
# The file `metrics.jsonl` of a run has the two DINO losses and
# `dino_target_entropy`. Either loss minus this is its KL. Two cases have the
# *same* loss, and only the entropy tells them apart:

# %%
K_ = 1024
flat, sure = torch.zeros(1, 1, K_), F.one_hot(torch.tensor([[7]]), K_)
knows_nothing = torch.zeros(1, 1, K_)  # the student's scores
for name, target in [
    ("nothing asked", flat + 1 / K_),
    ("not learned yet", sure * 1.0),
]:
    loss = DINOLoss()(knows_nothing, target)
    print(f"{name}: loss {loss:.2f}, target entropy {entropy_of(target):.2f}")

# %% [markdown]
# ## My loss does not go down
#
# | loss | target entropy | it means | first thing to try |
# |---|---|---|---|
# | ln K | ln K | nothing is asked | sharper targets; are there too many prototypes for the batch? (lesson 11) |
# | ln K | well below | not learned yet | wait; learning rate; is softmax applied twice? |
# | flat in between | flat | perhaps the floor | lesson 11; look at k-NN |
# | rising | rising | the teacher gets softer | nothing |
# | 0 | 0 | collapse | lessons 11 and 17 |
# | well above ln K | any | the student is sure and wrong | smaller scores at the start, lower learning rate |

# %% [markdown]
# And if the *total* loss looks odd: it is a sum. The iBOT part starts near half
# of its own ln K (lesson 12), KoLeo may start high and go below zero (lesson
# 13). Look at every part by itself.
#
# ## Against someone else
#
# Torch's `cross_entropy` takes distributions as targets, for one pair at a time.
# Then the official code: `tests/golden/dino_loss.safetensors` has scores, targets,
# losses and gradients that it computed once.

# %%
golden = read_state_dict("../tests/golden/dino_loss.safetensors")
target = golden["sinkhorn"].unflatten(0, (2, -1))  # [2, B, K]
whole = golden["student_global"].requires_grad_()  # [2, B, K]
local = golden["student_local"].requires_grad_()  # [5, B, K]
one_pair_ = F.cross_entropy(whole[0] / 0.1, target[1])
torch.testing.assert_close(table(whole, target, 0.1)[0, 1], one_pair_)
cases = {
    "global_all_pairs": (whole, False),
    "global_ignore_diagonal": (whole, True),
    "local": (local, False),
}
for name, (scores, ignore) in cases.items():
    loss = DINOLoss(0.1)(scores, target, ignore)
    torch.testing.assert_close(loss, golden[f"loss_{name}"])
    print(f"{name}: {list(scores.shape)}, equal, {loss:.4f}")
print(f"ln K {ln(target.shape[2]):.2f}")

# %% [markdown]
# And the gradients, by the formula alone. A local crop meets both targets, so it
# is pulled towards their mean. A global crop meets only the other one.

# %%
B = target.shape[1]
for name, scores, aim, pairs in [
    ("local", local, target.mean(dim=0), 5),
    ("global_ignore_diagonal", whole, target.flip(0), 2),
]:
    q = (scores.detach() / 0.1).softmax(dim=-1)
    formula = (q - aim) / 0.1 / (B * pairs)
    official = golden[f"grad_{name}"]
    torch.testing.assert_close(formula, official)
    print(f"gradient of {name}: {list(official.shape)}, equal")

# %% [markdown]
# The golden losses lie far above their ln K: random scores of size 1, divided by
# 0.1, make a student that is sure and wrong.
#
# ## Common mistakes
#
# **Scores for probabilities.** The loss asks for the teacher's probabilities.
# Give it raw scores, and it runs. A loss below zero gives it away, and targets
# that do not sum to 1.

# %%
with torch.no_grad():
    teacher_scores = sharp(new[0][:2])  # no softmax
    scores = sharp(new[0])
wrong = DINOLoss()(scores, teacher_scores)
print(f"loss {wrong:.2f}; target sums to {teacher_scores[0, 0].sum():.2f}")

# %% [markdown]
# **Photographs first.** Crops come first, `[s, B, K]`. With `[B, s, K]` the local
# crops raise an error.

# %% tags=["raises-exception"]
target = (teacher_scores / 0.04).softmax(dim=-1)
DINOLoss()(scores[2:].transpose(0, 1), target.transpose(0, 1))

# %% [markdown]
# With two global crops on both sides nothing is raised. Each axis has a size
# that fits, but the pairs are now *different photographs*: the cat shall be the
# cup.

# %%
right = DINOLoss()(scores[:2], target, ignore_diagonal=True)
wrong = DINOLoss()(scores[:2].transpose(0, 1), target.transpose(0, 1), True)
print(f"crops first {right:.2f}, photographs first {wrong:.2f}")

# %% [markdown]
# **Softmax twice.** `cross_entropy` of torch wants scores and has softmax inside.
# Given probabilities, it hardly goes down: even the perfect answer costs ln K - 1.

# %%
answer = torch.zeros(1, 1024)
answer[0, 7] = 1.0  # the target, and also the student's answer
loss = F.cross_entropy(answer, answer)
print(f"perfect answer, softmax twice: {loss:.2f}; ln K {ln(1024):.2f}")

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/10.py`.
#
# **10.1** (difficulty 1, 3 minutes) `G` global and `L` local crops. The teacher
# sees the global ones, the student all; the same crop never meets itself. How
# many pairs count per photograph?
#
# <details><summary>Hint 1</summary>Draw the table: student crops on top, teacher
# crops at the left.</details>
# <details><summary>Hint 2</summary>How long is its diagonal?</details>


# %%
def pairs(G, L):
    raise NotImplementedError("exercise 10.1")


check("10.1", pairs)

# %% [markdown]
# **10.2** (difficulty 2, 6 minutes) The cross-entropy of one pair of crops, as a
# mean over `B` photographs. `scores` of the student and `target` (probabilities)
# are [B, K], `temp` is the student's. Return one number. Scores of several
# hundred must work.
#
# <details><summary>Hint 1</summary>Divide, log of softmax, times the target, sum
# over K, mean over B, sign.</details>
# <details><summary>Hint 2</summary>The log of a softmax that became 0 is minus
# infinity. Which torch function does both at once?</details>


# %%
def cross_entropy(scores, target, temp):
    raise NotImplementedError("exercise 10.2")


check("10.2", cross_entropy)

# %% [markdown]
# **10.3** (difficulty 3, 10 minutes) The mean over photographs and all pairs of
# *different* crops. `student` holds scores [s, B, K], `teacher` probabilities [t, B, K]. Crop
# `i` of one side is crop `i` of the other. Do without `DINOLoss`.
#
# <details><summary>Hint 1</summary>Two loops over crops are fine, with your 10.2
# inside.</details>
# <details><summary>Hint 2</summary>By how many do you divide? Count the pairs as
# you go.</details>


# %%
def other_crops(student, teacher, temp):
    raise NotImplementedError("exercise 10.3")


check("10.3", other_crops)

# %% [markdown]
# **10.4** (difficulty 3, 8 minutes) The gradient of 10.2 with respect to
# `scores`, [B, K], without autograd.
#
# <details><summary>Hint 1</summary>Student minus target.</details>
# <details><summary>Hint 2</summary>Two factors remain: the inner derivative, and
# that of the mean.</details>


# %%
def slope(scores, target, temp):
    raise NotImplementedError("exercise 10.4")


check("10.4", slope)

# %% [markdown]
# **10.5** (difficulty 3, 10 minutes) Read a log. From `loss`, the `entropy` of the
# targets, and `K`, return one of `"nothing asked"`, `"not learned yet"`,
# `"collapsed"`, and for everything else `"look at k-NN"`. "ln K" in the table
# above means: above 95 percent of ln K. "0" means: below 5 percent of ln K. Then
# think: which setting would you change in each case, and what would the two
# layers of the curve do?
#
# <details><summary>Hint 1</summary>Start with the entropy: is anything
# asked?</details>
# <details><summary>Hint 2</summary>A loss near 0 has an entropy near 0: which one
# has to be tested?</details>


# %%
def diagnose(loss, entropy, K):
    raise NotImplementedError("exercise 10.5")


check("10.5", diagnose)

# %%
print(progress("10"))

# %% [markdown]
# ## Recap
#
# - You computed 0.87 = 0.56 + 0.30: loss, entropy of the target, KL.
# - You counted 18 pairs of a photograph. The same crop is left out: a copy that
#   learned nothing is best there.
# - You derived (q - p) / temperature, and met it in torch and in the official
#   gradients.
# - You let the teacher be pulled, and both networks died with a perfect loss.
# - You split curves into entropy and KL, and saw the lowest losses on the worst
#   nets.
#
# Next: why does a slow copy agree with itself on one answer, and what shares
# the prototypes out?

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 3.1, Eq. (1)
#   to (3), and Algorithm 1: this loss in a few lines. Sec. 5.3 and Fig. 7 split
#   it into entropy and KL. Sec. 3.2 has the temperatures.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2, Eq.
#   (1): the loss as a part of the whole. Its temperatures stand in the code.
# - Official code: `dinov3/loss/dino_clstoken_loss.py`, class `DINOLoss`; here
#   `dinolite/loss/dino_clstoken_loss.py`.
# - BYOL, [arXiv 2006.07733](https://arxiv.org/abs/2006.07733): its authors came
#   to their method by the observation you made with the frozen random teacher.
