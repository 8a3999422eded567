"""Exercises 13.3 to 13.5, how near the nearest is: in groups, of two crops, at most `far`. The
answers and what people get wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.loss.koleo_loss import KoLeoLoss


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


def all_others(x: Tensor, size: int) -> Tensor:
    """The mean over all others of the group, not the nearest alone."""
    x = F.normalize(x, dim=-1).view(-1, size, x.shape[1])
    others = ~torch.eye(size, dtype=torch.bool)
    return -torch.cdist(x, x)[:, others].log().mean()


def koleo_of_crops(cls: Tensor, weight: float) -> Tensor:
    loss = KoLeoLoss()
    return weight * (loss(cls[0]) + loss(cls[1]))


def resting_koleo(x: Tensor, far: float) -> Tensor:
    return -(distances(x).clamp(max=far) / far).log().mean()


def any_length(x: Tensor, far: float) -> Tensor:
    """Nearest among features of any length, without normalising at all."""
    d = torch.cdist(x, x).fill_diagonal_(torch.inf).amin(dim=1)
    return -(d.clamp(max=far) / far).log().mean()


def only_near_ones(x: Tensor, far: float) -> Tensor:
    """The mean over the features that are too near, not over all."""
    d = distances(x)
    return -(d[d < far] / far).log().mean()


IN_GROUPS = (
    ("everybody searched among all: the groups are missing", lambda x, g: KoLeoLoss()(x)),
    (
        "the groups are mixed: features next to each other in `x` belong together",
        lambda x, g: koleo_in_groups(x.view(g, -1, 3).transpose(0, 1).flatten(0, 1), g),
    ),
    (
        "`size` is how many features a group has, not how many groups there are",
        lambda x, g: koleo_in_groups(x, len(x) // g),
    ),
    ("summed over groups; take the mean", lambda x, g: koleo_in_groups(x, g) * len(x) / g),
    ("the sign: far apart must cost less", lambda x, g: -koleo_in_groups(x, g)),
    (
        "the distances are between features of any length: normalise first",
        lambda x, g: -in_groups(x, g, unit=False).log().mean(),
    ),
    ("that is the log of the mean; take the log of each distance first",
     lambda x, g: -in_groups(x, g).mean().log()),
    ("the nearest alone counts; yours is the mean over all others of the group", all_others),
)  # fmt: skip

OF_CROPS = (
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
    (
        "the weight belongs to both crops; yours stands before the first only",
        lambda cls, w: w * KoLeoLoss()(cls[0]) + KoLeoLoss()(cls[1]),
    ),
    ("the class has the minus already", lambda cls, w: -koleo_of_crops(cls, w)),
)

AT_REST = (
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
    (
        "found by direction, but measured between features of any length: normalise them, too",
        lambda x, far: -(distances(x, unit=False).clamp(max=far) / far).log().mean(),
    ),
    ("features may have any length: normalise first", any_length),
    (
        "who is far is at rest by itself: clip each distance, not the mean",
        lambda x, far: (-(distances(x) / far).log().mean()).clamp(min=0),
    ),
    ("summed; take the mean over all features", lambda x, far: len(x) * resting_koleo(x, far)),
)
