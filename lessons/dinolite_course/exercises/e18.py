"""Exercises of lesson 18, reading features: shapes, the vote, mIoU, overlapping windows, and points
that k-NN can tell apart and a line cannot."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.eval.knn import knn_accuracy
from dinolite.eval.linear import ridge_probe
from dinolite_course.checking import Exercise, as_bools
from dinolite_course.exercises import overlapping

Shapes = tuple[tuple[int, ...], ...]


def shapes(n: int, m: int, D: int, C: int, k: int) -> Shapes:
    return (m, n), (m, k), (m, C), (2 * D, C)


def vote(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    weights = (cosines / temperature).softmax(dim=0)
    return weights @ F.one_hot(labels, n_classes).float()


def counted(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    return F.one_hot(labels, n_classes).float().mean(dim=0)


def kept_one(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    """shares[labels] += weights: of neighbours with equal labels only the last one counts."""
    weights = (cosines / temperature).softmax(dim=0)
    return torch.zeros(n_classes).index_put((labels,), weights)


def not_shared(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    return (cosines / temperature).exp() @ F.one_hot(labels, n_classes).float()


def tricky() -> tuple[Tensor, Tensor]:
    angle = torch.arange(40) % 4 * torch.pi / 2 + torch.linspace(-0.2, 0.2, 40)
    return torch.stack([angle.cos(), angle.sin()], dim=1), torch.arange(40) % 2


def reverse() -> tuple[Tensor, Tensor]:
    """One class near the middle, one far, in turns: a line parts them, cosines do not."""
    angle, y = torch.arange(40) / 100, torch.arange(40) % 2
    return torch.stack([angle.cos(), angle.sin()], dim=1) * (1 + 2 * y)[:, None], y


def easy() -> tuple[Tensor, Tensor]:
    x, _ = tricky()
    return x, (torch.arange(40) % 4 > 1).long()


def hopeless() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(18)
    return torch.randn(40, 2, generator=draw), torch.arange(40) % 2


def judged(function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[bool, bool]:
    """Is each point's nearest other one of its class? Does a linear probe fail?"""
    x, y = function()
    if x.shape != (40, 2) or not x.is_floating_point() or not bool(x.isfinite().all()):
        raise ValueError(f"x is {list(x.shape)}, {x.dtype}; wanted are [40, 2] finite floats")
    if y.shape != (40,) or y.is_floating_point() or sorted(y.tolist()) != [0] * 20 + [1] * 20:
        raise ValueError(f"y is {list(y.shape)}, {y.dtype}; wanted are 20 zeros and 20 ones, ints")
    near = knn_accuracy(x, y, x, y, [1], skip_first_nn=True)[1]
    return near > 0.99, ridge_probe(x, y).accuracy(x, y) < 0.7


def neighbours() -> list[tuple[Tensor, Tensor, int, float]]:
    cosines = torch.tensor([0.9, 0.8, 0.75, 0.4])
    first, second = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 2, 0, 0])
    return [(cosines, first, 3, 0.1), (cosines, first, 3, 1.0), (cosines, second, 4, 0.07)]


EXERCISES = (
    Exercise(
        "18.1",
        "shapes",
        shapes,
        lambda: [(3000, 600, 64, 16, 10), (7, 5, 4, 3, 2)],
        (
            (
                "the rows are test pictures: each of them asks the whole bank",
                lambda n, m, D, C, k: ((n, m), (n, k), (n, C), (2 * D, C)),
            ),
            (
                "the probe reads CLS and mean patch side by side, two vectors of width D",
                lambda n, m, D, C, k: ((m, n), (m, k), (m, C), (D, C)),
            ),
            (
                "neighbours vote for classes: one share per class, not per neighbour",
                lambda n, m, D, C, k: ((m, n), (m, k), (m, k), (2 * D, C)),
            ),
            (
                "nn.Linear stores its weight that way round; here it is x @ weight",
                lambda n, m, D, C, k: ((m, n), (m, k), (m, C), (C, 2 * D)),
            ),
            (
                "only the similarities are the wrong way round: a row per test picture there, too",
                lambda n, m, D, C, k: ((n, m), (m, k), (m, C), (2 * D, C)),
            ),
        ),
    ),
    Exercise(
        "18.2",
        "the vote",
        vote,
        neighbours,
        (
            ("every neighbour counted alike; the nearer ones have more votes", counted),
            ("the shares do not sum to 1: softmax divides by the sum", not_shared),
            (
                "the cosine is divided by the temperature, not multiplied",
                lambda c, y, n, t: vote(c, y, n, 1 / t),
            ),
            ("the temperature is not used", lambda c, y, n, t: vote(c, y, n, 1.0)),
            ("indexing with equal labels keeps one of their weights; all must be added", kept_one),
        ),
    ),
    Exercise(
        "18.3",
        "mIoU",
        overlapping.mean_iou,
        overlapping.maps,
        (
            (
                "that is the share of right pixels; large classes hide the small ones in it",
                lambda truth, named, n: float((truth == named).double().mean()),
            ),
            (
                "a class that neither occurs nor is named does not count, not as 0",
                overlapping.absent_is_zero,
            ),
            ("a class that is named but does not occur counts, too, as 0", overlapping.only_true),
            ("the common pixels count once in the union (twice: that is Dice)", overlapping.dice),
            (
                "the union is missing what was named so and is not (that is recall)",
                lambda truth, named, n: overlapping.share(truth, named, n, 1),
            ),
            (
                "the union is missing what is so and was not named (that is precision)",
                lambda truth, named, n: overlapping.share(truth, named, n, 0),
            ),
        ),
    ),
    Exercise(
        "18.4",
        "do windows overlap?",
        overlapping.overlaps,
        overlapping.boxes,
        (
            ("windows that only touch share no pixel: < and not <=", overlapping.touching),
            ("they must overlap along x and along y, both", overlapping.one_axis),
            (
                "a window can reach into another without its corner being inside",
                overlapping.corner_inside,
            ),
            (
                "they can overlap with neither upper left corner in the other",
                overlapping.either_corner,
            ),
            (
                "one common pixel is enough; left + side is the first column outside",
                overlapping.lost_pixel,
            ),
            (
                "the other way round: True where pixels are shared",
                lambda a, b: ~overlapping.overlaps(a, b),
            ),
        ),
        run=as_bools,
    ),
    Exercise(
        "18.5",
        "where a line fails",
        tricky,
        lambda: [()],
        (
            ("a line tells these classes apart as well; mix their places", easy),
            ("nearest neighbours fail here, too: equal classes must lie together", hopeless),
            (
                "the other way round: a line tells them apart, and the neighbours are mixed (by "
                "cosine a point's length does not count)",
                reverse,
            ),
        ),
        run=judged,
    ),
)
