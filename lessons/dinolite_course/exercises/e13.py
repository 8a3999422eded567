"""Exercises of lesson 13, KoLeo: shapes, the nearest neighbour, the loss, its use on two crops, and
a variant that comes to rest.
"""

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises import spreading
from dinolite_course.exercises.spreading import k_nearest, similarities


def shapes(B: int, D: int, k: int) -> tuple[tuple[int, ...], ...]:
    return (B, B), (B, k, D), (B, k)


# --- inputs ---


def features(n: int = 8) -> Tensor:
    """Random directions, with lengths that mislead."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=draw) * torch.logspace(-1, 1, n).roll(3)[:, None]


def three_points() -> Tensor:
    """Three points on the circle; no two of them have a positive cosine."""
    angle = torch.tensor([0.0, 100.0, 220.0]).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def two_opposite() -> Tensor:
    """Cosine -1, the least there is."""
    return torch.tensor([[0.0, 2.0], [0.0, -3.0]])


def two_crops() -> list[tuple[Tensor, float]]:
    """The second crop of a picture resembles the first."""
    draw = torch.Generator().manual_seed(1)
    first, noise = torch.randn(2, 6, 5, generator=draw)
    return [(torch.stack([first, first + 0.2 * noise]), 0.1), (torch.stack([first, noise]), 0.5)]


def features_and_far() -> list[tuple[Tensor, float]]:
    three = three_points()
    return [(features(), 0.6), (torch.cat([three, three + 0.1]), 0.5)]


EXERCISES = (
    Exercise(
        "13.1",
        "the three shapes inside KoLeo",
        shapes,
        lambda: [(16, 384, 1), (8, 48, 2)],
        (
            (
                "similarities are between features, so there are B x B of them, not D x D",
                lambda B, D, k: ((D, D), (B, k, D), (B, k)),
            ),
            (
                "a neighbour is a whole feature: its D numbers are missing",
                lambda B, D, k: ((B, B), (B, k), (B, k)),
            ),
            (
                "a distance is one number; the D differences were summed up in it",
                lambda B, D, k: ((B, B), (B, k, D), (B, k, D)),
            ),
            (
                "the dimension of the k neighbours stays, even for k = 1",
                lambda B, D, k: ((B, B), (B, D), (B,)),
            ),
        ),
    ),
    Exercise(
        "13.2",
        "who are my nearest neighbours?",
        k_nearest,
        lambda: [(features(), 2), (three_points(), 1), (features(7), 3), (two_opposite(), 1)],
        (
            (
                "every feature found itself; no one is nearer to it, so leave it out",
                lambda x, k: similarities(x, own=2.0).topk(k, dim=1).indices,
            ),
            (
                "0 on the diagonal is not low enough: where all cosines are negative, it wins",
                lambda x, k: similarities(x, own=0.0).topk(k, dim=1).indices,
            ),
            (
                "-1 on the diagonal is not low enough: of two opposite features it is as high as "
                "the other one",
                lambda x, k: similarities(x, own=-1.0).topk(k, dim=1).indices,
            ),
            (
                "long features win, whatever their direction: normalise first",
                lambda x, k: similarities(x, -1e9, unit=False).topk(k, dim=1).indices,
            ),
            (
                "those are distances before normalising; only directions count",
                lambda x, k: torch.cdist(x, x).fill_diagonal_(1e9).argsort(dim=1)[:, :k],
            ),
            (
                "those are the farthest: a large cosine means near",
                lambda x, k: similarities(x, own=2.0).topk(k, dim=1, largest=False).indices,
            ),
            ("the nearest comes first, yours last", lambda x, k: k_nearest(x, k).flip(1)),
        ),
        run=keeping,
    ),
    Exercise(
        "13.3",
        "KoLeo in groups",
        spreading.koleo_in_groups,
        lambda: [(features(), 4), (features(9), 3), (features(), 2)],
        spreading.IN_GROUPS,
        run=keeping,
    ),
    Exercise(
        "13.4",
        "KoLeo's part of the total loss",
        spreading.koleo_of_crops,
        two_crops,
        spreading.OF_CROPS,
        run=keeping,
    ),
    Exercise(
        "13.5",
        "a KoLeo that comes to rest",
        spreading.resting_koleo,
        features_and_far,
        spreading.AT_REST,
        run=keeping,
    ),
)
