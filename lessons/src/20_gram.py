# %% [markdown]
# # 20 Gram anchoring
#
# **Why do dense features decay in long training, and how does Gram anchoring
# repair them?** You measure a decay, cause a worse one on purpose, and mend it
# with a loss that holds how patches relate, and nothing else.

# %% [markdown]
# The longer one trains, the better the net knows pictures. Its patches may get
# worse, and no loss curve tells.
#
# After this lesson you can
#
# - measure the decay of patch similarity while k-NN rises,
# - compute a [Gram matrix](GLOSSARY.md#gram-matrix) and the Gram loss by hand,
# - show what the loss leaves free, and why that matters,
# - repair a spoiled net by an early teacher, also with larger crops,
# - name what the loss does not see.
#
# | | |
# |---|---|
# | you need | lessons 12, 15, 18 |
# | time | 50 minutes |
# | module | `dinolite/loss/gram_loss.py`, `dinolite/train/gram.py` |
# | official | `loss/gram_loss.py`: `GramLoss` |
# | paper | DINOv3 Sec. 4, App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import datasets, loaders
from dinolite.data.demo_pictures import photographs
from dinolite.eval import features, knn, segmentation
from dinolite.models import pretrained
from dinolite.train import gram, schedules, ssl_meta_arch, train
from dinolite_course import check, figures as viz, measures, progress

# %% [markdown]
# Some short names.

# %%
GramLoss = ssl_meta_arch.GramLoss  # of dinolite/loss/gram_loss.py
F = torch.nn.functional
CPU = torch.device("cpu")
HOW = {"mean": (0.5,) * 3, "std": (0.2,) * 3}  # the pixels of these nets

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("20")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "Gram" is lit; it takes the patches of the
# student.*
#
# ## Two examiners: one for pictures, one for patches
#
# A [dense feature](GLOSSARY.md#dense-feature) is the vector of one patch. To
# examine them we need pictures whose parts are known: collages of four windows,
# each from another photograph, all from parts that training never touched.

# %%
collages = measures.collages
tiles, named = collages.make_collages(40, "test", seed=22, tile=64)
masks = named.repeat_interleave(64, dim=1).repeat_interleave(64, dim=2)
where = segmentation.patch_labels(masks, (16, 16), len(photographs.CLASSES))
print(
    "collages", list(tiles.shape), "photograph of a patch", list(where.shape)
)
viz.compare_figure({f"collage {i}": tiles[i] for i in range(4)}, width=7)
plt.show()

# %% [markdown]
# *Figure: four grey squares, each of two by two windows: stars, text, bricks,
# gravel, grass, a motorcycle and others, with hard edges between the four.*
#
# - **Patches**, by AUC: take a pair of patches within a tile, and a pair across
#   tiles. How often is the first pair more alike by cosine? 0.5 is chance.
# - **Pictures**, by [k-NN](GLOSSARY.md#k-nn) of CLS on windows: which photograph?
#   Chance is 1/16.
#
# And a third number, the mean cosine of patches with the CLS of their picture.


# %%
bank = photographs.make_windows(1200, "train", seed=1, size=64)
queries = photographs.make_windows(400, "test", seed=2, size=64)


def maps_of(net, images=tiles):  # [n, D, h, w]
    return features.extract_patches(net, images, **HOW)


@torch.no_grad()
def judge(net):
    x, q = (
        features.extract_features(net, p[0], **HOW).cls
        for p in (bank, queries)
    )
    right = knn.knn_accuracy(x, bank[1], q, queries[1], ks=(20,))[20]
    out = net(features.preprocess(tiles, **HOW), is_training=True)
    patches = F.normalize(out["x_norm_patchtokens"], dim=-1)  # [n, N, D]
    cls = F.normalize(out["x_norm_clstoken"], dim=-1)[:, :, None]
    found = patches.mT.unflatten(2, (16, 16))
    return {
        "k-NN": right,
        "AUC": collages.patch_similarity_auc(found, where),
        "cosine to CLS": (patches @ cls).mean().item(),
    }


# %% [markdown]
# ## The failure first: pictures better, patches worse
#
# One run of the recipe `tiny`, kept after 500, 1000, 2000 and 6000 steps. Nothing
# was broken on purpose. And the controls: the same net untrained, and raw
# pixels.

# %%
STEPS = [500, 1000, 2000, 6000]
NAMES = [f"dinolite_tiny_step{step:05}" for step in STEPS]
snapshots = [pretrained.load(name) for name in NAMES]
early, late = snapshots[2:]
untrained = train.make_state(config.load_config("tiny"), CPU).model
untrained = judge(untrained.teacher["backbone"])
raw = collages.patch_similarity_auc(
    segmentation.pixel_patches(tiles, 8) - 0.5, where
)
natural = [judge(net) for net in snapshots]
lines = {
    name: {"one run": [found[name] for found in natural], "untrained": value}
    for name, value in untrained.items()
}
lines["AUC"]["raw pixels"] = raw
viz.lines_figure(lines, STEPS, "step")
plt.show()

# %% [markdown]
# *Figure: three plots over 6000 steps. k-NN rises all the time, from a third to
# more than a half. AUC rises until step 1000, and falls after 2000, by about
# 0.03 (its axis is cut); both controls lie below it all the time. The cosine to
# CLS stays near 0.3; untrained it is about 0.*

# %%
rises = [natural[i + 1]["k-NN"] > natural[i]["k-NN"] + 0.02 for i in range(3)]
print("k-NN rises, step by step:", rises)
print(
    "AUC falls, 2000 to 6000: ", natural[3]["AUC"] < natural[2]["AUC"] - 0.02
)
print("still above untrained:   ", natural[3]["AUC"] > untrained["AUC"] + 0.02)

# %% [markdown]
# So the net of step 6000 is the better one for pictures, and by this AUC the one of
# step 2000 for patches. Whoever looks at k-NN alone sees nothing of it.
#
# > In the 7B model classification rises to the end, while segmentation falls after
# > about 200k iterations. CLS and patches grow alike, similarity maps grow noisy
# > (DINOv3 Sec. 4.1, Figs. 5 and 6).

# %% [markdown]
# ## How far is this the decay of the paper?
#
# Only in part. A longer measurement (`docs/gram.md`) says of the same run:
#
# - AUC of single patches, 200 collages: 67.9 % at step 2000, 64.0 % at 6000.
# - Among pairs that lie equally far apart ("same distance") it does *not* fall:
#   61.7, 62.0. What is lost is that near patches are alike.
# - A linear probe on patches still gains: [mIoU](GLOSSARY.md#miou) 9.9, 14.1.
# - CLS and patches do not grow alike.
#
# Both AUCs also reward knowing the *place*: tiles always meet in the middle, so row
# and column alone reach 88 at same distance (`measures/collages.py`). mIoU
# is free of it.

# %% [markdown]
# > **Tutor's note.** A tiny net on sixteen photographs does not repeat what 1M
# > iterations do to 7 billion weights. We report what we see.

# %% [markdown]
# ## On purpose: let the picture pull at its patches
#
# The paper suspects the global loss: it wins over the local one. So we build that
# in. Beside DINO, a second loss asks *every patch* of the student for the answer
# of its whole picture. We call it *the pull*. iBOT has weight 0, and nothing is
# hidden.
#
# The start is the backbone of step 2000, with fresh heads. All runs share one seed,
# so the same heads, crops and order.

# %%
EARLY, PULL, GRAM, BEFORE, AFTER = NAMES[2], 4.0, 10.0, 40, 40
images, labels = photographs.make_windows(1500, "train", seed=5, size=96)
data = datasets.TensorPictures(images, labels, photographs.CLASSES)
SETTINGS = {
    "student.resume_from_teacher_chkpt": EARLY,
    "ibot.loss_weight": 0.0,
    "ibot.mask_sample_probability": 0.0,
    "gram.use_loss": True,
    "gram.img_level": True,
    "gram.ckpt": EARLY,  # the Gram teacher; used below
    "gram.rep_update": False,
    "crops.gram_teacher_crops_size": 128,  # used at the end
    "crops.local_crops_number": 2,
    "optim.lr": {"peak": 2e-3, "end": 2e-3, "warmup": 10},
    "teacher.momentum": {"peak": 0.9},
    "train.iterations": BEFORE + AFTER,
    "train.batch_size_per_gpu": 8,
    "train.device": "cpu",
}
setup = config.load_config("tiny", SETTINGS)
first = next(loaders.ssl_batches(data, setup, CPU))
print("global crops", list(first.global_crops.shape))
print("larger ones ", list(first.gram_teacher_crops.shape))


# %% [markdown]
# The pull is a few lines around the model of lesson 15. `begin` makes a run, or
# one that goes on where another stopped; `go` takes its steps.


# %%
def pull(model):
    usual, total = model.compute_losses, model.combine

    def compute_losses(teacher, student, batch, gram=None):
        patches = student.patch_pre_head  # [2B, N, D]
        scores = model.student["dino_head"](patches) / 0.1  # [2B, N, K]
        wanted = teacher.cls_centered.flatten(0, 1)[:, None]  # [2B, 1, K]
        asked = -(wanted * scores.log_softmax(dim=-1)).sum(dim=-1).mean()
        return usual(teacher, student, batch, gram) | {"pull": asked}

    def combine(losses, local, gram):
        return total(losses, local, gram) + PULL * losses["pull"]

    model.compute_losses, model.combine = compute_losses, combine


def begin(gram_weight=0.0, pulled=True, after=None):
    s = train.make_state(setup, CPU)
    s.schedules.gram = [gram_weight] * (BEFORE + AFTER)
    if pulled:
        pull(s.model)
    if after is not None:
        s.model.load_state_dict(after.model.state_dict())
        s.optimizer.load_state_dict(after.optimizer.state_dict())
        s.iteration = after.iteration
    return s


def go(s, until, larger=False):
    for batch in loaders.ssl_batches(data, setup, CPU, start=s.iteration):
        if s.iteration == until:
            break
        if not larger:
            batch.gram_teacher_crops = None  # it reads the student's crops
        train.train_step(s, batch)
    return judge(s.model.teacher["backbone"])


# %% [markdown]
# Forty steps of it, and forty of the same game without the pull, the control.

# %%
start = natural[2]  # the early net
control, pulled = begin(pulled=False), begin()
calm, end = go(control, BEFORE), go(pulled, BEFORE)
fall = {name: end[name] - start[name] for name in start}
print("AUC falls by 0.01 and more:  ", fall["AUC"] < -0.01)
print("cosine to CLS rises by 0.1:  ", fall["cosine to CLS"] > 0.1)
print("k-NN within 0.1 of before:   ", abs(fall["k-NN"]) < 0.1)
print("control: AUC above the pulled", calm["AUC"] > end["AUC"] + 0.005)
unmoved = calm["cosine to CLS"] < start["cosine to CLS"] + 0.05
print("control: cosine does not rise", unmoved)

# %% [markdown]
# Now patches grow like CLS, as in the paper's Fig. 5. And k-NN hardly tells; the
# curves follow with the repair.
#
# ## Look at it: which patches are like this one?


# %%
def similar(found, patch):  # {name: [D, 16, 16]} -> {name: [16, 16]}
    return {
        name: viz.similarity_map(x[None], *patch, center=False)[0]
        for name, x in found.items()
    }


ONE, PATCH = 1, (13, 5)  # a collage, and row and column of a patch
seen = {
    "early": maps_of(early),
    "pulled": maps_of(pulled.model.teacher["backbone"]),
}
first = {name: x[ONE] for name, x in seen.items()}
shown = {"": tiles[ONE], **similar(first, PATCH)}
viz.compare_figure(shown, width=6, patch=PATCH)
plt.show()

# %% [markdown]
# *Figure: a collage of text, bricks, gravel and a motorcycle; a patch in the
# gravel is framed. Purple is alike, white is 0, orange the opposite. "early": the
# gravel is dark purple, some of the text, too; motorcycle and bricks are white and
# orange. "pulled": the gravel as before, and purple nearly everywhere else.*
#
# The patch was chosen for its clear early map. At the end you choose others.

# %% [markdown]
# ## The idea: hold the relations, not the features
#
# There is a net that does this better: our own, earlier. Could one hold the
# patches where they were? Then they could learn nothing any more. So hold only
# *how patches relate to each other*: the table of their cosines.
#
# That table is the [Gram matrix](GLOSSARY.md#gram-matrix), $G = X X^T$, with the
# patches of length 1 as rows of $X$. The old net is the *Gram teacher*. To pull
# the student's table to the teacher's is [Gram
# anchoring](GLOSSARY.md#gram-anchoring).

# %% [markdown]
# ## By hand: three patches
#
# Teacher: $(1, 0)$, $(0.6, 0.8)$, $(0, 1)$. All have length 1. First with second:
# $1 \cdot 0.6 + 0 \cdot 0.8 = 0.6$. First with third: 0. Second with third: 0.8.
#
# Student: $(1, 0)$, $(0.8, 0.6)$, $(0.6, 0.8)$. Its cosines are 0.8, 0.6, 0.96:
# its patches have come together.
#
# Differences: 0.2, 0.6, 0.16. Squares: 0.04, 0.36, 0.0256. Each stands twice in
# the table, the diagonal adds 0, and there are 9 entries:
#
# $$L = \frac{2 \cdot (0.04 + 0.36 + 0.0256)}{9} = 0.0946$$

# %%
old = torch.tensor([[1, 0], [0.6, 0.8], [0, 1]])  # [N, D] = [3, 2]
new = torch.tensor([[1, 0], [0.8, 0.6], [0.6, 0.8]])
tables = {"teacher": old @ old.T, "student": new @ new.T}  # [N, N]
tables["squares"] = (tables["student"] - tables["teacher"]).square()
by_hand = tables["squares"].mean()
torch.testing.assert_close(by_hand, torch.tensor(0.8512 / 9))
print(f"loss {by_hand:.4f}")
viz.matrix_figure(tables, side=0.55)
plt.show()

# %% [markdown]
# *Figure: three tables of 3 x 3. Teacher: 1 on the diagonal, 0.60, 0.00, 0.80
# beside it. Student: 0.80, 0.60, 0.96. Squares: 0.04, 0.36, 0.03, and 0 on the
# diagonal.*
#
# > Eq. (2) of the paper has the sum of squares, the squared Frobenius norm. The
# > official code takes the mean, and so the weight means another thing (DINOv3
# > Sec. 4.2).

# %% [markdown]
# ## Rung 1: loops


# %%
def gram_loops(student, teacher):  # [B, N, D] each
    total, count = 0.0, 0
    for s, t in zip(student, teacher, strict=True):
        for i in range(len(s)):
            for j in range(len(s)):
                mine = s[i] @ s[j] / (s[i].norm() * s[j].norm())
                hers = t[i] @ t[j] / (t[i].norm() * t[j].norm())
                total, count = total + (mine - hers) ** 2, count + 1
    return total / count


torch.testing.assert_close(gram_loops(new[None], old[None]), by_hand)
print("equal to the sum by hand: True")

# %% [markdown]
# ## Rung 2: one product for all pairs


# %%
def table(x):  # [B, N, D]
    x = F.normalize(x, dim=-1)
    return x @ x.mT  # [B, N, N]


def gram_once(student, teacher):
    return (table(student) - table(teacher)).square().mean()


torch.manual_seed(0)
student, teacher = torch.randn(2, 4, 9, 20)  # [B, N, D] each
torch.testing.assert_close(
    gram_once(student, teacher), gram_loops(student, teacher)
)
print("table", list(table(student).shape))

# %% [markdown]
# ## Rung 3: the package's
#
# The heart of it, and a choice: at *image level* patches are compared within a
# picture, else among all of the batch. The defaults of the official settings
# say batch; its 7B recipes say image.

# %%
print(inspect.getsource(GramLoss.gram))
ours = GramLoss(img_level=True)(student, teacher)
torch.testing.assert_close(ours, gram_once(student, teacher))
flat = [x.flatten(0, 1)[None] for x in (student, teacher)]  # [1, B N, D]
whole = GramLoss(img_level=False)(student, teacher)
torch.testing.assert_close(whole, gram_once(*flat))
print("image level:", list(GramLoss().gram(student).shape))
print("batch level:", list(GramLoss(img_level=False).gram(student).shape))

# %% [markdown]
# With 64 pictures of 256 patches the batch table has 268 million entries. So
# mind the level before you raise the batch.

# %% [markdown]
# ## Look at it: the tables of a collage
#
# For the same collage, sorted by tile; of 256 patches we show every fourth.

# %%
order = where[ONE].flatten().argsort(stable=True)[::4]  # [64], tile by tile
sorted_tables = {
    name: table(x[ONE].flatten(1).mT[order]) for name, x in seen.items()
}
gap = sorted_tables["pulled"] - sorted_tables["early"]
viz.compare_figure(sorted_tables | {"difference": gap}, width=6)
plt.show()

# %% [markdown]
# *Figure: three squares of 64 x 64, purple for 1, white for 0, each tile a quarter of
# a side. "early": one dark block, of the last two tiles, gravel and text;
# elsewhere purple, white and orange are mixed. "pulled": more purple, hardly any orange.
# "difference": pale purple nearly everywhere, so most pairs have come closer.*
#
# ## Predict, then run: turn everything
#
# Take the patches of the early net and turn all of them by the same random
# rotation, in all 64 dimensions. Then none of them points where it did. How
# large is the Gram loss? And the plain squared distance of unit features?

# %%
torch.manual_seed(1)
Q = torch.linalg.qr(torch.randn(64, 64)).Q  # Q Q^T = 1
before = seen["early"].flatten(2).mT  # [40, 256, 64]
after = before @ Q
moved = F.cosine_similarity(before, after, dim=-1).abs().mean()
unit = [F.normalize(x, dim=-1) for x in (after, before)]
print("new direction, cosine below 0.3:", bool(moved < 0.3))
print(f"Gram loss          {GramLoss(img_level=True)(after, before):.4f}")
far = (unit[0] - unit[1]).square().sum(dim=-1).mean()
print("squared distance above 1:", bool(far > 1))

# %% [markdown]
# Zero: $(XQ)(XQ)^T = X Q Q^T X^T = X X^T$. Lengths are free, too. All patches
# may move together, and the net may find a better code for everything. Only
# *who is like whom* must stay. This is why a net under this loss can go on
# learning.
#
# ## Check the gradient
#
# `gradcheck` moves every number a little, in float64. The package's loss works in
# float32, so we check our own and compare the package's gradient with it.

# %%
torch.manual_seed(2)
s, t = torch.randn(2, 2, 5, 4, dtype=torch.float64)  # [B, N, D] each
s.requires_grad_()
print("gradcheck:", torch.autograd.gradcheck(lambda x: gram_once(x, t), s))
slope = torch.autograd.grad(gram_once(s, t), s)[0]
theirs = torch.autograd.grad(GramLoss(img_level=True)(s, t), s)[0]
torch.testing.assert_close(theirs, slope, atol=1e-6, rtol=1e-4)
along = (slope * s).sum(dim=-1).abs().max()
print("no pull along a patch's own direction:", bool(along < 1e-12))

# %% [markdown]
# ## Against someone else
#
# Five cases, computed by the official code, lie in `tests/golden`.

# %%
CASES = [
    {"img_level": True},
    {"img_level": False},
    {"img_level": True, "remove_neg": True},
    {"img_level": False, "remove_only_teacher_neg": True},
    {"img_level": True, "apply_norm": False},
]
file = "../tests/golden/gram_loss.safetensors"
golden = pretrained.read_state_dict(file)
for i, case in enumerate(CASES):
    x = golden[f"{i}.student"].requires_grad_()  # [3, 9, 20]
    loss = GramLoss(**case)(x, golden[f"{i}.teacher"])
    loss.backward()
    torch.testing.assert_close(loss, golden[f"{i}.loss"])
    torch.testing.assert_close(x.grad, golden[f"{i}.grad"])
    print(f"{loss:.4f}", case)

# %% [markdown]
# *remove_neg* counts negative cosines as 0: "unlike" is then all the same. The
# fourth case is meant to do that where both are negative, but by a slip of the
# official code it changes the teacher's table only. We do the same.
#
# ## The repair
#
# The net is spoiled. We go on, *with the pull still on*, in three ways, with the
# same crops:
#
# - no Gram loss,
# - Gram loss: the early net reads the student's crops,
# - *larger*: the early net reads them at twice the size, and its 16 x 16 patches
#   are brought to the student's 8 x 8.

# %%
WAYS = {
    "no Gram": (0.0, False),
    "Gram": (GRAM, False),
    "Gram, larger": (GRAM, True),
}
ends = {}
for name, (weight, larger) in WAYS.items():
    s = begin(weight, after=pulled)
    ends[name] = go(s, BEFORE + AFTER, larger)
    seen[name] = maps_of(s.model.teacher["backbone"])
lines = {
    m: {"never pulled": ([0, 40], [start[m], calm[m]])}
    | {"pulled": ([0, 40], [start[m], end[m]])}
    | {name: ([40, 80], [end[m], found[m]]) for name, found in ends.items()}
    for m in start
}
viz.lines_figure(lines, xlabel="step")
plt.show()

# %% [markdown]
# *Figure: three plots over 80 steps. AUC: "pulled" falls for 40 steps; then "no
# Gram" falls on, "Gram" climbs back to where it began, "Gram, larger" above
# that; "never pulled" falls less. The cosine to CLS rises with the pull, on and on without Gram, and falls
# with it. k-NN sinks by a few hundredths in all.*

# %%
none, same, large = ends.values()
print("Gram above no Gram by 0.015: ", same["AUC"] > none["AUC"] + 0.015)
print("Gram within 0.03 of early:   ", same["AUC"] > start["AUC"] - 0.03)
print("larger above the early net:  ", large["AUC"] > start["AUC"] + 0.01)
print("k-NN not worse by 0.05:      ", same["k-NN"] > none["k-NN"] - 0.05)
down = none["cosine to CLS"] - same["cosine to CLS"]
print("cosine to CLS lower by 0.1:  ", down > 0.1)

# %% [markdown]
# The paper's order, in small: the loss switched on late mends what AUC had lost.
#
# > Refinement begins after 1M iterations. Segmentation rises within 10k
# > iterations, above where it ever was; the iBOT loss falls faster, the DINO
# > losses hardly change (DINOv3 Sec. 4.2, Figs. 7 and 8).

# %%
first = {name: x[ONE] for name, x in seen.items()}
shown = {"": tiles[ONE], **similar(first, PATCH)}
viz.compare_figure(shown, width=9, patch=PATCH)
plt.show()

# %% [markdown]
# *Figure: the collage, and the similarity with the framed patch in five nets.
# "early": dark gravel, the motorcycle white and orange. "pulled": pale purple
# beside the gravel; "no Gram": more of it. "Gram" and "Gram, larger": white and
# orange are back.*

# %% [markdown]
# ## Measured once, longer, over three seeds
#
# `python -m benchmarks.gram`, 100 steps of the pull, then 100 of each way; means
# of three seeds, from `docs/gram.md`, in percent but for the last column:
#
# | | k-NN | AUC | same distance | mIoU | to CLS |
# |---|--:|--:|--:|--:|--:|
# | early teacher | 48.4 | 68.4 | 61.6 | 10.4 | 0.33 |
# | pulled | 46.3 | 64.2 | 61.5 | 9.5 | 0.67 |
# | no Gram | 46.1 | 62.9 | 60.1 | 9.1 | 0.69 |
# | Gram | 47.1 | 67.5 | 61.9 | 9.4 | 0.45 |
# | Gram, larger | 45.9 | 72.7 | 64.3 | 9.1 | 0.48 |
# | never pulled | 48.5 | 67.5 | 61.4 | 10.3 | 0.26 |
#
# The linear probe, mIoU, loses about a point by the pull (single seeds differ by
# up to two), and Gram does not bring it back.

# %% [markdown]
# ## Why larger crops?
#
# At twice the size, each of the student's patches is four patches of the teacher,
# and their mean is calmer than one. Is the teacher itself better
# then? Collages at twice the size, patches brought back to 16 x 16:

# %%
double = F.interpolate(tiles.float(), scale_factor=2, mode="bicubic")
double = double.round().clamp(0, 255).to(torch.uint8)  # no new detail
rows = maps_of(early, double).flatten(2).mT  # [40, 1024, 64]
print("rows", list(rows.shape), end=" ")
rows = gram.resize_patches(rows, (16, 16), setup.gram)
print("resized", list(rows.shape))
big = collages.patch_similarity_auc(rows.mT.unflatten(2, (16, 16)), where)
print("AUC higher by 0.04:", big > start["AUC"] + 0.04)
print(inspect.getsource(gram.resize_patches))

# %% [markdown]
# Yes, and without any new detail in the pixels: we only enlarged them. The
# student, at its usual size and price, learns the table of a more careful
# reader.
#
# > Twice the size for the Gram teacher, its map brought down by bicubic
# > interpolation: better again than plain Gram (DINOv3 Sec. 4.3, Figs. 9 and 10).

# %% [markdown]
# ## When does it begin, how strong, and who is the Gram teacher?
#
# Let the official recipe answer.

# %%
official = config.load_config("official_vit7b_gram")
renewed = [
    i
    for i in range(1_000_000, 1_100_000)
    if gram.renews_teacher(official.gram, i)
]
print("at first a teacher of stage 1:", official.gram.ckpt)
print("renewed right after", renewed)
weights = schedules.Schedules(official).gram
for i in [999_999, 1_000_500, 1_001_000]:
    print(f"weight at {i}: {weights[i]:.2f}")
sizes = official.crops
print(sizes.global_crops_size, "and", sizes.gram_teacher_crops_size, "pixels")

# %% [markdown]
# The weight climbs to 2 within 1000 iterations. The Gram teacher is a frozen copy
# of the [EMA](GLOSSARY.md#ema) teacher.
#
# > Teachers of 100k and of 200k iterations serve about equally well; one of 1M,
# > already spoiled, serves worse (DINOv3 Sec. 4.3, Fig. 9b). It is renewed at most
# > three times (App. C).
#
# In our runs the weight is 10, against a pull of 4. It is no advice.

# %% [markdown]
# ## What Gram does not fix
#
# **CLS.** The table holds patches with patches. Turn the patches and not CLS:
# loss 0, and the cosine to CLS is another.

# %%
with torch.no_grad():
    x = features.preprocess(tiles, **HOW)
    cls = early(x, is_training=True)["x_norm_clstoken"][:, None]  # [40, 1, 64]
cosines = [F.cosine_similarity(y, cls, dim=-1).mean() for y in (before, after)]
print(
    "cosine to CLS changed by 0.1:", bool(abs(cosines[1] - cosines[0]) > 0.1)
)
print(f"Gram loss {GramLoss(img_level=True)(after, before):.4f}")

# %% [markdown]
# **What the teacher never knew.** The student gets its mistakes, too: all that is
# in its table.
#
# **A linear probe, here.** What all patches share, a linear map can subtract. So it
# suffered little from the pull, and gained nothing by the repair (mIoU, above).
#
# **A small net's need for it.**
#
# > The smaller, distilled models are trained without Gram loss (DINOv3 Sec. 5.2).

# %% [markdown]
# ## My Gram loss is near zero and nothing gets better
#
# Then student and teacher have the same table. Who is your Gram teacher?

# %%
spoiled = seen["pulled"].flatten(2).mT  # [40, 256, 64]
anchor = GramLoss(img_level=True)
print(f"against itself:    {anchor(spoiled, spoiled):.4f}")
print("against the early: above 0.02:", bool(anchor(spoiled, before) > 0.02))

# %% [markdown]
# A copy taken *after* the decay anchors the decay.
#
# ## Common mistakes
#
# **No Gram teacher.** The settings refuse a loss without a reference:

# %% tags=["raises-exception"]
config.load_config("tiny", {"gram.use_loss": True})

# %% [markdown]
# **Patches not of length 1.** Then lengths count, too, and the longest patches
# rule. Halve all features, which changes no cosine:

# %%
lengths = GramLoss(apply_norm=False, img_level=True)
for name, loss in {"as they are": lengths, "of length 1": anchor}.items():
    ratio = loss(0.5 * spoiled, before) / loss(spoiled, before)
    print(f"{name}: changed by 10 %: {bool(abs(ratio - 1) > 0.1)}")

# %% [markdown]
# **The teacher's map read in the wrong order.** Rows and columns exchanged: no
# error, since the shapes agree. Yet even the early net does not fit itself any
# more:

# %%
flipped = seen["early"].mT.flatten(2).mT  # columns first
print("right order:", f"{anchor(before, before):.4f}")
print("wrong order: above 0.02:", bool(anchor(before, flipped) > 0.02))

# %% [markdown]
# ## Choose a patch yourself

# %%
chosen = {name: x[:8] for name, x in seen.items()}


def draw(collage, row, column):
    found = {name: x[collage] for name, x in chosen.items()}
    patch = (row, column)
    shown = {"": tiles[collage], **similar(found, patch)}
    return viz.compare_figure(shown, width=9, patch=patch)


viz.explore(
    draw, collage=(0, 7, 1, 7), row=(0, 15, 1, 3), column=(0, 15, 1, 3)
)

# %% [markdown]
# *Figure: the same six panels for a patch among the stars of another collage,
# under three sliders. Without Gram the other tiles turn purple.*
#
# ## Exercises
#
# Solve them in any order. Solutions are in `lessons/solutions/20.py`.
#
# **20.1** (difficulty 1, 3 minutes) How many entries have the Gram matrices of a
# batch, at image level and at batch level? `B` pictures, `N` patches, `D`
# numbers. Return both as a tuple.
#
# <details><summary>Hint 1</summary>Rung 3 prints the shapes of both.</details>
# <details><summary>Hint 2</summary>Every patch with every patch: where does D
# go?</details>
# <details><summary>Hint 3</summary>At batch level there is one table of B N
# patches.</details>


# %%
def entries(B, N, D):
    raise NotImplementedError("exercise 20.1")


check("20.1", entries)

# %% [markdown]
# **20.2** (difficulty 2, 3 minutes) The Gram matrices `[B, N, N]` of patches `x`
# `[B, N, D]`, as cosines.
#
# <details><summary>Hint 1</summary>Lengths first.</details>
# <details><summary>Hint 2</summary>`F.normalize` takes `dim`; a patch is a
# row.</details>
# <details><summary>Hint 3</summary>`.mT` exchanges the last two axes.</details>


# %%
def gram_of(x):
    raise NotImplementedError("exercise 20.2")


check("20.2", gram_of)

# %% [markdown]
# **20.3** (difficulty 2, 5 minutes) The Gram loss at image level of `student` and
# `teacher`, `[B, N, D]` each, without the package's class.
#
# <details><summary>Hint 1</summary>You have the table from 20.2.</details>
# <details><summary>Hint 2</summary>The mean over B N N entries, not the
# sum.</details>
# <details><summary>Hint 3</summary>Rung 2.</details>


# %%
def loss_of(student, teacher):
    raise NotImplementedError("exercise 20.3")


check("20.3", loss_of)

# %% [markdown]
# **20.4** (difficulty 3, 10 minutes) Bring `patches` `[B, n n, D]`, a square grid
# row by row, to a grid of `side` x `side` by bicubic interpolation (without
# antialiasing): `[B, side side, D]`.
#
# <details><summary>Hint 1</summary>`F.interpolate` wants `[B, D, n,
# n]`.</details>
# <details><summary>Hint 2</summary>Exchange the axes first, then `unflatten`. A
# `view` alone mixes numbers up.</details>
# <details><summary>Hint 3</summary>And back: `flatten(2)`, then exchange
# again.</details>


# %%
def to_grid(patches, side):
    raise NotImplementedError("exercise 20.4")


check("20.4", to_grid)

# %% [markdown]
# **20.5** (difficulty 4, 8 minutes) Change the design: before anything else,
# subtract from the patches of each picture their mean patch, in student and
# teacher. Then as in 20.3. What may the student now do for free? Would this loss
# notice the pull?
#
# <details><summary>Hint 1</summary>The mean over the patches is `[B, 1,
# D]`.</details>
# <details><summary>Hint 2</summary>Add one vector to all patches of a picture:
# what changes?</details>
# <details><summary>Hint 3</summary>`keepdim=True`.</details>


# %%
def centred_loss(student, teacher):
    raise NotImplementedError("exercise 20.5")


check("20.5", centred_loss)

# %%
print(progress("20"))

# %% [markdown]
# ## Recap
#
# - You saw k-NN rise while the AUC of patches fell, and know what fell and what
#   did not.
# - You computed 0.0946 by hand, by loops, at once and with the package.
# - You turned all features and the loss stayed 0: relations are held, features
#   are free.
# - You spoiled a net on purpose and mended it; with larger crops its AUC rose
#   above its anchor's.
# - You showed that CLS is not in the table, and that a spoiled teacher anchors
#   the spoiling.
#
# Next: other resolutions, where this loss is needed once more.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 4.1 to
#   4.3, Eqs. (2) and (3), Figs. 5 to 10: read these for the whole story; App. C:
#   weight and renewals; Sec. 5.1: the loss at higher resolutions.
# - Official code: `dinov3/loss/gram_loss.py`, class `GramLoss`;
#   `dinov3/train/ssl_meta_arch.py`: the life of the Gram teacher.
# - Here: `dinolite/loss/gram_loss.py`, `dinolite/train/gram.py`; all
#   measurements: `docs/gram.md`, `benchmarks/gram.py`.
