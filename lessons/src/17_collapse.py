# %% [markdown]
# # 17 Collapse
#
# **Break it on purpose: which part prevents which collapse, and how do you
# see it coming?** You switch off one part at a time, train each broken game
# three times, and find the number that tells.

# %% [markdown]
# A broken run rarely raises an error. The loss falls, the curves look calm,
# and after a night the net says the same about every picture. So break it
# yourself, while it costs two seconds.
#
# After this lesson you can
#
# - tell four kinds of [collapse](GLOSSARY.md#collapse) by their numbers,
# - say which part prevents which, and show it,
# - name a broken run for each usual monitor that misses it,
# - compute the one number that finds them all, on raw answers,
# - check the settings before the first step.
#
# | | |
# |---|---|
# | you need | lessons 11, 13, 14, 16 |
# | time | 45 minutes |
# | module | `dinolite/train/monitors.py` |
# | official | `train/ssl_meta_arch.py`: `SSLMetaArch` |
# | paper | DINO Sec. 5.1, 5.3; DINOv2 Sec. 4; DINOv3 Sec. 3.2 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import datasets, loaders
from dinolite.data.demo_pictures import photographs
from dinolite.loss import dino_clstoken_loss, sinkhorn_knopp
from dinolite.models import pretrained
from dinolite.train import monitors, train
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# Some short names.

# %%
entropy, spread = monitors.entropy, monitors.spread
F = torch.nn.functional
CPU = torch.device("cpu")

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("17")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Three boxes are lit: Sinkhorn, KoLeo and EMA, the parts
# that keep the game alive.*
#
# ## A patient who can be broken
#
# The pictures are small windows of photographs, in grey. On 128 others, the
# *probe*, we will look at the teacher: always the same ones, so that numbers
# can be compared. They are as large as a global crop, 24 x 24.

# %%
images, labels = photographs.make_windows(2000, "train", seed=1)
train_set = datasets.TensorPictures(images, labels, photographs.CLASSES)
probe, which = photographs.make_windows(128, "test", seed=2, size=24)
print("train", list(images.shape), "probe", list(probe.shape))
first = {}  # one window of eight photographs
for picture, label in zip(probe, which.tolist(), strict=True):
    first.setdefault(photographs.CLASSES[label], picture)
viz.compare_figure(dict(list(first.items())[:8]))
plt.show()

# %% [markdown]
# *Figure: eight grey windows of 24 x 24 pixels under the names of the
# photographs that they were cut from: speckles of gravel, the dark spot of a
# retina, a slanting edge, bricks with their joints, blades of grass.*
#
# The game is the recipe `demo`, made smaller: width 32, two blocks, $K = 64$
# [prototypes](GLOSSARY.md#prototype), 40 steps of 32 pictures. iBOT has weight
# 0, so that the loss is DINO and [KoLeo](GLOSSARY.md#koleo). One seed fixes
# weights, crops and order: two runs with the same seed differ by what we
# change, and by nothing else.
#
# The 64 global crops of a step are two of each of its 32 pictures.

# %%
K, STEPS, EVERY, SEEDS = 64, 40, 5, [0, 1, 2]
LN_K = torch.tensor(float(K)).log().item()
SETTINGS = {"student.embed_dim": 32, "student.depth": 2}
for head in ["dino", "ibot"]:
    SETTINGS[f"{head}.head_n_prototypes"] = K
    SETTINGS[f"{head}.head_hidden_dim"] = 64
SETTINGS |= {
    "ibot.loss_weight": 0.0,
    "dino.koleo_loss_weight": 0.1,
    "teacher.temp": {"peak": 0.02},  # the student's is 0.1
    "teacher.momentum": {"peak": 0.9},  # a short run needs a quick teacher
    "optim.lr": {"peak": 2e-3, "warmup": 5},
    "crops.local_crops_number": 2,
    "train.iterations": STEPS,
    "train.device": "cpu",
}


def settings(seed, change):
    values = SETTINGS | change | {"train.seed": seed}
    return config.load_config("demo", values)


batches = {
    seed: list(loaders.ssl_batches(train_set, settings(seed, {}), CPU))
    for seed in SEEDS
}
print("crops", list(batches[0][0].global_crops.shape))
print("small crops", list(batches[0][0].local_crops.shape))

# %% [markdown]
# `look` asks the teacher about the probe and keeps
#
# - the features, before the head,
# - the scores, one per prototype,
# - the *raw* answers: softmax of the scores at the teacher's temperature, no
#   balancing,
# - the targets: what the student is given.
#
# `run` is the training loop of lesson 16, with a look before the first step and
# after every fifth.

# %%
pixels = (probe / 255 - 0.5) / 0.2  # as the recipe normalises


@torch.no_grad()
def look(model):
    c = model.config.teacher
    out = model.teacher["backbone"](pixels, is_training=True)
    features = out["x_norm_clstoken"]  # [128, 32]
    scores = model.teacher["dino_head"](features)  # [128, 64]
    raw = targets = (scores / c.temp.peak).softmax(dim=-1)
    if c.centering == "sinkhorn_knopp":
        targets = sinkhorn_knopp.sinkhorn_knopp(scores, c.temp.peak)
    seen = {"features": features, "scores": scores}
    return seen | {"raw": raw, "targets": targets}


def run(seed, change, surgery=None, steps=STEPS):
    s = train.make_state(settings(seed, change), CPU)
    if surgery:
        surgery(s.model)
    log, seen = [], look(s.model)
    for i, batch in enumerate(batches[seed][:steps], start=1):
        loss = train.train_step(s, batch)["total_loss"].item()
        if (i - 1) % EVERY == 0:
            log.append(seen | {"loss": loss})
        if i % EVERY == 0:
            seen = look(s.model)
    return [*log, seen | {"loss": loss}]


# %% [markdown]
# ## The failure first: the best loss you ever saw
#
# One change: nothing balances the targets, neither Sinkhorn nor a
# [centre](GLOSSARY.md#centring). We call it *no centring*. The package has no
# such switch, so we build one: instead of Sinkhorn its older centring, with a
# centre that stays 0. Every target is then the raw answer.


# %%
class NoCentre(dino_clstoken_loss.SoftmaxCenter):
    def update(self, teacher_logits):
        pass  # the centre stays at 0


def no_centre(model):
    model.dino_center = NoCentre(K)


def winners(raw):
    return len(raw.argmax(dim=1).unique())


OLDER = {"teacher.centering": "centering"}
runs = {
    "healthy": [run(seed, {}) for seed in SEEDS],
    "no centring": [run(seed, OLDER, no_centre) for seed in SEEDS],
}
for name, logs in runs.items():
    low = [log[-1]["loss"] < 1 for log in logs]
    one = [winners(log[-1]["raw"]) == 1 for log in logs]
    print(f"{name:12} loss below 1: {low}, one answer for all: {one}")

# %% [markdown]
# Without centring the loss is below 1, three times out of three. And all 128
# pictures have the same winner, one prototype. The student agrees, and both have
# stopped looking.
#
# ## My loss went to zero. Is that good?
#
# No. The DINO loss cannot get below the [entropy](GLOSSARY.md#entropy) of its
# targets (lesson 11). Near zero they have none left: the teacher is sure of
# every answer. Here it is sure of the same answer every time.

# %% [markdown]
# ## By hand: what does an answer tell?
#
# We want a number that is 0 when the answer does not depend on the picture.
# Two pictures, two prototypes. Answers $(0.9, 0.1)$ and $(0.1, 0.9)$.
#
# Each has entropy $-0.9 \ln 0.9 - 0.1 \ln 0.1 = 0.325$. Their mean is $(0.5,
# 0.5)$, with entropy $\ln 2 = 0.693$. The difference is
#
# $$0.693 - 0.325 = 0.368.$$
#
# Now $(1, 0)$ for both: $0 - 0 = 0$. And $(0.5, 0.5)$ for both: $0.693 - 0.693
# = 0$. Either entropy alone is large in one collapse and 0 in the other; their
# difference is 0 in both.

# %%
differ = torch.tensor([[0.9, 0.1], [0.1, 0.9]])  # [n, K] = [2, 2]
same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
even = torch.full((2, 2), 0.5)
for name, p in {"differ": differ, "same": same, "even": even}.items():
    row, mean = entropy(p), entropy(p.mean(dim=0, keepdim=True))
    print(f"{name:6} {abs(row):.3f} {abs(mean):.3f}", end="  ")
    print(f"information {abs(mean - row):.3f}")
by_hand = entropy(even) - entropy(differ)
torch.testing.assert_close(by_hand, torch.tensor(0.368), atol=5e-4, rtol=0)

# %% [markdown]
# This number is the [mutual information](GLOSSARY.md#mutual-information)
# between picture and prototype: how much the answer tells about which picture
# it was. It lies between 0 and $\ln K$. We call it *information*.
#
# ## Rung 1: loops
#
# Another way to the same number: how far, in the mean, is an answer from the
# mean answer? Far is measured by the KL divergence of lesson 10.


# %%
def information_loops(p):
    n, K = p.shape
    mean, total = p.mean(dim=0), 0.0
    for i in range(n):
        for k in range(K):
            if p[i, k] > 0:  # 0 log 0 counts as 0
                total += p[i, k] * (p[i, k] / mean[k]).log()
    return total / n


torch.testing.assert_close(information_loops(differ), by_hand)
print("equal to the difference of entropies: True")

# %% [markdown]
# ## Rung 2: vectorised, and with the package's entropy
#
# The package has `entropy`, the mean over rows. Two calls of it are enough.


# %%
def information_kl(p):
    mean = p.mean(dim=0, keepdim=True)  # [1, K]
    log_ratio = (p.clamp(min=1e-12) / mean.clamp(min=1e-12)).log()
    return (p * log_ratio).sum(dim=1).mean()


def information(p):
    return entropy(p.mean(dim=0, keepdim=True)) - entropy(p)


print(inspect.getsource(entropy))
torch.manual_seed(0)
p = (3 * torch.randn(20, 8)).softmax(dim=1)  # [n, K] = [20, 8]
torch.testing.assert_close(information_kl(p), information_loops(p))
torch.testing.assert_close(information(p), information_loops(p))

# %% [markdown]
# ## Rung 3: the spread of features
#
# The usual monitor looks one step earlier, at the features before the head.
# Its [feature spread](GLOSSARY.md#feature-spread) is 1 minus the mean cosine of
# all pairs (each with itself, too): 0 if all features point the same way. The
# package needs no pairs: the mean of all dot products is the squared length of
# the mean vector.


# %%
def spread_loops(x):
    unit, total = F.normalize(x, dim=1), 0.0
    for a in unit:
        for b in unit:
            total += a @ b
    return 1 - total / len(x) ** 2


print(inspect.getsource(spread))
torch.manual_seed(1)
x = torch.randn(20, 32) + 1  # features [n, D]
torch.testing.assert_close(spread(x), spread_loops(x))

# %% [markdown]
# ## The switchboard
#
# Five more switches:
#
# - *no KoLeo*: its weight is 0;
# - *neither*: no centring, no KoLeo;
# - *no sharpening*: the teacher's temperature is the student's, 0.1 (see
#   [sharpening](GLOSSARY.md#sharpening));
# - *one object*: teacher and student are the same module;
# - *wild rate*: 150 times the learning rate.
#
# *No centring* above kept KoLeo. All others but *neither* keep Sinkhorn.


# %%
def one_object(model):
    model.teacher = model.student


NO_KOLEO = {"dino.koleo_loss_weight": 0.0}
SOFT = {"teacher.temp": {"peak": 0.1}}
WILD = {"optim.lr": {"peak": 0.3, "warmup": 5}}
SWITCHES = {
    "neither": (OLDER | NO_KOLEO, no_centre),
    "no sharpening": (SOFT, None),
    "no KoLeo": (NO_KOLEO, None),
}
for name, (change, surgery) in SWITCHES.items():
    runs[name] = [run(seed, change, surgery) for seed in SEEDS]

# %%
runs["one object"] = [run(seed, {}, one_object) for seed in SEEDS]
runs["wild rate"] = [run(seed, WILD) for seed in SEEDS]
print({name: len(logs) for name, logs in runs.items()})

# %% [markdown]
# ## Predict, then run: which monitor sees what?
#
# Four questions to each finished run: did the loss fall? Are all prototypes in
# use, in the mean *target*? Do features spread (above 0.6)? Is the information
# of *raw* answers above a tenth of $\ln K$? Guess before you run it: which runs
# get a minus where?

# %%
TESTS = {
    "loss fell": lambda log: log[-1]["loss"] < log[0]["loss"],
    "in use": lambda log: (
        entropy(log[-1]["targets"].mean(dim=0, keepdim=True)) > 0.9 * LN_K
    ),
    "spread": lambda log: spread(log[-1]["features"]) > 0.6,
    "information": lambda log: information(log[-1]["raw"]) > 0.1 * LN_K,
}


def signs(test, logs):
    return "".join("+" if test(log) else "-" for log in logs)


print(f"{'':14}" + "".join(f"{name:13}" for name in TESTS))
for name, logs in runs.items():
    row = [f"{signs(test, logs):13}" for test in TESTS.values()]
    print(f"{name:14}" + "".join(row))

# %% [markdown]
# One sign per seed. Read it by columns.
#
# - **The loss** fell in every row but the last. It shows the wild rate and
#   nothing else.
# - **All prototypes in use**, by targets: Sinkhorn makes it so, whatever the
#   net says. Three broken runs get a plus.
# - **Spread** gets a plus for *no centring* and *no sharpening*, both dead:
#   KoLeo pushes features apart, the head ignores it.
# - **Information** has a minus for all five broken rows.

# %% [markdown]
# And *one object* has four plus signs. We come back to it.
#
# > **Tutor's note.** We set the limits for the end of *this* game. Seeds 3 to 7
# > gave the same signs when this was written. Three seeds are few; run more when
# > you change something.

# %% [markdown]
# ## Look at it: the curves
#
# $H$ is entropy. *H of an answer* is the mean over raw answers, *H of the mean*
# that of the mean answer; information is the second minus the first.


# %%
MONITORS = {
    "loss": lambda seen: seen["loss"],
    "H of an answer": lambda seen: entropy(seen["raw"]).item(),
    "H of the mean": lambda seen: entropy(
        seen["raw"].mean(dim=0, keepdim=True)
    ).item(),
    "information": lambda seen: information(seen["raw"]).item(),
    "spread": lambda seen: spread(seen["features"]).item(),
}


def curves(logs):
    return {
        title: [[monitor(seen) for seen in log] for log in logs]
        for title, monitor in MONITORS.items()
    }


stored = {name: curves(logs) for name, logs in runs.items()}


def show(*names):
    panels = viz.panels_of({name: stored[name] for name in names})
    return viz.lines_figure(panels, range(0, STEPS + 1, EVERY), "step")


show("healthy", "no centring", "no sharpening")
plt.show()

# %% [markdown]
# *Figure: five small plots over 40 steps, three lines a run. No centring: both
# entropies are 0 from step 5 on, and the loss sinks towards 0. No sharpening:
# both entropies go to ln K, about 4.2. Healthy: the entropy of one answer turns and
# falls again while that of the mean stays near ln K, so the information grows.
# The spread rises in all three.*
#
# > Without centring the entropy of the target goes to 0, without sharpening to
# > ln K. Either way the KL divergence goes to 0: a constant answer (DINO Sec.
# > 5.3, Fig. 7).

# %% [markdown]
# ## My loss stays near ln K
#
# In the first plot two kinds of run nearly lie on each other: one healthy, one
# dead. Is the last loss within 0.3 of $\ln K = 4.16$?

# %%
for name in ["healthy", "no sharpening", "no KoLeo"]:
    near = [abs(log[-1]["loss"] - LN_K) < 0.3 for log in runs[name]]
    print(f"{name:14} {near}")

# %% [markdown]
# All of them. So early in a run a loss near $\ln K$ proves neither health nor
# death; the information does.

# %% [markdown]
# ## Look at it: the answers themselves
#
# A row per picture, a column per prototype, from the last look of seed 0. No
# number is needed here: do rows differ? (Drawn is the root of each share, so
# that small ones can be seen.)

# %%
names = ["healthy", "no centring", "no sharpening", "no KoLeo"]
answers = {name: runs[name][0][-1]["raw"][:48].sqrt() for name in names}
viz.answers_figure(answers)
plt.show()

# %% [markdown]
# *Figure: four maps of 48 pictures by 64 prototypes. Healthy: a pattern that
# changes from row to row. No centring: one bright column, the rest dark. No
# sharpening: one flat colour. No KoLeo: a faint weave with hardly more than two
# kinds of row.*
#
# ## Why is "no KoLeo" broken?
#
# Its targets are balanced, its loss fell, its answers are neither all alike nor
# sure. So look at the features. In how many directions do they differ? PCA
# (lesson 01) gives each direction's share of the variance. From shares to a
# count: $e^H$ (lesson 11), the [effective rank](GLOSSARY.md#effective-rank). It
# is 1 if one direction has everything, 4 if four share it evenly.


# %%
def shares(features):
    unit = F.normalize(features, dim=1)
    sizes = torch.linalg.svdvals(unit - unit.mean(dim=0)) ** 2
    return sizes / sizes.sum()  # [32], largest first


def effective_rank(features):
    return entropy(shares(features)[None]).exp()


last = {name: logs[0][-1]["features"] for name, logs in runs.items()}
last = {"untrained": runs["healthy"][0][0]["features"], **last}
names = ["untrained", "healthy", "no KoLeo"]
first = {name: shares(last[name])[:8] for name in names}
bars = {"share of the variance": first}
viz.bars_figure(bars, xlabel="direction", start=1)
plt.show()

# %% [markdown]
# *Figure: bars for the first eight directions. Without KoLeo the first has
# more than nine tenths of the variance, untrained about eight tenths. In the
# healthy run it has under a third, and six directions have a visible share.*

# %%
for name in ["healthy", "no KoLeo"]:
    ranks = [effective_rank(log[-1]["features"]) for log in runs[name]]
    above = [bool(rank > 4) for rank in ranks]
    below = [bool(rank < 2) for rank in ranks]
    print(f"{name:9} rank above 4: {above}, below 2: {below}")

# %% [markdown]
# This is [dimensional collapse](GLOSSARY.md#dimensional-collapse): features
# differ, but along one line. A line has two ends, hence the two kinds of row
# above. Note the untrained bars: this run did not fall, it never got up.
#
# > DINOv2 adds KoLeo so that features of a batch spread evenly, and reports
# > better image retrieval with it (DINOv2 Sec. 4 and 6.4).
#
# Lesson 13 looked at the loss; here you see what it prevents.

# %% [markdown]
# ## Did it collapse?
#
# Three kinds show in the answers and features. Here is a function you can take
# along; it wants at least about a hundred pictures. The fourth kind, a wild rate,
# shows in the loss.


# %%
def did_it_collapse(raw, features):
    top = torch.tensor(float(raw.shape[1])).log()  # ln K
    if information(raw) > 0.1 * top:
        return "alive"
    if entropy(raw.mean(dim=0, keepdim=True)) < 0.7 * top:
        return "one prototype"
    if effective_rank(features) < 2:
        return "one line"
    return "all alike"


for name, logs in runs.items():
    found = {
        did_it_collapse(log[-1]["raw"], log[-1]["features"]) for log in logs
    }
    print(f"{name:14} {' or '.join(sorted(found))}")

# %% [markdown]
# | symptom | likely cause | cure |
# |---|---|---|
# | one prototype; loss near 0 | targets not centred or balanced | Sinkhorn on, over the whole batch |
# | all alike; entropies at ln K | teacher not sharper than the student | teacher temperature well below 0.1 |
# | one line; rank below 2 | no KoLeo, or its weight too small | KoLeo on |
# | loss above its start | learning rate too high | lower it |
#
# > **Watch out.** *Alive* is not *learned*: an untrained net may answer
# > differently to different pictures, too. What it learned, lesson 18 measures.
# > And early on, this function may call a healthy run dead: in the curves above
# > its information passes a tenth of $\ln K$, 0.42, for good only in the second
# > half.

# %% [markdown]
# ## The loss explodes: a wild rate
#
# The verdict for the wild rate is "one prototype", though Sinkhorn is on. How
# can that be?

# %%
show("healthy", "wild rate")
plt.show()

# %% [markdown]
# *Figure: the same five plots. The loss of the wild runs shoots up to several
# times its start. Their two entropies end low. Their information and spread may
# jump in the first steps; later the information lies at or near 0 and the
# spread far below the healthy one.*

# %%
for name in ["healthy", "wild rate"]:
    ends = [log[-1] for log in runs[name]]
    large = [bool(seen["scores"].abs().max() > 0.6) for seen in ends]
    gaps = [entropy(seen["targets"]) - entropy(seen["raw"]) for seen in ends]
    apart = [bool(gap > 0.3 * LN_K) for gap in gaps]
    print(f"{name:10} large scores {large}, more even targets {apart}")

# %% [markdown]
# Large means above 0.6, which no healthy score reaches. Huge steps make large
# weights, and at a temperature of 0.02 softmax hears little but a winner or two.
# The information is near 0, so they win for all pictures.
#
# More even: $H$ of the targets is above that of the raw answers by 0.3 $\ln K$ or
# more. Sinkhorn takes away what all pictures have in common, and little is left.
# Targets ask for almost everything, the answer is "this one": that is why the
# loss is high.
#
# Warm-up and clipping were on in these runs and did not save them: AdamW divides
# a gradient by its size, so the *rate* sets how far weights move.

# %% [markdown]
# ## Teacher and student are one object
#
# People really met this one, by an assignment too many. In the table it is
# healthy. First: it is exactly momentum 0, the teacher that is copied after
# every step. Second: with Sinkhorn it does not collapse here, in 40 steps.
# Third: take centring away as well.

# %%
ZERO = {"teacher.momentum": {"peak": 0.0}}
copied = run(0, ZERO, steps=10)[-1]["raw"]
shared = runs["one object"][0][10 // EVERY]["raw"]
print("step 10, equal to momentum 0:", torch.equal(copied, shared))


def both(model):
    one_object(model)
    no_centre(model)


for seed in SEEDS:
    log = run(seed, OLDER, both, steps=10)
    gone = [bool(information(seen["raw"]) < 0.05) for seen in log]
    print("seed", seed, "information gone at steps 5, 10:", gone[1:])

# %% [markdown]
# Dead within five steps. So in this game Sinkhorn carries the weight, and
# momentum is not what prevents collapse. With momentum alone it dies, too: that
# was "no centring".
#
# Why then an EMA? For better targets (lesson 14). No monitor
# of this lesson shows a shared object: ask for it. `model.teacher is
# model.student` must be False.
#
# ## Is a moving centre enough?
#
# The older way to balance, a centre that follows the mean score (lesson 11). It
# should prevent "one prototype", too. Does it, here?

# %%
for seed in SEEDS:
    log = run(seed, OLDER, steps=20)
    gone = [bool(information(seen["raw"]) < 0.05) for seen in log]
    print("seed", seed, "information gone at steps 10, 20:", gone[2::2])

# %% [markdown]
# No: in 20 steps it does not; nor for seeds 3 to 7. Perhaps the scores tip over
# faster than the centre follows; we did not test why. That is no verdict on
# centring, only on this short and sharp game.
#
# > In DINO's long runs, with momentum, centring and Sinkhorn-Knopp do about
# > equally well; without momentum centring fails and Sinkhorn-Knopp is needed
# > (DINO Sec. 5.1, Table 7).

# %% [markdown]
# ## How do I see it coming?
#
# Before the run, from the settings: is the teacher's temperature below the
# student's 0.1? Are targets balanced? Is the KoLeo weight above 0? Does momentum
# start above 0, and below 1? Are teacher and student two objects?
#
# During it: look early. Here is step 10, a quarter of the run. *Gone* means below
# 0.05, far below the limit for the end.

# %%
for name in ["healthy", *list(runs)[1:5]]:
    early = [log[10 // EVERY] for log in runs[name]]
    low = [bool(information(seen["raw"]) < 0.05) for seen in early]
    pairs = zip(early, runs[name], strict=True)
    fell = [seen["loss"] < log[0]["loss"] for seen, log in pairs]
    print(f"{name:14} loss fell {fell}")
    print(f"{'':14} information gone {low}")

# %% [markdown]
# At step 10 three broken games are dead, and every loss has fallen. The
# information of "no KoLeo" is not gone, only small; look at the rank. And that
# of the wild rate may jump before it dies; there the loss is the early sign.
#
# > **Tutor's note.** In your own runs, `metrics.jsonl` has the target entropy,
# > its floor and the spread. Add the raw information when you change a loss.

# %% [markdown]
# ## Explore
#
# Choose a switch and a seed; the healthy run of that seed is drawn with it.


# %%
def draw(switch, seed):
    pair = {"healthy": stored["healthy"], switch: stored[switch]}
    one = {
        name: {title: [lines[seed]] for title, lines in plots.items()}
        for name, plots in pair.items()
    }
    looked = range(0, STEPS + 1, EVERY)
    return viz.lines_figure(viz.panels_of(one), looked, "step")


viz.explore(draw, switch=list(runs)[1:], seed=SEEDS)

# %% [markdown]
# *Figure: two lists, switch and seed, and below them the five plots for no
# centring and seed 0 beside the healthy run: entropies at 0, loss near it, spread
# as in health.*
#
# ## Against someone else
#
# Torch's own distributions have entropy and KL divergence. And the official
# code once computed a loss from stored scores; it must be the entropy of its
# targets plus the KL divergence to the student (DINO Sec. 5.3).

# %%
official = pretrained.read_state_dict("../tests/golden/dino_loss.safetensors")
targets = official["sinkhorn"]  # [2B, K] = [12, 96]
answer = torch.distributions.Categorical(targets)
middle = torch.distributions.Categorical(targets.mean(dim=0))
apart = torch.distributions.kl_divergence(answer, middle).mean()
torch.testing.assert_close(answer.entropy().mean(), entropy(targets))
torch.testing.assert_close(information(targets), apart)
student = (official["student_global"] / 0.1).log_softmax(dim=-1)
pairs = student.flip(0).flatten(0, 1)  # view 1 guesses view 0, and back
kl = F.kl_div(pairs, targets, reduction="batchmean")
total = entropy(targets) + kl
torch.testing.assert_close(total, official["loss_global_ignore_diagonal"])
print("student", list(student.shape), "targets", list(targets.shape))
print("entropy + KL is the official loss: True")

# %% [markdown]
# ## Common mistakes
#
# **Freezing the teacher that is the student.** Freezing comes after the
# assignment, and the student cannot learn either. This one at least raises:

# %% tags=["raises-exception"]
s = train.make_state(settings(0, {}), CPU)
s.model.teacher = s.model.student
s.model.teacher.requires_grad_(False)
print("the same object:", s.model.teacher is s.model.student)
train.train_step(s, batches[0][0])

# %% [markdown]
# **Asking one picture.** The mean of one answer is that answer, so the
# information is 0 for the healthiest net. A false alarm:

# %%
raw = runs["healthy"][0][-1]["raw"]  # [128, 64]
for n in [1, 128]:
    print(f"{n:3} pictures, alive: {bool(information(raw[:n]) > 0.1 * LN_K)}")

# %% [markdown]
# **Asking the targets instead of the raw answers.** Give Sinkhorn a dead net,
# the same scores for all:

# %%
torch.manual_seed(2)
dead = torch.randn(1, K).repeat(128, 1)  # [128, 64]
targets = sinkhorn_knopp.sinkhorn_knopp(dead, 0.02)
use = entropy(targets.mean(dim=0, keepdim=True))
print("all prototypes in use:", bool(use > 0.99 * LN_K))
raw = (dead / 0.02).softmax(dim=1)
print("and of raw answers:   ", bool(entropy(raw.mean(0, keepdim=True)) > 1))

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/17.py`.
#
# **17.1** (difficulty 1, 3 minutes) Three nets see $K$ pictures. The first gives
# prototype 0 to each, surely. The second gives every picture the even answer.
# The third gives each picture a prototype of its own, surely. Return their three
# informations as a tuple.
#
# <details><summary>Hint 1</summary>Entropy of the mean minus mean
# entropy.</details>
# <details><summary>Hint 2</summary>The mean of the third is
# even.</details>


# %%
def informations(K):
    raise NotImplementedError("exercise 17.1")


check("17.1", informations)

# %% [markdown]
# **17.2** (difficulty 2, 5 minutes) How many prototypes does a net use, as a
# number that need not be whole? Return it, from answers `p`, [n, K], by $e^H$.
#
# <details><summary>Hint 1</summary>The mean first, over pictures.</details>
# <details><summary>Hint 2</summary>A mean may hold zeros: `clamp` before
# `log`.</details>


# %%
def in_use(p):
    raise NotImplementedError("exercise 17.2")


check("17.2", in_use)

# %% [markdown]
# **17.3** (difficulty 3, 8 minutes) An alarm. `values[i]` is the information at
# step `i * every`. It rings as soon as `patience` looks in a row were below
# `least`. Return the step of the look at which it rings, or None.
#
# <details><summary>Hint 1</summary>Count low looks.</details>
# <details><summary>Hint 2</summary>What does a good look do to the
# count?</details>


# %%
def alarm(values, every, least, patience):
    raise NotImplementedError("exercise 17.3")


check("17.3", alarm)

# %% [markdown]
# **17.4** (difficulty 4, 12 minutes) Change the design: hide a net. Return scores
# [n, n] (a row per picture) whose raw softmax gives one prototype to all
# pictures, while Sinkhorn's targets give each picture its own; both at
# temperature 1. Explain to yourself why Sinkhorn can see what softmax cannot.
#
# <details><summary>Hint 1</summary>Sinkhorn divides each column by its
# sum.</details>
# <details><summary>Hint 2</summary>What all pictures have in common cancels; it
# may be as large as you like.</details>
# <details><summary>Hint 3</summary>Each picture needs a preference of its own,
# below that.</details>


# %%
def hidden(n):
    raise NotImplementedError("exercise 17.4")


check("17.4", hidden)

# %%
print(progress("17"))

# %% [markdown]
# ## Recap
#
# - Four kinds: one prototype, all alike, one line, and weights blown up by a
#   wild rate.
# - Sinkhorn prevents one prototype, sharpening prevents all alike, KoLeo
#   prevents one line. Momentum prevented none of them here, and a moving centre
#   did not suffice.
# - The loss falls in most broken runs, spread is fooled by KoLeo, balanced
#   targets look full whatever the net says.
# - Information of raw answers, $H$ of the mean minus mean $H$, found all that
#   had died.
# - Before the run: temperatures, centring, KoLeo, momentum, and two networks.
#
# Now that you know the net is alive, lesson 18 asks what it has learned.

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294): Sec. 5.3 and Fig.
#   7 on collapse; Sec. 5.1 and Table 7 on which parts can replace which. The
#   clearest two pages on this.
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193): Sec. 4, KoLeo
#   and Sinkhorn-Knopp; Sec. 6.4.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104): Sec. 3.2, the
#   same parts at scale.
# - Official code: `dinov3/train/ssl_meta_arch.py`, class `SSLMetaArch`; here
#   `dinolite/train/ssl_meta_arch.py`.
