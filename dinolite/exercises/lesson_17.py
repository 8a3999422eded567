"""Exercises of lesson 17, collapse: what the information is, prototypes in use, an alarm, and a
network whose balanced targets hide what it says."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dinolite.exercises.exercise import Exercise
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.train.monitors import entropy


def informations(K: int) -> tuple[float, float, float]:
    return 0.0, 0.0, math.log(K)


def in_use(p: Tensor) -> Tensor:
    return entropy(p.mean(dim=0, keepdim=True)).exp()


def winners(p: Tensor) -> float:
    """The prototypes that are the first choice of some picture."""
    return float(len(p.argmax(dim=1).unique()))


def alarm(values: Sequence[float], every: int, least: float, patience: int) -> int | None:
    low = 0
    for i, value in enumerate(values):
        low = low + 1 if value < least else 0
        if low == patience:
            return i * every
    return None


def never_reset(values: Sequence[float], every: int, least: float, patience: int) -> int | None:
    low = 0
    for i, value in enumerate(values):
        low += value < least
        if low == patience:
            return i * every
    return None


def look_number(values: Sequence[float], every: int, least: float, patience: int) -> int | None:
    return alarm(values, 1, least, patience)


def impatient(values: Sequence[float], every: int, least: float, patience: int) -> int | None:
    return alarm(values, every, least, 1)


def where_it_began(values: Sequence[float], every: int, least: float, patience: int) -> int | None:
    step = alarm(values, every, least, patience)
    return None if step is None else step - (patience - 1) * every


def hidden(n: int) -> Tensor:
    scores = 20 * torch.eye(n)
    scores[:, 0] += 100
    return scores


def first_only(n: int) -> Tensor:
    scores = torch.zeros(n, n)
    scores[:, 0] = 100
    return scores


def own_only(n: int) -> Tensor:
    return 20 * torch.eye(n)


def as_number(function: Callable[[Tensor], Tensor], p: Tensor) -> float:
    return float(function(p))


def seen(function: Callable[[int], Tensor], n: int) -> tuple[bool, bool, bool]:
    """One prototype in the raw answers? All of them in the targets? Do targets tell pictures
    apart?"""
    scores = function(n)
    if scores.shape != (n, n):
        raise ValueError(f"scores has shape {list(scores.shape)}; wanted is [{n}, {n}]")
    raw, targets = scores.softmax(dim=1), sinkhorn_knopp(scores, 1.0)
    tells = math.log(float(in_use(targets))) - float(entropy(targets))
    return float(in_use(raw)) < 1.1, float(in_use(targets)) > 0.9 * n, tells > 0.5 * math.log(n)


def answers() -> list[tuple[Tensor]]:
    """Sure and different, sure and alike, and unsure answers."""
    draw = torch.Generator().manual_seed(17)
    scores = torch.randn(12, 6, generator=draw)
    tilted = 3 * scores + torch.tensor([4.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    return [((4 * scores).softmax(dim=1),), (tilted.softmax(dim=1),), (scores.softmax(dim=1),)]


def histories() -> list[tuple[list[float], int, float, int]]:
    return [
        ([0.1, 0.5, 0.1, 0.6, 0.7, 0.8], 5, 0.2, 2),  # low twice, not in a row
        ([0.4, 0.3, 0.1, 0.0, 0.0, 0.0], 5, 0.2, 3),
        ([0.1, 0.6, 0.1, 0.1, 0.7, 0.1], 10, 0.2, 2),
        ([0.1, 0.3, 0.5, 0.7], 5, 0.2, 2),
    ]


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
        ),
        run=as_number,
    ),
    Exercise(
        "17.3",
        "an alarm",
        alarm,
        histories,
        (
            (
                "one good look ends a bad series: set the count back to 0",
                never_reset,
            ),
            ("that is the number of the look; the step is `every` times as much", look_number),
            ("one low look may be chance: wait for `patience` of them in a row", impatient),
            (
                "the series began there, but only its last look makes it long enough to ring",
                where_it_began,
            ),
        ),
    ),
    Exercise(
        "17.4",
        "what balanced targets hide",
        hidden,
        lambda: [(8,), (64,)],
        (
            (
                "the targets have nothing to tell pictures apart by: all rows are alike, or "
                "nearly, so Sinkhorn makes them even",
                first_only,
            ),
            (
                "raw, every picture has its own prototype already; lift one column for all of them",
                own_only,
            ),
            ("these raw answers are even, not for one prototype", lambda n: torch.zeros(n, n)),
        ),
        run=seen,
    ),
)
