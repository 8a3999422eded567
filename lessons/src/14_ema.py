# %% [markdown]
# # 14 EMA
#
# **Why is the teacher a slow copy?** No gradient ever reaches the teacher. One
# line of arithmetic moves it. You do that line by hand, see what it remembers,
# and measure what it is good for.

# %% [markdown]
# The student learns from [targets](GLOSSARY.md#target), and the targets come
# from a teacher. Nobody has a better network to offer. So the teacher is made
# of the student: its [EMA](GLOSSARY.md#ema), a running mean of its weights.
#
# After this lesson you can
#
# - compute a teacher by hand and write its update in four ways,
# - say how far back a momentum remembers, and its half-life,
# - derive how much noise it takes away, and how late it comes,
# - tell what is averaged, what is copied once, and when in the step,
# - choose a momentum for your run.
#
# | | |
# |---|---|
# | you need | lessons 06, 10, 11 |
# | time | 45 minutes |
# | module | `dinolite/train/ema.py` |
# | official | `train/ssl_meta_arch.py`: `update_ema` |
# | paper | DINO Sec. 3.1, 5.2; DINOv3 Sec. 3.2, App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import datasets, loaders, masking
from dinolite.eval import features, online
from dinolite.models import pretrained
from dinolite.train import ema, param_groups, ssl_meta_arch, train
from dinolite.train.schedules import cosine_schedule
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# Some short names.

# %%
F, CPU = torch.nn.functional, torch.device("cpu")
read = pretrained.read_state_dict
Arch = ssl_meta_arch.SSLMetaArch

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("14")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Lit is the box EMA between the student ViT below and the
# teacher ViT above it; the arrow leads upwards, from student to teacher.*
#
# ## The failure first
#
# Why not let the student be its own teacher? A tiny net and windows of
# photographs, as in lesson 00. After every step we ask the teacher about one
# picture that is not trained on.

# %%
data = datasets.load_pictures("windows", "train")
test = datasets.load_pictures("windows", "test")
TINY = {
    "student.embed_dim": 32,
    "student.depth": 2,
    "student.num_heads": 1,
    "dino.head_n_prototypes": 32,
    "crops.local_crops_number": 2,
    "train.batch_size_per_gpu": 16,
    "train.device": "cpu",
    "optim.lr.peak": 3e-3,
    "optim.lr.end": 3e-3,
    "optim.lr.warmup": 10,
    "evaluation.max_train": 1000,
    "evaluation.image_size": 24,
}


def fresh(momentum, steps, seed=1):
    changes = {"train.iterations": steps, "train.seed": seed}
    changes |= {"teacher.momentum": {"peak": momentum}}
    return train.make_state(config.load_config("demo", TINY | changes), CPU)


def go(run, watch):
    """All steps of a run; a list of what `watch` says after each"""
    said = []
    for batch in loaders.ssl_batches(data, run.config, CPU):
        train.train_step(run, batch)
        said.append(watch(run))
        if run.iteration == run.config.train.iterations:
            return said


# %% [markdown]
# `momentum` is the knob of the EMA. With 0, the teacher is the student of the
# last step. With 0.98, it is a slow copy. We count how much of its answer, a
# distribution over 32 [prototypes](GLOSSARY.md#prototype), changes hands from
# one step to the next.

# %%
number, measured_at = 1, [60, 80, 100, 120]
asked = features.preprocess(test.images[number : number + 1])
monitor = online.KnnMonitor(fresh(0.0, 120).config, data, CPU)


@torch.no_grad()
def opinion(net, temp):
    logits = net["dino_head"](net["backbone"](asked))  # [1, 32]
    return (logits / temp).softmax(dim=-1)[0]


def follow(run):
    """What the teacher says; now and then, k-NN of both nets for later"""
    knn = None
    if run.iteration in measured_at:
        nets = {"student": run.model.student, "teacher": run.model.teacher}
        knn = {n: monitor(net["backbone"])["knn"] for n, net in nets.items()}
    return opinion(run.model.teacher, run.config.teacher.temp.peak), knn


logs, answers = {}, {}
for momentum in [0.0, 0.98]:
    name = f"momentum {momentum:g}"
    logs[name] = go(fresh(momentum, 120), follow)
    answers[name] = torch.stack([p for p, _ in logs[name]])  # [120, 32]

# %%
moved = {}
for name, p in answers.items():
    share = (p[1:] - p[:-1]).abs().sum(dim=1) / 2  # [119]
    moved[name] = share[20:].mean().item()
    print(name, list(p.shape), "over 5 percent a step:", moved[name] > 0.05)
maps = {name: p.T for name, p in answers.items()}
viz.answers_figure(maps, "step", "prototype", test.images[number])
plt.show()

# %% [markdown]
# *Figure: a coin, in a small grey window of a photograph, and two maps with a
# column for each of 120 steps and a row for each of 32 prototypes. With momentum 0
# bright spots come and go, often within a few steps; with 0.98 two bright lines fade
# in the first twenty, and then long level lines hardly change.*

# %%
ratio = moved["momentum 0"] / moved["momentum 0.98"]
print("changes 5 times as fast:", ratio > 5)

# %% [markdown]
# The same picture, and at every step the hasty teacher takes back part of its
# answer. Each step was made of 16 random pictures, and a teacher without memory passes their
# noise on as truth. A slow copy is steady. Is it also *right*? That we shall
# measure.

# %% [markdown]
# ## By hand: three steps
#
# > After each step, teacher = m times teacher + (1 - m) times student, with m
# > rising from 0.996 to 1 in a cosine. (DINO Sec. 3.1 "Teacher network", in our
# > words)
#
# $m$ is the [momentum](GLOSSARY.md#momentum). Take one weight and $m = 0.5$. The
# teacher starts at 0; the student goes to 4, 2, 6:
#
# $$0.5 \cdot 0 + 0.5 \cdot 4 = 2, \quad 0.5 \cdot 2 + 0.5 \cdot 2 = 2, \quad
# 0.5 \cdot 2 + 0.5 \cdot 6 = 4.$$

# %% [markdown]
# Now look at what is inside the last 4. Every step halves all that is old:
#
# $$\tfrac12 \cdot 6 + \tfrac14 \cdot 2 + \tfrac18 \cdot 4 + \tfrac18 \cdot 0 =
# 4.$$
#
# The student of $k$ steps ago counts $(1 - m)\,m^k$, the start counts $m^n$ after
# $n$ steps. Together they make 1: the teacher is a weighted mean.

# %%
m, teacher, path = 0.5, 0.0, []
for student in [4.0, 2.0, 6.0]:
    teacher = m * teacher + (1 - m) * student
    path.append(teacher)
assert path == [2.0, 2.0, 4.0]
past = torch.tensor([6.0, 2.0, 4.0])  # newest first
counts = (1 - m) * m ** torch.arange(3)
assert (counts * past).sum() + m**3 * 0.0 == 4.0
assert counts.sum() + m**3 == 1.0
print(path, counts.tolist(), "start", m**3)

# %% [markdown]
# ## The ladder: four ways to write it
#
# A whole network is the same line for each of its parameters. Here are a student
# and its teacher, backbone and two heads each. **Rung 1**, a loop over names:

# %%
run = fresh(0.98, 12)
go(run, lambda run: None)
student = dict(run.model.student.named_parameters())
before = {n: p.clone() for n, p in run.model.teacher.named_parameters()}
m = 0.9
by_loop = {}
for name, old in before.items():
    by_loop[name] = m * old + (1 - m) * student[name].detach()
print(len(by_loop), "parameters; two of them:")
for name in ["backbone.cls_token", "dino_head.last_layer.weight"]:
    print(f"{name:27}", list(by_loop[name].shape))

# %% [markdown]
# **Rung 2**, one vector. All parameters end to end make one long list of
# numbers, and the rule does not care where one ends. $m t + (1-m) s$ is the same
# as $t + (1 - m)(s - t)$: go a small part of the way to the student. PyTorch
# calls that `lerp`.


# %%
def vector(parameters):
    return torch.cat([p.detach().flatten() for p in parameters])


t, s = vector(before.values()), vector(student[n] for n in before)
loop = vector(by_loop.values())
torch.testing.assert_close(t + (1 - m) * (s - t), loop)
torch.testing.assert_close(t.lerp(s, 1 - m), loop)
print(list(t.shape), "equal to the loop, twice")

# %% [markdown]
# **Rung 3**, a function that changes the teacher in place. Copying everything
# into one vector takes memory; `torch._foreach_lerp_` takes two lists of tensors
# as they are, in one call. **Rung 4** is the package's:

# %%
print(inspect.getsource(ema.update_ema))


# %%
@torch.no_grad()
def slow_copy(teacher, student, momentum):
    names = [name for name, _ in teacher.named_parameters()]
    mine, theirs = (dict(x.named_parameters()) for x in (teacher, student))
    torch._foreach_lerp_(
        [mine[n] for n in names], [theirs[n] for n in names], 1 - momentum
    )


def put_back():
    for name, p in run.model.teacher.named_parameters():
        p.data.copy_(before[name])


for update in [slow_copy, ema.update_ema]:
    put_back()
    update(run.model.teacher, run.model.student, m)
    torch.testing.assert_close(vector(run.model.teacher.parameters()), loop)
    print(update.__name__, "equal to the loop")

# %% [markdown]
# > **Tutor's note.** Why so much care for one line? The official 7B model has
# > this line run over billions of numbers at every step. A Python loop over
# > hundreds of tensors leaves a GPU waiting; one call does not.
#
# ## Does the teacher learn by gradient as well?
#
# No, in two ways: its forward pass is not recorded
# ([stop-gradient](GLOSSARY.md#stop-gradient), lesson 10), and its parameters do
# not ask for gradients. In lesson 10 you saw what happens otherwise: the two
# agree at once, on nothing.

# %%
for name in ["student", "teacher"]:
    parameters = list(getattr(run.model, name).parameters())
    wanted = sum(p.requires_grad for p in parameters)
    present = sum(p.grad is not None for p in parameters)
    print(f"{name}: {len(parameters)} parameters,", end=" ")
    print(f"{wanted} ask for a gradient, {present} have one")

# %% [markdown]
# ## How far back does it remember?
#
# The counts $(1-m)\,m^k$ shrink for ever and never reach 0. Two numbers say how
# long that takes:
#
# - the **memory**, about $1/(1-m)$ steps: for m near 1 nearly two thirds of
#   the teacher come from them;
# - the **half-life** $\ln 0.5 / \ln m$: after so many steps a student counts half.

# %%
for m in [0.5, 0.9, 0.98, 0.992, 0.999]:
    memory = 1 / (1 - m)
    within = 1 - m ** round(memory)
    half = torch.tensor(0.5).log() / torch.tensor(m).log()
    print(
        f"m {m:5}: memory {memory:6.1f} steps, share from them {within:.2f},",
        f"half-life {half:5.1f}",
    )

# %% [markdown]
# A student that climbs and settles, with noise, and three teachers of it:

# %%
draw = torch.Generator().manual_seed(0)
climb = 1 - (-torch.arange(150) / 25).exp()
noisy = climb + 0.3 * torch.randn(150, generator=draw)  # [150]
viz.memory_figure([0.5, 0.9, 0.98], noisy)
plt.show()

# %% [markdown]
# *Figure: left, what a student counts after so many steps: for 0.5 a peak that is
# gone within ten steps, for 0.9 a low slope, for 0.98 an almost level line at the
# bottom. Right, the jagged grey student climbs to 1. The teacher of 0.5 is jagged,
# too, that of 0.9 nearly smooth, that of 0.98 smooth and late: at the end it is
# still below 1.*
#
# The whole lesson is in this picture: **less noise, more delay.** Turn the knob.
# What
# happens at 0, and at 1?


# %%
def turn(momentum):
    return viz.memory_figure([momentum], noisy)


viz.explore(turn, momentum=(0.0, 1.0, 0.02, 0.9))

# %% [markdown]
# *Figure: the same two panels for one momentum, at first 0.9. Slider: momentum
# from 0, where the teacher is the grey line itself, to 1, where it never leaves its start.*
#
# ## Why is a mean better? The noise
#
# First on paper. Say the student is right but for noise of variance 1, new at
# every step. A mean with weights $w_k$ has variance $\sum w_k^2$:
#
# $$(1-m)^2 (1 + m^2 + m^4 + \dots) = \frac{(1-m)^2}{1 - m^2} =
# \frac{1-m}{1+m}.$$
#
# With $m = 0.9$ that is $0.1 / 1.9$, a nineteenth.

# %% [markdown]
# A real student does not jump anew: a step of SGD starts where the last one
# ended. Take the loss $w^2/2$ with noise in its gradient and learning rate
# $\eta$. Of an old deviation $\rho = 1 - \eta$ is left after a step. Neighbours
# are alike, and averaging them helps less:
#
# $$\frac{1-m}{1+m} \cdot \frac{1 + m\rho}{1 - m\rho}.$$
#
# Check it with 4000 students at once.

# %%
RATE = 0.3


def walk(momentum, drift=0.0, walkers=4000, steps=300):
    """How far student and teacher are from the goal at the end, [walkers]"""
    draw = torch.Generator().manual_seed(0)
    student = teacher = torch.zeros(walkers)
    goal = 0.0
    for _ in range(steps):
        noise = torch.randn(walkers, generator=draw)
        student = student - RATE * (student - goal + noise)
        teacher = momentum * teacher + (1 - momentum) * student
        goal += drift
    return student - goal, teacher - goal


def noise_left(m, rho=1 - RATE):
    return (1 - m) / (1 + m) * (1 + m * rho) / (1 - m * rho)


for m in [0.0, 0.5, 0.9, 0.98]:
    student, teacher = walk(m)
    measured = (teacher.var() / student.var()).item()
    right = abs(measured / noise_left(m) - 1) < 0.1
    print(f"m {m:4}: {noise_left(m):.3f} of the variance is left;", end=" ")
    print("4000 students agree:", right)

# %% [markdown]
# Once settled, no step's student is better than another's on average, and their
# mean is far better than a typical one. Here in two dimensions: the loss is lowest in the middle.

# %%
draw = torch.Generator().manual_seed(1)
paths, place = {}, torch.tensor([1.7, 1.7])
walked = [place]
for _ in range(40):
    place = place - RATE * (place + torch.randn(2, generator=draw))
    walked.append(place)
walked = torch.stack(walked)  # [41, 2]
for m in [0.5, 0.9, 0.98]:
    teacher, copy = walked[0], []
    for place in walked:
        teacher = m * teacher + (1 - m) * place
        copy.append(teacher)
    paths[f"m = {m}"] = {"student": walked, "teacher": torch.stack(copy)}
viz.paths_figure(paths)
plt.show()

# %% [markdown]
# *Figure: three planes with rings around the middle and the same restless path
# of the student, from the upper right into the middle and then around it. The
# teacher of 0.5 dances with it. That of 0.9 glides to the middle and stays near.
# That of 0.98 is still on its way after 40 steps.*
#
# ## What does it cost? The delay
#
# A weighted mean of the past has an age. The newest student has age 0, the one
# before 1, and so on: $\sum_k k\,(1-m)\,m^k = m/(1-m)$. If the student moves by $v$
# per step, the teacher is $v\,m/(1-m)$ behind it.

# %% [markdown]
# Let the goal itself move by $v = 0.02$ per step. The student follows $v/\eta$
# behind, the teacher that much more. Noise falls with $m$, delay rises, and
# squared errors add. **Predict first:** where is the best momentum: 0, 1 or
# between? And for a goal four times slower?


# %%
def parts(m, v):
    noise = RATE / (2 - RATE) * noise_left(m)
    late = v / RATE + v * m / (1 - m)
    return noise, late**2


momenta = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
memory, panels = [1 / (1 - m) for m in momenta], {}
for v in [0.02, 0.005]:
    lines = {"noise": [], "delay": [], "both": [], "measured": []}
    for m in momenta:
        noise, late = parts(m, v)
        found = (walk(m, v, 1000)[1] ** 2).mean().item()
        for key, value in zip(
            lines, [noise, late, noise + late, found], strict=True
        ):
            lines[key].append(value)
    panels[f"the goal moves {v} per step"] = lines
    best = [min(range(7), key=lines[k].__getitem__) for k in list(lines)[2:]]
    print(f"v {v}: best m on paper and measured", [momenta[b] for b in best])
lag = "memory 1 / (1 - m), steps"
viz.lines_figure(panels, memory, lag, log=panels, xscale="log")
plt.show()

# %% [markdown]
# *Figure: two panels with logarithmic axes, squared error over memory. Noise
# falls, delay rises, their sum is a valley, and the measured points lie on it.
# Left the valley is at a memory of 5 steps; right, for the slower goal, it is further
# right and lower.*
#
# Remember this valley: **the slower the student moves, the longer the memory may
# be.** Early in a run the student moves fast in one direction. Late it circles.

# %% [markdown]
# ## Is the teacher better than the student? Measured
#
# First where "better" is beyond doubt: with labels. A small net learns to name
# the photograph of a window, with plain SGD at a high, constant rate. Its
# teacher is passive: it only watches. **Predict first:** who is better after
# 20 steps, and who after 600?


# %%
def pixels(pictures):
    x = F.interpolate(pictures.images[:, :1].float(), (8, 8), mode="area")
    x = x.flatten(1)  # [n, 64]
    return (x - x.mean(1, True)) / x.std(1, keepdim=True).clamp(min=1)


def net():
    linear = torch.nn.Linear
    return torch.nn.Sequential(linear(64, 64), torch.nn.GELU(), linear(64, 16))


x, x_test = pixels(data), pixels(test)
print(list(x.shape), list(x_test.shape))

# %% [markdown]
# Three seeds, a look every 20 steps.


# %%
@torch.no_grad()
def accuracy(net):
    right = net(x_test).argmax(dim=1) == test.labels
    return 100 * right.float().mean().item()


def classify(seed, momentum, at):
    torch.manual_seed(seed)
    student, teacher = net(), net()
    teacher.load_state_dict(student.state_dict())
    found = {"student": [], "teacher": []}
    for step in range(1, max(at) + 1):
        picked = torch.randint(len(x), (32,))
        loss = F.cross_entropy(student(x[picked]), data.labels[picked])
        student.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in student.parameters():
                p -= 1.5 * p.grad
        ema.update_ema(teacher, student, momentum)
        if step in at:
            found["student"].append(accuracy(student))
            found["teacher"].append(accuracy(teacher))
    return found


at = list(range(20, 601, 20))
found = {f"seed {s}": classify(s, 0.98, at) for s in range(3)}
viz.lines_figure(found, at, "step", "accuracy (%)")
plt.show()

# %% [markdown]
# *Figure: three panels, one per seed. The student's line starts higher and, from
# step 200, jumps up and down between about eighteen and twenty-seven percent. The
# teacher's starts lower, overtakes it, and then runs above it almost everywhere.*

# %%
for name, lines in found.items():
    gap = torch.tensor(lines["teacher"]) - torch.tensor(lines["student"])
    late = gap[9:]  # from step 200 on
    print(f"{name}: behind at step 20: {bool(gap[0] < 0)};", end=" ")
    print(f"ahead at 18 of {len(late)} late points", end=" ")
    print(f"or more: {bool((late > 0).sum() >= 18)};", end=" ")
    print(f"by 2 points in the mean: {bool(late.mean() > 2)}")

# %% [markdown]
# At first behind, later ahead, on all seeds, and nobody trained the teacher. It is
# the valley again.
#
# > DINO's teacher is better than its student during the whole training, and so
# > its targets are worth following. (DINO Sec. 5.2, Fig. 6 left)

# %% [markdown]
# ## And without labels? Momentum 0, 0.98 and 1
#
# Now the teacher teaches. Take the two runs of the beginning, and a third with
# momentum 1: its teacher is a random net that never changes.
#
# **Predict first.** k-NN of the three *students*: which has learned most? Which
# has learned nothing?

# %%
logs["momentum 1"] = go(fresh(1.0, 120), follow)
untrained = monitor(fresh(1.0, 120).model.student["backbone"])["knn"]
knn = {}
for name, log in logs.items():
    rows = [found for _, found in log if found]
    knn[name] = {who: [untrained] + [r[who] for r in rows] for who in rows[0]}
marks = {"untrained": untrained}
viz.lines_figure(knn, [0, *measured_at], "step", "k-NN (%)", marks)
plt.show()

# %% [markdown]
# *Figure: three panels, k-NN of student and teacher at five steps from 0 to 120, with a
# dashed line for the untrained net. The students of all three momenta are well above
# it from step 60 on. At 0 teacher and student are one line; at 0.98 the teacher's
# rises later and lags behind; at 1 it lies on the dashed line.*

# %%
for name, lines in knn.items():
    late = sum(lines["student"][2:]) / 3  # steps 80, 100, 120
    print(f"student of {name}: 2 above untrained:", late > untrained + 2)
still = [value == untrained for value in knn["momentum 1"]["teacher"]]
print("teacher of momentum 1 still untrained:", all(still))

# %% [markdown]
# All three have learned, the pupil of a random net as well. Our explanation: the
# random answer *depends on the picture*. Whoever must give it from a small crop
# has to find out what small and large crop share, and KoLeo (lesson 13) spreads
# the features besides.
#
# And momentum 0? Sinkhorn keeps it alive (lesson 11). Without any centring it dies
# within a few steps (lesson 17), and DINO's own centring does not save it (DINO
# Sec. 5.1, Table 7).
#
# > Of four kinds of teacher, a copy of the student and that of the last iteration
# > fail, that of the last *epoch* works, and the EMA works best. (DINO Sec. 5.2,
# > Fig. 6 right)

# %% [markdown]
# > **Watch out.** We have *not* shown that the EMA gives better features here.
# > In 120 steps of a tiny net k-NN sees no difference between the momenta that
# > survives another seed: of eight, each came out on top on some. All 24 students
# > were above the untrained net. We tried several rates and batch sizes. The gain
# > that DINO reports is one of long runs.
#
# What you have seen: targets that do not jump, less noise where it can be
# measured, and the delay. And one thing follows without a measurement: with
# momentum 1 the questions never get better.

# %% [markdown]
# ## Why does momentum rise to 1?
#
# DINO and the official ViT-L raise momentum in a half cosine, from 0.996 or 0.992
# to 1: fast at first, when the student moves fast, slow at the end, when it
# circles. **Predict first:** 500 steps, constant 0.98 or a cosine from 0.98
# to 1. How old are the students inside the last teacher, in the mean?

# %%
n = 500
plans = {
    "constant": torch.full((n,), 0.98),
    "cosine": torch.as_tensor(cosine_schedule(0.98, 1.0, n)).float(),
}
counts = {}
for name, momenta in plans.items():
    inside = torch.zeros(n)  # what the student of each step counts
    for k, m in enumerate(momenta):
        inside = m * inside
        inside[k] += 1 - m
    counts[name] = inside
    age = (inside * torch.arange(n - 1, -1, -1)).sum() / inside.sum()
    print(
        f"{name:8} mean age {age:5.1f}, last 50 steps {inside[-50:].sum():.3f}"
    )
lines = {"momentum": plans, "weight in the last teacher": counts}
viz.lines_figure(lines, xlabel="iteration")
plt.show()

# %% [markdown]
# *Figure: left, momentum over 500 iterations, level at 0.98 and rising to 1. Right,
# what the student of each iteration counts in the last teacher: the constant one
# has a steep peak at the end; the cosine a low hill around the middle of the run and nearly
# nothing at the end.*
#
# The last fifty steps, often the best ones, hardly count under the cosine. In a
# run of 100,000 steps that is a detail. In a short one it is most of the learning:
# in runs of 500 steps with an early form of `demo`, the constant 0.98 was better on
# both seeds we tried. So `demo` keeps it constant.

# %% [markdown]
# > The 7B model keeps momentum constant as well, since nobody knows in advance
# > how long the run should be. (DINOv3 Sec. 3.2 "Optimization"; the value in App.
# > C is 0.999)
#
# The official settings file of that stage says 0.994; 0.999 stands in those of the
# later stages.

# %% [markdown]
# ## What is copied, and what is not?
#
# Once, before the first step, everything: the teacher loads the student's
# [state dict](GLOSSARY.md#state-dict). Then only *parameters* are averaged. What
# else is there? The official small net of the golden file tells by name.

# %%
golden = read("../tests/golden/step_pretrain.safetensors")
head = {"head_n_prototypes": 96, "head_bottleneck_dim": 24}
head["head_hidden_dim"] = 48
sizes = {
    "student": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    | {"layerscale": 0.5, "n_storage_tokens": 2, "mask_k_bias": True}
    | {"drop_path_rate": 0.0},
    "crops": {"global_crops_size": 32, "local_crops_size": 16}
    | {"local_crops_number": 3},
    "dino": head,
    "ibot": head,
}
flat = {f"{s}.{k}": v for s, part in sizes.items() for k, v in part.items()}
twin = Arch(config.load_config(None, flat))
print(len(list(twin.teacher.parameters())), "parameters, and the buffers")
for name, buffer in twin.teacher.named_buffers():
    print(f"{name:34}", list(buffer.shape))

# %% [markdown]
# Periods of [RoPE](GLOSSARY.md#rope) (lesson 03) and the masks of the key bias
# (lesson 06): constants that both sides made from the same settings. To average
# equal things is useless. Touch one in the student and see, with momentum
# 0:

# %%
with torch.no_grad():
    for tensor in [*twin.student.parameters(), *twin.student.buffers()]:
        tensor += 1.0
ema.update_ema(twin.teacher, twin.student, 0.0)
for kind in ["named_parameters", "named_buffers"]:
    mine, theirs = (
        dict(getattr(x, kind)()) for x in (twin.teacher, twin.student)
    )
    same = sum(torch.equal(mine[name], theirs[name]) for name in mine)
    print(f"{kind}: {same} of {len(mine)} followed the student")

# %% [markdown]
# > **Watch out.** A net with BatchNorm keeps running means in buffers, and they
# > change. There you have to decide: average or copy them. A ViT has none.
#
# Neither does the teacher get the optimiser's means, nor dropped samples: it runs
# in eval mode (lesson 15).

# %% [markdown]
# ## When in the step?
#
# After the optimiser's step, so that the teacher sees the student of this very
# step. Does the order matter enough to be tested? The golden file has three
# whole steps of the *official* code. We repeat them, in both orders, and compare
# the teacher.


# %%
def under(prefix):
    return {
        k.removeprefix(prefix): v
        for k, v in golden.items()
        if k.startswith(prefix)
    }


def three_steps(order):
    twin = Arch(config.load_config(None, flat))
    for name in ["student", "teacher"]:
        getattr(twin, name).load_state_dict(under(f"init.{name}."))
    groups = param_groups.get_params_groups(twin.student, 0.9, 0.2)
    adamw = torch.optim.AdamW(groups)
    for t in range(3):
        lr, part = 0.001 * (t + 1), under(f"batch.{t}.")
        param_groups.set_rates(groups, lr, lr if t else 0.0, 0.04)
        fields = ["global_crops", "local_crops", "masks"]
        x = [part[f"collated_{name}"] for name in fields]
        x += [part["mask_indices_list"], part["masks_weight"]]
        adamw.zero_grad()
        twin(masking.SSLBatch(*x), 0.05)[0].backward()
        for module in twin.student.values():
            torch.nn.utils.clip_grad_norm_(module.parameters(), 3.0)
        for action in order:
            if action == "optimiser":
                adamw.step()
            else:
                ema.update_ema(twin.teacher, twin.student, 0.9)
    return twin.teacher.state_dict()


for order in [("optimiser", "ema"), ("ema", "optimiser")]:
    right = []
    for name, tensor in three_steps(order).items():
        official = golden[f"final.teacher.{name}"]
        error = (tensor - official).norm() / official.norm()
        right.append(bool(error < 2e-3))
    print(" then ".join(order) + ", all tensors official:", all(right))

# %% [markdown]
# The official order is the first. The other one is late by one step. It would
# hardly harm a long run, and no shape or loss would ever tell you.

# %% [markdown]
# ## Against someone else: torch
#
# PyTorch has an EMA of its own, `AveragedModel`. Its first call copies the model;
# from then on it averages. The same numbers?

# %%
torch.manual_seed(0)
student, teacher = net(), net()
teacher.load_state_dict(student.state_dict())
average = torch.optim.swa_utils.AveragedModel(
    student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
)
average.update_parameters(student)  # the copy
for _ in range(5):
    with torch.no_grad():
        for p in student.parameters():
            p += torch.randn(p.shape)
    average.update_parameters(student)
    ema.update_ema(teacher, student, 0.9)
ours, theirs = vector(teacher.parameters()), vector(average.parameters())
torch.testing.assert_close(ours, theirs)
print(list(ours.shape), "equal to torch's after 5 steps")

# %% [markdown]
# ## How do I choose momentum?
#
# By the memory $1/(1-m)$, in steps. Two bounds:
#
# - **Long enough** to average the noise of many batches: tens of steps.
# - **Short against the run.** After 4.6 memories 1 percent of the random start is
#   left, so a run should have five memories at least, better ten.
#
# Here are a few recipes.

# %%
recipes = {
    "demo": (0.98, 750),
    "ViT-L, first step": (0.992, 125_000),
    "7B, file": (0.994, 1_000_000),
    "7B, paper": (0.999, 1_000_000),
    "7B in 750 steps": (0.994, 750),
    "paper in 750 steps": (0.999, 750),
}
for name, (m, steps) in recipes.items():
    memory, left = 1 / (1 - m), 100 * m**steps
    print(
        f"{name:18} m {m}: memory {memory:6.1f},",
        f"fits {steps * (1 - m):6.1f} times, start left {left:4.1f} %",
    )

# %% [markdown]
# The last line is what people do when they copy a number: half of the teacher
# would still be random at the end.
#
# - **Longer runs, higher momentum.** The student slows down, and there is time.
# - **Larger batch, lower momentum.** A step of $f$ times the pictures does the
#   work of about $f$ steps: take $m^f$, to remember the same number of pictures.
# - **Short run:** constant, not a cosine to 1.

# %% [markdown]
# ## Is my momentum too high or too low?
#
# Evaluate student *and* teacher now and then:
#
# | you see | it means |
# |---|---|
# | teacher far behind the student, and stays there | momentum too high for this run |
# | teacher always equal to the student | too low, or both are one object (lesson 15) |
# | teacher never changes | momentum 1, or a bfloat16 teacher (below) |
# | teacher behind early, equal or ahead later | as it should be |
#
# After training, use the teacher. That is what the released models are.

# %% [markdown]
# ## Common mistakes
#
# **Other names.** To train on many GPUs a net is wrapped, and all of its names
# begin with `module.`. A loop over `zip(...)` would not notice; ours does.

# %% tags=["raises-exception"]
wrapped = torch.nn.ModuleDict({"module": student})
ema.update_ema(teacher, wrapped, 0.9)

# %% [markdown]
# **No `no_grad`.** Write the line yourself, with a teacher that still asks for
# gradients:

# %% tags=["raises-exception"]
for mine, theirs in zip(
    teacher.parameters(), student.parameters(), strict=True
):
    mine.mul_(0.9).add_(0.1 * theirs)

# %% [markdown]
# Good: PyTorch stops you. The version `mine = 0.9 * mine + 0.1 * theirs` is
# worse: no error, the teacher does not change at all, since only a name in your
# loop does.
#
# **A teacher in bfloat16.** Half the memory, says a friend. **Predict first:** the
# student stands at 1.1, the teacher starts at 1. Where is it after 5000 steps of
# momentum 0.999?

# %%
for kind in [torch.float32, torch.bfloat16]:
    teacher, student = torch.tensor([1.0, 1.1], dtype=kind).split(1)
    for _ in range(5000):
        teacher = teacher.lerp(student, 1 - 0.999)
    print(kind, f"{teacher.item():.2f}")

# %% [markdown]
# It has not moved. Next to 1, bfloat16 knows 1.0078 and nothing in between; a step
# of 0.0001 is rounded away, every time. So both networks keep their weights in
# float32, also where the products are computed in bfloat16.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/14.py`.
#
# **14.1** (difficulty 1, 3 minutes) After how many steps does a student count
# half as much as at first? A number, not rounded. What is it for 0.5?
#
# <details><summary>Hint 1</summary>Every step multiplies by the
# momentum.</details>
# <details><summary>Hint 2</summary>Solve $m^n = 0.5$ for $n$.</details>
# <details><summary>Hint 3</summary>Logarithms make a product of it.</details>


# %%
def half_life(momentum):
    raise NotImplementedError("exercise 14.1")


check("14.1", half_life)

# %% [markdown]
# **14.2** (difficulty 2, 6 minutes) What does a teacher consist of after `n`
# steps of constant momentum? A float tensor [n + 1]: first the share of the start,
# then of the student of step 1, 2, ..., last of the newest.
#
# <details><summary>Hint 1</summary>Look at the last 4 of the three steps by
# hand.</details>
# <details><summary>Hint 2</summary>The newest student counts 1 - m, the one before
# it m times that.</details>
# <details><summary>Hint 3</summary>All shares sum to 1.</details>


# %%
def shares(momentum, n):
    raise NotImplementedError("exercise 14.2")


check("14.2", shares)

# %% [markdown]
# **14.3** (difficulty 3, 8 minutes) `teacher` and `student` are dictionaries from
# names to tensors, `buffers` is a set of names that are no parameters. Return the
# teacher after one update with `momentum`: a new dictionary with all names; leave
# the inputs as they are.
#
# <details><summary>Hint 1</summary>Two kinds of names, two rules.</details>
# <details><summary>Hint 2</summary>Whose buffers does the teacher keep?</details>
# <details><summary>Hint 3</summary>`name in buffers` tells the two
# apart.</details>


# %%
def next_teacher(teacher, student, momentum, buffers):
    raise NotImplementedError("exercise 14.3")


check("14.3", next_teacher)

# %% [markdown]
# **14.4** (difficulty 3, 8 minutes) A student is at its goal but for noise of
# variance `noise`, new at every step; the goal moves by `drift` per step. How
# large is the teacher's mean squared error, long after the start? A number. (Here
# the student itself is not late, and $\rho = 0$.)
#
# <details><summary>Hint 1</summary>Noise left plus delay squared.</details>
# <details><summary>Hint 2</summary>The noise is the sum of squared
# weights.</details>
# <details><summary>Hint 3</summary>The delay is the mean age times the
# drift.</details>


# %%
def teacher_error(momentum, noise, drift):
    raise NotImplementedError("exercise 14.4")


check("14.4", teacher_error)

# %% [markdown]
# **14.5** (difficulty 4, 10 minutes) Change the design. `momenta` [n] is any
# schedule. Return the mean age of the students inside the last teacher, in steps,
# as a Python float, without the share of the start; the newest has age 0. Then
# compare 500 steps of 0.98, of a line from 0.98 up to 1, and of one from 1 down to
# 0.98: which part of the run does each keep?
#
# <details><summary>Hint 1</summary>A student enters with 1 - m of its own
# step.</details>
# <details><summary>Hint 2</summary>It is multiplied by every momentum that comes
# after it.</details>
# <details><summary>Hint 3</summary>A weighted mean: divide by the sum of the
# weights.</details>


# %%
def teacher_age(momenta):
    raise NotImplementedError("exercise 14.5")


check("14.5", teacher_age)

# %%
print(progress("14"))

# %% [markdown]
# ## Recap
#
# - You did three steps by hand, and climbed from a loop to one call, equal to
#   the package's and to torch's.
# - A momentum remembers about $1/(1-m)$ steps; a student counts half after a
#   half-life.
# - Independent noise falls to $(1-m)/(1+m)$, delay grows as $m/(1-m)$: a valley, whose
#   bottom moves as the student slows down.
# - Parameters are averaged, after the optimiser's step; buffers are copied once.
# - You choose by the memory: tens of steps, and ten times into the run.
#
# Next: crops, masks, heads, losses and this line become one training step.

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Sec. 3.1 "Teacher
#   network" and Sec. 5.2: read 5.2, it compares four teachers on two pages.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2
#   "Optimization" and App. C: constant momentum.
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), App. B.1 and
#   Table 16: momentum from 0.994 to 1.
# - Official code: `dinov3/train/ssl_meta_arch.py`, `SSLMetaArch.update_ema`.
