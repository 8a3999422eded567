"""Exercises of lesson 17, collapse: what the information is, prototypes in use, an alarm, and a
network whose balanced targets hide what it says."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.train.monitors import entropy
from dinolite_course.checking import Exercise, Remark, keeping
from dinolite_course.exercises import alarms, hiding


def informations(K: int) -> tuple[float, float, float]:
    return 0.0, 0.0, math.log(K)


def in_use(p: Tensor) -> Tensor:
    return entropy(p.mean(dim=0, keepdim=True)).exp()


def winners(p: Tensor) -> float:
    """The prototypes that are the first choice of some picture."""
    return float(len(p.argmax(dim=1).unique()))


def cut_at(p: Tensor, least: float) -> Tensor:
    """The mean is held above `least` inside the log."""
    mean = p.mean(dim=0)
    return (-(mean * mean.clamp(min=least).log()).sum()).exp()


def as_numbers(function: Callable[[int], Sequence[float]], K: int) -> Sequence[float]:
    """What a function returns; tensors with one number each are fine, too."""
    found = function(K)
    return tuple(map(float, found)) if isinstance(found, tuple | list) else found


def as_number(function: Callable[[Tensor], Tensor], p: Tensor) -> float | None:
    """What a function returns, as a number.

    Raises:
        Remark: p is another one afterwards, or the number is nan.
    """
    found = keeping(function, p)
    number = None if found is None else float(found)
    if number is not None and math.isnan(number):
        raise Remark("that is nan: a mean may hold zeros, and 0 times log 0 is no number")
    return number


def answers() -> list[tuple[Tensor]]:
    """Sure and different, sure and alike, and unsure answers; then sure ones that leave two
    prototypes alone and nearly a third."""
    draw = torch.Generator().manual_seed(17)
    scores = torch.randn(12, 6, generator=draw)
    tilted = 3 * scores + torch.tensor([4.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    sure = F.one_hot(torch.tensor([0, 0, 1, 3, 3, 0, 1]), 6).float()
    sure[2] = torch.tensor([0.0, 0.98, 0.0, 0.0, 0.02, 0.0])
    return [(x.softmax(dim=1),) for x in (4 * scores, tilted, scores)] + [(sure,)]


EXERCISES = (
    Exercise(
        "17.1",
        "three networks, three numbers",
        informations,
        lambda: [(2,), (64,), (4096,)],
        (
            (
                "the even answer has much entropy and no information: every picture gets it",
                lambda K: (0.0, math.log(K), math.log(K)),
            ),
            (
                "which net tells pictures apart? Not the one with the even answer",
                lambda K: (0.0, math.log(K), 0.0),
            ),
            (
                "sure answers have entropy 0, but the information is that of the mean minus it",
                lambda K: (0.0, 0.0, 0.0),
            ),
            (
                "those are nats that went to prototypes: K equal answers have entropy ln K, not K",
                lambda K: (0.0, 0.0, float(K)),
            ),
            (
                "natural logarithm, please: the package counts in nats",
                lambda K: (0.0, 0.0, math.log2(K)),
            ),
        ),
        run=as_numbers,
    ),
    Exercise(
        "17.2",
        "prototypes in use",
        in_use,
        answers,
        (
            (
                "that is how many prototypes one picture hesitates between; take the mean of the "
                "answers first, then the entropy",
                lambda p: entropy(p).exp(),
            ),
            (
                "that is the entropy in nats; e to its power counts prototypes",
                lambda p: in_use(p).log(),
            ),
            (
                "that counts winners; a prototype that is never first can carry much of the answer",
                winners,
            ),
            (
                "nats belong to e: exp, not a power of 2",
                lambda p: 2 ** entropy(p.mean(dim=0, keepdim=True)),
            ),
            (
                "the mean is over pictures, dimension 0; that one is over prototypes",
                lambda p: entropy(p.mean(dim=1, keepdim=True).mT).exp(),
            ),
            (
                "a rare prototype is cut off too early: clamp far below any mean",
                lambda p: cut_at(p, 0.01),
            ),
            (
                "e to the information; the number in use asks for the entropy of the mean alone",
                lambda p: (entropy(p.mean(dim=0, keepdim=True)) - entropy(p)).exp(),
            ),
            (
                "the sign of the entropy: it is not below 0, and the number in use not below 1",
                lambda p: 1 / in_use(p),
            ),
        ),
        run=as_number,
    ),
    Exercise(
        "17.3",
        "an alarm",
        alarms.alarm,
        alarms.histories,
        alarms.MISTAKES,
        run=alarms.told,
    ),
    Exercise(
        "17.4",
        "what balanced targets hide",
        hiding.hidden,
        lambda: [(8,), (64,)],
        hiding.MISTAKES,
        run=hiding.whose,
    ),
)
