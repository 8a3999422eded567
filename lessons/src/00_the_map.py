# %% [markdown]
# # 00 The map
#
# **What is DINOv3, end to end?** In this lesson you train a tiny one, in less
# than a minute, and look inside.

# %% [markdown]
# DINOv3 learns to see from pictures alone: no labels, no captions. You will
# spend 23 lessons on its parts. First, walk once through the whole machine.
#
# After this lesson you can
#
# - name the parts of DINOv3 and say what each hands to the next,
# - predict the number of [tokens](GLOSSARY.md#token) of a picture,
# - say where the loss starts, and why it tells little about learning,
# - measure what a net has learned without training anything more.
#
# | | |
# |---|---|
# | you need | Python, the basics of PyTorch |
# | time | 25 minutes |
# | module | `dinolite/train/train.py` |
# | official | `train/train.py`: `do_train` |
# | paper | DINOv3 Sec. 3.2 |

# %%
import math
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import datasets, loaders
from dinolite.eval import features, knn
from dinolite.train import train
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map
#
# This picture comes back in every lesson, with that day's box lit. Today all
# are. Follow it from the left. A photo is cut into several
# [crops](GLOSSARY.md#crop). A *teacher* and a *student* look at them: two ViTs
# (vision transformers) of the same build. The student has to say what the
# teacher says. The numbers are lessons.

# %%
viz.pipeline_map("00")
plt.show()

# %% [markdown]
# *Figure: the pipeline. A photo becomes crops; the teacher ViT sees whole
# crops, the student ViT masked ones; heads and losses follow on the right. The
# EMA box leads from student to teacher. KoLeo and Gram are losses too, drawn
# without arrows. Below: the inside of the ViT, and what one does after training.*
#
# > **Tutor's note.** Nobody tells the teacher anything. It is a slow copy of
# > the student. Two networks that know nothing agree on something useful: how
# > can that work? Keep the question; lessons 10, 11 and 14 answer it.

# %% [markdown]
# ## The failure first
#
# Take a ViT with random weights, show it small grey windows cut from sixteen
# photographs, and ask: do windows of the same photograph get similar *features*
# (the numbers that come out)? The photograph is the class of its windows.
#
# The settings come from a *recipe*, a small text file called `demo`.

# %%
settings = config.load_config("demo", {"train.iterations": 150})
bank = datasets.load_pictures("windows", "train").subset(range(2000))
queries = datasets.load_pictures("windows", "test").subset(range(400))
print("classes:", len(bank.classes), "such as", ", ".join(bank.classes[:4]))

# %% [markdown]
# `make_state` builds the student, the teacher (now its exact copy) and the
# optimiser. We call it twice: the same seed gives the same weights. One run will
# be trained; of the other we keep the teacher's
# [backbone](GLOSSARY.md#backbone), the ViT without heads, for comparison.

# %%
run = train.make_state(settings)
untrained = train.make_state(settings).model.teacher["backbone"]
print("a teacher has:", ", ".join(run.model.teacher))
print(
    "weights of the backbone:", sum(w.numel() for w in untrained.parameters())
)

# %% [markdown]
# A [token](GLOSSARY.md#token) is one vector of the sequence that a ViT reads. The
# features of a picture are the output of one of them, the
# [CLS token](GLOSSARY.md#cls-token). For six test windows we look up the five
# training windows with the most similar vector.

# %%
c = settings.crops


def cls_of(net, pictures):
    how = {"mean": c.rgb_mean, "std": c.rgb_std}
    return features.extract_features(net, pictures, **how).cls


def show_nearest(name, net):
    some = queries.subset([3, 7, 8, 12, 21, 33])
    near = knn.nearest_pictures(cls_of(net, bank), cls_of(net, some), k=5)
    return viz.neighbours_figure(
        bank.images, bank.labels, some.images, some.labels, {name: near}
    )


show_nearest("untrained", untrained)
plt.show()

# %% [markdown]
# *Figure: six grey windows in the left column, beside each the five training
# windows that an untrained net finds most similar. A green frame means: from
# the same photograph. Most frames are orange.*
#
# Let us count over all 400: the 20 nearest training windows vote on the class
# of a test window. That is [k-NN](GLOSSARY.md#k-nn), and chance is 1 in 16.


# %%
def accuracy(net):
    x, y = cls_of(net, bank), cls_of(net, queries)
    found = knn.knn_accuracy(x, bank.labels, y, queries.labels, ks=[20])
    return found[20]


before = accuracy(untrained)
print("above chance:", before > 1 / 16)
print("right less than one time in three:", before < 1 / 3)

# %% [markdown]
# ## By hand: what the student is asked
#
# One photo, two crops. The teacher looks at crop A and spreads its belief over
# $K = 3$ [prototypes](GLOSSARY.md#prototype): `p`. Think of them as classes
# without a name. The student looks at crop B and gives `q`. The loss is the
# cross-entropy
#
# $$-\sum_k p_k \log q_k .$$
#
# It is small where the student puts its belief where the teacher did. Work it
# out on paper first: $-(0.8 \ln 0.5 + 0.1 \ln 0.25 + 0.1 \ln 0.25)$.

# %%
p = torch.tensor([0.80, 0.10, 0.10])
q = torch.tensor([0.50, 0.25, 0.25])
by_hand = -(0.8 * math.log(0.5) + 0.2 * math.log(0.25))
loss = -(p * q.log()).sum()
assert math.isclose(loss.item(), by_hand, rel_tol=1e-6)
print(f"loss {loss.item():.4f}")

# %% [markdown]
# PyTorch has the same operator. It accepts a target that is spread over classes,
# as `p` is. In place of `q` it wants scores, of which it takes the softmax; the
# softmax of `log q` is `q` again. Written by someone else, same number:

# %%
theirs = torch.nn.functional.cross_entropy(q.log()[None], p[None])
assert torch.allclose(theirs, loss)
print("equal to torch's cross_entropy:", torch.allclose(theirs, loss))

# %% [markdown]
# ## Rung 1: one batch
#
# Our training photos are the grey windows. A batch holds, for each of `B` of
# them, two large *global* [crops](GLOSSARY.md#crop) and some small *local* ones.
# A ViT reads a crop in small squares, [patches](GLOSSARY.md#patch). In half of
# the global crops some patches are hidden from the student: `True` in `masks`.

# %%
batches = loaders.ssl_batches(bank, settings, run.device)
batch = next(batches)
for name in ["global_crops", "local_crops", "masks"]:
    print(name, list(getattr(batch, name).shape))
print("hidden patches:", int(batch.masks.sum()))

# %% [markdown]
# `B = 32` photos give 2 * 32 = 64 global crops of 24 x 24 pixels. The local ones
# have 12 x 12; how many per photo, the recipe says. A patch is 4 x 4 pixels, so a
# global crop has 6 x 6 = 36 patches: the width of `masks`.

# %%
viz.batch_figure(batch, c, pictures=4)
plt.show()

# %% [markdown]
# *Figure: one row per photo. Two global crops as the teacher sees them, the
# same two as the student sees them (black squares are hidden patches), then
# the small local crops, drawn enlarged, for the student alone.*
#
# The student sees less than the teacher, and must still agree with it. From a
# corner of a coin it has to say what the teacher says of the whole coin. That is
# the whole game.

# %% [markdown]
# ## Rung 2: one step
#
# `train_step` does everything in the frame "one step" of the map once, and
# returns the numbers of the log. Three of them: DINO compares whole crops, iBOT
# the hidden patches (lesson 12), KoLeo pushes features apart (lesson 13).

# %%
values = train.train_step(run, batch)
for name in ["dino_global_crops_loss", "ibot_loss", "koleo_loss"]:
    print(f"{name} {values[name].item():.2f}")
K = settings.dino.head_n_prototypes
print(f"ln K = {math.log(K):.2f} for K = {K}")

# %% [markdown]
# The first number, the DINO loss, is close to the last one. You will soon know
# why.
#
# After the step the teacher is a little more like the student. With momentum
# $m$ each of its weights becomes
#
# $$\text{teacher} \leftarrow m \cdot \text{teacher} + (1-m) \cdot
# \text{student}.$$
#
# This average over past students is an
# [EMA](GLOSSARY.md#ema). We check it on one weight matrix, before and after a
# second step.

# %%
key = "backbone.blocks.0.mlp.fc1.weight"
m = settings.teacher.momentum.peak
old = run.model.teacher.state_dict()[key].clone()
train.train_step(run, next(batches))
student = run.model.student.state_dict()[key]
new = run.model.teacher.state_dict()[key]
print("momentum", m)
print("EMA as written:", torch.allclose(new, m * old + (1 - m) * student))

# %% [markdown]
# ## Rung 3: train
#
# Now the rest of 150 steps. **Predict first.** The student's first guess is
# spread evenly over $K$ prototypes, so the DINO loss starts near $\ln K$.
# After training, will it have halved?

# %%
losses = [values["dino_global_crops_loss"].item()]
for batch in batches:
    values = train.train_step(run, batch)
    losses.append(values["dino_global_crops_loss"].item())
print("steps taken:", run.iteration)
print("the loss has halved:", losses[-1] < 0.5 * losses[0])

# %% [markdown]
# And the features?

# %%
trained = run.model.teacher["backbone"]
after = accuracy(trained)
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
left.plot(losses)
left.axhline(math.log(K), ls="--", color="gray")
left.set(title="DINO loss", xlabel="step", ylim=(0, 6))
right.bar(["untrained", "trained"], [100 * before, 100 * after])
right.axhline(100 / 16, ls=":", color="gray")
right.set(title="k-NN, percent right")
plt.show()

# %% [markdown]
# *Figure: left, the DINO loss over 150 steps: it starts a little above the
# dashed line at ln K and stays close to it. Right, two bars: k-NN accuracy of the
# untrained and of the trained net, the second much higher, and a dotted line for
# chance.*

# %%
print("k-NN got better by half or more:", after > 1.5 * before)

# %% [markdown]
# Look at the left panel again. The loss has moved little, and yet the net
# finds photographs far better than before. The target moves: the loss compares
# today's student with today's teacher, which has changed too, and never with a
# fixed answer.
#
# > **Watch out.** The DINO loss is not a progress bar. Lesson 10 says what it
# > is; lesson 16 shows what to watch instead.
#
# **Predict:** will you *see* the better bar in the six windows from above?

# %%
show_nearest("trained", trained)
plt.show()

# %% [markdown]
# *Figure: the same six windows as above, with the nearest training windows of
# the trained net. The neighbours are other ones; some frames are green and many
# are orange, as before.*
#
# Count the green frames in both figures. Thirty frames prove nothing, whichever
# way your count goes: each row swings with luck. The two bars asked 400 windows.
# Look at examples to find out *what kind* of mistake a net makes; count many to
# say which net is better. And this one is small and 150 steps old.

# %% [markdown]
# ## Against someone else
#
# How do we know that this is DINOv3? The package's tests compare it with stored
# numbers that the official code once gave: backbone, heads, losses and whole
# training steps agree. Lesson 06 does it before your eyes against another
# implementation, and lesson 15 for a whole step.

# %% [markdown]
# ## Common mistakes
#
# A picture whose sides are no multiple of the patch size. The official code
# silently cuts the rest away; here it is an error.

# %% tags=["raises-exception"]
untrained(torch.zeros(1, 3, 30, 32))

# %% [markdown]
# A setting with a typing error. All mistakes are told at once.

# %% tags=["raises-exception"]
config.load_config("demo", ["student.pach_size=8", "train.seed=x"])

# %% [markdown]
# A batch of one picture. [KoLeo](GLOSSARY.md#koleo) pushes each feature away
# from its nearest neighbour, and there is none.

# %% tags=["raises-exception"]
config.load_config("demo", ["train.batch_size_per_gpu=1"])

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer and run the cell.
# `check` says what kind of wrong it is. Nothing later depends on it, so skip
# what you like. Solutions are in `lessons/solutions/00.py`.
#
# **00.1** (difficulty 1, 3 minutes) The sequence that enters the backbone holds
# one CLS token, some [registers](GLOSSARY.md#register) and one token per patch.
# How many tokens is that, for a picture of `size` x `size` pixels and patches of
# `patch` x `patch` pixels?
#
# <details><summary>Hint 1</summary>A 24 x 24 picture in patches of 4 has 6 rows
# of them.</details>
# <details><summary>Hint 2</summary>Rows times columns, then the others.</details>


# %%
def n_tokens(size, patch, registers):
    raise NotImplementedError("exercise 00.1")


check("00.1", n_tokens)

# %% [markdown]
# **00.2** (difficulty 1, 3 minutes) A guess that is spread evenly over `K`
# prototypes: what is its cross-entropy with any target? Return a number
# (`math` is imported).
#
# <details><summary>Hint 1</summary>Every q is 1/K.</details>
# <details><summary>Hint 2</summary>The target's parts sum to 1, so they drop
# out.</details>


# %%
def start_of_loss(K):
    raise NotImplementedError("exercise 00.2")


check("00.2", start_of_loss)

# %% [markdown]
# **00.3** (difficulty 2, 5 minutes) Write the teacher's update for one tensor, as
# in rung 2. Return the new teacher; leave both inputs as they are.
#
# <details><summary>Hint 1</summary>With momentum 1 the teacher never
# moves.</details>
# <details><summary>Hint 2</summary>The two weights sum to 1.</details>


# %%
def update(teacher, student, momentum):
    raise NotImplementedError("exercise 00.3")


check("00.3", update)

# %% [markdown]
# **00.4** (difficulty 3, 8 minutes) Every crop of the student is compared with
# every *global* crop of the teacher, except with itself. (The student has both
# kinds.) Change the design: how many pairs are there for one photo with `G` global
# and `L` local crops? Then explain to yourself what `L = 0` would do to the game.
#
# <details><summary>Hint 1</summary>Count the student's global crops and its
# local crops separately.</details>
# <details><summary>Hint 2</summary>A global crop of the student meets G - 1
# crops of the teacher.</details>


# %%
def n_pairs(G, L):
    raise NotImplementedError("exercise 00.4")


check("00.4", n_pairs)

# %%
print(progress("00"))

# %% [markdown]
# ## Recap
#
# - You walked the map: crops, student and teacher, heads, losses, EMA.
# - You counted tokens: CLS, registers, patches.
# - You saw the loss start at ln K and stay near it while the net learned.
# - You measured learning with k-NN, which trains nothing.
#
# Next, the very first box: how does a picture become a sequence?
#
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2: the
#   whole recipe on two pages. Read it now and again after lesson 17.
# - Official code: `dinov3/train/train.py`, function `do_train`; here
#   `dinolite/train/train.py`.
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Fig. 2: the
#   student and teacher picture this map grew from.
