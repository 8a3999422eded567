# %% [markdown]
# # 06 The whole backbone
#
# **Do the parts of lessons 01 to 05, put together, give the real DINOv3?** You
# assemble them in forty lines and compare with someone else's.

# %% [markdown]
# You have five parts: patches, tokens, RoPE, attention, block. Put together
# they are the [backbone](GLOSSARY.md#backbone). Wrong assembly is silent: the
# shapes fit, the numbers do not. So this lesson ends in a proof.
#
# After this lesson you can
#
# - count the parameters of a ViT on paper,
# - write the forward pass, for pictures of any size,
# - choose among the five outputs of the official dictionary,
# - read features after any block,
# - prove that two implementations are equal, and find where they part.
#
# | | |
# |---|---|
# | you need | lessons 01 to 05 |
# | time | 45 minutes |
# | module | `dinolite/models/vision_transformer.py` |
# | official | `models/vision_transformer.py`: `DinoVisionTransformer` |
# | paper | DINOv3 Sec. 3.2, Table 2, Fig. 16a |

# %%
import inspect
import matplotlib.pyplot as plt
import timm
import torch
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.layers import block, patch_embed, rope_position_encoding
from dinolite.models import pretrained, vision_transformer
from dinolite_course import check, figures as viz, progress

# %% [markdown]
# Some short names. Nothing is trained today, so gradients are switched off.

# %%
Block, PatchEmbed = block.SelfAttentionBlock, patch_embed.PatchEmbed
Rope = rope_position_encoding.RopePositionEmbedding
_ = torch.set_grad_enabled(False)

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("06")
plt.show()

# %% [markdown]
# *Figure: the pipeline. Lit are the teacher ViT, the student ViT, and the frame
# "inside the ViT", which holds patches, tokens, RoPE, attention and block.*

# %% [markdown]
# ## The failure first
#
# A photograph first, as the models released for photographs want it: in
# [0, 1], minus the mean colour of ImageNet, over its spread (lesson 01).

# %%
photos = photographs()


def pixels(name, height=224, width=224):
    x = photos[name][None].float()
    x = torch.nn.functional.interpolate(
        x, (height, width), mode="bicubic", antialias=True
    )
    return x.clamp(0, 255) / 255


def ready(x):
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (x - mean) / std


photo = ready(pixels("astronaut"))
print("photo", list(photo.shape))

# %% [markdown]
# Next, a net with the settings of the released ViT-S, and random weights. A
# fresh net has LayerScale 0.00001 (lesson 05): its blocks do almost nothing,
# and a mistake would hide. So `shake` puts large random numbers into *every*
# parameter.


# %%
def shake(net, seed):
    generator = torch.Generator().manual_seed(seed)
    for w in net.parameters():
        scale = 0.1 if w.ndim > 1 else 0.5
        w.copy_(scale * torch.randn(w.shape, generator=generator))
    return net.eval()


small = pretrained.architecture("dinov3_vits16")
net = shake(vision_transformer.build_backbone(small), seed=0)

# %% [markdown]
# Now three mistakes of assembly: blocks in the wrong order, no RoPE, no final
# norm. Which of them raises an error?
#
# With `is_training=True` the net returns a dictionary. Two entries serve us
# here: `x_norm_patchtokens`, the patches after the final norm, and
# `x_prenorm`, all tokens before it.

# %%
right = net(photo, is_training=True)
patches = right["x_norm_patchtokens"]
wrong = {"no final norm": right["x_prenorm"][:, 5:]}  # behind CLS, registers
net.blocks = net.blocks[::-1]
wrong["blocks reversed"] = net(photo, is_training=True)["x_norm_patchtokens"]
net.blocks = net.blocks[::-1]
net.ropes = lambda grids: [None] * len(grids)
wrong["no RoPE"] = net(photo, is_training=True)["x_norm_patchtokens"]
del net.ropes
print(f"{'right':16}{list(patches.shape)}  spread {patches.std():.2f}")
for name, x in wrong.items():
    off = (x - patches).abs().max()
    print(f"{name:16}{list(x.shape)}  largest difference {off:.2f}")

# %% [markdown]
# None. All three run, all shapes fit, and all features are wrong: two by more
# than the spread of the features, one by less. That one is the worst, because
# nobody notices.
#
# > **Tutor's note.** A loss goes down with a part missing too, so training will
# > not tell you. Comparing numbers with another implementation takes seconds.

# %% [markdown]
# ## By hand: 21 million parameters
#
# ViT-S/16 has width $D = 384$, 12 blocks, patches of 16 pixels, 4
# [registers](GLOSSARY.md#register). Take a pencil. A linear layer from $a$ to
# $b$ has $ab + b$ numbers; a norm has $2D$, a LayerScale $D$. Three rows of
# the table count 12 times, the others once.
#
# | part | numbers |
# |---|---|
# | patches | $16 \cdot 16 \cdot 3 \cdot D + D$ |
# | CLS, 4 registers, mask token | $6 D$ |
# | each block, attention: q, k, v, output | $4 D^2 + 4 D$ |
# | each block, FFN: $D \to 4D \to D$ | $8 D^2 + 5 D$ |
# | each block, 2 norms, 2 LayerScales | $4 D + 2 D$ |
# | final norm | $2 D$ |
#
# **Predict first.** Everyone speaks of attention. Does it hold most of the
# parameters?

# %%
D, depth = 384, 12
attention = 4 * D * D + 4 * D
ffn = 8 * D * D + 5 * D
rest = 16 * 16 * 3 * D + D + 6 * D + depth * 6 * D + 2 * D
by_hand = depth * (attention + ffn) + rest
built = sum(w.numel() for w in net.parameters())
assert by_hand == built
print(f"one block: attention {attention:,}, FFN {ffn:,}")
print(f"all blocks: attention {depth * attention:,}, FFN {depth * ffn:,}")
print(f"by hand {by_hand:,}, built {built:,}")

# %% [markdown]
# No: the FFN has twice as many, $8 D^2$ against $4 D^2$. Together they have about
# $12 D^2$ per block. That rule gives you the size of a plain ViT within a few
# percent.
#
# How is it for other sizes? A net on the
# [meta device](GLOSSARY.md#meta-device) has shapes and no numbers, so it costs
# no memory.


# %%
def parts(net):
    count = {"FFN": 0, "attention": 0, "patches": 0, "rest": 0}
    homes = {".mlp.": "FFN", ".attn.": "attention", "patch_": "patches"}
    for name, w in net.named_parameters():
        home = [part for key, part in homes.items() if key in name]
        count[(home or ["rest"])[0]] += w.numel()
    return count


counts = {}
for name in ["vit_tiny", "vit_small", "vit_base"]:
    with torch.device("meta"):
        settings = small.model_copy(update={"arch": name})
        counts[name] = parts(vision_transformer.build_backbone(settings))
    size, total = vision_transformer.SIZES[name], sum(counts[name].values())
    print(f"{name:10} D {size.embed_dim:4}  depth {size.depth}", end="")
    print(f"  heads {size.num_heads:2}  parameters {total:,}")
viz.parameters_figure(counts)
plt.show()

# %% [markdown]
# *Figure: one bar per size, cut into FFN, attention, patches and rest, in
# percent. The FFN is the widest part, about twice as wide as attention; the
# part for patches shrinks as the net grows.*
#
# The heads are 64 wide in all three: $D$ grows by more heads, not wider ones.
# `vit_tiny` is not one of Meta's sizes.
#
# **Predict again.** The largest DINOv3 has 6.7 billion parameters. Can your
# laptop build it?

# %%
with torch.device("meta"):
    giant = vision_transformer.build_backbone(
        pretrained.architecture("dinov3_vit7b16")
    )
total = sum(w.numel() for w in giant.parameters())
print(f"{total:,} parameters, {4 * total / 1e9:.0f} GB if they were there")

# %% [markdown]
# It can, on `meta`: every shape can be checked, but no picture can go through.
#
# > DINOv3 trains one 7B model with 40 blocks of width 4096 and 4 registers.
# > Then a family of smaller ones learns to say what it says: it is *distilled*.
# > (Table 2, Sec. 5.2, Fig. 16a)

# %% [markdown]
# ## Rung 1: one picture, one loop
#
# The parts, made one by one. Then the whole forward pass: patches, CLS and
# registers in front, twelve blocks, a norm.

# %%
torch.manual_seed(0)
embed, table = PatchEmbed(16, 3, D), Rope(D, num_heads=6)
cls, storage = torch.randn(1, 1, D), torch.randn(1, 4, D)
layers = [Block(D, 6, mask_k_bias=True, init_values=0.5) for _ in range(12)]
norm = torch.nn.LayerNorm(D)

grid = embed(photo)
x = torch.cat([cls, storage, grid.flatten(1, 2)], dim=1)
print("grid", list(grid.shape), "-> tokens", list(x.shape))
angles = table(H=14, W=14)
for layer in layers:
    x = layer(x, angles)
by_loop = norm(x)
print("features", list(by_loop.shape))

# %% [markdown]
# 224 / 16 = 14, so 196 patches, and 5 tokens before them: 201. Every block
# takes `[1, 201, 384]` and returns the same shape. `mask_k_bias` leaves out
# the bias of the keys, as the released models do.

# %% [markdown]
# ## Rung 2: a class, a batch
#
# The same as a class, in under forty lines. Three things are new: the CLS and
# the registers are learnt, and repeated for each picture (`expand`); the grid
# is read off the picture; hidden patches (lesson 02) become the mask token.
# The names of the parts are the official ones. You will soon see why.


# %%
class MyViT(torch.nn.Module):
    def __init__(self, D=384, depth=12, heads=6, R=4, p=16):
        super().__init__()
        learnt = torch.nn.Parameter
        self.cls_token = learnt(torch.zeros(1, 1, D))
        self.storage_tokens = learnt(torch.zeros(1, R, D))
        self.mask_token = learnt(torch.zeros(1, D))
        self.patch_embed = PatchEmbed(p, 3, D)
        self.rope_embed = Rope(D, num_heads=heads)
        self.blocks = torch.nn.ModuleList()
        for _ in range(depth):
            made = Block(D, heads, mask_k_bias=True, init_values=1e-5)
            self.blocks.append(made)
        self.norm = torch.nn.LayerNorm(D)

    def forward(self, pictures, hidden=None):
        grid = self.patch_embed(pictures)  # [B, h, w, D]
        B, h, w, _ = grid.shape
        x = grid.flatten(1, 2)  # [B, N, D]
        if hidden is not None:
            x[hidden] = self.mask_token
        first = [self.cls_token, self.storage_tokens]
        first = [tokens.expand(B, -1, -1) for tokens in first]
        x = torch.cat([*first, x], dim=1)  # [B, 1 + R + N, D]
        angles = self.rope_embed(H=h, W=w)
        for layer in self.blocks:
            x = layer(x, angles)
        return self.norm(x)


# %% [markdown]
# With the parts of rung 1 inside it must say what rung 1 said. And a batch of
# three must say what the three say alone: no picture sees another.

# %%
mine = MyViT().eval()
mine.patch_embed, mine.blocks = embed, torch.nn.ModuleList(layers)
mine.cls_token.copy_(cls)
mine.storage_tokens.copy_(storage)
assert torch.allclose(mine(photo), by_loop, atol=1e-5)

names = ["astronaut", "chelsea", "coffee"]
batch = torch.cat([ready(pixels(name, 96, 96)) for name in names])
alone = torch.cat([mine(picture[None]) for picture in batch])
assert torch.allclose(mine(batch), alone, atol=1e-5)
print("batch", list(batch.shape), "->", list(mine(batch).shape))

# %% [markdown]
# ## Rung 3: crops of several sizes
#
# In training a photo comes as large and small [crops](GLOSSARY.md#crop). A
# tensor has one height and one width, so each size is a batch of its own: one
# call per size.

# %%
image = pixels("astronaut")
corners = [(0, 64), (40, 0)]
small_crops = [image[:, :, r : r + 96, c : c + 96] for r, c in corners]
crops = [ready(image), ready(torch.cat(small_crops))]
views = {"global": image[0], "local": small_crops[0][0]}
viz.compare_figure(views, width=2.2)
plt.show()

# %% [markdown]
# *Figure: the photo of 224 x 224 pixels as the global crop, and the first of two
# local crops of 96 x 96 pixels cut from it, a face. Both are drawn equally
# large.*

# %%
for x in crops:
    print(list(x.shape), "->", list(mine(x).shape))

# %% [markdown]
# The same weights read both. Nothing in the class knows a size: patches are
# cut, RoPE fits its angles to the grid, attention takes any number of tokens.

# %% [markdown]
# ## Rung 4: the package's weights in your class
#
# A [state dict](GLOSSARY.md#state-dict) maps names to tensors. Yours has the
# names of the package, which are the official ones. So the weights of `net` fit.

# %%
print(mine.load_state_dict(net.state_dict()))

# %% [markdown]
# Equal outputs are good, equal outputs after *every block* better: they tell
# where two nets part. A [forward hook](GLOSSARY.md#forward-hook) is a function
# that PyTorch calls with what a module returns. One on each block catches all.
# Without `is_training=True` the package's net itself says only the CLS feature.


# %%
def after_blocks(model, *inputs):
    """Tokens [B, T, D] as they leave each block, and what `model` says."""
    caught = []
    hooks = [
        layer.register_forward_hook(lambda m, i, out: caught.append(out))
        for layer in model.blocks
    ]
    said = model(*inputs)
    for hook in hooks:
        hook.remove()
    return caught, said


def differences(a, b):
    return [(x - y).abs().max().item() for x, y in zip(a, b, strict=True)]


# %%
torch.manual_seed(0)
hidden = torch.rand(1, 196) < 0.3
my_layers, my_features = after_blocks(mine, photo, hidden)
layers, cls = after_blocks(net, photo, hidden)
equal = [d < 1e-5 for d in differences(my_layers, layers)]
assert torch.allclose(my_features[:, 0], cls, atol=1e-5)
print("hidden patches:", int(hidden.sum()))
print("equal after", sum(equal), "of", len(equal), "blocks")

# %% [markdown]
# Your class is the package's ViT, masks included. The package adds options and
# the list of crops. Read its core:

# %%
package = type(net)
print(inspect.getsource(package.run_blocks))

# %% [markdown]
# A list with one batch per size goes through block by block. Your class takes
# one size per call. The result is the same:

# %%
outputs = net(crops, [None, None], is_training=True)
for x, out in zip(crops, outputs, strict=True):
    patches = mine(x)[:, 5:]
    assert torch.allclose(patches, out["x_norm_patchtokens"], atol=1e-5)
    print(list(x.shape), "patches", list(patches.shape), "equal")

# %% [markdown]
# ## Five outputs: which one for what?
#
# With `is_training=True` you get a dictionary, in evaluation too (the name is
# the official one). Without, only the CLS feature.

# %%
print(inspect.getsource(package.features))
for name, value in outputs[0].items():
    print(f"{name:20}", None if value is None else list(value.shape))

# %% [markdown]
# | entry | what for |
# |---|---|
# | `x_norm_clstoken` | the picture as a whole: k-NN (lesson 18), DINO loss (10) |
# | `x_norm_patchtokens` | places: segmentation, matching, iBOT (12), Gram (20) |
# | `x_storage_tokens` | scratch paper of the net; no loss asks for it |
# | `x_prenorm` | all tokens before the final norm: to look inside |
# | `masks` | what was hidden, handed on to the loss |
#
# For a classifier, join CLS and the mean of the patches: `[B, 2 D]`.
#
# > **Watch out.** Patches start at token 1 + R = 5. Who writes `x[:, 1:]` takes
# > four registers for patches: 200 tokens do not fit a 14 x 14 grid.

# %% [markdown]
# ## Inside: features after any block
#
# `get_intermediate_layers` gives the patches of chosen blocks, with
# `reshape=True` as a map `[B, D, h, w]`, as convolutions like it. A list `n`
# names blocks, counted from 0, -1 being the last. A number `n` asks for the
# last `n` blocks.

# %%
maps = net.get_intermediate_layers(photo, n=[2, 5, -1], reshape=True)
print([list(m.shape) for m in maps])
last = maps[-1].flatten(2).mT  # [B, N, D]
same = torch.allclose(last, right["x_norm_patchtokens"], atol=1e-5)
print("the last is x_norm_patchtokens:", same)

# %% [markdown]
# By default it applies the final norm to *every* block's output. Compare the
# lengths of the tokens with `norm=False` and `norm=True`.

# %%
how = {"return_class_token": True}
lengths = {}
for norm, label in [(False, "raw"), (True, "normed")]:
    layers = net.get_intermediate_layers(photo, n=12, norm=norm, **how)
    for i, kind in enumerate(["patches", "CLS"]):
        long = [tokens[i].norm(dim=-1).mean().item() for tokens in layers]
        lengths[f"{kind}, {label}"] = long
raw = lengths["patches, raw"]
assert raw == sorted(raw)
print(f"raw patches, first to last block: {raw[0]:.0f} to {raw[-1]:.0f}")
viz.lines_figure({"": lengths}, None, "after block", "mean length of a token")
plt.show()

# %% [markdown]
# *Figure: mean length of the patches and of CLS after each of 12 blocks, which
# count from 0. The two raw lines climb from block to block; the two normed
# lines lie flat at the bottom, one upon the other.*
#
# Each block adds a vector to the token. In this random net the vectors point
# anywhere, so tokens grow. The final norm brings every token back to one scale:
# that is what all losses see.
#
# > In large models a few channels grow out of proportion. The final norm takes
# > care of them; who uses raw features must do so first. (App. A.2)

# %% [markdown]
# ## A norm of its own for CLS
#
# One final norm scales each channel once for two jobs: CLS and patches. Two
# options untie it. `untie_cls_and_patch_norms` adds `cls_norm`, for CLS and
# registers. `untie_global_and_local_cls_norm` adds `local_cls_norm`, for CLS
# and registers of the second crop size in the list, in training only. We take
# the second option, set its norm to zero and see who notices.

# %%
settings = small.model_copy(
    update={"depth": 2, "untie_global_and_local_cls_norm": True}
)
untied = shake(vision_transformer.build_backbone(settings), seed=0)
untied.local_cls_norm.weight.zero_()
untied.local_cls_norm.bias.zero_()
for mode in [True, False]:
    outs = untied.train(mode)(crops, [None, None], is_training=True)
    zero = [not out["x_norm_clstoken"].any().item() for out in outs]
    kept = all(out["x_norm_patchtokens"].any() for out in outs)
    print(
        "train" if mode else "eval ", "CLS zero:", zero, "patches kept:", kept
    )

# %% [markdown]
# Only the CLS of the second crop size, only in training.
#
# > Local and global crops get a layer norm each, which brought small gains.
# > (Sec. 3.2, "Learning Objective")

# %% [markdown]
# ## Where does it look?
#
# The attention of `net` in layer 5, for one patch, on the eye of a cat. Below
# it a second net with other random numbers. **Predict first:** will the maps
# look like noise?

# %%
other = shake(vision_transformer.build_backbone(small), seed=1)
nets, looks = {"weights 0": net, "weights 1": other}, {}
for who, model in nets.items():
    for name in ["chelsea", "coffee"]:
        seen = ready(pixels(name))
        looks[who, name] = model.get_attention_maps(seen, layers=range(12))
maps = looks["weights 0", "chelsea"]
print(len(maps), "layers of", list(maps[0].shape))


def look(layer, row, column, photo, who=tuple(nets)):
    query = 5 + 14 * row + column  # behind CLS and 4 registers
    maps = {one: looks[one, photo][layer][0] for one in who}
    return viz.query_attention_figure(pixels(photo)[0], maps, (14, 14), query)


look(5, row=5, column=5, photo="chelsea")
plt.show()

# %% [markdown]
# *Figure: two rows, one per set of random weights. Left the cat with the patch
# on its eye framed, then six heads, each with its largest weight (an even look
# at all tokens would be 1). The maps show blobs, columns and bands, and the
# second row differs from the first.*
#
# They have shape, as if the net looked *for* something. It does not: nothing
# was learned. Measure how alike two sets of maps of layer 8 are, by their
# correlation: 1 = the same, 0 = nothing in common.


# %%
def alike(a, b, layer=8):
    """Correlation of two sets of maps from patches to patches."""
    both = [looks[key][layer][0, :, 5:, 5:].flatten() for key in (a, b)]
    return torch.corrcoef(torch.stack(both))[0, 1].item()


cat = ("weights 0", "chelsea")
print(f"other photo, same weights: {alike(cat, ('weights 0', 'coffee')):.2f}")
print(f"same photo, other weights: {alike(cat, ('weights 1', 'chelsea')):.2f}")

# %% [markdown]
# The maps of a cat and of a cup are alike; those of two nets are not. A random
# net shows you its random weights and RoPE, more than the photo. (Try
# `layer=0`: there the photo still counts for more.)
#
# > **Watch out.** Never show an attention map without the untrained control.


# %%
def explore_attention(layer, row, column, photo, weights):
    return look(layer, row, column, photo, [weights])


viz.explore(
    explore_attention,
    layer=(0, 11, 1, 5),
    row=(0, 13, 1, 5),
    column=(0, 13, 1, 5),
    photo=["chelsea", "coffee"],
    weights=list(nets),
)

# %% [markdown]
# *Figure: the explorer at its start: the cat with the framed patch and all six
# heads of layer 5. Move layer and patch; change the photo, then the weights,
# and see which of the two changes more.*

# %% [markdown]
# ## Against someone else
#
# timm is a library by other authors, with its own DINOv3: other class, other
# names. We shake *its* model and bring the weights to us.

# %%
TIMM = "vit_small_patch16_dinov3_qkvb"
theirs = timm.create_model(TIMM, pretrained=False, num_classes=0)
shake(theirs, seed=7)
ours = pretrained.from_timm(TIMM, theirs.state_dict())
mine.load_state_dict(ours.state_dict())
many, fewer = (sum(w.numel() for w in m.parameters()) for m in (ours, theirs))
print(f"ours {many:,}, theirs {fewer:,}: {many - fewer:,} fewer")
print(f"12 key biases and the mask token: {12 * D + D:,}")

# %% [markdown]
# Fewer numbers, same net? The bias of the keys is multiplied by zero here and
# absent there. And timm hides no patches, so it needs no mask token.
#
# **Predict first.** The class never saw a picture that is not square. Will it
# take one of 160 x 224 pixels?

# %%
shapes = {"astronaut": (224, 224), "coffee": (160, 224)}
for name, (height, width) in shapes.items():
    x = ready(pixels(name, height, width))
    wanted, _ = after_blocks(theirs, x)
    print(f"{height} x {width}: tokens {list(wanted[-1].shape)}", end="")
    print(f", spread after the last block {wanted[-1].std():.2f}")
    wanted.append(theirs.norm(wanted[-1]))
    for who, model in {"package": ours, "yours": mine}.items():
        layers, said = after_blocks(model, x)
        layers.append(model.norm(layers[-1]))
        equal = [d < 1e-5 for d in differences(wanted, layers)]
        cls = said if who == "package" else said[:, 0]
        assert all(equal)
        assert torch.allclose(cls, layers[-1][:, 0], atol=1e-5)
        print(f"  {who:8} equal at {sum(equal)} of {len(equal)} places")

# %% [markdown]
# Both sizes, twelve blocks and the final norm: no number differs by 0.00001 or
# more, while their spread is near 9. 160 x 224 gives 10 x 14 patches: another
# grid for RoPE, nothing else.
#
# Would this test notice a mistake? Change *one* of 21 million numbers, in block
# 5 (counted from 0), and compare again.

# %%
spoiled = pretrained.from_timm(TIMM, theirs.state_dict())
spoiled.blocks[5].mlp.fc1.bias[0] += 0.1
wanted, _ = after_blocks(theirs, photo)
same = differences(wanted, after_blocks(ours, photo)[0])
changed = differences(wanted, after_blocks(spoiled, photo)[0])
lines = {"ours": same, "one number changed in block 5": changed}
lines = {name: [max(v, 1e-8) for v in line] for name, line in lines.items()}
title = "largest difference, at least 1e-8"
viz.lines_figure({title: lines}, xlabel="after block", log=[title])
plt.show()

# %% [markdown]
# *Figure: largest difference from timm after each block, logarithmic; the axis
# ends at 1e-8, which also stands for 0. The line "ours" lies at the bottom. The
# other line lies there up to block 4, jumps up at block 5 and stays up.*

# %%
parted = [i for i, d in enumerate(changed) if d > 1e-4]
assert max(same) < 1e-5 and parted == list(range(5, 12))
print("blocks that differ:", parted)

# %% [markdown]
# It does, and it says where. This is how you find a mistake in a port: look for
# the first block that differs.

# %% [markdown]
# ## Common mistakes
#
# A side that is not a multiple of 16. The official code silently cuts the rest
# of the picture away; here it is an error.

# %% tags=["raises-exception"]
mine(torch.zeros(1, 3, 224, 230))

# %% [markdown]
# A model left in train mode. The released settings stretch the coordinates of
# RoPE at random while training (factor up to 2), anew in each block. Models from
# the official hub come in train mode!

# %%
torch.manual_seed(0)
for mode in [True, False]:
    ours.train(mode)
    same = torch.allclose(ours(photo), ours(photo), atol=1e-5)
    print("train" if mode else "eval ", "two calls agree:", same)

# %% [markdown]
# Loading with `strict=False`. One weight is missing here. PyTorch says so in a
# return value that most people never print, and the net keeps random numbers.

# %%
state = dict(ours.state_dict())
del state["blocks.3.attn.proj.weight"]
lax = shake(vision_transformer.build_backbone(small), seed=3)
print(lax.load_state_dict(state, strict=False))
print("features agree:", torch.allclose(lax(photo), ours(photo), atol=0.1))

# %% [markdown]
# The package has no such switch. It names what is missing:

# %% tags=["raises-exception"]
pretrained.from_meta("dinov3_vits16", state)

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` and run the cell. Solutions are in
# `lessons/solutions/06.py`.
#
# **06.1** (difficulty 1, 3 minutes) What shape has the map of *one* picture that
# `get_intermediate_layers(..., reshape=True)` gives? The picture has `height` x
# `width` pixels. Return a tuple of three numbers, the batch left out.
#
# <details><summary>Hint 1</summary>A map has channels first.</details>
# <details><summary>Hint 2</summary>160 x 224 pixels were 10 x 14
# patches.</details>
# <details><summary>Hint 3</summary>Three numbers: width of a token, rows,
# columns.</details>


# %%
def patch_map(height, width, patch, D):
    raise NotImplementedError("exercise 06.1")


check("06.1", patch_map)

# %% [markdown]
# **06.2** (difficulty 2, 6 minutes) How many parameters has one block with two
# norms, two LayerScales, all biases (the unused one of the keys too) and an FFN
# of width `4 * D`?
#
# <details><summary>Hint 1</summary>The table "By hand" has the three
# parts.</details>
# <details><summary>Hint 2</summary>Everything is a multiple of D * D or of
# D.</details>
# <details><summary>Hint 3</summary>For D = 1 the answer is 27.</details>


# %%
def block_parameters(D):
    raise NotImplementedError("exercise 06.2")


check("06.2", block_parameters)

# %% [markdown]
# **06.3** (difficulty 2, 5 minutes) Take `tokens` `[B, 1 + R + N, D]` apart.
# Return CLS `[B, D]`, registers `[B, R, D]` and patches `[B, N, D]`.
#
# <details><summary>Hint 1</summary>The order is CLS, registers,
# patches.</details>
# <details><summary>Hint 2</summary>An index drops a dimension, a slice keeps
# it.</details>
# <details><summary>Hint 3</summary>Patches start at 1 + R.</details>


# %%
def split(tokens, R):
    raise NotImplementedError("exercise 06.3")


check("06.3", split)

# %% [markdown]
# **06.4** (difficulty 3, 10 minutes) Write the forward pass of a package net in
# eval mode: from `images` `[B, 3, H, W]` to all tokens after the final norm,
# `[B, T, D]`. Use its parts `prepare_tokens_with_masks`, `rope_embed`,
# `blocks`, `norm`, not its `forward`. The first returns two things, as you saw
# in `run_blocks`.
#
# <details><summary>Hint 1</summary>`prepare_tokens_with_masks(images)` returns
# the tokens and the grid `(h, w)`.</details>
# <details><summary>Hint 2</summary>`rope_embed(H=h, W=w)` gives the table that
# each block takes as its second argument.</details>
# <details><summary>Hint 3</summary>Rung 1 has the loop.</details>


# %%
def vit_forward(net, images):
    raise NotImplementedError("exercise 06.4")


check("06.4", vit_forward)

# %% [markdown]
# **06.5** (difficulty 4, 10 minutes) Change the design: of `tokens`
# `[B, 1 + R + N, D]`, CLS and registers get `cls_norm`, patches `norm` (both
# can be called). Return all tokens, in order. Then explain to
# yourself what one shared norm ties together, and what untying costs.
#
# <details><summary>Hint 1</summary>Split first, join afterwards.</details>
# <details><summary>Hint 2</summary>The first 1 + R tokens are no
# patches.</details>
# <details><summary>Hint 3</summary>`torch.cat` along the tokens,
# `dim=1`.</details>


# %%
def normed(tokens, R, cls_norm, norm):
    raise NotImplementedError("exercise 06.5")


check("06.5", normed)

# %%
print(progress("06"))

# %% [markdown]
# ## Recap
#
# - You counted 21.6 million parameters by hand; the FFN has twice as many as
#   attention.
# - You wrote the forward pass, for batches, crops and any size.
# - You chose among five outputs: CLS for the whole, patches for places.
# - You read features after any block, raw and normed.
# - You proved three implementations equal, and located one changed number.
#
# The machine that looks is complete. Next: what does it look at? Lesson 07 cuts
# the crops.

# %% [markdown]
# ## Sources
#
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104), Sec. 3.2
#   "Updated Model Architecture" and Table 2: the 7B model; Fig. 16a: the family;
#   App. B.2: which layer is best for which task.
# - Official code: `dinov3/models/vision_transformer.py`, class
#   `DinoVisionTransformer`; here `dinolite/models/vision_transformer.py`.
# - timm, [`models/eva.py`](https://github.com/huggingface/pytorch-image-models):
#   the same net by other authors. Reading two versions of one thing is the
#   fastest way to see what is essential.
