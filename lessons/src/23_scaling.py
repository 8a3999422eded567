# %% [markdown]
# # 23 Scaling up
#
# **One GPU, many GPUs: what changes and what must not?** You round numbers by
# hand, count every byte of a step, and train the same net on two processes, to
# the same weights.

# %% [markdown]
# Larger is mostly the same code. What breaks is quiet: a sum that stops growing,
# a loss that sees half of the batch.
#
# After this lesson you can
#
# - round to bfloat16 by hand, and say what must stay float32,
# - count what a step keeps, and what recomputation saves,
# - say which parts need the other processes, and show it,
# - run two processes and prove them equal to one,
# - plan batch, GPUs and K, and turn the right knob when memory is full.
#
# | | |
# |---|---|
# | you need | lessons 11, 12, 13, 16 |
# | time | 60 minutes |
# | module | `dinolite/parallel.py` |
# | official | `distributed/torch_wrapper.py`; `fsdp/ac_compile_parallelize.py` |
# | paper | DINOv2 Sec. 5; DINOv3 Sec. 3.2 "Optimization", App. C |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite import config, parallel
from dinolite.data import loaders
from dinolite.data.demo_pictures import photographs
from dinolite.loss import koleo_loss, sinkhorn_knopp
from dinolite.models import pretrained, vision_transformer
from dinolite.train import monitors, schedules, ssl_meta_arch, train
from dinolite_course import check, figures as viz, processes, progress

# %%
load_config, F = config.load_config, torch.nn.functional
ViT = vision_transformer.DinoVisionTransformer
sinkhorn = sinkhorn_knopp.sinkhorn_knopp
FLOAT, BF16, HALF = torch.float32, torch.bfloat16, torch.float16
MIB, GIB = 2**20, 2**30

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("23")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Lit is the outer frame, the training loop: scaling is a
# matter of the loop, not of the parts in it.*
#
# > **Watch out.** There was no GPU where this course was made. Everything below
# > runs on a CPU; what was not measured is called that.
#
# ## The failure first: a teacher that never moves
#
# Half the bytes per number, and products that a GPU computes much faster: why not
# keep all numbers in [bfloat16](GLOSSARY.md#bfloat16)? Here is one weight of
# a teacher. It starts at 1 and follows a student at 1.5 by
# [EMA](GLOSSARY.md#ema) for 1000 steps.

# %%
for dtype in [FLOAT, BF16]:
    teacher = torch.tensor(1.0, dtype=dtype)
    student = torch.tensor(1.5, dtype=dtype)
    for _ in range(1000):
        teacher = teacher.lerp(student, 1 - 0.996)
    print(f"{dtype}: {teacher:.4f}")

# %% [markdown]
# In bfloat16 it never moves: no error, no NaN, a teacher that stays random for
# ever. Each step would add 0.002, and that is too small to be seen. Why?
#
# ## bfloat16 by hand
#
# A float is a sign, a power of two, and a fraction: $\pm 2^e (1 + m)$.
#
# | | sign | exponent | fraction |
# |---|---|---|---|
# | float32 | 1 | 8 | 23 |
# | bfloat16 | 1 | 8 | 7 |
# | float16 | 1 | 5 | 10 |
#
# bfloat16 is float32 with the last 16 bits cut off: the same range, only coarser.


# %%
def bits(x):
    n = torch.tensor(x, dtype=BF16).view(torch.int16).item() & 0xFFFF
    text = f"{n:016b}"
    return f"{text[0]} {text[1:9]} {text[9:]}"


for x in [1.0, 1 + 1 / 128, 0.5, 2.0, -1.0]:
    print(f"{x:7.4f}  {bits(x)}")

# %% [markdown]
# 1.0 has the exponent 127, which stands for 0, and fraction 0. With seven bits
# of fraction the next number is $1 + 1/128$. From 0.5 to 1 the numbers lie
# 1/256 apart, from 2 to 4 they lie 1/64 apart.
#
# **By hand: 1.01.** Between 1 and 2 the gap is 1/128, and $1.01 = 1 + 1.28/128$.
# The nearest is $1 + 1/128 = 1.0078$. And the teacher's 1.002 is $1 + 0.256/128$,
# less than half a gap: back to 1.

# %%
assert torch.tensor(1.01, dtype=BF16).item() == 1 + 1 / 128
assert torch.tensor(1.002, dtype=BF16).item() == 1
x = [2.0**k for k in range(-24, 25, 2)]
gaps = {
    "float32": [v * 2.0**-23 for v in x],
    "float16": [max(v, 2.0**-14) * 2.0**-10 * (v < 65536) for v in x],
    "bfloat16": [v * 2.0**-7 for v in x],
}
relative = {
    k: [a / b for a, b in zip(g, x, strict=True)] for k, g in gaps.items()
}
lines = {"gap": gaps, "gap / number": relative}
viz.lines_figure(lines, x, "number", log=lines, xscale="log")
plt.show()

# %% [markdown]
# *Figure: the gap to the next number, over the size of the number. Left, three
# rising lines; from 1e-5 on bfloat16 is highest. Right, divided by the number: float32
# and bfloat16 are level, at about 1e-7 and 0.008. float16 lies between them in the
# middle, stops on the right (nothing beyond 65504) and climbs to 1 at the left.*
#
# So rounding moves a number by at most 1/256 of itself, at any size. float16 is
# finer, and runs out of range; small gradients vanish in it. That is why large
# nets are trained in bfloat16.

# %% [markdown]
# ### Rung 1, a loop; rung 2, all at once; rung 3, bits; and torch
#
# In words: divide by the gap, round, multiply again. A tie goes to the even
# neighbour, so that errors do not all point up. In bits: add half a gap and cut off
# 16 bits. Half a gap is 0x8000; one less, plus the last bit that stays, sends ties to
# even.


# %%
def one_by_one(numbers):
    out = []
    for v in numbers.tolist():
        gap = 1.0
        while gap * 2 <= abs(v):
            gap *= 2
        while gap > abs(v):
            gap /= 2
        out.append(round(v / (gap / 128)) * gap / 128)  # ties to even
    return torch.tensor(out)


def by_bits(numbers):
    n = numbers.view(torch.int32)
    n = n + 0x7FFF + ((n >> 16) & 1)
    return (n >> 16 << 16).view(FLOAT)


torch.manual_seed(0)
numbers = torch.randn(2000) * 10 ** torch.randn(2000)
numbers[:3] = torch.tensor([1.01, 1 + 1 / 256, 1 + 3 / 256])  # two ties
gap = 2.0 ** (numbers.abs().log2().floor() - 7)
at_once = (numbers / gap).round() * gap
for name, y in [("loop", one_by_one(numbers)), ("at once", at_once)]:
    print(f"{name} {list(y.shape)}: {torch.equal(y, by_bits(numbers))}")
print("torch:", torch.equal(by_bits(numbers), numbers.bfloat16().float()))
print("ties, times 128:", (by_bits(numbers)[1:3] * 128).tolist())

# %% [markdown]
# ### Predict, then run: count to 4096
#
# Start at 0 and add 1, 4096 times, in bfloat16. Where do you end?

# %%
counts = {}
for name in ["float32", "float16", "bfloat16"]:
    dtype = getattr(torch, name)
    path = counts[name] = []
    total = torch.zeros((), dtype=dtype)
    for _ in range(4096):
        total = total + 1
        path.append(total.item())
    print(f"{name:8} {path[-1]:.0f}")
print("torch.sum", torch.ones(4096, dtype=BF16).sum().item())
viz.lines_figure({"sum": counts}, xlabel="adding 1, times")
plt.show()

# %% [markdown]
# *Figure: three sums over 4096 steps. float32 climbs to the end, float16 stops
# half-way at 2048, bfloat16 lies flat from 256 on.*
#
# At 256 the gap is 2, and 257 is a tie between 256 and 258: to the one whose last
# bit is 0, 256. Long sums in
# bfloat16 stop. `torch.sum` is right because it adds in float32 *inside* and
# rounds once, at the end. Matrix products on a GPU do the same.

# %% [markdown]
# ## What must stay float32?
#
# Products of matrices are where the time goes, and rounding does little harm
# there. Everything that adds small to large stays float32:
#
# | float32 | why |
# |---|---|
# | weights, AdamW, EMA | tiny steps on large numbers |
# | residual stream, norms | a sum over blocks; means over the width |
# | RoPE's tables | angles of many turns |
# | softmax of losses, Sinkhorn, KoLeo | exp, log, near neighbours (lesson 13) |
# | gradients between processes | sums over GPUs |
#
# That is our code. The official one is bolder: with FSDP's bfloat16 its norms and
# KoLeo are rounded, too; Sinkhorn and softmax are not.

# %% [markdown]
# [Autocast](GLOSSARY.md#autocast) does the choosing: inside `torch.autocast` a
# linear layer rounds its input and its weight on the way in, and the stored
# weight stays as it is. We ask every layer of a block.

# %%
torch.manual_seed(0)
vit = ViT(patch_size=8, embed_dim=64, depth=4, num_heads=2)
seen = {}
for name, layer in vit.blocks[0].named_modules():
    layer.register_forward_hook(
        lambda m, i, o, name=name: seen.update({name: (i[0].dtype, o.dtype)})
    )
with torch.autocast("cpu", BF16):
    vit(torch.randn(2, 3, 64, 64))
for name in ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc2", ""]:
    into, out = (str(d).removeprefix("torch.") for d in seen[name])
    print(f"{name or 'whole block':11} {into:8} -> {out}")
print("weights:", vit.blocks[0].attn.qkv.weight.dtype)

# %% [markdown]
# The block gets float32, adds bfloat16 results to it, and hands on float32. Does
# the net still see the same? We take the course's trained net, and photographs in
# grey, as it knows them.


# %%
def square(name):
    photo = photographs.photographs()[name]
    side = min(photo.shape[1:])
    top, left = ((n - side) // 2 for n in photo.shape[1:])
    x = photo[None, :, top : top + side, left : left + side].float()
    x = F.interpolate(x, (192, 192), mode="bilinear", antialias=True)
    return x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


@torch.no_grad()
def patches_of(net, x, dtype=FLOAT):
    with torch.autocast("cpu", BF16, enabled=dtype == BF16):
        out = net((x / 255 - 0.5) / 0.2, is_training=True)
    y = out["x_norm_patchtokens"].float()  # [n, N, D]
    return y.transpose(1, 2).unflatten(2, (24, 24))


names = ["astronaut", "chelsea", "coffee", "camera"]
photos = torch.cat([square(n) for n in names])  # [4, 3, 192, 192]
trained = pretrained.load("dinolite_tiny")
tiny = load_config("tiny")
untrained = train.make_state(tiny, torch.device("cpu")).model.teacher
shown = {
    "trained, float32": patches_of(trained, photos),
    "trained, bfloat16": patches_of(trained, photos, BF16),
    "untrained": patches_of(untrained["backbone"], photos),
}
a, b = list(shown.values())[:2]
print(list(a.shape), "equal:", torch.equal(a, b))
print("cosine above 0.99:", bool(F.cosine_similarity(a, b).min() > 0.99))
colours = {name: viz.pca_rgb(x)[0] for name, x in shown.items()}
viz.compare_figure({"photograph": photos[0] / 255, **colours}, width=7.5)
plt.show()

# %% [markdown]
# *Figure: the astronaut in grey; then the first three principal components of the
# patch features as colours. The trained net's two maps, float32 and bfloat16, look
# alike. The untrained net's is another picture.*
#
# Not equal, and nothing that anyone would see. In our code this is one setting,
# `train.precision`; `auto` means bfloat16 on a GPU and float32 on a CPU, where
# bfloat16 may be slower.
#
# > DINOv2 keeps weights, moments and teacher in float32; between GPUs the
# > backbone's travel in half precision, which halves the traffic. (Sec. 5) DINOv3
# > trains in bfloat16, with some matrix products in 8 bits. (App. C)

# %% [markdown]
# ## What does compile change?
#
# `torch.compile` reads a block and writes one program for it: norm, scale and
# addition become one pass over memory instead of three. It changes the order of
# some additions, so results differ by rounding, and nothing else. It pays when
# the same shapes come for hours. Compiling takes longer than this lesson, so we
# do not run it. The package compiles each block, on GPUs only, and in this order:

# %%
print(inspect.getsource(parallel.parallelize))

# %% [markdown]
# ## Where does the memory go?
#
# Two things fill a GPU. The first depends on the batch:
# [activation memory](GLOSSARY.md#activation-memory), all that the forward pass
# keeps so that the backward pass can find gradients.
#
# **By hand.** An FFN of width $D = 4$ with 16 hidden numbers, for ten tokens. The
# first matrix needs its input for its gradient, 4 numbers a token; GELU needs its
# input, 16; the second matrix needs its input, 16. That is 36 numbers of 4 bytes,
# 1440 bytes for ten tokens.
#
# To count for real, PyTorch calls a hook with each tensor it keeps:


# %%
def kept_by(forward, inputs):
    """Bytes that autograd keeps, each storage once."""
    sizes = {}

    def note(x):
        storage = x.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        out = forward(inputs)
    return out, sum(sizes.values())


def of_a_sample(forward, sample):  # what one more sample costs
    x = [sample.repeat(n, 1, 1).requires_grad_() for n in (1, 2)]
    one, two = (kept_by(forward, y)[1] for y in x)
    return two - one


torch.manual_seed(0)
small = ViT(patch_size=8, embed_dim=4, depth=1, num_heads=1).blocks[0]
ten = of_a_sample(small.mlp, torch.randn(1, 10, 4))
assert ten == 1440
print("FFN, ten tokens:", ten, "bytes")

# %% [markdown]
# We ask what one *more* sample costs, so that weights do not count. Now a whole
# block of width $D$ with $h$ heads:
#
# | kept, numbers a token | |
# |---|---|
# | inputs of two norms | $2D$ (and mean, spread: 4) |
# | input of `qkv`; q, k, v; q and k turned by RoPE; output | $7D$ (and a sum per head: $h$) |
# | input of the FFN, before and after GELU | $D + 4D + 4D$ |
#
# Together $18 D + 4 + h$ numbers.

# %%
block, rope = vit.blocks[0], vit.rope_embed(H=8, W=8)
with torch.no_grad():
    T, D, h = 1 + 64, 64, 2
tokens = torch.zeros(1, T, D)
measured = of_a_sample(lambda x: block(x, rope), tokens)
assert measured == 4 * T * (18 * D + 4 + h)
print(
    f"{list(tokens.shape)}: {measured} bytes, {measured / tokens.nbytes:.1f}"
)

# %% [markdown]
# Eighteen times the tokens themselves, in every block. That is a lot to keep for
# something one could compute again.
#
# ### Recompute instead of keeping
#
# With recomputation (`train.checkpointing_full`; elsewhere "gradient
# checkpointing") a block keeps its input only. When the backward pass arrives, the
# block runs once more. **Predict:** how much smaller, and do gradients change?


# %%
def backbone(depth, recompute):
    torch.manual_seed(0)
    net = ViT(patch_size=8, embed_dim=64, depth=depth, num_heads=2)
    for block in net.blocks:
        block.recompute = recompute
    return net


def gradients(net, x):
    out, kept = kept_by(lambda x: net(x).square().mean(), x)
    out.backward()
    return [p.grad for p in net.parameters() if p.grad is not None], kept


x = (photos[:, :, ::3, ::3] / 255 - 0.5) / 0.2  # [4, 3, 64, 64]
depths, kept = range(1, 9), {"all kept": [], "recomputed": []}
for depth in depths:
    found = [gradients(backbone(depth, r), x) for r in (False, True)]
    kept["all kept"].append(found[0][1] / MIB)
    kept["recomputed"].append(found[1][1] / MIB)
    pairs = zip(found[0][0], found[1][0], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
print("gradients equal to the last bit, at each depth")
last = {name: sizes[-1] for name, sizes in kept.items()}
print("8 blocks, MiB:", {name: round(x, 2) for name, x in last.items()})
bars = {f"{name}, MiB": torch.tensor(x) for name, x in kept.items()}
figure = viz.bars_figure(bars, xlabel="blocks")
for ax in figure.axes:
    ax.set_xticks(range(8), depths)
plt.show()

# %% [markdown]
# *Figure: bytes kept by nets of 1 to 8 blocks, on one scale. With all kept, the
# bars climb steeply; recomputed, they hardly rise.*
#
# The same operations on the same numbers: the same bits. The price is a second
# forward pass, on paper a third more work. While a block is recomputed its inside
# is there, once, not once per block.

# %% [markdown]
# ## How much memory does the model itself need?
#
# The second part does not depend on the batch. For each trained weight: the
# weight, its gradient and two numbers of AdamW, 4 bytes each; and the teacher's
# copy. $16 + 4 = 20$ bytes. For the 7B model, by hand: 7 billion times 20 is 140
# GB, or 130 GiB ($2^{30}$ bytes), and a large GPU has 80 GB. On the meta device we
# count without having it:

# %%
big = load_config("official_vit7b_pretrain")
with torch.device("meta"):
    net = ssl_meta_arch.build_network(big)
sizes = {k: sum(p.numel() for p in m.parameters()) for k, m in net.items()}
weights = sum(sizes.values())
print({name: f"{n:,}" for name, n in sizes.items()})
for gpus in [1, 8, 32, 256]:
    print(f"{gpus:3} GPUs: {20 * weights / gpus / GIB:6.1f} GiB each")

# %% [markdown]
# The lower lines need a way to cut a model in pieces; we come to that.
# `python -m tools.plan_memory official_vit7b_pretrain --gpus 256` plans
# activations and traffic as well.

# %% [markdown]
# ## Many processes: what is an average?
#
# With $P$ GPUs run $P$ processes, copies of the same program, each with its part
# of the batch. Gradients are averaged by an
# [all-reduce](GLOSSARY.md#all-reduce): everyone gives a tensor, everyone gets the
# sum. When is that right?
#
# **By hand.** One weight $w = 1$, loss $(w x)^2$, four samples $x = 1, 2, 3, 4$.
# Gradients $2 x^2$: 2, 8, 18, 32, mean 15. Two processes with two samples: means 5
# and 25, mean 15. The same. Now one sample and three: 2 and 58/3, mean 10.67.
# Wrong.


# %%
def gradient(samples):
    w = torch.ones(1, requires_grad=True)
    (w * samples).square().mean().backward()
    return w.grad


four = torch.tensor([1.0, 2, 3, 4])
for cut in [2, 1]:
    parts = [four[:cut], four[cut:]]
    own = torch.stack([gradient(p) for p in parts])  # [P, 1], a loop
    n = torch.tensor([[len(p)] for p in parts])
    mean, weighted = own.mean(), (n * own).sum() / n.sum()
    print(f"{cut} + {4 - cut}: {mean:.2f}, weighted by samples {weighted:.2f}")
print(f"whole: {gradient(four).item():.2f}")

# %% [markdown]
# So each process gets as many pictures as the others, and a loss is a mean *over
# pictures*. Now a reason from lesson 12 comes to light: processes hide different
# numbers of patches. A plain mean over hidden patches would not add up. The iBOT
# loss is a mean over *crops*, and it does.
#
# Masks are drawn for the batch of all processes, and each takes its own. Two crops
# of 8 pictures, 36 patches each:

# %%
one, half = (
    load_config("demo", {"train.batch_size_per_gpu": n}) for n in (8, 4)
)
masks = loaders.own_masks(one, 0, (0, 1))  # step 0, process 0 of 1: [16, 36]
print("one process", list(masks.shape), masks.sum(dim=1).tolist())
for rank in range(2):
    own = loaders.own_masks(half, 0, (rank, 2))  # [8, 36]
    every_second = masks.unflatten(0, (2, 8))[:, rank::2].flatten(0, 1)
    print(f"process {rank} of 2: {own.sum(dim=1).tolist()}", end=" ")
    print(torch.equal(own, every_second))

# %% [markdown]
# Crops and colours too: everything random depends on the seed, the step and the
# picture's *place in the whole batch*, never on the number of processes.
#
# ## Where averaging breaks: Sinkhorn
#
# **By hand.** Two prototypes. Process 0 has two pictures of cats, process 1 two of
# dogs, and the teacher is right: cats 0, dogs 1. Shared out over all four,
# [Sinkhorn-Knopp](GLOSSARY.md#sinkhorn-knopp) has nothing to do: each prototype
# has two. If process 0 looks at its own two, both prototypes must get the same:
# each cat is half 0, half 1.

# %%
cat, dog = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
toy = torch.cat([cat, cat, dog, dog])  # [4, 2]
alone = torch.cat([sinkhorn(part, 0.05) for part in toy.split(2)])
assert torch.allclose(sinkhorn(toy, 0.05), toy, atol=1e-4)
assert torch.allclose(alone, torch.full((4, 2), 0.5))
print("together", sinkhorn(toy, 0.05).round(decimals=2).tolist())
print("alone   ", alone.tolist())

# %% [markdown]
# Alone, the target of every picture is "I do not know", and no message says so.
# The remedy: add up the *columns* over all processes. Each process still divides
# its own rows. In logs, so that nothing overflows.
#
# Rung 1 has a loop over processes, rung 2 all samples at once, rung 3 a function
# that is given the all-reduce (here one that knows the answer), and rung 4 is the
# package.

# %%
torch.manual_seed(1)
scores = 0.3 * torch.randn(16, 32)  # [n, K]
parts = [p / 0.05 for p in scores.split(8)]  # two processes
for _ in range(3):
    total = 0
    for p in parts:  # everyone gives its column sums ...
        total = total + p.exp().sum(dim=0)  # [K]
    parts = [p - total.log() for p in parts]  # ... and gets the total
    parts = [p - p.logsumexp(dim=1, keepdim=True) for p in parts]
looped = torch.cat(parts).exp()

log_q = scores / 0.05
for _ in range(3):
    log_q = log_q - log_q.logsumexp(dim=0)
    log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
at_once = log_q.exp()


def one_process(own, all_reduce):  # a step of process r, own [n, K]
    own = own - all_reduce(own.exp().sum(dim=0)).log()
    return own - own.logsumexp(dim=1, keepdim=True)


parts = [p / 0.05 for p in scores.split(8)]
for _ in range(3):
    total = sum(p.exp().sum(dim=0) for p in parts)
    parts = [one_process(p, lambda mine, all=total: all) for p in parts]
for p in [at_once, torch.cat(parts).exp(), sinkhorn(scores, 0.05)]:
    torch.testing.assert_close(p, looped)
print(list(looped.shape), "all equal")
print(inspect.getsource(sinkhorn_knopp.logsumexp_over_samples))

# %% [markdown]
# The package also takes out the largest score first, over all processes. Against
# the official code, cut in two halves; and each half alone:

# %%
golden = pretrained.read_state_dict("../tests/golden/dino_loss.safetensors")
logits = golden["teacher_logits"]  # [12, 96]
parts = [p / 0.07 for p in logits.split(6)]
for _ in range(3):
    total = sum(p.exp().sum(dim=0) for p in parts)
    parts = [one_process(p, lambda mine, all=total: all) for p in parts]
shared = torch.cat(parts).exp()
alone = torch.cat([sinkhorn(p, 0.07) for p in logits.split(6)])
torch.testing.assert_close(shared, golden["sinkhorn"], atol=1e-5, rtol=1e-4)
print("shared: equal. alone:", torch.allclose(alone, shared, atol=0.05))
both = {"together": shared, "each half alone": alone}
viz.targets_figure(both, vmax=shared.max().item())
plt.show()

# %% [markdown]
# *Figure: targets of 12 crops over 96 prototypes, and below the share of each
# prototype. Together, each row has a few bright spots. With each half alone there
# are more of them, and fainter: each crop is spread over more prototypes. The
# shares are nearly even in both.*
#
# [KoLeo](GLOSSARY.md#koleo) needs the others, too: a feature's nearest neighbour
# may live on another GPU. Here are the photographs' features, two and two.

# %%
with torch.no_grad():
    cls = trained((photos / 255 - 0.5) / 0.2)  # [4, 64]
koleo = koleo_loss.KoLeoLoss()
halves = sum(koleo(part) for part in cls.split(2)) / 2
print(f"KoLeo of {list(cls.shape)}: {koleo(cls):.4f}, halves {halves:.4f}")

# %% [markdown]
# Fewer to choose from, so neighbours are farther away, and the loss looks better
# than it is. The setting
# `dino.koleo_loss_distributed` gathers all features, and gradients flow back to
# where they came from.
#
# > DINOv3 looks for neighbours in groups of 16, over several GPUs if a GPU has
# > fewer. (Sec. 3.2)

# %% [markdown]
# ## DDP and FSDP2: who holds what?
#
# [DDP](GLOSSARY.md#ddp), distributed data parallel: every process holds the whole
# model, and gradients are averaged during the backward pass. Memory for the model
# is as on one GPU.
#
# [FSDP2](GLOSSARY.md#fsdp2), fully sharded data parallel: every process holds a
# *share* of each part. Right before a block computes, its weights are gathered
# from all; right after, what is not one's own is let go.

# %%
parts = ["block 0", "block 1", "block 2", "block 3", "heads"]
whole = torch.ones(2, 5, 2, dtype=torch.int64)  # [process, part, share]
rest = torch.eye(2, dtype=torch.int64)[:, None].expand(2, 5, 2).clone()
busy = rest.clone()
busy[:, 1] = busy[:, 1] + 2 * (busy[:, 1] == 0)
ways = {"DDP": whole, "FSDP2, at rest": rest, "FSDP2, in block 1": busy}
viz.who_holds_figure(ways, parts)
plt.show()

# %% [markdown]
# *Figure: three panels, each with two processes and five parts. DDP: all boxes are
# full on both. FSDP2 at rest: process 0 has the left half of every box, process 1
# the right half. In block 1: the box of block 1 is full on both, the other's
# half in another colour, gathered for now.*
#
# Weights, gradients, both moments of AdamW, the teacher: all are shares of the
# same shape. So AdamW and EMA work on shares alone, without talking. The price:
# weights travel, for each use of a block, forward and backward. This is all of it:

# %%
print(inspect.getsource(parallel.shard))

# %% [markdown]
# ## Two processes, live
#
# A process needs four facts: where to meet (address and port), how many there are,
# and which one it is. `torchrun` starts the processes and sets the facts as
# environment variables: `MASTER_ADDR`, `MASTER_PORT`, `WORLD_SIZE` and `RANK`. On one
# machine its command is short. 127.0.0.1 is this machine, whatever its name; the
# port is any free one.

# %%
print(*processes.torchrun(2, "dinolite_course.processes"))

# %% [markdown]
# Each process reads the four facts and joins the group:

# %%
print(inspect.getsource(parallel.process_group))

# %% [markdown]
# Now the real thing: the recipe `demo` on the sixteen photographs, 8 a step, its
# first four steps. Once in this process; then two processes with 4 pictures each,
# DDP and FSDP2; and once more, where each looks for KoLeo's neighbours among its
# own pictures.
#
# (An old torch cannot do FSDP2 on a CPU; then it is left out.)
#
# > **Tutor's note.** A process leaves only after a barrier, when all are done. Who
# > goes early may pull the others down at the very end.

# %%
everyone = ["train.device=cpu", "dino.koleo_loss_distributed=true"]
everyone += ["data.dataset=photos", "data.image_size=64"]
everyone += ["dino.koleo_loss_weight=1.0"]  # to see it
whole = load_config("demo", [*everyone, "train.batch_size_per_gpu=8"])
one = processes.rehearse(whole, processes.pictures(whole), steps=4)
half = [*everyone, "train.batch_size_per_gpu=4"]
variants = {"DDP": [*half, "train.parallel=ddp"]}
if parallel.can_shard_on_cpu():
    variants["FSDP2"] = [*half, "train.parallel=fsdp2"]
variants["own neighbours"] = [*half, "dino.koleo_loss_distributed=false"]
two = processes.with_processes(2, "demo", variants, steps=4)
print("steps", len(one.said), "tensors", len(one.tensors))

# %% [markdown]
# Weights of student and teacher after four steps, tensor by tensor: the largest
# relative difference to one process.


# %%
def close(name):
    losses = [
        abs(a["total_loss"] - b["total_loss"]) < 1e-5 * b["total_loss"]
        for a, b in zip(two[name].said, one.said, strict=True)
    ]
    return processes.difference(two[name], one) < 1e-5 and all(losses)


right = [name for name in two if name != "own neighbours"]
print("two processes = one process:", all(close(name) for name in right))
print("bit for bit:", processes.difference(two["DDP"], one) == 0)
print("own neighbours = one process:", close("own neighbours"))
lines = {"one process": one, **two}
lines = {k: [s["total_loss"] for s in r.said] for k, r in lines.items()}
viz.lines_figure({"total loss": lines}, xlabel="step")
plt.show()

# %% [markdown]
# *Figure: total loss over four steps. One process, DDP and FSDP2 lie on one
# another. "own neighbours" runs apart, and lower, from the first step on.*
#
# A lower loss, not a better run: near neighbours on the other side do not count.
# Equal to 1e-5, and not to the last bit: sums are added in another order, which
# moves the last digits of float32. `tests/test_parallel.py` does the same
# for four processes, and goes on from a checkpoint of two with one. And who held
# what, in bytes?

# %%
held = {"one process": one.held, **{f"two, {k}": two[k].held for k in right}}
total = sum(one.held[0].values())
weights = one.held[0]["student"] // 4
print(f"{weights:,.0f} weights, {total / weights:.0f} bytes each")
shares = [sum(p.values()) / total for p in two[right[-1]].held]
print("each of two has", [f"{s:.1f}" for s in shares], f"({right[-1]})")
viz.held_figure(held)
plt.show()

# %% [markdown]
# *Figure: bars of what each process holds: student, gradients, AdamW and teacher.
# With DDP both bars are as high as for one process, with FSDP2 half as high.*
#
# ### Four things that stay each process's own
#
# As in the official code, four things depend on a process's own batch: dropped
# samples (`drop_path_rate`), RoPE's jitter, KoLeo without the setting above, and
# a Gram loss over the whole batch. With them many processes are a run of the same
# *kind*, not the same run. [docs/scaling.md](../docs/scaling.md) has the table.

# %% [markdown]
# ## My loss differs on 8 GPUs
#
# Did the batch grow? `train.batch_size_per_gpu` counts *per process*: 8 GPUs mean
# 8 times the batch, which is another run. One thing gets better at once: the
# [entropy floor](GLOSSARY.md#entropy-floor) of lesson 11, $\ln (K / n)$ with $n$
# teacher crops of *all* processes. Measured, with 32 crops on each GPU:

# %%
torch.manual_seed(2)
gpus, K = [1, 2, 4, 8, 16, 32], 1024
crops = [32 * g for g in gpus]
scores = 0.3 * torch.randn(crops[-1], K)  # [1024, 1024]
measured = {"over all GPUs": [], "each GPU alone": []}
for n in crops:
    together = sinkhorn(scores[:n], 0.01)
    alone = torch.cat([sinkhorn(p, 0.01) for p in scores[:n].split(32)])
    for name, p in zip(measured, [together, alone], strict=True):
        measured[name].append(monitors.entropy(p).item())
for name, line in measured.items():
    print(f"{name:14}", [round(x, 4) for x in line])
print(
    "floor         ", [round(monitors.entropy_floor(K, n), 4) for n in crops]
)
viz.entropy_floor_figure(crops, {K: measured})
plt.show()

# %% [markdown]
# *Figure: target entropy over the number of crops. Shared out over all GPUs, it
# falls a little above the floor. Each GPU alone: a level line at the height of 32
# crops.*
#
# This is why column sums travel between all GPUs, three times for each loss. If they
# did not, 32 GPUs would be worth no more to the targets than one.

# %% [markdown]
# ## How does the learning rate follow the batch?
#
# By `optim.scaling_rule`. Two rules are common: as the batch (`linear_wrt_256`), or
# as its root (`sqrt_wrt_1024`, the official one for AdamW; with a factor 4).
# Factors of the recipe's rate:

# %%
rules = ["sqrt_wrt_1024", "linear_wrt_256", "off"]
batches = [64, 256, 1024, 2048, 4096]
print(f"{'batch':15}", *(f"{b:6}" for b in batches))
for rule in rules:
    row = []
    for b in batches:
        how = {"optim.scaling_rule": rule, "train.batch_size_per_gpu": b}
        c = load_config("demo", how)
        row.append(schedules.Schedules(c).lr.max() / c.optim.lr.peak)
    print(f"{rule:15}", *(f"{x:6.2f}" for x in row))

# %% [markdown]
# Both count pictures of all processes. Rules are a first guess. The teacher's
# momentum does not follow by itself (exercise 16.5), nor does K.
#
# ## What do the recipes cost?
#
# Each recipe says in its head what it needs and what was measured. And we can
# count the 20 bytes for each weight.

# %%
unknown = 0
for name in config.recipe_names():
    words = config.recipe_header(name).splitlines()
    said = dict(w.split(maxsplit=1) for w in words[1:] if " " in w)
    c = load_config(name)
    with torch.device("meta"):
        net = ssl_meta_arch.build_network(c)
    n = sum(p.numel() for p in net.parameters())
    time, _, more = said["time"].partition("; ")
    if time.startswith("not"):
        time, unknown = "not measured", unknown + 1
    print(f"{name}: {said['hardware'].split(':')[0].split(';')[0]}")
    print(f"   {n / 1e6:.1f} M weights, {20 * n / GIB:.3f} GiB")
    print(f"   {time}" + (f" ({more})" if more else ""))
print("not measured:", unknown)

# %% [markdown]
# What needs a GPU has no time: none was there. `dinolite recipes` prints the whole
# heads, results included.
#
# ### The commands
#
# One machine with eight GPUs:
#
# ```sh
# torchrun --standalone --nproc-per-node 8 -m dinolite.cli train folder \
#     --data folder:my_photos --out runs/mine
# ```
#
# Several machines, the same on each, where `--out` is a disk that all see:
#
# ```sh
# torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d \
#     --rdzv-id dinolite --rdzv-endpoint FIRST_MACHINE:29500 \
#     -m dinolite.cli train official_vitl_im1k train.parallel=fsdp2
# ```
#
# The first one was tried with two CPU processes, the second not at all.

# %% [markdown]
# ## Out of memory: which knob first?
#
# First those that leave the run as it is, up to rounding:
#
# 1. `train.precision`: is it bfloat16? Half of most activations.
# 2. `train.checkpointing_full=true`: above, 0.87 MiB instead of 11.31; more work.
# 3. More GPUs, each with a smaller `batch_size_per_gpu`, their product unchanged.
# 4. `train.parallel=fsdp2`: if model and AdamW are what fills it.
#
# Then those that make it another run: a smaller K, fewer or smaller local crops,
# a smaller batch (a higher floor!), a smaller net. Gradient accumulation is not
# on the list: Sinkhorn and KoLeo would see each part alone.

# %% [markdown]
# A planner for ViT-L with the official crops, by the sums above. In bfloat16 the
# table gives $8 D$ bytes a token for the norms (float32) and $2 \cdot 16 D$ for the
# rest. ViT-L adds $4 D$ for LayerScale and $8 D$ for dropped samples: $52 D$. And 30 %
# of the samples skip a block.


# %%
def plan(pictures, gpus, K, recompute):
    both = {f"{name}.head_n_prototypes": K for name in ("dino", "ibot")}
    c = load_config("official_vitl_im1k", both)
    with torch.device("meta"):
        net = ssl_meta_arch.build_network(c)
    n = sum(p.numel() for p in net.parameters())
    sides = c.crops.global_crops_size, c.crops.local_crops_size
    large, small = ((side // 16) ** 2 for side in sides)  # patches
    tokens = [pictures * 2 * (large + 1), pictures * 8 * (small + 1)]
    D, depth = 1024, 24
    inside = (1 - c.student.drop_path_rate) * 52 * D  # bytes of a token
    activations = depth * inside * sum(tokens)
    if recompute:  # inputs in float32, and the inside of one block
        activations = depth * 4 * D * sum(tokens) + inside * max(tokens)
    hidden = pictures * 2 * large * 0.5 * 0.3  # half of the crops, 30 %
    # teacher's targets; the student's log-probabilities and their gradient
    scores = 4 * K * (pictures * (2 + 2 * (2 + 8)) + 3 * hidden)
    model = {"student, AdamW": 16 * n, "teacher": 4 * n}
    batch = {"activations": activations, "scores": scores}
    shares = {name: size / gpus for name, size in model.items()}
    floor, ln_K = monitors.entropy_floor, monitors.entropy_floor(K, 1)
    rooms = {
        "DINO": (floor(K, 2 * pictures * gpus), ln_K),
        "iBOT": (floor(K, hidden * gpus), ln_K),
    }
    return rooms, {"DDP": model | batch, "FSDP2": shares | batch}


viz.budget_figure(*plan(64, 32, 65536, False), limit=80)
plt.show()

# %% [markdown]
# *Figure: left, the room of both losses, bars from the floor up to ln K = 11.1;
# DINO's floor is above 2, iBOT's 0. Right, GiB on one GPU for DDP and FSDP2,
# stacked from model, teacher, activations and scores, with a dashed line at 80.
# Activations are by far the longest piece.*
#
# For ViT-L the batch fills the GPU, not the model: FSDP2 saves little there. Turn
# the knobs: what does recomputation do? With K = 65536 and 64 pictures on each, from
# how many GPUs on is DINO's floor below 1?


# %%
def budget(pictures, gpus, K, recompute):
    return viz.budget_figure(*plan(pictures, gpus, K, recompute), limit=80)


viz.explore(
    budget,
    pictures=(8, 128, 8, 64),
    gpus=[1, 2, 4, 8, 16, 32, 64, 128, 256],
    K=[1024, 8192, 65536, 262144],
    recompute=False,
)

# %% [markdown]
# *Figure: the same two panels, at first for one GPU and K = 1024. Controls:
# pictures on each GPU, GPUs, K, recomputation.*
#
# All of it is on paper; nothing was measured on a GPU.
#
# ## Common mistakes
#
# **Everything in bfloat16.** `net.bfloat16()` changes the stored weights, and
# float32 pictures no longer fit:

# %% tags=["raises-exception"]
torch.manual_seed(0)
rounded = torch.nn.Linear(4, 4, dtype=BF16)
rounded(torch.ones(2, 4))

# %% [markdown]
# Whoever then rounds the pictures, too, gets rid of the message and into the
# failure at the top: steps too small to be seen. Use autocast.
#
# **KoLeo groups that do not fit the batch:**

# %% tags=["raises-exception"]
koleo_loss.KoLeoLoss(distributed=True, loss_group_size=3)(cls)

# %% [markdown]
# **A sum instead of a mean.** Gradients summed over 8 processes are 8 times too
# long. AdamW does not notice (lesson 16), but clipping does: it cuts nearly
# always. The official code once had this.

# %%
mean_gradient = torch.tensor([3.0, 4.0]) / 2  # length 2.5, limit 3
for name, g in {"mean": mean_gradient, "sum": 8 * mean_gradient}.items():
    length = g.norm()
    print(f"{name:4} length {length:.1f}, clipped: {bool(length > 3)}")

# %% [markdown]
# ## Exercises
#
# Solve them in any order. Solutions are in `lessons/solutions/23.py`.
#
# **23.1** (difficulty 1, 3 minutes) How many bytes does each GPU hold with FSDP2?
# `trained` weights learn with AdamW, `frozen` ones (a teacher) do not; all are
# float32, shared out evenly over `gpus`.
#
# <details><summary>Hint 1</summary>A trained weight has company.</details>
# <details><summary>Hint 2</summary>Weight, gradient, two moments.</details>
# <details><summary>Hint 3</summary>16 bytes and 4 bytes.</details>


# %%
def held_bytes(trained, frozen, gpus):
    raise NotImplementedError("exercise 23.1")


check("23.1", held_bytes)

# %% [markdown]
# **23.2** (difficulty 2, 4 minutes) One line: the gap from `x` (a tensor without
# zeros) to the next larger bfloat16, in absolute value.
#
# <details><summary>Hint 1</summary>At 1 it is 1/128, at 1.99, too.</details>
# <details><summary>Hint 2</summary>You need the power of two below x.</details>
# <details><summary>Hint 3</summary>`log2`, `floor`, and seven bits.</details>


# %%
def gap_of(x):
    raise NotImplementedError("exercise 23.2")


check("23.2", gap_of)

# %% [markdown]
# **23.3** (difficulty 2, 5 minutes) Each process has the gradient of the mean loss
# of its own samples. Make the gradient of the mean over all samples from the list
# `gradients` and the list `counts`.
#
# <details><summary>Hint 1</summary>By hand it was one sample and three.</details>
# <details><summary>Hint 2</summary>A mean times its count is a sum.</details>
# <details><summary>Hint 3</summary>Add the sums, divide once.</details>


# %%
def whole_gradient(gradients, counts):
    raise NotImplementedError("exercise 23.3")


check("23.3", whole_gradient)

# %% [markdown]
# **23.4** (difficulty 3, 8 minutes) `parts` has the log scores `[n, K]` of each
# process. Return `[K]`, the log of the column sums over the samples of *all*
# processes. Each process may send only `[K]` numbers at a time. Scores may be large.
#
# <details><summary>Hint 1</summary>What would a process send?</details>
# <details><summary>Hint 2</summary>Logs of sums cannot be added.</details>
# <details><summary>Hint 3</summary>`logsumexp`, twice.</details>


# %%
def columns(parts):
    raise NotImplementedError("exercise 23.4")


check("23.4", columns)

# %% [markdown]
# **23.5** (difficulty 4, 8 minutes) Change the design: you want a DINO floor of at
# most `floor` with `K` prototypes and `pictures` on each GPU. How many GPUs, at
# least? What else could you change, and what would it cost?
#
# <details><summary>Hint 1</summary>How many crops make that floor?</details>
# <details><summary>Hint 2</summary>Two crops of each picture count.</details>
# <details><summary>Hint 3</summary>`math.exp`, and round up.</details>


# %%
def gpus_for(floor, K, pictures):
    raise NotImplementedError("exercise 23.5")


check("23.5", gpus_for)

# %%
print(progress("23"))

# %% [markdown]
# ## Recap
#
# - You rounded 1.01 by hand, and know why sums, weights and EMA stay float32.
# - You counted 18 times the tokens in every block, and got the same bits without
#   keeping them.
# - You saw that Sinkhorn and KoLeo need the other processes, and a mean does not.
# - You ran two processes and proved them equal to one, with DDP and FSDP2.
# - You planned batch, GPUs and K, and know which knob comes first.
#
# This was the last lesson. The first, [the map](00_the_map.ipynb), has no closed
# box any more.

# %% [markdown]
# ## Sources
#
# - DINOv2, [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 5: read
#   this for what was done to train large nets, in one page.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2,
#   "Optimization", and App. C: batch, GPUs, precision.
# - ZeRO, [arXiv 1910.02054](https://arxiv.org/abs/1910.02054): its Fig. 1 is our
#   picture of who holds what.
# - Official code: `distributed/torch_wrapper.py`,
#   `fsdp/ac_compile_parallelize.py`; here `dinolite/parallel.py`.
# - [docs/scaling.md](../docs/scaling.md) and [docs/speed.md](../docs/speed.md):
#   what was measured, what was not, and the commands.
