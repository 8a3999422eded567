"""Exercises of lesson 10, DINO loss: counting pairs, a cross-entropy, its mean over pairs, its
gradient, and what a curve says.
"""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.checking import as_number, keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.matrices import matrix_figure


@exercise("10.1", "how many pairs count", cases=[(2, 8), (2, 10), (3, 4)])
def pairs(G, L):
    return G * (G - 1) + G * L  # others' global crops, and all local ones


pairs.slips = [
    ("no crop is asked about itself: G too many", "(G - 1)", "G"),
    ("both directions count: student 0 is asked about teacher 1, and 1 about 0", ") ", ") // 2 "),
    ("the teacher sees no local crop: none is asked", "return", "G, L = G + L, 0; return"),
    ("those are the pairs with local crops; global ones count too", "G * (G - 1) + ", ""),
]


def scores_and_targets():
    """Ordinary scores of three pictures, then large ones of two."""
    draw = torch.Generator().manual_seed(0)
    scores, target = torch.randn(2, 3, 5, generator=draw)
    return [(scores, target.softmax(-1), 0.5), (30 * scores[:2], target[:2].softmax(-1), 0.1)]


@exercise("10.2", "one cross-entropy", cases=scores_and_targets, run=as_number)
def cross_entropy(scores, target, temp):
    log_q = (scores / temp).log_softmax(dim=-1)  # [B, K]
    return -(target * log_q).sum(dim=-1).mean()


UNSAFE = "right for small scores, inf or nan for large ones: log_softmax does both in one safe step"
LOG_OF_0 = (
    "a softmax that became 0 has the log minus infinity: log_softmax does both in one safe step"
)
SWAPPED = "swapped: the target stands in front, the log is the student's"
TWICE = "softmax twice: torch's cross_entropy has one inside and wants scores"
DIVERGENCE = "the entropy of the target was taken off: that is the KL divergence"
cross_entropy.slips = [
    ("the scores are not divided by temp", "(scores / temp)", "scores"),
    (UNSAFE, "log_softmax(dim=-1)", "exp(); log_q = (log_q / log_q.sum(-1, True)).log()"),
    (LOG_OF_0, "log_softmax(dim=-1)", "softmax(dim=-1).log()"),
    ("the sum over prototypes became a mean: it is too small by the factor K", "sum", "mean"),
    ("the sum over pictures stayed a sum: take the mean over them", ".mean()", ".sum()"),
    (SWAPPED, "target * log_q", "log_q.exp() * target.log()"),
    ("softmax runs over the photographs; each chooses among the prototypes", "x(dim=-1", "x(dim=0"),
    (TWICE, "log_softmax", "softmax(dim=-1).log_softmax"),
    ("multiplied by temp; divide", "/ temp", "* temp"),
    ("the sign: a cost is not below 0", "-(target", "(target"),
    (DIVERGENCE, "log_q)", "(log_q - target.log()))"),
    ("the target has probabilities already: no softmax", "target * ", "target.softmax(dim=-1) * "),
]


def crops():
    draw = torch.Generator().manual_seed(1)

    def rand(*size):
        return torch.randn(size, generator=draw)

    sizes = [(2, 2, 0.5), (5, 2, 0.2), (4, 3, 0.3)]
    return [(rand(s, 3, 6), rand(t, 3, 6).softmax(-1), temp) for s, t, temp in sizes]


@exercise("10.3", "the mean over pairs of different crops", cases=crops, run=as_number)
def other_crops(student, teacher, temp):
    s, B, _ = student.shape
    t = teacher.shape[0]
    log_q = (student / temp).log_softmax(dim=-1)
    table = -torch.einsum("sbk,tbk->st", log_q, teacher) / B  # [s, t]
    counted = torch.ones(s, t, dtype=torch.bool)
    counted.fill_diagonal_(False)
    return table[counted].mean()


other_crops.slips = [
    ("the pairs of the same crop are in it", "counted.fill_diagonal_(False)", "pass"),
    ("the same crops are still counted: divide by the pairs that count", "mean()", "sum() / s / t"),
    ("divide by B, too", " / B", ""),
    ("that is the sum over pairs: divide by their number", ".mean()", ".sum()"),
    ("the temperature is missing", "(student / temp)", "student"),
    ("the teacher has probabilities already: no softmax", "teacher)", "teacher.softmax(dim=-1))"),
]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    """The slopes of the first case."""
    return matrix_figure({"expected": expected, "yours": actual})


@exercise(
    "10.4",
    "the gradient without autograd",
    cases=scores_and_targets,
    run=keeping,
    picture=side_by_side,
)
def slope(scores, target, temp):
    q = (scores / temp).softmax(dim=-1)
    return (q - target) / temp / len(scores)


slope.slips = [
    ("the 1 / temp of the inner derivative is missing", " / temp / len", " / len"),
    ("the loss is a mean over B pictures, so each gets 1 / B of the gradient", "/ len(scores)", ""),
    ("the sign: student minus target", "q - target", "target - q"),
    ("the softmax needs the temperature", "(scores / temp)", "scores"),
]


def readings():
    """(loss, entropy, K): four kinds, a small and a large head, and a sharp target at the start;
    then a little above and below 95 and 5 percent of ln K, which is 6.93, 2.77 or 9.01."""
    clear = [
        (6.93, 6.92, 1024),
        (6.94, 1.3, 1024),
        (4.1, 1.3, 1024),
        (0.01, 0.0, 1024),
        (2.77, 2.76, 16),
        (9.01, 4.0, 8192),
        (6.93, 5.0, 8192),
        (4.2, 0.02, 1024),
    ]
    near = [
        (6.8, 6.65, 1024),
        (6.7, 6.5, 1024),
        (6.65, 2.0, 1024),
        (6.5, 2.0, 1024),
        (0.33, 0.1, 1024),
        (0.36, 0.1, 1024),
        (0.2, 0.1, 16),
        (0.42, 0.1, 8192),
        (9.5, 2.0, 1024),
        (3.1, 2.9, 1024),
    ]
    return clear + near


@exercise("10.5", "what a curve says", cases=readings)
def diagnose(loss, entropy, K):
    # Nothing asked: sharpen the target (a lower teacher temperature).
    # Collapsed: the target needs centring or Sinkhorn (lesson 11).
    # Not learned yet: wait; then look at the learning rate of the student.
    # Otherwise: the loss has no more to say.
    start = math.log(K)
    if entropy > 0.95 * start:
        return "nothing asked"
    if loss < 0.05 * start:
        return "collapsed"
    if loss > 0.95 * start:
        return "not learned yet"
    return "look at k-NN"


LOSS_ALONE = "the loss alone cannot tell: ln K with a flat target means that nothing is asked"
ENTROPY_ALONE = "the entropy alone cannot tell whether the student has learned the answer"
SHARP_TARGET = "a sharp target alone is no collapse: the student must already agree with it"
LEARNED = "collapsed means a loss near 0; near the entropy, the student has learned it"
diagnose.slips = [
    (LOSS_ALONE, "entropy > 0.95", "entropy > 9"),
    (ENTROPY_ALONE, "start = math.log(K)", "start, loss = math.log(K), entropy"),
    ("ln K belongs to the head: K is an argument", "math.log(K)", "math.log(1024)"),
    (SHARP_TARGET, "loss < 0.05", "min(loss, entropy) < 0.05"),
    (
        "the limits are shares of ln K, not 0.05 away from it and from 0",
        ("entropy > 0.95 * start", "entropy > start - 0.05"),
        ("loss < 0.05 * start", "loss < 0.05"),
        ("loss > 0.95 * start", "loss > start - 0.05"),
    ),
    ("a loss above ln K is not learned yet, either", "loss > 0.95", "1.05 * start > loss > 0.95"),
    (LEARNED, "if loss < 0.05", "if loss - entropy < 0.05"),
]
