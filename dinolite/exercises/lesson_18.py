"""Exercises of lesson 18, reading features: shapes, the vote, mIoU, overlapping windows, and points
that k-NN can tell apart and a line cannot."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.eval.knn import knn_accuracy
from dinolite.eval.linear import ridge_probe
from dinolite.eval.segmentation import confusion_matrix, iou, miou
from dinolite.exercises.exercise import Exercise

Shapes = tuple[tuple[int, ...], ...]


def shapes(n: int, m: int, D: int, C: int, k: int) -> Shapes:
    return (m, n), (m, k), (m, C), (2 * D, C)


def vote(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    weights = (cosines / temperature).softmax(dim=0)
    return weights @ F.one_hot(labels, n_classes).float()


def counted(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    return F.one_hot(labels, n_classes).float().mean(dim=0)


def not_shared(cosines: Tensor, labels: Tensor, n_classes: int, temperature: float) -> Tensor:
    return (cosines / temperature).exp() @ F.one_hot(labels, n_classes).float()


def mean_iou(truth: Tensor, named: Tensor, n_classes: int) -> float:
    return miou(confusion_matrix(named, truth, n_classes))


def absent_is_zero(truth: Tensor, named: Tensor, n_classes: int) -> float:
    return float(iou(confusion_matrix(named, truth, n_classes)).nan_to_num(0).mean())


def share(truth: Tensor, named: Tensor, n_classes: int, side: int) -> float:
    """Right pixels over the true ones (side 1) or the named ones (0), the mean over classes."""
    counts = confusion_matrix(named, truth, n_classes).double()
    return float((counts.diagonal() / counts.sum(dim=side)).nanmean())


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0) & overlap(a, b, 1)


def overlap(a: Tensor, b: Tensor, i: int, slack: int = 0) -> Tensor:
    """Along axis i: each begins before the other ends, of boxes (x, y, side)."""
    a, b = a[:, None], b[None]
    return (a[..., i] < b[..., i] + b[..., 2] + slack) & (b[..., i] < a[..., i] + a[..., 2] + slack)


def touching(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0, slack=1) & overlap(a, b, 1, slack=1)


def one_axis(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0) | overlap(a, b, 1)


def corner_inside(a: Tensor, b: Tensor) -> Tensor:
    """Only whether a's upper left corner lies in b."""
    low, high = b[None, :, :2], b[None, :, :2] + b[None, :, 2:]
    corner = a[:, None, :2]
    return ((low <= corner) & (corner < high)).all(dim=2)


def tricky() -> tuple[Tensor, Tensor]:
    angle = torch.arange(40) % 4 * torch.pi / 2 + torch.linspace(-0.2, 0.2, 40)
    return torch.stack([angle.cos(), angle.sin()], dim=1), torch.arange(40) % 2


def easy() -> tuple[Tensor, Tensor]:
    x, _ = tricky()
    return x, (torch.arange(40) % 4 > 1).long()


def hopeless() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(18)
    return torch.randn(40, 2, generator=draw), torch.arange(40) % 2


def judged(function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[bool, bool]:
    """Is each point's nearest other one of its class? Does a linear probe fail?"""
    x, y = function()
    if x.shape != (40, 2) or y.shape != (40,) or int(y.sum()) != 20:
        raise ValueError(f"x {list(x.shape)}, y {list(y.shape)}; wanted [40, 2], [40], 20 ones")
    near = knn_accuracy(x, y, x, y, [1], skip_first_nn=True)[1]
    return near > 0.95, ridge_probe(x, y).accuracy(x, y) < 0.7


def neighbours() -> list[tuple[Tensor, Tensor, int, float]]:
    cosines = torch.tensor([0.9, 0.8, 0.75, 0.4])
    first, second = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 2, 0, 0])
    return [(cosines, first, 3, 0.1), (cosines, first, 3, 1.0), (cosines, second, 4, 0.07)]


def maps() -> list[tuple[Tensor, Tensor, int]]:
    """Class 3 is absent, class 2 rare."""
    truth = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 2]])
    named = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 2]])
    return [(truth, named, 4), (truth, torch.zeros_like(truth), 4), (named, truth, 3)]


def boxes() -> list[tuple[Tensor, Tensor]]:
    """Apart, touching, in one line, overlapping, one inside the other."""
    a = torch.tensor([[0, 0, 10], [20, 20, 5], [40, 0, 10]])
    b = torch.tensor([[10, 0, 10], [5, 30, 10], [5, 5, 8], [18, 18, 20], [42, 2, 3]])
    return [(a, b), (b, a)]


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
        ),
    ),
    Exercise(
        "18.3",
        "mIoU",
        mean_iou,
        maps,
        (
            (
                "that is the share of right pixels; large classes hide the small ones in it",
                lambda truth, named, n: float((truth == named).double().mean()),
            ),
            ("a class that neither occurs nor is named does not count, not as 0", absent_is_zero),
            (
                "the union is missing what was named so and is not (that is recall)",
                lambda truth, named, n: share(truth, named, n, 1),
            ),
            (
                "the union is missing what is so and was not named (that is precision)",
                lambda truth, named, n: share(truth, named, n, 0),
            ),
        ),
    ),
    Exercise(
        "18.4",
        "do windows overlap?",
        overlaps,
        boxes,
        (
            ("windows that only touch share no pixel: < and not <=", touching),
            ("they must overlap along x and along y, both", one_axis),
            ("a window can reach into another without its corner being inside", corner_inside),
            ("the other way round: True where pixels are shared", lambda a, b: ~overlaps(a, b)),
        ),
    ),
    Exercise(
        "18.5",
        "where a line fails",
        tricky,
        lambda: [()],
        (
            ("a line tells these classes apart as well; mix their places", easy),
            ("nearest neighbours fail here, too: equal classes must lie together", hopeless),
        ),
        run=judged,
    ),
)
