"""Exercises of lesson 16, training: a peak from the batch size, what is left of the start, a
schedule, the rates of a parameter, momentum for another batch size.
"""

import torch

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "16.1",
    "the peak for a batch size",
    cases=[(1e-3, 1024), (1e-3, 2048), (5e-5, 4096), (2e-3, 96), (4e-4, 1500)],
    tolerance=1e-7,
)
def effective_lr(lr, batch):
    return lr * 4 * (batch / 1024) ** 0.5


effective_lr.slips = [
    ("the factor 4 is missing: the rule is 4 times the root", " * 4", ""),
    (
        "without the root that is a linear rule: four times the batch would give four times "
        "the rate, wanted is twice",
        " ** 0.5",
        "",
    ),
    ("turned round: a larger batch wants a larger rate", "batch / 1024", "1024 / batch"),
    ("batches need not be multiples of 1024: // cuts the rest off", " / ", " // "),
    ("a batch below 1024 wants a smaller rate", "(batch", "(max(batch, 1024)"),
    ("half of it: does your root hold the 4, too?", "4 * (batch", "(4 * batch"),
]


def momenta():
    return [
        (torch.full((10,), 0.9),),
        (torch.tensor([0.5, 0.8, 1.0]),),
        (torch.full((200,), 0.98),),
    ]


@exercise("16.2", "what is left of the random start", cases=momenta, run=keeping)
def share_of_start(momentum):
    return momentum.prod().item()


share_of_start.slips = [
    ("that is what came from the student; the start is the rest", "return ", "return 1 - "),
    (
        "momentum may change: multiply all of its values, not a power of the last one",
        "momentum.prod()",
        "(momentum[-1] ** len(momentum))",
    ),
    (
        "every step keeps a share of what is there: shares multiply, they do not average",
        "prod",
        "mean",
    ),
    (
        "momentum may change: multiply all of its values, not a power of their mean",
        "momentum.prod()",
        "(momentum.mean() ** len(momentum))",
    ),
    (
        "shares multiply; taking 1 - m away at every step ends below 0",
        "momentum.prod()",
        "(1 - (1 - momentum).sum())",
    ),
    ("the first step is missing", "momentum.", "momentum[1:]."),
    ("the last step is missing", "momentum.", "momentum[:-1]."),
]


def plans():
    """(start, peak, end, warmup, total), the last with a warm-up of one step."""
    return [
        (0.0, 1.0, 0.2, 2, 6),
        (0.04, 0.07, 0.07, 3, 5),
        (0.1, 2.0, 0.5, 4, 12),
        (0.3, 0.9, 1.0, 1, 4),
    ]


@exercise("16.3", "warm-up and cosine, v2", cases=plans)
def schedule(start, peak, end, warmup, total):
    line = start + (peak - start) * torch.arange(warmup) / warmup
    wave = (1 + torch.linspace(0, torch.pi, total - warmup).cos()) / 2
    return torch.cat([line, end + (peak - end) * wave])


schedule.slips = [
    (
        "that line reaches the peak, which then comes twice, as in v1; in v2 the line stops "
        "one step before",
        "/ warmup",
        "/ max(warmup - 1, 1)",
    ),
    (
        "the end is never reached: in v2 the cosine includes both of its ends",
        "warmup).cos()",
        "warmup + 1).cos()[:-1]",
    ),
    (
        "after the warm-up you draw a straight line; a half cosine is wanted",
        "* wave",
        "* torch.linspace(1, 0, total - warmup)",
    ),
    ("the cosine ends at 0, not at `end`", "end + (peak - end)", "peak"),
    ("the warm-up begins at `start`, yours at 0", "start + (peak - start)", "peak"),
    ("the line begins at `start` itself; yours is one step ahead", "(warmup)", "(1, warmup + 1)"),
    (
        "a quarter of a wave; the cosine runs from 0 to pi, half of one",
        "* wave",
        "* torch.linspace(0, torch.pi / 2, total - warmup).cos()",
    ),
]


def named_parameters():
    """Two depths; a block whose number has two digits."""
    names = ["cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight"]
    names += ["blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.bias", "blocks.2.norm1.weight"]
    names += ["blocks.2.ls1.gamma", "mask_token"]
    deep = ["blocks.10.norm2.weight", "blocks.11.ls2.gamma", "blocks.11.mlp.fc1.weight"]
    deep += ["storage_tokens", "norm.bias"]
    return [(name, 3, 0.9) for name in names] + [(name, 12, 0.8) for name in deep]


@exercise("16.4", "the rates of a parameter", cases=named_parameters)
def rates(name, depth, decay):
    if name.startswith("blocks."):
        layer = int(name.split(".")[1]) + 1
    elif "token" in name or "patch_embed" in name:
        layer = 0
    else:
        layer = depth + 1
    lr = decay ** (depth + 1 - layer)
    if "patch_embed" in name:
        lr *= 0.2
    spared = name.endswith("bias") or "norm" in name or "gamma" in name
    return lr, 0.0 if spared else 1.0


DECAY = "0.0 if spared else 1.0"
rates.slips = [
    ("the order is upside down: the deepest block learns fastest", "depth + 1 - layer", "layer"),
    (
        "the blocks are one layer off: block i is layer i + 1, the last one has rate decay",
        "[1]) + 1",
        "[1])",
    ),
    ("all one layer off: the layer of the final norm, depth + 1, has factor 1", "1 -", "2 -"),
    (
        "the tokens are decayed, whatever the official comment says",
        "spared = ",
        'spared = "token" in name or ',
    ),
    ("the patch embedding gets 0.2 times the rate of its layer", "lr *= 0.2", "pass"),
    ("biases, norms and gammas are not decayed; yours all are", DECAY, "1.0"),
    (
        "not only biases are spared: norms and gammas as well",
        ' or "norm" in name or "gamma" in name',
        "",
    ),
    ("CLS is not the only token in layer 0", '"token"', '"cls_token"'),
    ("the number of a block may have two digits", 'name.split(".")[1]', "name[7]"),
    ("0.2 comes on top of the rate of its layer, not in its place", "lr *= 0.2", "lr = 0.2"),
    (
        "0.2 belongs to the patch embedding alone, not to all of layer 0",
        '    if "patch_embed" in name',
        "    if layer == 0",
    ),
    ("the order of the two: learning rate first", f"lr, {DECAY}", f"{DECAY}, lr"),
    ("turned round: 1.0 is with decay, 0.0 without", DECAY, "1.0 if spared else 0.0"),
]


@exercise("16.5", "momentum for another batch size", cases=[(0.98, 2.0), (0.9, 4.0), (0.996, 0.5)])
def momentum_for(momentum, factor):
    # One new step sees the pictures of `factor` old ones. What those left of
    # the teacher is momentum * momentum * ..., `factor` times.
    return momentum**factor


momentum_for.slips = [
    (
        "with that the teacher remembers as many steps as before, and so more pictures",
        "**factor",
        "",
    ),
    (
        "that goes the wrong way: fewer steps, so each must forget more",
        "**factor",
        " ** (1 / factor)",
    ),
    (
        "that goes the wrong way: fewer steps, so each must forget more, not less",
        "momentum**factor",
        "1 - (1 - momentum) / factor",
    ),
    (
        "close, for momentum near 1; but shares multiply: think of `factor` old steps in one "
        "new step",
        "momentum**factor",
        "1 - factor * (1 - momentum)",
    ),
    (
        "momentum divided by the factor forgets nearly all in a few steps; shares multiply",
        "**factor",
        " / factor",
    ),
]
