"""Exercises of lesson 00, the map: tokens, the start of the loss, the slow teacher."""

import math

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping


def tokens(size: int, patch: int, registers: int) -> int:
    return 1 + registers + (size // patch) ** 2


def start_of_loss(K: int) -> float:
    return math.log(K)


def slow_copy(teacher: Tensor, student: Tensor, momentum: float) -> Tensor:
    return momentum * teacher + (1 - momentum) * student


def pairs(n_global: int, n_local: int) -> int:
    return n_global * (n_global - 1) + n_global * n_local


def two_vectors() -> list[tuple[Tensor, Tensor, float]]:
    return [(torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0]), m) for m in (0.9, 0.5, 0.25)]


EXERCISES = (
    Exercise(
        "00.1",
        "how many tokens the backbone sees",
        tokens,
        lambda: [(24, 4, 2), (12, 4, 2), (224, 16, 4), (8, 4, 0)],
        (
            ("the CLS token is missing", lambda s, p, r: r + (s // p) ** 2),
            ("the registers are missing", lambda s, p, r: 1 + (s // p) ** 2),
            (
                "a picture has rows and columns of patches: square the count",
                lambda s, p, r: 1 + r + s // p,
            ),
            ("those are pixels, not patches", lambda s, p, r: 1 + r + s**2),
            (
                "a patch is `patch` pixels high and wide: divide by it twice",
                lambda s, p, r: 1 + r + s**2 // p,
            ),
        ),
    ),
    Exercise(
        "00.2",
        "where every DINO loss starts",
        start_of_loss,
        lambda: [(128,), (65536,), (2,)],
        (
            ("that is the base-2 logarithm; losses here are in nats", lambda K: math.log2(K)),
            ("that is the base-10 logarithm; losses here are in nats", lambda K: math.log10(K)),
            ("the sign: -log(1/K) is positive", lambda K: -math.log(K)),
            ("that is a probability; the loss is -log of it", lambda K: 1 / K),
            ("that is one of the K terms of the sum", lambda K: math.log(K) / K),
        ),
    ),
    Exercise(
        "00.3",
        "the teacher's update",
        slow_copy,
        two_vectors,
        (
            (
                "student and teacher have changed places: with momentum 0.9 the teacher should "
                "keep nine tenths of itself",
                lambda t, s, m: m * s + (1 - m) * t,
            ),
            ("the student comes in with its full weight", lambda t, s, m: m * t + s),
            ("the teacher's part keeps its full weight", lambda t, s, m: t + (1 - m) * s),
            ("that is the student itself: a teacher without memory", lambda t, s, m: s.clone()),
        ),
        keeping,
    ),
    Exercise(
        "00.4",
        "how many pairs of crops are compared",
        pairs,
        lambda: [(2, 4), (2, 8), (3, 0), (3, 5), (1, 6)],
        (
            ("a global crop is not compared with itself", lambda g, n: g * g + g * n),
            (
                "the teacher sees global crops only, so pairs with a local crop on the teacher's "
                "side do not exist",
                lambda g, n: (g + n) * (g + n - 1),
            ),
            ("the pairs of two global crops are missing", lambda g, n: g * n),
            (
                "two global crops make two pairs: each of them is once the student's",
                lambda g, n: g * (g - 1) // 2 + g * n,
            ),
            (
                "a local crop of the student meets every global crop of the teacher",
                lambda g, n: (g - 1) * (g + n),
            ),
        ),
    ),
)
