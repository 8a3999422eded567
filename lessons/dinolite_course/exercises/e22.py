"""Exercises of lesson 22, the released models: tokens of a picture, names, fused projections,
pixels, weights at half the size.
"""

import torch

from dinolite_course.checking import by_name, keeping
from dinolite_course.exercises import exercise


@exercise("22.1", "the tokens of a picture", cases=[(224, 224), (160, 224), (512, 768)])
def tokens_of(height, width):
    return 1 + 4 + (height // 16) * (width // 16)


tokens_of.slips = [
    ("those are the patches; CLS and the registers are tokens, too", "1 + 4 + ", ""),
    ("the 4 registers are missing", " + 4", ""),
    ("CLS is missing", "1 + 4", "4"),
    (
        "patches of DINOv3 are 16 pixels wide; 14 was DINOv2",
        ("height // 16", "height // 14"),
        ("width // 16", "width // 14"),
    ),
]


def names():
    names = ["cls_token", "reg_token", "blocks.3.gamma_1", "blocks.11.gamma_2", "norm.weight"]
    names += ["blocks.0.mlp.fc1_g.weight", "blocks.5.mlp.fc1_x.bias", "blocks.7.mlp.fc2.weight"]
    names += ["blocks.1.attn.proj.bias", "blocks.2.norm1.weight", "patch_embed.proj.weight"]
    return [(name,) for name in [*names, "blocks.10.attn.qkv.weight"]]


@exercise("22.2", "timm's names", cases=names)
def our_name(name):
    table = {
        "reg_token": "storage_tokens",
        "gamma_1": "ls1.gamma",
        "gamma_2": "ls2.gamma",
        "fc1_g": "w1",
        "fc1_x": "w2",
        "fc2": "w3",
    }
    for theirs, ours in table.items():
        name = name.replace(theirs, ours)
    return name


our_name.slips = [
    ("nothing was renamed", "name.replace(theirs, ours)", "name"),
    (
        "w1 is the gate, fc1_g; w2 is the value, fc1_x; yours are the other way round",
        ('g": "w1"', 'g": "w2"'),
        ('x": "w2"', 'x": "w1"'),
    ),
    ("fc2 is still there: in a gated model it is w3", '"fc2": "w3",', ""),
    ("reg_token is still there", '"reg_token": "storage_tokens",', ""),
    ("the two gammas still have timm's names", ("gamma_1", "?"), ("gamma_2", "?")),
]


def projections():
    draw = torch.Generator().manual_seed(2)
    sizes = ([(D, D)] * 3 + [(D,)] * 2 for D in (4, 6))
    return [tuple(torch.randn(shape, generator=draw) for shape in shapes) for shapes in sizes]


@exercise("22.3", "three projections into one", cases=projections, run=keeping)
def fuse(q, k, v, q_bias, v_bias):
    zeros = torch.zeros_like(q_bias)
    return torch.cat([q, k, v]), torch.cat([q_bias, zeros, v_bias])


fuse.slips = [
    (
        "the zeros stand last; the missing bias is that of the keys, in the middle",
        "zeros, v_bias",
        "v_bias, zeros",
    ),
    ("the bias has 2D numbers: zeros for the keys are missing", "zeros, ", ""),
    (
        "the weights stand side by side; a Linear has one row per output: join along dim 0",
        " v])",
        " v], dim=1)",
    ),
    ("k and v are the wrong way round", "[q, k, v]", "[q, v, k]"),
    ("the weights are transposed", "[q, k, v]", "[q.T, k.T, v.T]"),
]


def pictures():
    draw = torch.Generator().manual_seed(3)
    image = torch.randint(256, (3, 4, 6), generator=draw).byte()
    return [(image, "lvd"), (image, "sat")]


@exercise("22.4", "pixels for two kinds of models", cases=pictures)
def ready(image, kind):
    colours = {
        "lvd": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        "sat": ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]),
    }
    mean, std = (torch.tensor(x)[:, None, None] for x in colours[kind])
    return (image.float() / 255 - mean) / std


ready.slips = [
    ("0..255 is not [0, 1]: divide by 255 first", " / 255", ""),
    ("first minus the mean, then over the spread", " - mean) / std", ") / std - mean"),
    ("the mean is not subtracted", " - mean", ""),
    ("both kinds get the figures of LVD", "[kind]", '["lvd"]'),
    ("both kinds get the figures of SAT", "[kind]", '["sat"]'),
    ("red and blue are swapped; the order is red, green, blue", "image.", "image.flip(0)."),
]


def states():
    draw = torch.Generator().manual_seed(4)
    names = ["cls_token", "blocks.0.attn.qkv.weight", "rope_embed.periods", "teacher.periods"]
    names += ["periods_scale.weight"]
    return [({name: 1 + torch.rand(6, generator=draw) for name in names},)]


def with_dtypes(function, state):
    """As `by_name`; what each tensor is stored as counts, too."""
    found = by_name(function, state)
    return None if found is None else [(name, str(w.dtype), w) for name, w in found]


@exercise("22.5", "half the size, but for the periods", cases=states, run=with_dtypes)
def halved(state):
    # A handful of periods saves nothing, and all attention of all blocks turns by
    # them: rounded, every patch stands at a slightly other place. Those of the
    # released models were rounded before training; the models know no others.
    return {name: w if name.endswith("periods") else w.bfloat16() for name, w in state.items()}


PERIODS = 'w if name.endswith("periods") else '
halved.slips = [
    ("the periods are rounded, too; they stay as they are", PERIODS, ""),
    ("that is float16; wanted is bfloat16", "bfloat16", "half"),
    ("nothing is rounded", "w.bfloat16()", "w"),
    ("rounded, and stored as float32 again: not half the size", "16()", "16().float()"),
    ("a name ends in `periods`; that it is in there is not enough", "endswith", "count"),
    ("the periods are rounded and the weights are not: the wrong way round", "w if", "w if not"),
    (
        "the periods are gone; keep them, unchanged",
        (PERIODS, ""),
        ("state.items()", 'state.items() if not name.endswith("periods")'),
    ),
]
