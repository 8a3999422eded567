"""Exercises of lesson 13, KoLeo: shapes, the nearest neighbour, the loss, its use on two crops, and
a variant that comes to rest.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.exercises.exercise import Exercise
from dinolite.loss.koleo_loss import KoLeoLoss


def shapes(B: int, D: int, k: int) -> tuple[tuple[int, ...], ...]:
    return (B, B), (B, k, D), (B, k)


def similarities(x: Tensor, own: float = -2.0, unit: bool = True) -> Tensor:
    """Dot products [B, B], `own` on the diagonal."""
    x = F.normalize(x, dim=-1) if unit else x
    return (x @ x.T).fill_diagonal_(own)


def k_nearest(x: Tensor, k: int) -> Tensor:
    return similarities(x).topk(k, dim=1).indices


def distances(x: Tensor, unit: bool = True) -> Tensor:
    """From each feature to its nearest [B]."""
    neighbour = x[k_nearest(x, 1)[:, 0]]
    if unit:
        x, neighbour = F.normalize(x, dim=-1), F.normalize(neighbour, dim=-1)
    return (x - neighbour).norm(dim=-1)


def in_groups(x: Tensor, size: int, unit: bool = True) -> Tensor:
    """Distances to the nearest of one's group [B]."""
    return torch.cat([distances(group, unit) for group in x.split(size)])


def koleo_in_groups(x: Tensor, size: int) -> Tensor:
    return -in_groups(x, size).log().mean()


def koleo_of_crops(cls: Tensor, weight: float) -> Tensor:
    loss = KoLeoLoss()
    return weight * (loss(cls[0]) + loss(cls[1]))


def resting_koleo(x: Tensor, far: float) -> Tensor:
    return -(distances(x).clamp(max=far) / far).log().mean()


def only_near_ones(x: Tensor, far: float) -> Tensor:
    """The mean over the features that are too near, not over all."""
    d = distances(x)
    return -(d[d < far] / far).log().mean()


# --- inputs ---


def features(n: int = 8) -> Tensor:
    """Random directions, with lengths that mislead."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=draw) * torch.logspace(-1, 1, n).roll(3)[:, None]


def three_points() -> Tensor:
    """Three points on the circle; no two of them have a positive cosine."""
    angle = torch.tensor([0.0, 100.0, 220.0]).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


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
        lambda: [(features(), 2), (three_points(), 1)],
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
        ),
    ),
    Exercise(
        "13.3",
        "KoLeo in groups",
        koleo_in_groups,
        lambda: [(features(), 4), (features(9), 3)],
        (
            ("everybody searched among all: the groups are missing", lambda x, g: KoLeoLoss()(x)),
            (
                "the groups are mixed: features next to each other in `x` belong together",
                lambda x, g: koleo_in_groups(x.view(g, -1, 3).transpose(0, 1).flatten(0, 1), g),
            ),
            ("summed over groups; take the mean", lambda x, g: koleo_in_groups(x, g) * len(x) / g),
            ("the sign: far apart must cost less", lambda x, g: -koleo_in_groups(x, g)),
            (
                "the distances are between features of any length: normalise first",
                lambda x, g: -in_groups(x, g, unit=False).log().mean(),
            ),
        ),
    ),
    Exercise(
        "13.4",
        "KoLeo's part of the total loss",
        koleo_of_crops,
        two_crops,
        (
            (
                "both crops went into one search, so a picture is pushed away from itself",
                lambda cls, w: 2 * w * KoLeoLoss()(cls.flatten(0, 1)),
            ),
            (
                "one search among both crops: search each crop by itself, then add the two",
                lambda cls, w: w * KoLeoLoss()(cls.flatten(0, 1)),
            ),
            ("the mean of both crops; the total sums", lambda c, w: koleo_of_crops(c, w) / 2),
            ("the second crop counts, too", lambda cls, w: w * KoLeoLoss()(cls[0])),
            ("the weight is missing", lambda cls, w: koleo_of_crops(cls, 1.0)),
        ),
    ),
    Exercise(
        "13.5",
        "a KoLeo that comes to rest",
        resting_koleo,
        features_and_far,
        (
            (
                "far neighbours still push: clip the distance at `far` from above",
                lambda x, far: -(distances(x) / far).log().mean(),
            ),
            (
                "the wrong side: now the near ones are clipped, which have to be pushed",
                lambda x, far: -(distances(x).clamp(min=far) / far).log().mean(),
            ),
            (
                "a batch at rest must cost 0: divide by `far` inside the log",
                lambda x, far: -distances(x).clamp(max=far).log().mean(),
            ),
            ("the mean is over all features; those at rest count with 0", only_near_ones),
        ),
    ),
)
