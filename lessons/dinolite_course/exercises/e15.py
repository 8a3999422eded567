"""Exercises of lesson 15, one step: a shape, weights by counting pairs, crop order, a step on
paper, who learns from what.
"""

import torch

from dinolite_course.checking import Remark, keeping
from dinolite_course.exercises import exercise


@exercise("15.1", "the shape of all logits", cases=[(6, 3, 64), (32, 8, 128), (4, 1, 16)])
def logits_shape(B, L, K):
    return 2 + L, B, K


logits_shape.slips = [
    ("pictures first is picture order; crops come first", "2 + L, B", "B, 2 + L"),
    ("those are the small crops; the student sees the large ones too", "2 + L", "L"),
    ("right before the cut; now give crops an axis of their own", "2 + L, B", "(2 + L) * B"),
    ("there are two large crops of each picture, not one", "2 + L", "1 + L"),
    ("one row of K logits for each crop of each picture: K comes last", "L, B, K", "L, K, B"),
]


@exercise("15.2", "weights of the DINO terms", cases=[(3, True), (3, False), (8, True), (1, False)])
def dino_weights(L, ignore_diagonal):
    n_local = 2 * L
    n_global = 2 if ignore_diagonal else 4
    return n_local / (n_local + n_global), n_global / (n_local + n_global)


BOTH = "n_local / (n_local + n_global), n_global / (n_local + n_global)"
TURNED_ROUND = "turned round: where the diagonal is ignored there are fewer large-large pairs"
dino_weights.slips = [
    (
        "right where all pairs count; with ignore_diagonal only two large-large pairs are "
        "left, so count pairs, not crops",
        "2 if ignore_diagonal else 4",
        "4",
    ),
    ("right where the diagonal is left out; without that there are 4 large-large pairs", "4", "2"),
    (TURNED_ROUND, "2 if ignore_diagonal else 4", "4 if ignore_diagonal else 2"),
    ("each small crop meets both large ones: 2 L pairs", "2 * L", "L"),
    ("those are numbers of pairs; weights sum to 1", BOTH, "n_local, n_global"),
    (
        "the two are exchanged: local comes first",
        ("return n_local", "return n_global"),
        (", n_global", ", n_local"),
    ),
    ("every pair weighs the same, not every term", BOTH, "0.5, 0.5"),
]


def features():
    draw = torch.Generator().manual_seed(3)
    return [(torch.randn(15, 4, generator=draw), 3), (torch.randn(12, 2, generator=draw), 2)]


@exercise("15.3", "means over the crops of a picture", cases=features, run=keeping)
def picture_means(x, B):
    return x.unflatten(0, (-1, B)).mean(dim=0)


picture_means.slips = [
    (
        "that reads the rows in picture order, so every mean mixes pictures: in crop order "
        "the axis of crops comes first",
        "(-1, B)).mean(dim=0)",
        "(B, -1)).mean(dim=1)",
    ),
    ("that is one mean for each crop, over pictures; the other axis is wanted", "dim=0", "dim=1"),
    ("those are the features of crop 0 alone", ".mean(dim=0)", "[0]"),
    ("that is the sum; divide by the number of crops", "mean(", "sum("),
    ("divided by the number of pictures; the mean is over crops", "mean(dim=0)", "sum(dim=0) / B"),
]


def steps():
    """A gradient that is too long, a short one, and one that is too long with the rate as well."""
    draw = torch.Generator().manual_seed(4)
    s, t, g = torch.randn(3, 5, generator=draw)
    unit = g / g.norm()
    return [
        (s, t, 10 * unit, 0.1, 3.0, 0.9),
        (s, t, unit, 0.5, 3.0, 0.75),
        (t, s, 4 * unit, 0.2, 0.5, 0.6),
    ]


@exercise("15.4", "one step on paper", cases=steps, run=keeping)
def step_on_paper(student, teacher, grad, lr, clip, momentum):
    grad = grad * min(1.0, clip / grad.norm().item())
    student = student - lr * grad
    teacher = momentum * teacher + (1 - momentum) * student
    return student, teacher


MADE_LONGER = "a gradient shorter than clip stays as it is; yours is made longer"
EVERY_NUMBER = "clip the length of the whole vector, not every number by itself"
TEACHER_KEEPS = "the teacher keeps `momentum` of itself and takes the rest from the student"
RATE_FIRST = "clip the gradient itself, before it is multiplied by the rate"
ORDER = "the order of the two is wrong: the student comes first"
step_on_paper.slips = [
    ("the gradient was not clipped", " * min(1.0, clip / grad.norm().item())", ""),
    (MADE_LONGER, "min(1.0, clip / grad.norm().item())", "clip / grad.norm()"),
    (EVERY_NUMBER, "grad * min(1.0, clip / grad.norm().item())", "grad.clamp(-clip, clip)"),
    (
        "the teacher followed the student from before the step",
        ("    student = student - lr * grad\n", ""),
        ("return student", "return student - lr * grad"),
    ),
    (TEACHER_KEEPS, "teacher = m", "momentum = 1 - momentum; teacher = m"),
    ("that goes uphill: move against the gradient", "student - lr", "student + lr"),
    (RATE_FIRST, ("    grad =", "    grad = lr * grad; grad ="), ("- lr * grad", "- grad")),
    ("the gradient may be as long as `clip`, not as 1", "clip /", "1 /"),
    (ORDER, "return student, teacher", "return teacher, student"),
]


def returning_bools(function, *weights):
    """What a function returns.

    Raises:
        Remark: some of it are numbers.
    """
    found = function(*weights)
    if isinstance(found, tuple | list) and {type(x) for x in found} & {int, float}:
        raise Remark("True and False are wanted, not numbers")
    return found


def weights():
    """Of DINO, KoLeo and iBOT: the usual ones, with some of them 0, and two others."""
    usual = [(1, 0.1, 1), (1, 0.1, 0), (1, 0, 0), (0, 0.1, 0), (0, 0, 1), (0, 0, 0)]
    return [*usual, (0.5, 0, 0.25), (0, 0.01, 2)]


@exercise("15.5", "who learns from what", cases=weights, run=returning_bools)
def who_learns(dino, koleo, ibot):
    # All three pull at the backbone. CLS of a masked crop looks at mask tokens,
    # so DINO and KoLeo reach them too. KoLeo works on features before the heads.
    # Without local crops nothing changes here: the global term does it all.
    anything = dino > 0 or koleo > 0 or ibot > 0
    return anything, anything, dino > 0, ibot > 0


MASK_TOKEN = "the mask token learns from more than iBOT: CLS of a masked crop looks at it"
HEADS = "KoLeo works on features, before the heads; it reaches neither of them"
BOTH_HEADS = "both heads are reached in your answer; each learns from its own loss only"
NOBODY = "with all three left out, nobody learns; no gradient reaches even the backbone"
who_learns.slips = [
    (MASK_TOKEN, "anything, anything", "anything, ibot > 0"),
    (HEADS, "anything, dino", "anything, dino + koleo"),
    (BOTH_HEADS, "dino > 0, ibot > 0", "anything, anything"),
    ("KoLeo reaches the backbone, and through it the mask token, even alone", " or koleo > 0", ""),
    (NOBODY, "dino > 0 or", "True or"),
    ("a weight counts as soon as it is above 0, not only 1", "> 0, ibot > 0", "== 1, ibot == 1"),
    ("the heads are exchanged: DINO's comes before iBOT's", "dino > 0, ibot", "ibot > 0, dino"),
]
