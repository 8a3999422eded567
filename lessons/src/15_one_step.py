# %% [markdown]
# # 15 One step
#
# **How do all the parts work together in one training step?** You assemble
# crops, masks, heads, losses, optimiser and teacher, and prove the step equal
# to the official one.

# %% [markdown]
# Every part is built and tested. Today they are joined, by what the code calls
# the [meta-architecture](GLOSSARY.md#meta-architecture). Mistakes now hide at
# the joints: nothing crashes, and the net learns nothing.
#
# After this lesson you can
#
# - name the shape of every tensor of a step,
# - add four losses up on paper, with the right weights,
# - write the step from loops to one short function, equal to the package's,
# - say whom the gradient of each loss reaches, and prove it,
# - test your own code on one batch.
#
# | | |
# |---|---|
# | you need | lessons 06 to 14 |
# | time | 60 minutes |
# | module | `dinolite/train/ssl_meta_arch.py`, `train.py`: `train_step` |
# | official | `train/ssl_meta_arch.py`: `SSLMetaArch` |
# | paper | DINOv3 Sec. 3.2, Eq. (1) |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config
from dinolite.data import batched_augmentations, masking
from dinolite.data.demo_pictures import photographs
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.models import pretrained
from dinolite.train import param_groups, ssl_meta_arch, train
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("15")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Lit is the frame "one step", around crops, masking,
# teacher, student, EMA, heads, Sinkhorn and the losses.*
#
# ## One batch
#
# A tiny net, so that a step takes a blink: width 48, two blocks, patches of 8
# pixels. We choose sizes that differ from each other, so that every shape below
# tells what it is. The rest comes from the recipe `demo`.

# %%
F, GRADS = torch.nn.functional, torch.nn.utils
sizes = {
    "student": {"patch_size": 8, "embed_dim": 48, "depth": 2},
    "crops": {
        "global_crops_size": 48,
        "local_crops_size": 24,
        "local_crops_number": 3,
    },
    "dino": {"head_n_prototypes": 64, "koleo_loss_weight": 0.1},
    "ibot": {"head_n_prototypes": 80, "loss_weight": 1.0},
    "teacher": {"temp.peak": 0.04},
    "optim": {"lr.peak": 3e-3, "lr.warmup": 5},
    "train": {"batch_size_per_gpu": 6, "iterations": 60},
}
flat = {f"{s}.{k}": v for s, part in sizes.items() for k, v in part.items()}
c = config.load_config("demo", flat)
B, L, TEMP = 6, 3, c.teacher.temp.peak  # pictures, local crops, temperature

# %% [markdown]
# Six photographs; of each, two large [crops](GLOSSARY.md#crop) and three small
# ones (lesson 07), and masks for the large ones (lesson 08).

# %%
canvas = torch.stack(
    [
        F.interpolate(p[None].float(), (96, 96), mode="area")[0].byte()
        for p in list(photographs.photographs().values())[:B]
    ]
)
augment = batched_augmentations.BatchedAugmentation(c.crops)
draw = torch.Generator().manual_seed(0)
crops = augment(canvas, torch.tensor([[96, 96]] * B), draw)
masks = masking.draw_masks(2 * B, (6, 6), c.ibot, draw)  # [12, 36]
indices, weight = masking.mask_positions(masks)
hiding = {"mask_indices_list": indices, "masks_weight": weight}
batch = masking.SSLBatch(masks=masks, **hiding, **crops)
for name, x in vars(batch).items():
    print(f"{name:20}", list(x.shape) if x is not None else None)
viz.batch_figure(batch, c.crops, pictures=3)
plt.show()

# %% [markdown]
# *Figure: three rows, one photograph each: a portrait, a cat, a cup. The first
# two columns are the large crops that the teacher sees, the next two are the
# same with black squares where patches are hidden (some have none), then three
# small crops.*
#
# 12 = 2 x 6 large crops, 18 = 3 x 6 small ones, in [crop-major
# order](GLOSSARY.md#crop-major-order), crop order for short: crop 0 of all six
# photographs, then crop 1 of all, and so on. There are 36 patches in a large
# crop, and 70 in the batch are hidden.

# %% [markdown]
# ## The failure first
#
# Somebody stacks the crops photograph by photograph instead. All shapes stay
# the same. `make_state` builds student, teacher and losses from fixed seeds.


# %%
def fresh():
    return train.make_state(c, torch.device("cpu"))


def picture_order(x):
    return x.unflatten(0, (-1, B)).transpose(0, 1).flatten(0, 1)


wrong_order = {
    name: picture_order(getattr(batch, name))
    for name in ["global_crops", "local_crops"]
}
spoiled = masking.SSLBatch(**vars(batch) | wrong_order)
model = fresh().model
for name, x in {"crop order": batch, "picture order": spoiled}.items():
    total, losses = model(x, TEMP)
    dino = losses["dino_local_crops_loss"]
    print(f"{name:14} total {total:.4f}, DINO local {dino:.4f}")

# %% [markdown]
# No error, and two lines that look alike. Yet in the second line the student
# is shown a cup and asked for the teacher's opinion of a cat. The loss of an
# untrained net cannot tell. At the end of this lesson you have a test that can.

# %% [markdown]
# ## What should the loss be at the start?
#
# Near the loss of someone who knows nothing: all `K`
# [prototypes](GLOSSARY.md#prototype) equally likely, $-\ln(1/K) = \ln K$. For
# iBOT half of that, since half of the crops have no mask and count as zero.

# %%
start = {k: v.item() for k, v in model(batch, TEMP)[1].items()}
guess = {"dino_local_crops_loss": 64, "dino_global_crops_loss": 64}
for name, K in guess.items():
    expected = torch.tensor(K).log()
    print(f"{name:23} {start[name]:.4f}, ln {K} = {expected:.4f}")
half = torch.tensor(80).log() / 2
print(f"{'ibot_loss':23} {start['ibot_loss']:.4f}, half of ln 80 = {half:.4f}")
print(f"{'koleo_loss':23} {start['koleo_loss']:.4f}")

# %% [markdown]
# A little more than that, because random scores are not quite flat. A DINO loss
# of 10 with 64 prototypes would be a bug. [KoLeo](GLOSSARY.md#koleo) is minus
# the log of a distance: positive while features lie close, negative later. So
# the total may become negative, and nothing is wrong.

# %% [markdown]
# ## By hand: four losses, one number
#
# > The pre-training loss is DINO plus iBOT plus 0.1 times KoLeo. (DINOv3 Sec.
# > 3.2, Eq. (1))
#
# How do the two DINO losses share their weight? Count pairs. The student has 2
# large and 3 small crops, the teacher 2 large ones: 5 x 2 = 10 pairs. Two are
# the same view on both sides and are left out. Of the 8 others, 2 are
# large-large, 6 small-large. Every pair weighs the same, so:
#
# $$\tfrac{6}{8} L_\text{local} + \tfrac{2}{8} L_\text{global} + 0.1 \cdot 2
# \cdot L_\text{KoLeo} + L_\text{iBOT}$$
#
# The 2 is for the two large crops: KoLeo is summed over them.

# %% [markdown]
# With losses 4, 3, 0.5 and 2:
#
# $$3 + 0.75 + 0.1 + 2 = 5.85.$$
#
# In code, `combine` adds them up. It has two more weights: `local_weight`, by which
# a recipe can turn $L_\text{local}$ up or down during a run (here 1, unchanged), and
# `gram_weight`, for a fifth loss that comes in lesson 20 (here 0).

# %%
toy = {
    "dino_local_crops_loss": torch.tensor(4.0),
    "dino_global_crops_loss": torch.tensor(3.0),
    "koleo_loss": torch.tensor(0.5),
    "ibot_loss": torch.tensor(2.0),
}
total = model.combine(toy, local_weight=1.0, gram_weight=0.0)
torch.testing.assert_close(total, torch.tensor(5.85))
pairs = torch.tensor(  # rows: student crops, columns: teacher crops
    [[9, 2], [4, 9], [3, 5], [4, 4], [3, 5.0]]
)
counted = torch.ones(5, 2, dtype=torch.bool)
counted[0, 0] = counted[1, 1] = False  # the same view
torch.testing.assert_close(pairs[counted].mean(), torch.tensor(3.75))
print(
    "total", f"{total:.2f}", "mean of 8 pairs", f"{pairs[counted].mean():.2f}"
)
viz.matrix_figure(
    {"student x teacher": pairs, "counted": counted.float()}, 0, 0.5
)
plt.show()

# %% [markdown]
# *Figure: two tables of five rows, the student's crops, and two columns, the
# teacher's. Left made-up losses of each pair, right a 1 where the pair counts:
# everywhere but in the first row left and in the second row right.*
#
# In these made-up losses the large-large pairs have mean 3, the small-large
# ones mean 4, and all eight 3.75, the first two terms above. The 9s do not
# count.

# %% [markdown]
# ## Rung 1: loops
#
# Now the real thing, as slowly as possible. The teacher looks at one whole crop
# after the other. Its opinion of the crop comes from
# [CLS](GLOSSARY.md#cls-token), its opinion of the hidden patches from those
# patches. Sinkhorn waits: it shares prototypes out among *all* samples.


# %%
@torch.no_grad()
def teach(model, batch):
    net, cls, patches = model.teacher, [], []
    for crop, mask in zip(batch.global_crops, batch.masks, strict=True):
        out = net["backbone"](crop[None], is_training=True)
        cls.append(net["dino_head"](out["x_norm_clstoken"]))  # [1, 64]
        hidden = out["x_norm_patchtokens"][0, mask]  # seen whole here
        patches.append(net["ibot_head"](hidden))  # [m, 80]
    cls, patches = torch.cat(cls), torch.cat(patches)
    return sinkhorn_knopp(cls, TEMP), sinkhorn_knopp(patches, TEMP)


targets = teach(model, batch)
print("CLS targets", list(targets[0].shape))
print("patch targets", list(targets[1].shape))

# %% [markdown]
# The student looks at the same large crops, with holes, and at the small ones.
# One pass for each of its 30 crops.


# %%
def study(model, batch):
    net, cls, hidden = model.student, [], []
    for crop, mask in zip(batch.global_crops, batch.masks, strict=True):
        out = net["backbone"](crop[None], mask[None], is_training=True)
        cls.append(out["x_norm_clstoken"])
        hidden.append(net["ibot_head"](out["x_norm_patchtokens"][0, mask]))
    for crop in batch.local_crops:
        cls.append(net["backbone"](crop[None]))
    cls = torch.cat(cls)
    return cls, net["dino_head"](cls), torch.cat(hidden)


cls, logits, hidden = study(model, batch)
print("CLS", list(cls.shape), "logits", list(logits.shape))
print("hidden patches", list(hidden.shape))

# %% [markdown]
# And four losses, pair by pair, crop by crop, photograph by photograph.


# %%
def cross_entropy(target, logits):
    return -(target * (logits / 0.1).log_softmax(dim=-1)).sum(dim=-1)


def losses_by_loops(cls, logits, hidden, targets, masks):
    terms = {"local": [], "global": [], "koleo": [], "ibot": []}
    for s in range(2 + L):
        for t in range(2):
            for b in range(B):
                if s != t:
                    loss = cross_entropy(
                        targets[0][t * B + b], logits[s * B + b]
                    )
                    terms["global" if s < 2 else "local"].append(loss)
    at = 0
    for n in masks.sum(dim=1).tolist():  # hidden patches of a crop
        loss = cross_entropy(targets[1][at : at + n], hidden[at : at + n])
        terms["ibot"].append(loss.sum() / max(n, 1))
        at += n
    for crop in cls[: 2 * B].split(B):  # large crop 0, then 1
        unit = F.normalize(crop, dim=-1)
        for b in range(B):
            far = [(unit[b] - unit[a]).norm() for a in range(B) if a != b]
            terms["koleo"].append(-torch.stack(far).min().log())
    return {name: torch.stack(many).mean() for name, many in terms.items()}


slow = losses_by_loops(cls, logits, hidden, targets, batch.masks)
print({name: round(value.item(), 4) for name, value in slow.items()})

# %% [markdown]
# ## Rung 2: one pass per crop size
#
# 30 passes for one step is a waste. All crops of one size can be stacked: a
# pass for the large ones, a pass for the small ones. Then heads and losses once
# for all.

# %%
net = model.student
large = net["backbone"](batch.global_crops, batch.masks, is_training=True)
small = net["backbone"](batch.local_crops, is_training=True)
all_cls = torch.cat([large["x_norm_clstoken"], small["x_norm_clstoken"]])
patches = large["x_norm_patchtokens"].flatten(0, 1)  # [12 x 36, 48]
stacked = all_cls, net["dino_head"](all_cls)
stacked += (net["ibot_head"](patches[batch.mask_indices_list]),)
for one_by_one, together in zip((cls, logits, hidden), stacked, strict=True):
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=1e-4)
    print(list(together.shape), "equal to the loop")

# %% [markdown]
# ## Rung 3: one pass for a list of sizes
#
# Crops of 48 and 24 pixels cannot lie in one tensor. But the backbone takes a
# *list* (lesson 06): every block handles the large crops, then the small ones,
# and hands both on. Same numbers?

# %%
both = net["backbone"](
    [batch.global_crops, batch.local_crops],
    masks=[batch.masks, None],
    is_training=True,
)
for name in ["x_norm_clstoken", "x_norm_patchtokens"]:
    for alone, listed in zip((large, small), both, strict=True):
        torch.testing.assert_close(listed[name], alone[name])
        print(name, list(listed[name].shape), "equal")

# %% [markdown]
# Why bother? On one processor it hardly matters. In the official code every GPU
# keeps a part of the weights, and a block's weights are fetched from the others
# when it is needed. A block that gets the whole list is fetched once, not once
# per crop size.
#
# Here is how the package writes it:

# %%
Arch = ssl_meta_arch.SSLMetaArch
print(inspect.getsource(Arch.get_student_output))

# %% [markdown]
# `unflatten(0, (-1, B))` cuts the 30 CLS into [5, 6]: five crops of six
# photographs. That is where crop order counts.
#
# ## Rung 4: the package's forward
#
# `compute_losses` gives the four terms, `combine` adds them up. Equal to our
# loops?

# %%
teacher = model.get_teacher_output(batch, TEMP)
student = model.get_student_output(batch)
losses = model.compute_losses(teacher, student, batch)
names = ["local", "global", "koleo", "ibot"]
for mine, (name, theirs) in zip(names, losses.items(), strict=True):
    torch.testing.assert_close(slow[mine], theirs, atol=1e-4, rtol=1e-4)
    print(f"{name:23} {theirs:.4f} equal to the loop")
total, _ = model(batch, TEMP)
by_hand = 6 / 8 * slow["local"] + 2 / 8 * slow["global"] + slow["ibot"]
by_hand = by_hand + 0.1 * 2 * slow["koleo"]
torch.testing.assert_close(by_hand, total, atol=1e-4, rtol=1e-4)
print(f"{'total':23} {total:.4f} equal to the sum by hand")

# %% [markdown]
# ## Every tensor in one picture
#
# Now the whole step, with the shapes as they really are.

# %%
out = model.teacher["backbone"](batch.global_crops, is_training=True)
seen = out["x_norm_patchtokens"].flatten(0, 1)[batch.mask_indices_list]
tensors = {
    "global_crops": batch.global_crops,
    "local_crops": batch.local_crops,
    "masks": batch.masks,
    "teacher_cls": out["x_norm_clstoken"],
    "teacher_hidden": seen,
    "teacher_cls_logits": model.teacher["dino_head"](out["x_norm_clstoken"]),
    "teacher_patch_logits": model.teacher["ibot_head"](seen),
    "cls_targets": teacher.cls_centered,
    "patch_targets": teacher.masked_patch_centered,
    "student_cls": all_cls,
    "student_hidden": patches[batch.mask_indices_list],
    "student_cls_logits": logits,
    "student_patch_logits": student.masked_patch_after_head,
    "global_logits": student.cls_after_head,
    "local_logits": student.local_cls_after_head,
    "global_cls": student.cls_pre_head,
}
shapes = {name: list(x.shape) for name, x in tensors.items()}
weights = [0.75, 0.25, 0.2, 1.0]
viz.one_step_figure(shapes, dict(zip(losses, weights, strict=True)))
plt.show()

# %% [markdown]
# *Figure: the step from left to right. Large crops go up to the teacher: CLS
# and hidden patches, heads, Sinkhorn, targets. Large crops with masks and small
# crops go to the student below: CLS of all 30 crops, logits, cut into large and
# small; hidden patches and their logits. Targets meet logits in the DINO and
# iBOT losses; KoLeo takes the CLS of the large crops. All add up to the total.*
#
# Twelve teacher CLS become targets [2, 6, 64]; thirty student CLS become [2, 6,
# 64] and [3, 6, 64]. Seventy hidden patches stay seventy on both sides, in the
# same order.

# %% [markdown]
# ## Whom does the gradient reach?
#
# The [backward pass](GLOSSARY.md#backward-pass) goes from the total back
# through everything that made it, and leaves a gradient at every weight.
#
# **Predict first.** The [mask token](GLOSSARY.md#mask-token) stands where
# patches are hidden. Which of the four losses teach it: iBOT only? And which
# losses reach the two heads?


# %%
def norm(parameters):
    grads = [p.grad.norm() for p in parameters if p.grad is not None]
    return torch.stack(grads).norm().item() if grads else 0.0


def reached(loss):
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    parts = dict(model.student)
    token = parts["backbone"].mask_token
    rest = [p for p in parts["backbone"].parameters() if p is not token]
    return {
        "backbone": norm(rest),
        "mask_token": norm([token]),
        "dino_head": norm(parts["dino_head"].parameters()),
        "ibot_head": norm(parts["ibot_head"].parameters()),
        "teacher": norm(model.teacher.parameters()),
    }


table = {name: reached(loss) for name, loss in losses.items()}
table["total"] = reached(total)
viz.gradient_figure(table)
plt.show()

# %% [markdown]
# *Figure: a table. Rows: the four losses, not yet weighted, and the total. Columns: backbone, mask
# token, DINO head, iBOT head, teacher. Each square has the size of the gradient.
# The column of the teacher is 0 throughout; the row of DINO local is 0 at the
# mask token; KoLeo is 0 at both heads; each head learns from its own loss.*

# %%
zero = {
    name: [p for p, v in row.items() if v == 0] for name, row in table.items()
}
for name, parts in zero.items():
    print(f"{name:23} no gradient: {', '.join(parts)}")

# %% [markdown]
# The mask token learns from *three* losses. CLS of a masked crop looks at mask
# tokens, so whatever is asked of CLS reaches them. Only small crops have no
# masks.
#
# The backbone is pulled by all four losses, the teacher by none. It is moved by
# its [EMA](GLOSSARY.md#ema) alone (lesson 14).

# %% [markdown]
# ## Is the gradient right?
#
# Ask the loss itself. Move the weights of one part a little along its gradient
# and back again: the total must change by distance times the gradient's norm.
# There are thousands of weights, so we move all those of a part at once.

# %%
reached(model(batch, TEMP)[0])
for name, part in model.student.items():
    weights = list(part.parameters())
    slope, grads = norm(weights), [w.grad for w in weights]
    step = 0.01 / slope
    ends = []
    with torch.no_grad():
        for move in [step, -2 * step, step]:  # ahead, back, home
            torch._foreach_add_(weights, grads, alpha=move / slope)
            ends.append(model(batch, TEMP)[0])
    measured = (ends[0] - ends[1]).item() / (2 * step)
    print(f"{name:10} within 2 percent: {abs(measured / slope - 1) < 0.02}")

# %% [markdown]
# ## Predict, then run: half a batch, twice
#
# Your memory holds three photographs, the recipe wants six. People then add up
# the gradients of two half batches before they take one step. For a classifier
# without BatchNorm this gives the same gradient as one whole batch. **Here too?**


# %%
def pick(x, pictures):
    return x.unflatten(0, (-1, B))[:, pictures].flatten(0, 1)


def part_of(batch, pictures):
    masks = pick(batch.masks, pictures)
    indices, weight = masking.mask_positions(masks)
    large, small = (
        pick(batch.global_crops, pictures),
        pick(batch.local_crops, pictures),
    )
    return masking.SSLBatch(large, small, masks, indices, weight)


halves = [part_of(batch, slice(0, 3)), part_of(batch, slice(3, 6))]
kept = model.get_teacher_output(halves[0], TEMP).cls_centered  # [2, 3, 64]
same = torch.allclose(kept, teacher.cls_centered[:, :3], atol=1e-2)
print("same targets:", same)
for name in ["koleo_loss", "dino_local_crops_loss"]:
    two = sum(model(half, TEMP)[1][name] for half in halves) / 2
    print(f"{name:22} whole {losses[name]:.4f}, two halves {two:.4f}")

# %% [markdown]
# No. Sinkhorn shares prototypes out among the samples it sees, and KoLeo looks
# for neighbours among them. Both know only their batch, so two halves are
# another game than one whole. This is why batch size matters more here than in
# supervised training.

# %% [markdown]
# ## From the loss to a step
#
# The loss is ready. What does `train_step` do with it? In this order:
#
# 1. look up learning rate, weight decay, temperature, momentum for this step,
# 2. forward: the total,
# 3. forget old gradients, then backward,
# 4. clip: shorten the gradient of each part to at most 3,
# 5. stop if a loss or a norm is not finite,
# 6. AdamW, the optimiser, moves the student,
# 7. EMA moves the teacher, after the student.
#
# Schedules and AdamW are the subject of lesson 16. Here they are two calls.


# %%
def one_step(run, batch):
    now = run.schedules.at(run.iteration)
    groups = run.optimizer.param_groups
    param_groups.set_rates(groups, now.lr, now.last_layer_lr, now.weight_decay)
    total, losses = run.model(batch, now.teacher_temp, now.local_loss_weight)
    run.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norms = {
        name: GRADS.clip_grad_norm_(part.parameters(), c.optim.clip_grad)
        for name, part in run.model.student.items()
    }
    if not torch.stack([total, *norms.values()]).isfinite().all():
        raise FloatingPointError("a loss or a gradient is not finite")
    run.optimizer.step()
    run.model.update_teacher(now.momentum)
    run.iteration += 1
    return {"total_loss": total.detach()} | losses


def equal(a, b):
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.allclose(x, y, atol=1e-6) for x, y in pairs)


ours, theirs = fresh(), fresh()
for _ in range(3):
    one_step(ours, batch)
    values = train.train_step(theirs, batch)
print("student equal:", equal(ours.model.student, theirs.model.student))
print("teacher equal:", equal(ours.model.teacher, theirs.model.teacher))
print([name for name in values if name.startswith("grad_norm")])

# %% [markdown]
# Three steps, and no weight differs from the package's. (`train_step` also
# knows the Gram teacher of lesson 20, bfloat16, and several GPUs.)
#
# > **Tutor's note.** Clipping is done for backbone and heads *separately*. Look
# > at the last row of the gradient table: with one common limit, whoever has the
# > longest gradient would take the room from the others.

# %% [markdown]
# ## What does the teacher do in a step?
#
# **Predict first.** Student and teacher start equal. After the first step, how
# far has the student moved? And after the second, how far has the teacher come,
# compared with the student? Momentum is 0.98.


# %%
def moved(now, before):
    pairs = zip(now.parameters(), before.parameters(), strict=True)
    return torch.stack([(a - b).norm() for a, b in pairs]).norm().item()


run, before = fresh(), fresh().model
way = {"student": [], "teacher": []}
for _ in range(30):
    for name, steps in way.items():
        steps.append(moved(getattr(run.model, name), getattr(before, name)))
    train.train_step(run, batch)
print("student after 1 step", way["student"][1])
print(
    f"teacher / student after 2: {way['teacher'][2] / way['student'][2]:.2f}"
)
print("lr of steps 0, 1:", run.schedules.lr[:2].round(4).tolist())
viz.lines_figure({"distance from the start": way}, None, "step", "norm")
plt.show()

# %% [markdown]
# *Figure: two lines over 30 steps. The student's distance from its start is 0
# until step 1, then rises; the teacher's line stays far below it and bends upwards slowly.*
#
# After step 0: nothing. The learning rate climbs from 0 during the first steps,
# so the very first moves no weight, and a loss that is the same at steps 0 and 1 is no bug.
# After the first real step the teacher has gone 1 - 0.98 = 0.02 of the way.

# %% [markdown]
# ## Against someone else: the official step
#
# `tests/golden/step_pretrain.safetensors` holds three whole training steps of
# the *official* code: weights at the start, batches, losses, gradient norms,
# weights at the end. We give our class the same settings and weights.

# %%
gold = pretrained.read_state_dict("../tests/golden/step_pretrain.safetensors")


def under(prefix):
    return {
        k.removeprefix(prefix): v
        for k, v in gold.items()
        if k.startswith(prefix)
    }


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
for name in ["student", "teacher"]:
    getattr(twin, name).load_state_dict(under(f"init.{name}."), strict=True)
print(len(under("init.student.")), "tensors of weights loaded")

# %% [markdown]
# Three steps, with the learning rates that were used there.


# %%
def close(name, actual, tolerance):  # relative to the official number
    error = (actual.detach() - gold[name]).norm() / gold[name].norm()
    return bool(error <= tolerance)


fields = ["global_crops", "local_crops", "masks"]
groups = param_groups.get_params_groups(twin.student, 0.9, 0.2)
adamw = torch.optim.AdamW(groups)
good = {"losses": [], "gradient norms": [], "weights after 3 steps": []}
for t in range(3):
    lr = 0.001 * (t + 1)
    param_groups.set_rates(adamw.param_groups, lr, lr if t else 0.0, 0.04)
    part = under(f"batch.{t}.")
    x = [part[f"collated_{name}"] for name in fields]
    x += [part["mask_indices_list"], part["masks_weight"]]
    total, losses = twin(masking.SSLBatch(*x), 0.05)
    for name, loss in {"total": total, **losses}.items():
        if f"loss.{t}.{name}" in gold:
            good["losses"].append(close(f"loss.{t}.{name}", loss, 1e-4))
    adamw.zero_grad()
    total.backward()
    for name, part in twin.student.items():
        length = GRADS.clip_grad_norm_(part.parameters(), 3.0)
        right = close(f"grad_norm.{t}.{name}", length, 1e-3)
        good["gradient norms"].append(right)
    adamw.step()
    twin.update_teacher(0.9)
for name, weight in twin.state_dict().items():
    if f"final.{name}" in gold:
        right = close(f"final.{name}", weight, 2e-3)
        good["weights after 3 steps"].append(right)
for what, results in good.items():
    print(f"{what:22} {sum(results)} of {len(results)} equal")

# %% [markdown]
# Every loss, every gradient norm, and every weight of student and teacher after
# three steps. A mistake on the way from the crops on, in heads, losses, clipping,
# layer-wise learning rates or EMA, would show in the last line.

# %% [markdown]
# ## My loss does not go down: overfit one batch
#
# Here is the test for your own code. Take *one* batch and repeat the step on it
# 30 times. A correct step must learn these few pictures by heart. We try both
# batches of the beginning.
#
# **Predict first.** Will the total of the spoiled batch go down? Will the DINO
# loss of the good one reach 0?

# %%
history = {}
for name, x in {"crop order": batch, "picture order": spoiled}.items():
    run, log = fresh(), []
    for _ in range(30):
        log.append(train.train_step(run, x))
    history[name] = {
        label: [float(values[key]) for values in log]
        for label, key in [
            ("total", "total_loss"),
            ("DINO local", "dino_local_crops_loss"),
            ("target entropy", "dino_target_entropy"),
        ]
    }
floor = float(torch.tensor(64 / 12).log())
for name, lines in history.items():
    fell = {k: lines[k][0] - lines[k][-1] for k in ["total", "DINO local"]}
    print(
        f"{name}: total fell by 0.5 or more: {fell['total'] > 0.5};",
        f"DINO below 3.9: {lines['DINO local'][-1] < 3.9}",
    )
marks = {"ln 64": float(torch.tensor(64.0).log()), "ln (64 / 12)": floor}
viz.lines_figure(history, None, "step", "nats", marks)
plt.show()

# %% [markdown]
# *Figure: two panels over 30 steps, with a dashed line at ln 64 and a dotted
# one at ln (64 / 12). Left, crop order: total, DINO loss and the entropy of the
# targets all fall, the loss towards the entropy. Right, picture order: the total
# falls as well, but the DINO loss comes down to ln 64 and stays there, and the
# targets rise to it.*

# %% [markdown]
# The *total* of the spoiled batch falls all the same. The DINO loss tells the
# truth: it sits at $\ln K$, where one knows nothing, and the teacher soon knows
# nothing either. **Always plot the terms, never the total alone.**
#
# And the good one does not reach 0. A cross-entropy is never below the
# [entropy](GLOSSARY.md#entropy) of its targets, and Sinkhorn lets 12 samples
# share 64 prototypes evenly: targets much sharper than $\ln(64/12) = 1.67$ are
# not allowed (lesson 11).

# %%
print(f"ln 64 = {marks['ln 64']:.2f}, ln (64 / 12) = {floor:.2f}")
for name, lines in history.items():
    above = lines["DINO local"][-1] - lines["target entropy"][-1]
    print(f"{name}: loss is above the entropy of its targets: {above > 0}")

# %% [markdown]
# > **Watch out.** Passing says that the step *can* learn. It says nothing about
# > features: this net knows six photographs by heart. Failing is the strong
# > result: no longer run and no larger net will repair it.

# %% [markdown]
# ## Common mistakes
#
# **One picture on its own.** KoLeo looks for the nearest *other* picture.

# %% tags=["raises-exception"]
model(part_of(batch, slice(0, 1)), TEMP)

# %% [markdown]
# **A broken pixel.** One nan in one crop, for example a division by zero in an
# augmentation. The check stops the step before the optimiser moves anything.

# %% tags=["raises-exception"]
broken = batch.local_crops.clone()
broken[7, 0, 0, 0] = torch.nan
run = fresh()
train.train_step(
    run, masking.SSLBatch(**vars(batch) | {"local_crops": broken})
)

# %% [markdown]
# The message names every number that is not finite. Of the losses only the
# local DINO loss is in the list: a local crop is to blame. And the weights?

# %%
print("weights untouched:", equal(run.model.student, fresh().model.student))

# %% [markdown]
# > **Watch out.** The official code takes the step all the same, and stops at
# > the third such iteration. By then the weights are nan.
#
# **The teacher is the student.** `teacher = student` copies no weights, it
# gives one net two names. And **gradients nobody forgot**: without `zero_grad`
# they add up. Neither raises an error.

# %%
run, healthy = fresh(), fresh()
run.model.teacher = run.model.student
for one in [run, healthy]:
    for _ in range(3):
        train.train_step(one, batch)
    same = equal(one.model.teacher, one.model.student)
    print("teacher equal to student after 3 steps:", same)
model.zero_grad(set_to_none=True)
for times in [1, 2, 3]:
    model(batch, TEMP)[0].backward()
    length = norm(model.student.parameters())
    first = length if times == 1 else first
    print(f"backward {times}: gradient {length / first:.2f} times as long")

# %% [markdown]
# So two lines for your own code: after a few steps teacher and student must
# differ, and the norm of the gradient must not grow in proportion to the number of
# steps.

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/15.py`.
#
# **15.1** (difficulty 1, 3 minutes) `B` pictures, 2 large and `L` small crops of
# each, `K` prototypes. Which shape have the student's logits of all crops, cut
# so that the first axis counts crops? A tuple.
#
# <details><summary>Hint 1</summary>How many crops of one picture does the student
# see?</details>
# <details><summary>Hint 2</summary>Crop order: crops first, then
# pictures.</details>


# %%
def logits_shape(B, L, K):
    raise NotImplementedError("exercise 15.1")


check("15.1", logits_shape)

# %% [markdown]
# **15.2** (difficulty 2, 6 minutes) The weights of the two DINO terms, as a
# tuple (local, global), for `L` small crops. If `ignore_diagonal` is false, the
# pairs of a view with itself count as well.
#
# <details><summary>Hint 1</summary>Count pairs, not crops.</details>
# <details><summary>Hint 2</summary>There are 2 L small-large pairs, and 2 or 4
# large-large ones.</details>


# %%
def dino_weights(L, ignore_diagonal):
    raise NotImplementedError("exercise 15.2")


check("15.2", dino_weights)

# %% [markdown]
# **15.3** (difficulty 3, 8 minutes) `x` has the features of many crops in crop
# order, [n B, D], for `B` pictures. Return the mean feature of every picture
# over its n crops, [B, D].
#
# <details><summary>Hint 1</summary>Give crops and pictures an axis
# each.</details>
# <details><summary>Hint 2</summary>The axis that changes slowly comes
# first.</details>


# %%
def picture_means(x, B):
    raise NotImplementedError("exercise 15.3")


check("15.3", picture_means)

# %% [markdown]
# **15.4** (difficulty 3, 10 minutes) A step on paper. `student`, `teacher` and
# the gradient `grad` are vectors. Clip the gradient to length `clip` (a shorter
# one stays as it is), move the student by `lr` against it (plain gradient descent
# instead of AdamW), then the teacher with `momentum`. Return (student, teacher).
#
# <details><summary>Hint 1</summary>The factor of clipping is `clip / length`, but
# at most 1.</details>
# <details><summary>Hint 2</summary>The teacher follows the student that has
# already moved.</details>


# %%
def step_on_paper(student, teacher, grad, lr, clip, momentum):
    raise NotImplementedError("exercise 15.4")


check("15.4", step_on_paper)

# %% [markdown]
# **15.5** (difficulty 4, 8 minutes) Change the design. Given the weights of the
# three objectives (0 = left out), who still gets a gradient? Return four
# booleans: backbone, mask token, DINO head, iBOT head. Without *local crops*,
# what would change in your answer?
#
# <details><summary>Hint 1</summary>Read the columns of the gradient
# table.</details>
# <details><summary>Hint 2</summary>`dino` stands for the local and the global
# term together.</details>


# %%
def who_learns(dino, koleo, ibot):
    raise NotImplementedError("exercise 15.5")


check("15.5", who_learns)

# %%
print(progress("15"))

# %% [markdown]
# ## Recap
#
# - You drew the step and know its shapes: crops first, then pictures.
# - You added four losses up: every DINO pair weighs the same.
# - You climbed from 42 single passes to one list, and to a step in one function
#   equal to the package's and the official one.
# - You saw whom each loss reaches: the mask token by three, the teacher by none.
# - You have a test for your own code: one batch, 30 steps, every term plotted.
#
# Next: many steps, with rates that change, until something is learned.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2 with
#   Eq. (1): the loss; App. C: which tokens each loss uses.
# - Official code: `dinov3/train/ssl_meta_arch.py`, class `SSLMetaArch`, and
#   `train/train.py`, function `do_train`.
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294), Algorithm 1: the
#   whole step in few lines, without small crops. Read it after this lesson.
