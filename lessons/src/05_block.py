# %% [markdown]
# # 05 The block
#
# **What else is in a block, and why does it train?** You stack attention and
# a small network 24 times, watch a photograph disappear, and then add the
# parts that keep it alive.

# %% [markdown]
# Attention lets tokens talk. A deep stack of it cannot learn on its own. The
# other parts of a block are there so that it can.
#
# After this lesson you can
#
# - say what residuals, norm and LayerScale each repair, with a measurement,
# - work out LayerNorm, RMSNorm, GELU and SwiGLU on paper,
# - write the block and show it equal to the package's,
# - compute the width of a SwiGLU network,
# - predict which part of a batch stochastic depth keeps.
#
# | | |
# |---|---|
# | you need | 04 |
# | time | 65 minutes |
# | module | `dinolite/layers/block.py` |
# | official | `layers/block.py`: `SelfAttentionBlock` |
# | paper | DINOv3 Table 2; DINOv2 Sec. 5, "Efficient stochastic depth" |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers import block, ffn_layers, norm_layers, patch_embed
from dinolite_course import check, figures as viz, progress
from torch import nn

# %% [markdown]
# ## The map
#
# Today's box stands in the lower row: "block x L". Attention, lesson 04, is
# one half of it. A ViT is this block, repeated: 12 times in ViT-S, 40 times
# in the 7B model.

# %%
viz.pipeline_map("05")
plt.show()

# %% [markdown]
# *Figure: the pipeline of lesson 00. The box "block x L" is lit, at the end
# of the row inside the ViT, where the arrows from RoPE and attention meet.*
#
# First some [tokens](GLOSSARY.md#token): four photographs, 96 x 96 pixels,
# in patches of 8, each patch a vector of width `D = 64`.

# %%
F = nn.functional
D = 64


def square(photo, size=96):
    h, w = photo.shape[1:]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    photo = photo[:, top : top + side, left : left + side].float() / 255
    return F.adaptive_avg_pool2d(photo, size)


names = ["astronaut", "chelsea", "coffee", "motorcycle_left", "coins"]
names += ["text", "china", "camera", "flower", "retina"]
files = photographs()
photos = torch.stack([square(files[name]) for name in names])
torch.manual_seed(0)
embed = patch_embed.PatchEmbed(8, 3, D)
tokens = embed((photos[:4] - 0.45) / 0.225).flatten(1, 2).detach()
print("photos", list(photos.shape), "tokens", list(tokens.shape))

# %% [markdown]
# ## The failure first
#
# Attention mixes tokens. A small network, the [FFN](GLOSSARY.md#ffn)
# (feed-forward network: two matrices, an activation between them), then works
# on each token. These two are the *branches* of a block. Why not stack them
# 24 times and be done? We draw weights with standard deviation
# `gain / sqrt(inputs)`. At gain 1 a linear layer keeps the size of what comes
# in, on average.


# %%
def make_blocks(depth=24, gamma=None, gain=1.0):
    torch.manual_seed(0)
    no_bias = {"qkv_bias": False, "proj_bias": False, "ffn_bias": False}
    blocks = nn.ModuleList(
        block.SelfAttentionBlock(D, 2, init_values=gamma, **no_bias)
        for _ in range(depth)
    )
    for weight in blocks.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=gain / weight.shape[1] ** 0.5)
    return blocks


def branches_only(one, x):
    return one.mlp(one.attn(x))


# %% [markdown]
# `walk` sends the tokens through a stack and keeps what stands after every
# block; block 0 is the input. Then it sends a random gradient back. `curves`
# measures three things: how long a token is, how alike the tokens of a photo
# are (mean cosine, 1 = all the same direction), and how much gradient arrives.


# %%
def walk(step, blocks):
    torch.manual_seed(1)
    states = [tokens.clone().requires_grad_()]
    for one in blocks:
        states.append(step(one, states[-1]))
        states[-1].retain_grad()
    (states[-1] * torch.randn_like(tokens)).sum().backward()
    return states  # depth + 1 tensors [B, N, D]


def alike(x):
    unit = F.normalize(x.detach(), dim=-1)
    return (unit @ unit.mT).mean().item()


def length(x):
    return x.detach().norm(dim=-1).mean().item()


def curves(states):
    return {
        "token norm": [length(s) for s in states],
        "alike": [alike(s) for s in states],
        "gradient": [length(s.grad) for s in states],
    }


# %%
dead = walk(branches_only, make_blocks())
dies = curves(dead)
explodes = curves(walk(branches_only, make_blocks(12, gain=2.0)))
print(f"gain 1: alike {dies['alike'][0]:.2f} -> {dies['alike'][-1]:.2f}")
print("gain 1: tokens shrink a million times:", end=" ")
print(dies["token norm"][-1] < 1e-6 * dies["token norm"][0])
print("gain 2: tokens grow a million times by block 8:", end=" ")
print(explodes["token norm"][8] > 1e6 * explodes["token norm"][0])
del explodes["gradient"]  # it overflows

# %%
runs = {"gain 1": dies, "gain 2": explodes}
panels = viz.panels_of(runs)
viz.lines_figure(panels, xlabel="block", log=["token norm", "gradient"])
plt.show()

# %% [markdown]
# *Figure: three panels over the blocks. Left, on a log scale: at gain 1 the
# token norm falls by seven powers of ten in 24 blocks, at gain 2 it has risen
# by more than twelve at block 12. Middle: in both, the likeness of tokens
# climbs to 1 within a few blocks. Right, gain 1 alone: the gradient shrinks by
# eight powers of ten on its way back from block 24 to block 0.*

# %% [markdown]
# > **Tutor's note.** The official code draws every weight with deviation 0.02,
# > whatever the width. At width 2500 that is our gain 1; the 7B is wider,
# > most models are narrower.
#
# And the photograph? Choose a patch on the cat and colour every patch by its
# likeness to it.


# %%
def maps(states, depths, photo=1, row=4, column=4):
    grids = torch.stack([states[d][photo].detach().mT for d in depths])
    grids = grids.unflatten(-1, (12, 12))  # [n, D, 12, 12]
    each = [
        viz.similarity_map(g[None], row, column, center=False) for g in grids
    ]
    return torch.cat(each)  # [n, 12, 12]


depths = [0, 1, 2, 4, 12]
titles = ["", *(f"block {d}" for d in depths)]
small_cat = F.avg_pool2d(photos[1], 3)
rows = {"branches only": [small_cat, *maps(dead, depths)]}
eye = (4.5 / 12, 4.5 / 12)  # the middle of patch (4, 4)
viz.rows_figure(rows, titles, place=eye)
plt.show()

# %% [markdown]
# *Figure: the cat, a patch at its eye framed, then five maps; dark violet is
# the same direction, white a right angle, orange the opposite direction. At
# block 0 eyes, nose and stripes stand out. From block 1 on the map is one dark
# colour: every patch points the same way.*
#
# Three failures: the size dies or explodes, the gradient does not arrive,
# and the picture is gone. Averaging is what attention does; average 24 times
# and nothing is left to compare.

# %% [markdown]
# ## By hand
#
# Small operations repair this. Do them on paper first, for one token
# $x = (5, -1, -1)$.
#
# **[LayerNorm](GLOSSARY.md#layernorm).** Mean 1, differences $(4, -2, -2)$,
# variance $(16 + 4 + 4)/3 = 8$. Divide by $\sqrt 8$:
# $(1.4142, -0.7071, -0.7071)$.
#
# **[RMSNorm](GLOSSARY.md#rmsnorm)** leaves the mean where it is. The mean
# square is $(25 + 1 + 1)/3 = 9$. Divide by 3: $(1.6667, -0.3333, -0.3333)$.
#
# **Residual with [LayerScale](GLOSSARY.md#layerscale).** A branch answers
# $f = (3, 0, -3)$. The answer is multiplied by a factor $\gamma$ and added to
# the token. With $\gamma = 0.1$ it becomes $x + 0.1 f = (5.3, -1, -1.3)$.

# %%
x = torch.tensor([5.0, -1.0, -1.0])
f = torch.tensor([3.0, 0.0, -3.0])
layer_normed = (x - 1) / 8**0.5
rms_normed = x / 3
print([f"{v:.4f}" for v in layer_normed.tolist()])
assert torch.allclose(F.layer_norm(x, (3,)), layer_normed, atol=1e-5)
assert torch.allclose(F.rms_norm(x, (3,)), rms_normed, atol=1e-5)
assert torch.allclose(x + 0.1 * f, torch.tensor([5.3, -1.0, -1.3]))

# %% [markdown]
# Two more, from inside the FFN.
#
# **[GELU](GLOSSARY.md#gelu)** multiplies $x$ by $\Phi(x)$, the share of a bell
# curve below $x$. From a table, $\Phi(1) = 0.8413$. So GELU(1) = 0.8413 and
# GELU(-1) = $-1 \cdot 0.1587$.
#
# **[SwiGLU](GLOSSARY.md#swiglu)** has a gate and a value, two linear maps of
# the same token; the result is SiLU(gate) times value. SiLU is
# $x\,\sigma(x)$ with the sigmoid $\sigma(x) = 1/(1 + e^{-x})$, so
# $\sigma(\ln 3) = 3/4$. With gate $\ln 3$ and value 2 the result is
# $\frac34 \ln 3 \cdot 2 = 1.6479$. With gate 0 nothing passes, whatever the
# value.

# %%
ln3 = torch.tensor(3.0).log()
print(f"{F.gelu(torch.tensor(1.0)):.4f} {F.silu(ln3) * 2:.4f}")
assert torch.isclose(F.silu(ln3) * 2, 0.75 * ln3 * 2)
assert F.silu(torch.tensor(0.0)) * 1000 == 0

# %%
at = torch.linspace(-4, 4, 81)
shapes = {
    "ReLU": {"activation": F.relu(at), "its slope": (at > 0).float()},
    "GELU": {"activation": F.gelu(at)},
    "SiLU": {"activation": F.silu(at)},
}
for name, act in {"GELU": F.gelu, "SiLU": F.silu}.items():
    u = at.clone().requires_grad_()
    act(u).sum().backward()
    shapes[name]["its slope"] = u.grad
viz.lines_figure(viz.panels_of(shapes), at, "input")
plt.show()

# %% [markdown]
# *Figure: left, ReLU, GELU and SiLU between -4 and 4. The last two dip a
# little below zero and have no corner. Right, their slopes: ReLU jumps from 0
# to 1, the others pass smoothly and rise a little above 1.*
#
# ## Rung 1: add, do not replace
#
# A [residual connection](GLOSSARY.md#residual-connection) adds what a branch
# says to what was there: $x + f(x)$. If a branch says nothing, the token stays.
# And its derivative is $1 + f'$: along the 1, the gradient reaches block 0
# whatever the branches do. One photo at a time in a loop, then the batch:


# %%
def residual_only(one, x):
    for branch in [one.attn, one.mlp]:
        x = x + branch(x)
    return x  # [B, N, D]


one = make_blocks(1)[0]
loop = torch.stack([residual_only(one, x[None])[0] for x in tokens])
print(list(loop.shape))
assert torch.allclose(loop, residual_only(one, tokens), atol=1e-4)

# %% [markdown]
# Which tokens does a branch touch? Change one token and count the tokens of
# that photo whose answer changes.

# %%
poked = tokens[:1].clone()
poked[0, 50] += 1
for name, branch in {"attention": one.attn, "FFN": one.mlp}.items():
    moved = (branch(poked) - branch(tokens[:1])).abs().amax(-1) > 1e-6
    print(f"{name}: {int(moved.sum())} of {moved.numel()} tokens change")

# %% [markdown]
# That is the division of work: attention moves information between tokens,
# the FFN digests it, each token alone.
#
# ## Rung 2: norm before each branch
#
# A residual stack tends to grow, and a larger input makes a branch answer
# louder. [Pre-norm](GLOSSARY.md#pre-norm) breaks the circle: the branch reads
# a normed copy; the sum itself is never normed. A loop over tokens, then all
# at once (the small `eps` keeps us from dividing by zero):


# %%
def norm_loop(x, eps=1e-5):
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            t = x[b, n]  # [D]
            spread = ((t - t.mean()) ** 2).mean()
            out[b, n] = (t - t.mean()) / (spread + eps) ** 0.5
    return out


def layer_norm(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True)
    return centred / (spread + eps).sqrt() * weight + bias


plain = torch.ones(D), torch.zeros(D)
assert torch.allclose(norm_loop(tokens), layer_norm(tokens, *plain), atol=1e-5)
print("loop equals vectorised:", list(tokens.shape))


# %%
def pre_norm(one, x):
    x = x + one.attn(layer_norm(x, *plain))
    return x + one.mlp(layer_norm(x, *plain))


# %% [markdown]
# ## Rung 3: LayerScale
#
# Each channel of a branch gets a learnt volume knob,
# [LayerScale](GLOSSARY.md#layerscale): $x + \gamma \odot f(x)$, where $\odot$
# multiplies number by number. DINOv3 starts it at $10^{-5}$, almost off. Here
# are all rungs side by side. `full` calls the package's block: pre-norm, and
# LayerScale that starts at `gamma`.


# %%
def full(one, x):
    return one(x)


walks = {
    "residual only": walk(residual_only, make_blocks()),
    "pre-norm": walk(pre_norm, make_blocks()),
    "gamma 0.1": walk(full, make_blocks(gamma=0.1)),
    "gamma 1e-5": walk(full, make_blocks(gamma=1e-5)),
}
runs = {name: curves(states) for name, states in walks.items()}
del runs["residual only"]["gradient"]  # nan: its scores are too large
panels = viz.panels_of(runs)
viz.lines_figure(panels, xlabel="block", log=["token norm"])
plt.show()

# %% [markdown]
# *Figure: the same three measurements. Residual only: the norm grows by five
# powers of ten and tokens end up alike; it has no curve on the right. Pre-norm:
# the norm grows about nine times, and the gradient more than three times
# towards block 0. With gamma 0.1 the curves change a little; with gamma 1e-5
# they are flat lines.*
#
# Why no gradient for residual only? Its tokens get so long that the attention
# scores are in the billions, and torch's fast attention returns nan for their
# gradient.

# %%
for name, run in runs.items():
    times = run["token norm"][-1] / run["token norm"][0]
    norm = "more than 100,000" if times > 1e5 else f"{times:.2f}"
    print(f"{name}: norm x {norm}, alike {run['alike'][-1]:.2f}")

# %% [markdown]
# Pre-norm tokens grow slowly. Why? Every branch reads normed tokens, so it
# adds a vector of about the same length $b$, in a new direction. At right
# angles, squares add: after $L$ blocks, two branches each,
#
# $$\lVert x_L \rVert \approx \sqrt{\lVert x_0 \rVert^2 + 2 L\, b^2}.$$
#
# LayerScale turns $b$ into $\gamma b$. We measure $b$ in the first half and
# predict the end.

# %%
norms = runs["pre-norm"]["token norm"]
b2 = (norms[12] ** 2 - norms[0] ** 2) / 24
predicted = (norms[0] ** 2 + 48 * b2) ** 0.5
print(f"predicted {predicted:.1f}, measured {norms[-1]:.1f}")
assert abs(predicted / norms[-1] - 1) < 0.2

# %% [markdown]
# A root grows slowly: good. (The truth is a little higher, since attention
# averages: the more alike the tokens, the less cancels.) But pre-norm tokens
# still become alike at this start. LayerScale prevents it. See the cat:

# %%
rows = {
    name: [small_cat, *maps(walks[name], depths)]
    for name in ["pre-norm", "gamma 1e-5"]
}
viz.rows_figure(rows, titles, place=eye)
plt.show()

# %% [markdown]
# *Figure: two rows of maps for the framed patch. With pre-norm the maps
# darken from block to block; at block 12 a faint trace of the face is left.
# With gamma 1e-5 all five maps look the same, as clear as at block 0.*
#
# These nets are untrained. The lower row shows no knowledge, only a picture
# that arrives unharmed. A faint trace, as in the upper row, can still be
# learned from; one flat colour cannot.

# %% [markdown]
# ## Predict, then run
#
# Twenty-four blocks, $\gamma = 10^{-5}$. **By how many percent does the
# output differ from the input?** And if the whole net hardly does anything,
# can it still learn? Write down a guess for both.

# %%
blocks = make_blocks(gamma=1e-5)
states = walk(full, blocks)
change = (states[-1] - states[0]).norm() / states[0].norm()
print(f"the output differs by {100 * change:.4f} percent")
ls2 = blocks[12].ls2
print("gradient of gamma above 1:", (ls2.gamma.grad.norm() > 1).item())

# %% [markdown]
# Less than a hundredth of a percent: at the start a block is nearly the
# identity. And yet the knobs $\gamma$ receive a healthy gradient: it is the
# branch's full answer, times what comes back. The knobs open first. And the
# weights behind them? Compare `fc2`, the second matrix of the FFN, in all 24
# blocks.


# %%
def weight_gradients(gamma):
    blocks = make_blocks(gamma=gamma)
    walk(full, blocks)
    found = [one.mlp.fc2.weight.grad.norm().item() for one in blocks]
    relative = [v / found[0] for v in found]
    return {"weight gradient": found, "relative to block 1": relative}


found = {
    "gamma none": weight_gradients(None),
    "gamma 0.1": weight_gradients(0.1),
    "gamma 1e-5": weight_gradients(1e-5),
}
panels = viz.panels_of(found)
viz.lines_figure(panels, range(1, 25), "block", log=["weight gradient"])
plt.show()

# %% [markdown]
# *Figure: gradient norm of fc2 in each of 24 blocks. Left, log scale: with
# gamma 1e-5 it is about five powers of ten smaller than without LayerScale
# ("gamma none"). Right, relative to block 1: without LayerScale the curve
# falls to about a fifth, with gamma 0.1 to about 0.7, with 1e-5 it stays near
# 1.*

# %%
for name in found:
    last = found[name]["relative to block 1"][-1]
    print(f"{name}: block 24 gets {last:.2f} of block 1")

# %% [markdown]
# > **Tutor's note.** A small gradient is no harm here. AdamW (lesson 16)
# > divides each gradient by its usual size. What counts is that all blocks
# > are treated alike.
#
# ## Rung 4: the package's block
#
# Now the function, written out from a block's weights. Only attention is
# taken as it is, from lesson 04.


# %%
def our_block(x, w, attn):
    y = layer_norm(x, w["norm1.weight"], w["norm1.bias"])
    x = x + w["ls1.gamma"] * attn(y)
    y = layer_norm(x, w["norm2.weight"], w["norm2.bias"])
    y = F.linear(y, w["mlp.fc1.weight"], w["mlp.fc1.bias"])
    y = F.linear(F.gelu(y), w["mlp.fc2.weight"], w["mlp.fc2.bias"])
    return x + w["ls2.gamma"] * y  # [B, N, D]


torch.manual_seed(0)
theirs = block.SelfAttentionBlock(D, 2, init_values=0.1)
for weight in theirs.parameters():
    nn.init.normal_(weight, std=0.2)  # no weight left at its start value
ours = our_block(tokens, dict(theirs.named_parameters()), theirs.attn)
print("equal:", torch.allclose(ours, theirs(tokens), atol=1e-4))
print(inspect.getsource(block.SelfAttentionBlock.forward))

# %% [markdown]
# Two lines do the work. The rest is for stochastic depth, below. `rope` is
# the table of lesson 03; we leave it out today.
#
# ## Does it train?
#
# An easy task: after 8 blocks, say the mean colour of your own patch. With no
# blocks at all, one matrix would nearly do. So whoever fails has lost the
# picture on the way.


# %%
def train(step, gamma=None, steps=30):
    blocks = make_blocks(8, gamma)
    torch.manual_seed(0)
    read = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 3))
    weights = [*blocks.parameters(), *read.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3)
    losses = []
    for _ in range(steps):
        x = tokens[:1]
        for one in blocks:
            x = step(one, x)
        colors = read(x)  # [1, N, 3]
        losses.append(F.mse_loss(colors, wanted))
        optimizer.zero_grad()
        losses[-1].backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return [v.item() for v in losses], colors.detach()[0].mT


wanted = F.avg_pool2d(photos[:1], 8).flatten(2).mT  # [1, N, 3]
one_grey = (wanted - wanted.mean(1)).square().mean().item()

# %% [markdown]
# `one_grey` is the error of the laziest answer: the same mean colour for
# every patch. We train three stacks for thirty steps: branches only, pre-norm,
# and gamma 1e-5. **Predict:** which get below half of it?

# %%
results = {
    "branches only": train(branches_only),
    "pre-norm": train(pre_norm),
    "gamma 1e-5": train(full, 1e-5),
}
pictures = {"wanted": wanted[0].mT.unflatten(-1, (12, 12))}
for name, (losses, colors) in results.items():
    print(f"{name}: below half of one grey:", losses[-1] < one_grey / 2)
    pictures[name] = colors.unflatten(-1, (12, 12))
ends = {name: losses[-1] for name, (losses, _) in results.items()}
print("pre-norm is ahead:", ends["pre-norm"] < ends["gamma 1e-5"])
viz.compare_figure(pictures)
plt.show()

# %% [markdown]
# *Figure: four mosaics of 12 x 12 patches. Wanted: the astronaut in coarse
# colours. Branches only: one brownish grey everywhere. Pre-norm: the
# astronaut, paler and bluer. Gamma 1e-5: the astronaut with noisy colours.*
#
# Thirty steps without residuals found the laziest answer and nothing more.
#
# To be honest: at 8 blocks pre-norm alone trains well and is even ahead, since
# gamma has to open first. LayerScale was made for deep stacks; DINOv3's
# largest has 40 blocks, 80 branches. Our small recipe `demo` leaves it out.
#
# > **Watch out.** `init_values=0` does not mean "start at zero". As in the
# > official code, 0 and `None` both leave LayerScale out.

# %% [markdown]
# ## Two kinds of FFN
#
# `Mlp` widens to `ratio * D`, applies GELU and narrows again. `SwiGLUFFN`
# computes `w3(silu(w1 x) * w2 x)`: three matrices instead of two. To cost the
# same it gets two thirds of the width. This number is cut to an integer and
# then rounded *up* to a multiple of `align`, which fast matrix units like.

# %%
print(inspect.getsource(ffn_layers.SwiGLUFFN.forward))
torch.manual_seed(0)
swiglu = ffn_layers.SwiGLUFFN(D, 4 * D)
y = tokens[0]  # [N, D]
gate, value = swiglu.w1(y), swiglu.w2(y)  # [N, 176] each
by_steps = swiglu.w3(gate * gate.sigmoid() * value)
print(list(gate.shape), torch.allclose(by_steps, swiglu(y), atol=1e-5))

# %%
for name, width, ratio, align in [
    ("here", 64, 4, 8),
    ("ViT-S+", 384, 6, 8),
    ("ViT-L+", 1024, 6, 8),
    ("ViT-7B", 4096, 3, 64),
]:
    inner = ffn_layers.swiglu_width(width * ratio, align)
    swi, mlp = 3 * width * inner, 2 * width * width * ratio
    print(f"{name}: {inner} wide, {swi / mlp:.4f} of the Mlp's weights")

# %% [markdown]
# For `D = 64`, ratio 4: 256 x 2/3 = 170.7, cut to 170, and up to 176. The
# others divide evenly. They are sizes of the official code that use SwiGLU.
#
# > The 7B model has 40 blocks of width 4096 with 32 heads, and a SwiGLU whose
# > hidden width is 8192. (DINOv3 Table 2)
#
# ## Which norm, which eps?
#
# Three names can be chosen. The released models use `layernormbf16`: the same
# LayerNorm with a larger `eps`, the small number under the root. It matters
# where a token is tiny. A hidden patch starts as zeros plus almost nothing.

# %%
tiny = torch.tensor([[1e-3, -1e-3] * 32])  # [1, 64], variance 1e-6
for name in norm_layers.NORM_LAYERS:
    norm = norm_layers.norm_named(name)(64)
    print(f"{name}: eps {norm.eps:.0e}, size {norm(tiny).abs().mean():.4f}")

# %% [markdown]
# Not 1, as a norm promises: $\sqrt{10^{-6} / (10^{-6} + \text{eps})}$.
#
# ## Stochastic depth
#
# In training, [stochastic depth](GLOSSARY.md#stochastic-depth) lets some
# samples (photos of the batch) skip a branch. Each of them passes through a
# shallower net with the same weights, so no block can rely on one other.
# Usual code computes a branch and multiplies by 0. The official code does not
# compute it at all.
#
# > Skipping whole samples saves the share of memory and time that is dropped;
# > DINOv2 drops 40 % (Sec. 5, "Efficient stochastic depth"), and so does
# > DINOv3 (App. C), at the same rate in every block.

# %%
print(inspect.getsource(block.drop_samples))

# %% [markdown]
# The kept samples carry the others: their answer is multiplied by
# $B / n_\text{kept}$. **Predict:** `drop_path = 0.3`. How many of 10 photos
# pass through a branch? How many of 2?


# %%
def passing(B, p):
    seen = []

    def branch(kept):
        seen.append(len(kept))
        return kept

    block.drop_samples(torch.zeros(B, 1, 1), branch, p)
    return seen[0]


torch.manual_seed(0)
for B in [10, 5, 2, 1]:
    print(f"B = {B}: {passing(B, 0.3)} kept, {B - passing(B, 0.3)} dropped")

# %% [markdown]
# The count is cut, not rounded, and at least 1. With two photos, 0.3 means
# *half*: worth knowing for small batches. Which photos skip is drawn anew for
# every branch.

# %%
x10 = embed((photos - 0.45) / 0.225).flatten(1, 2).detach()  # [10, N, D]
torch.manual_seed(3)
kept = {}
for name, branch in {"attention": one.attn, "FFN": one.mlp}.items():
    after = block.drop_samples(x10, branch, 0.3)
    kept[name] = (after != x10).flatten(1).any(1)  # [10]
    print(name, "kept", int(kept[name].sum()))
small = F.avg_pool2d(photos, 3)  # faded where the branch is skipped
shown = {
    name: torch.where(on[:, None, None, None], small, 0.85 + 0.15 * small)
    for name, on in kept.items()
}
viz.rows_figure(shown)
plt.show()

# %% [markdown]
# *Figure: ten photographs in two rows, attention above, FFN below. In each
# row three are faded: they skip that branch. They are not the same three in
# both rows.*
#
# Does the expectation stay? Let every branch answer 1, and average 2000
# draws. Each sample should receive 1.

# %%
torch.manual_seed(0)
zeros = torch.zeros(10, 1, 1)
draws = [block.drop_samples(zeros, torch.ones_like, 0.3) for _ in range(2000)]
mean = torch.stack(draws).mean(0).flatten()  # [10]
print("every sample within 0.05 of 1:", bool(((mean - 1).abs() < 0.05).all()))

# %% [markdown]
# ## Explore
#
# Turn the knobs: number of blocks, the power of ten of gamma, residual on or
# off. Without the residual, does the norm alone save the picture? And find the
# largest gamma at which 32 blocks keep the likeness below 0.8.

# %%
stack = make_blocks(32, gamma=1.0)
cat = tokens[1:2]


@torch.no_grad()
def draw(depth, log10_gamma, residual):
    x, norms, likeness = cat, [length(cat)], [alike(cat)]
    for one in stack[:depth]:
        for norm, branch in [(one.norm1, one.attn), (one.norm2, one.mlp)]:
            x = residual * x + 10**log10_gamma * branch(norm(x))
        norms.append(length(x))
        likeness.append(alike(x))
    powers = torch.tensor(norms).log10().tolist()
    run = {"token norm, power of ten": powers, "alike": likeness}
    figure = viz.lines_figure(viz.panels_of({"cat": run}), xlabel="block")
    figure.axes[0].set(xlim=(0, 32), ylim=(-4, 3))
    figure.axes[1].set(xlim=(0, 32), ylim=(0, 1.05))
    return figure


knobs = {"depth": (1, 32, 1, 24), "log10_gamma": (-5.0, 0.5, 0.5, -1.0)}
viz.explore(draw, **knobs, residual=True)

# %% [markdown]
# *Figure: the cat's tokens over 24 blocks at gamma 0.1, with residuals. Left
# their norm, as a power of ten: it hardly rises. Right their likeness: it
# climbs from about a half to three quarters. The sliders move both curves.*
#
# ## Against someone else
#
# PyTorch has a whole block of its own, `nn.TransformerEncoderLayer`. With
# `norm_first=True` and our weights it must give our answer. It has no
# LayerScale, so we leave that out.

# %%
torch.manual_seed(0)
mine = block.SelfAttentionBlock(D, 2)
torchs = nn.TransformerEncoderLayer(
    D, 2, 4 * D, dropout=0.0, activation="gelu", batch_first=True,
    norm_first=True,
)  # fmt: skip
pairs = {
    "self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.",
    "linear1.": "mlp.fc1.", "linear2.": "mlp.fc2.",
    "norm1.": "norm1.", "norm2.": "norm2.",
}  # fmt: skip
mine_by_name = mine.state_dict()
torchs.load_state_dict({
    theirs + kind: mine_by_name[our_name + kind]
    for theirs, our_name in pairs.items()
    for kind in ["weight", "bias"]
})  # fmt: skip
print("block:", torch.allclose(torchs(tokens), mine(tokens), atol=1e-5))

# %%
w, bias = torch.linspace(0.5, 2, D), torch.linspace(-1, 1, D)
a, b = layer_norm(tokens, w, bias), F.layer_norm(tokens, (D,), w, bias)
print("LayerNorm:", torch.allclose(a, b, atol=1e-5))
phi = torch.special.ndtr(tokens)  # share of the bell curve below x
print("GELU:", torch.allclose(tokens * phi, F.gelu(tokens), atol=1e-5))

# %% [markdown]
# ## Common mistakes
#
# **Post-norm by accident**: norm the sum instead of the copy. It runs. Each
# norm shrinks everything older, so the picture and the gradient fade. Printed
# is how many times the gradient of block 24 is found at block 0.


# %%
def post_norm(one, x):
    x = layer_norm(x + one.attn(x), *plain)
    return layer_norm(x + one.mlp(x), *plain)


for name, step in {"pre": pre_norm, "post": post_norm}.items():
    run = curves(walk(step, make_blocks()))
    arrived = run["gradient"][0] / run["gradient"][-1]
    print(f"{name}: alike {run['alike'][-1]:.2f}, gradient x {arrived:.2f}")

# %% [markdown]
# **Dropping without rescaling.** In training a branch then adds 0.7 of what it
# adds in evaluation, when nobody skips.

# %%
torch.manual_seed(0)
total = torch.zeros(10)
for _ in range(100):
    total[torch.randperm(10)[:7]] += 1  # and no factor 10 / 7
print(f"a branch that says 1 adds {total.mean() / 100:.2f}")

# %% [markdown]
# **Values that cannot be.** Dropping everybody leaves nobody to carry the
# branch, and a typing error in a name is told with the names there are.

# %% tags=["raises-exception"]
block.SelfAttentionBlock(D, 2, drop_path=1.0)

# %% tags=["raises-exception"]
block.SelfAttentionBlock(D, 2, ffn_layer="swigul")

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` and run the cell. Solutions are in
# `lessons/solutions/05.py`.
#
# **05.1** (difficulty 1, 4 minutes) How many of `B` samples pass through a
# branch at `drop_path = p`?
#
# <details><summary>Hint 1</summary>Look at the four lines printed for B = 10,
# 5, 2, 1.</details>
# <details><summary>Hint 2</summary>`int` cuts; it does not round.</details>
# <details><summary>Hint 3</summary>There is always at least one.</details>


# %%
def n_kept(B, p):
    raise NotImplementedError("exercise 05.1")


check("05.1", n_kept)

# %% [markdown]
# **05.2** (difficulty 2, 6 minutes) RMSNorm of tokens `x` `[B, N, D]`, each
# token by itself, with `eps` under the root and one `weight` per channel
# `[D]`. No bias.
#
# <details><summary>Hint 1</summary>In "By hand" the mean square was 9 and the
# divisor 3.</details>
# <details><summary>Hint 2</summary>`layer_norm` of rung 2 is close; what is
# not subtracted here?</details>
# <details><summary>Hint 3</summary>`mean(-1, keepdim=True)` keeps a dimension
# to divide by.</details>


# %%
def rms_norm(x, weight, eps):
    raise NotImplementedError("exercise 05.2")


check("05.2", rms_norm)

# %% [markdown]
# **05.3** (difficulty 2, 8 minutes) One SwiGLU FFN without biases: its inner
# width from `D` and `ratio`, aligned to `align` as above (first cut to an
# integer), and its number of weights. Return both, `(width, weights)`.
#
# <details><summary>Hint 1</summary>Two thirds of `D * ratio`, cut to an
# integer, then up to the next multiple.</details>
# <details><summary>Hint 2</summary>`-(-a // b)` divides and rounds
# up.</details>
# <details><summary>Hint 3</summary>Three matrices, each `D` times
# `width`.</details>


# %%
def swiglu_size(D, ratio, align):
    raise NotImplementedError("exercise 05.3")


check("05.3", swiglu_size)

# %% [markdown]
# **05.4** (difficulty 3, 10 minutes) Change the design: a *parallel* block.
# Both branches read the same input `x`, each through its own norm and
# LayerScale, and both answers are added to it. All six arguments after `x` can
# be called. Then explain: what can the FFN no longer see, and what might be
# gained?
#
# <details><summary>Hint 1</summary>The usual block has two lines; this one has
# one.</details>
# <details><summary>Hint 2</summary>A branch is: norm, then attention or FFN,
# then LayerScale.</details>
# <details><summary>Hint 3</summary>`x` itself is added once.</details>


# %%
def parallel_block(x, norm1, attn, ls1, norm2, mlp, ls2):
    raise NotImplementedError("exercise 05.4")


check("05.4", parallel_block)

# %% [markdown]
# **05.5** (difficulty 4, 12 minutes) Choose gamma for a depth. Tokens start
# at length 1; each branch answers with a vector of length 1 at right angles to
# all before, and LayerScale multiplies it by the same gamma everywhere. There
# are two branches per block. Which gamma makes tokens
# `growth` times as long after `depth` blocks? Then explain: your net becomes
# four times as deep; what happens to gamma?
#
# <details><summary>Hint 1</summary>The formula of rung 3, with gamma in front
# of b.</details>
# <details><summary>Hint 2</summary>Set the length to `growth`, square both
# sides.</details>
# <details><summary>Hint 3</summary>Solve for gamma squared first.</details>


# %%
def gamma_for(depth, growth):
    raise NotImplementedError("exercise 05.5")


check("05.5", gamma_for)

# %%
print(progress("05"))

# %% [markdown]
# ## Recap
#
# - You measured three repairs: residuals keep the picture, pre-norm slows the
#   growth to a root, LayerScale starts every block as a near-identity.
# - You worked LayerNorm, RMSNorm, GELU and SwiGLU by hand.
# - Your block equals the package's and PyTorch's.
# - A SwiGLU has two thirds of the width, rounded up.
# - Stochastic depth keeps `max(int(B (1 - p)), 1)` samples, scaled by `B / n`.
#
# Next, everything so far in one piece: the whole backbone.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Table 2; DINOv2,
#   [arXiv 2304.07193](https://arxiv.org/abs/2304.07193), Sec. 5.
# - Official code: `dinov3/layers/block.py`, `ffn_layers.py`, `layer_scale.py`;
#   here the same names in `dinolite/layers/`.
# - CaiT, [arXiv 2103.17239](https://arxiv.org/abs/2103.17239): where LayerScale
#   comes from.
# - GLU variants, [arXiv 2002.05202](https://arxiv.org/abs/2002.05202): short, and
#   honest about not knowing why SwiGLU works.
