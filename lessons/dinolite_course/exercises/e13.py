"""Exercises of lesson 13, KoLeo: shapes, the nearest neighbour, the loss, its use on two crops, and
a variant that comes to rest.
"""

import torch

from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise("13.1", "the three shapes inside KoLeo", cases=[(16, 384, 1), (8, 48, 2)])
def shapes(B, D, k):
    return (B, B), (B, k, D), (B, k)


shapes.slips = [
    ("similarities are between features, so there are B x B of them, not D x D", "B, B", "D, D"),
    ("a neighbour is a whole feature: its D numbers are missing", "(B, k, D)", "(B, k)"),
    ("a distance is one number; the D differences were summed up in it", "(B, k)", "(B, k, D)"),
    ("the dimension of the k neighbours stays, even for k = 1", "k, D), (B, k)", "D), (B,)"),
]


def features(n=8):
    """Random directions, with lengths that mislead."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=draw) * torch.logspace(-1, 1, n).roll(3)[:, None]


def three_points():
    """Three points on the circle; no two of them have a positive cosine."""
    angle = torch.tensor([0.0, 100.0, 220.0]).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def near_and_opposite():
    """The last two features have a cosine of -1, the least there is."""
    opposite = torch.tensor([[0.0, 2.0], [0.0, -3.0]])
    return [(features(), 2), (three_points(), 1), (features(7), 3), (opposite, 1)]


@exercise("13.2", "who are my nearest neighbours?", cases=near_and_opposite, run=keeping)
def k_nearest(x, k):
    x = torch.nn.functional.normalize(x, dim=1)
    similarity = x @ x.T  # [B, B]
    similarity.fill_diagonal_(-2)  # below every cosine
    return similarity.topk(k, dim=1).indices


UNIT = "x = torch.nn.functional.normalize(x, dim=1)"
ANY_LENGTH = "long features win, whatever their direction: normalise first"
DISTANCES = "those are distances before normalising; only directions count"
k_nearest.slips = [
    ("every feature found itself; no one is nearer to it, so leave it out", "(-2)", "(2)"),
    ("0 on the diagonal is not low enough: where all cosines are negative, it wins", "(-2)", "(0)"),
    (
        "-1 on the diagonal is not low enough: of two opposite features it is as high as "
        "the other one",
        "(-2)",
        "(-1)",
    ),
    (ANY_LENGTH, (UNIT, "pass"), ("(-2)", "(-1e9)")),
    (DISTANCES, (UNIT, "pass"), ("x @ x.T", "-torch.cdist(x, x)"), ("(-2)", "(-1e9)")),
    ("those are the farthest: a large cosine means near", "= x @", "= -x @"),
    ("the nearest comes first, yours last", ".indices", ".indices.flip(1)"),
]


@exercise(
    "13.3",
    "KoLeo in groups",
    cases=lambda: [(features(), 4), (features(9), 3), (features(), 2)],
    run=keeping,
)
def koleo_in_groups(x, size):
    x = torch.nn.functional.normalize(x, dim=1)
    groups = x.view(-1, size, x.shape[1])  # [B / size, size, D]
    own = torch.eye(size, dtype=torch.bool)
    ways = torch.cdist(groups, groups).masked_fill(own, torch.inf)
    return -ways.min(dim=2).values.log().mean()


MIXED = "the groups are mixed: features next to each other in `x` belong together"
HOW_MANY = "`size` is how many features a group has, not how many groups there are"
LOG_OF_MEAN = "that is the log of the mean; take the log of each distance first"
ALL_OTHERS = "the nearest alone counts; yours is the mean over all others of the group"
koleo_in_groups.slips = [
    ("everybody searched among all: the groups are missing", "groups =", "size = len(x); groups ="),
    (MIXED, "view(-1, size, x.shape[1])", "view(size, -1, x.shape[1]).transpose(0, 1)"),
    (HOW_MANY, "view(-1, size,", "view(size, size := len(x) // size,"),
    ("summed over groups; take the mean", ".mean()", ".mean(dim=1).sum()"),
    ("the sign: far apart must cost less", "-ways", "ways"),
    ("the distances are between features of any length: normalise first", UNIT, "pass"),
    (LOG_OF_MEAN, ".log().mean()", ".mean().log()"),
    (ALL_OTHERS, "ways.min(dim=2).values", "ways[:, ~own]"),
]


def two_crops():
    """The second crop of a picture resembles the first."""
    draw = torch.Generator().manual_seed(1)
    first, noise = torch.randn(2, 6, 5, generator=draw)
    return [(torch.stack([first, first + 0.2 * noise]), 0.1), (torch.stack([first, noise]), 0.5)]


@exercise("13.4", "KoLeo's part of the total loss", cases=two_crops, run=keeping)
def koleo_of_crops(cls, weight):
    loss = KoLeoLoss()
    return weight * (loss(cls[0]) + loss(cls[1]))


BOTH = "(loss(cls[0]) + loss(cls[1]))"
PUSHED_AWAY = "both crops went into one search, so a picture is pushed away from itself"
ONE_SEARCH = "one search among both crops: search each crop by itself, then add the two"
FIRST_ONLY = "the weight belongs to both crops; yours stands before the first only"
koleo_of_crops.slips = [
    (PUSHED_AWAY, BOTH, "2 * loss(cls.flatten(0, 1))"),
    (ONE_SEARCH, BOTH, "loss(cls.flatten(0, 1))"),
    ("the mean of both crops; the total sums", "loss(cls[1]))", "loss(cls[1])) / 2"),
    ("the second crop counts, too", " + loss(cls[1])", ""),
    ("the weight is missing", "weight * ", ""),
    (FIRST_ONLY, BOTH, "loss(cls[0]) + loss(cls[1])"),
    ("the class has the minus already", "return weight", "return -weight"),
]


def features_and_far():
    three = three_points()
    return [(features(), 0.6), (torch.cat([three, three + 0.1]), 0.5)]


@exercise("13.5", "a KoLeo that comes to rest", cases=features_and_far, run=keeping)
def resting_koleo(x, far):
    # clamp has gradient 0 beyond `far`: who is far enough away is left in
    # peace, and DINO may put alike pictures side by side at that distance.
    # The price: one more number to choose, and it has to fit B and D, since
    # in a batch of 16 random directions nobody is nearer than about 1.
    x = torch.nn.functional.normalize(x, dim=1)
    distance = (x - x[k_nearest(x, 1)[:, 0]]).norm(dim=1)
    return -(distance.clamp(max=far) / far).log().mean()


NEAR_ONES = "the mean is over all features; those at rest count with 0"
BY_DIRECTION = (
    "found by direction, but measured between features of any length: normalise them, too"
)
CLIPPED_MEAN = "who is far is at rest by itself: clip each distance, not the mean"
resting_koleo.slips = [
    ("far neighbours still push: clip the distance at `far` from above", ".clamp(max=far)", ""),
    ("the wrong side: now the near ones are clipped, which have to be pushed", "max", "min"),
    ("a batch at rest must cost 0: divide by `far` inside the log", " / far", ""),
    (NEAR_ONES, ".clamp(max=far)", "[distance < far]"),
    (BY_DIRECTION, UNIT, "pass"),
    (
        "features may have any length: normalise first",
        (UNIT, "pass"),
        (
            "(x - x[k_nearest(x, 1)[:, 0]]).norm(dim=1)",
            "torch.cdist(x, x).fill_diagonal_(torch.inf).amin(dim=1)",
        ),
    ),
    (CLIPPED_MEAN, (".clamp(max=far)", ""), (".mean()", ".mean().clamp(max=0)")),
    ("summed; take the mean over all features", ".mean()", ".sum()"),
]
