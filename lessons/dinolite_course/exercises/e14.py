"""Exercises of lesson 14, EMA: half-life, the shares of the past, what is averaged and what stays,
noise against delay, how old a teacher is under a schedule."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, Remark, keeping
from dinolite_course.exercises import named


def half_life(momentum: float) -> float:
    return math.log(0.5) / math.log(momentum)


def shares(momentum: float, n: int) -> Tensor:
    students = (1 - momentum) * momentum ** torch.arange(n - 1, -1, -1.0)
    return torch.cat([torch.tensor([momentum**n]), students])


def newest_least(momentum: float, n: int) -> Tensor:
    start, *students = shares(momentum, n).split(1)
    return torch.cat([start, *reversed(students)])


def error(momentum: float, noise: float, drift: float) -> float:
    return noise * (1 - momentum) / (1 + momentum) + (drift * momentum / (1 - momentum)) ** 2


def age(momenta: Tensor) -> float:
    return mean_age((1 - momenta) * later(momenta))


def later(momenta: Tensor) -> Tensor:
    """For each step the product of all momenta that come after it."""
    return torch.cat([momenta[1:], torch.ones(1)]).flip(0).cumprod(0).flip(0)


def mean_age(weights: Tensor) -> float:
    ages = torch.arange(len(weights) - 1, -1, -1.0)
    return ((weights * ages).sum() / weights.sum()).item()


def finite(function: Callable[[Tensor], float], momenta: Tensor) -> float:
    """What a function returns.

    Raises:
        Remark: it is nan.
    """
    found = keeping(function, momenta)
    if isinstance(found, float) and math.isnan(found):
        raise Remark("that is nan: a momentum may be 0, and 0 / 0 is no number")
    return found


def schedules() -> list[tuple[Tensor]]:
    return [
        (torch.full((50,), 0.9),),
        (torch.linspace(0.8, 0.99, 60),),
        (torch.tensor([0.5, 0.8]),),
        (torch.tensor([0.9, 0.0, 0.8, 1.0, 0.6]),),
    ]


EXERCISES = (
    Exercise(
        "14.1",
        "the half-life",
        half_life,
        lambda: [(0.5,), (0.9,), (0.98,), (0.994,)],
        (
            ("that is the mean length of the memory; half of a weight is gone sooner",
             lambda momentum: 1 / (1 - momentum)),
            ("the sign: both logarithms are negative, so their ratio is positive",
             lambda momentum: math.log(2) / math.log(momentum)),
            ("turned upside down: m^n = 0.5 is solved by ln 0.5 / ln m",
             lambda momentum: math.log(momentum) / math.log(0.5)),
            ("close for a momentum near 1, but ln m is not exactly m - 1",
             lambda momentum: math.log(2) / (1 - momentum)),
            ("that is when 1/e is left, not half", lambda momentum: -1 / math.log(momentum)),
            ("rounded; the number need not be whole", lambda momentum: round(half_life(momentum))),
            ("rounded up; the number need not be whole",
             lambda momentum: math.ceil(half_life(momentum))),
        ),
    ),
    Exercise(
        "14.2",
        "the shares of the past",
        shares,
        lambda: [(0.5, 3), (0.9, 5), (0.8, 1)],
        (
            ("the start is missing: the teacher still holds m^n of it, and all sum to 1",
             lambda momentum, n: shares(momentum, n)[1:]),
            ("the order is turned round: the start first, the latest student last",
             lambda momentum, n: shares(momentum, n).flip(0)),
            ("the latest student must have the largest share of the students, yours the smallest",
             newest_least),
            ("the start came in whole, not with 1 - m: its share is m^n",
             lambda momentum, n: (1 - momentum) * momentum ** torch.arange(n, -1, -1.0)),
            ("no student comes in whole: its share begins at 1 - m",
             lambda momentum, n: momentum ** torch.cat([torch.tensor([float(n)]),
                                                        torch.arange(n - 1, -1, -1.0)])),
            ("m and 1 - m are exchanged: the newest student has the share 1 - m",
             lambda momentum, n: shares(1 - momentum, n)),
        ),
    ),
    Exercise(
        "14.3",
        "what is averaged and what stays",
        named.next_teacher,
        named.states,
        named.MISTAKES,
        run=named.by_name,
    ),
    Exercise(
        "14.4",
        "noise against delay",
        error,
        lambda: [(0.0, 1.0, 0.1), (0.5, 1.0, 0.1), (0.9, 2.0, 0.05), (0.98, 0.5, 0.01)],
        (
            ("that is the noise alone; the teacher is late as well",
             lambda momentum, noise, drift: error(momentum, noise, 0.0)),
            ("that is the delay alone; some noise is left",
             lambda momentum, noise, drift: error(momentum, 0.0, drift)),
            ("noise is a square already, the delay is not: square it before you add",
             lambda momentum, noise, drift: error(momentum, noise, 0.0)
             + drift * momentum / (1 - momentum)),
            ("a higher momentum must leave less noise: (1 - m) / (1 + m), not the inverse",
             lambda momentum, noise, drift: noise * (1 + momentum) / (1 - momentum)
             + (drift * momentum / (1 - momentum)) ** 2),
            ("the mean age is m / (1 - m): the newest student has age 0, not 1",
             lambda momentum, noise, drift: error(momentum, noise, 0.0)
             + (drift / (1 - momentum)) ** 2),
            ("that is the noise of the newest student alone; sum the squares of all weights",
             lambda momentum, noise, drift: error(momentum, 0.0, drift)
             + noise * (1 - momentum) ** 2),
            ("that is the square of the sum of weights, not the sum of their squares",
             lambda momentum, noise, drift: error(momentum, 0.0, drift) + noise),
            ("`noise` is a variance, so a square already",
             lambda momentum, noise, drift: error(momentum, noise**2, drift)),
        ),
    ),
    Exercise(
        "14.5",
        "the age of a teacher",
        age,
        schedules,
        (
            ("that treats the last momentum as if it had held all the time",
             lambda momenta: mean_age((1 - momenta[-1])
                                      * momenta[-1] ** torch.arange(len(momenta) - 1, -1, -1.0))),
            ("a student is shrunk by the steps after its own; you multiply with those before",
             lambda momenta: mean_age((1 - momenta) * momenta.cumprod(0))),
            ("its own step does not shrink a student: multiply from the next step on",
             lambda momenta: mean_age((1 - momenta) * momenta.flip(0).cumprod(0).flip(0))),
            ("the weights do not sum to 1, since some of the start is left: divide by their sum",
             lambda momenta: age(momenta) * (1 - momenta.prod().item())),
            ("the newest student has age 0, so all ages are one too large",
             lambda momenta: age(momenta) + 1),
            ("the share of the start is in it; only students count",
             lambda momenta: mean_age((1 - momenta) * later(momenta)) * (1 - momenta.prod().item())
             + len(momenta) * momenta.prod().item()),
            ("a student enters with 1 - m of its own step; yours all enter whole",
             lambda momenta: mean_age(later(momenta))),
        ),
        run=finite,
    ),
)  # fmt: skip
