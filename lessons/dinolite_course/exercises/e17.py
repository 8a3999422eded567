"""Exercises of lesson 17, collapse: what the information is, prototypes in use, an alarm, and a
network whose balanced targets hide what it says.
"""

import math

import torch
import torch.nn.functional as F

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.train.monitors import entropy
from dinolite_course.checking import Remark, keeping
from dinolite_course.exercises import exercise


def as_numbers(function, K):
    """What a function returns; tensors with one number each are fine, too."""
    found = function(K)
    return tuple(map(float, found)) if isinstance(found, tuple | list) else found


@exercise("17.1", "three networks, three numbers", cases=[(2,), (64,), (4096,)], run=as_numbers)
def informations(K):
    # A mean of equal answers is that answer, so both entropies are the same.
    # With K sure and different answers the mean is even: ln K - 0.
    return 0.0, 0.0, math.log(K)


informations.slips = [
    (
        "the even answer has much entropy and no information: every picture gets it",
        "0.0, math.log(K)",
        "math.log(K), math.log(K)",
    ),
    (
        "which net tells pictures apart? Not the one with the even answer",
        "0.0, math.log(K)",
        "math.log(K), 0.0",
    ),
    (
        "sure answers have entropy 0, but the information is that of the mean minus it",
        "math.log(K)",
        "0.0",
    ),
    (
        "those are nats that went to prototypes: K equal answers have entropy ln K, not K",
        "math.log",
        "float",
    ),
    ("natural logarithm, please: the package counts in nats", "log", "log2"),
]


def answers():
    """Sure and different, sure and alike, and unsure answers; then sure ones that leave two
    prototypes alone and nearly a third."""
    draw = torch.Generator().manual_seed(17)
    scores = torch.randn(12, 6, generator=draw)
    tilted = 3 * scores + torch.tensor([4.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    sure = F.one_hot(torch.tensor([0, 0, 1, 3, 3, 0, 1]), 6).float()
    sure[2] = torch.tensor([0.0, 0.98, 0.0, 0.0, 0.02, 0.0])
    return [(x.softmax(dim=1),) for x in (4 * scores, tilted, scores)] + [(sure,)]


def as_number(function, p):
    """What a function returns, as a number.

    Raises:
        Remark: p is another one afterwards, or the number is nan.
    """
    found = keeping(function, p)
    number = None if found is None else float(found)
    if number is not None and math.isnan(number):
        raise Remark("that is nan: a mean may hold zeros, and 0 times log 0 is no number")
    return number


@exercise("17.2", "prototypes in use", cases=answers, run=as_number)
def in_use(p):
    mean = p.mean(dim=0)  # [K]
    return (-(mean * mean.clamp(min=1e-12).log()).sum()).exp()


in_use.slips = [
    (
        "that is how many prototypes one picture hesitates between; take the mean of the "
        "answers first, then the entropy",
        ("p.mean(dim=0)", "p"),
        (".sum()", ".sum(dim=1).mean()"),
    ),
    ("that is the entropy in nats; e to its power counts prototypes", ".exp()", ""),
    (
        "that counts winners; a prototype that is never first can carry much of the answer",
        "mean = p.mean(dim=0)",
        "return len(p.argmax(dim=1).unique())",
    ),
    ("nats belong to e: exp, not a power of 2", ("return ", "return 2 ** "), (".exp()", "")),
    ("the mean is over pictures, dimension 0; that one is over prototypes", "dim=0", "dim=1"),
    ("a rare prototype is cut off too early: clamp far below any mean", "1e-12", "0.01"),
    (
        "e to the information; the number in use asks for the entropy of the mean alone",
        ".sum()",
        ".sum() + (p * p.clamp(min=1e-12).log()).sum(dim=1).mean()",
    ),
    ("the sign of the entropy: it is not below 0, and the number in use not below 1", "-(", "("),
]


def histories():
    return [
        ([0.1, 0.5, 0.1, 0.6, 0.7, 0.8], 5, 0.2, 2),  # low twice, not in a row
        ([0.4, 0.3, 0.1, 0.0, 0.0, 0.0], 5, 0.2, 3),
        ([0.1, 0.6, 0.1, 0.1, 0.7, 0.1], 10, 0.2, 2),
        ([0.1, 0.3, 0.5, 0.7], 5, 0.2, 2),
        ([0.5, 0.5, 0.4, 0.3, 0.6, 0.2, 0.1], 7, 0.5, 2),  # two at `least`; rings twice
        ([0.9, 0.3, 0.2], 4, 0.4, 2),  # the last look
        ([0.1, 0.9], 6, 0.2, 1),  # the first one
    ]


def alarm_in_words(function, values, *settings):
    """When the alarm rings, in words, so that None is no missing `return`.

    Raises:
        Remark: the list of values is another one afterwards, or no step where it never rings.
    """
    before = list(values)
    step = function(values, *settings)
    if values != before:
        raise Remark("that changes `values`, and its caller loses it: only read them")
    if isinstance(step, bool):
        raise Remark("return a step, or None where it never rings")
    return "no alarm" if step is None else f"an alarm at step {step:g}"


@exercise("17.3", "an alarm", cases=histories, run=alarm_in_words)
def alarm(values, every, least, patience):
    low = 0
    for i, value in enumerate(values):
        low = low + 1 if value < least else 0
        if low == patience:
            return i * every
    return None


alarm.slips = [
    ("it never rings; is a `return` missing?", "return i", "i"),
    ("one good look ends a bad series: set the count back to 0", "else 0", "else low"),
    ("that is the number of the look; the step is `every` times as much", " * every", ""),
    ("the first look is at step 0; yours counts from 1", "i * every", "(i + 1) * every"),
    ("one low look may be chance: wait for `patience` of them in a row", " == patience", ""),
    (
        "too late: it rings at the look that makes `patience` in a row, not after it",
        "== patience",
        "> patience",
    ),
    (
        "the series began there, but only its last look makes it long enough to ring",
        "i * every",
        "(i - patience + 1) * every",
    ),
    ("a look at exactly `least` is not below it", "< least", "<= least"),
    ("the last look counts, too", "(values)", "(values[:-1])"),
    (
        "it rings at the first bad series; yours goes on to a later one",
        ("low = 0", "low, step = 0, None"),
        ("return i", "step = i"),
        ("return None", "return step"),
    ),
    ("step 0 is a step, though `if` takes it for false", "i * every", "i * every or None"),
    (
        "each of the looks has to be below `least`, not their mean",
        ("low + 1 if value < least else 0", "sum(values[max(i + 1 - patience, 0) : i + 1])"),
        ("low == patience", "i + 1 >= patience and low < patience * least"),
    ),
    ("where it never rings the answer is None", "return None", "return -1"),
]

EVEN = "these raw answers are even, not for one prototype"
SEVERAL = "raw, pictures name different prototypes already; lift one column for all of them"
ALIKE = (
    "the targets have nothing to tell pictures apart by: all rows are alike, or nearly, so "
    "Sinkhorn makes them even"
)
SHARED = "raw, all is hidden; but not every target is sure of a prototype of its own"


def checked_scores(function, n):
    """Tries the scores; a list of lists is fine, too.

    Raises:
        Remark: what raw answers or targets have wrong, or another shape, or infinite scores.
    """
    found = function(n)
    if found is None:
        raise Remark("it returned None; does the last line say return?")
    scores = torch.as_tensor(found).float()
    if scores.shape != (n, n):
        raise Remark(f"the shape is {list(scores.shape)}, wanted is [{n}, {n}]")
    if not scores.isfinite().all():
        raise Remark("some scores are infinite or nan; large ones will do")
    raw, target = scores.softmax(dim=1), sinkhorn_knopp(scores, 1.0)
    if entropy(raw.mean(dim=0, keepdim=True)).exp() > 1.1:
        raise Remark(EVEN if raw.amax() < 0.5 else SEVERAL)
    if target.amax() < 0.45:
        raise Remark(ALIKE)
    if len(target.argmax(dim=1).unique()) < n or target.amax(dim=1).min() < 0.6:
        raise Remark(SHARED)
    return "hidden"


@exercise("17.4", "what balanced targets hide", cases=[(8,), (64,)], run=checked_scores)
def hidden(n):
    # Column 0 is high for everyone, and softmax hears nothing else. Sinkhorn
    # divides each column by its sum: what all have in common goes, and each
    # picture's own prototype, far below, comes to light.
    scores = 20 * torch.eye(n)
    scores[:, 0] += 100
    return scores


hidden.slips = [
    (ALIKE, "20 * torch.eye(n)", "torch.zeros(n, n)"),
    (SEVERAL, "+= 100", "+= 0"),
    (EVEN, "return ", "return 0 * "),
    (SHARED, "eye(n)", "eye(n // 2).repeat_interleave(2, 0).repeat_interleave(2, 1)"),
]
