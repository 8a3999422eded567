"""Exercises 18.3 and 18.4, what overlaps: classes in two maps, windows in a photograph. The
answers, their cases and what people get wrong."""

import torch
from torch import Tensor

from dinolite.eval.segmentation import confusion_matrix, iou, miou


def mean_iou(truth: Tensor, named: Tensor, n_classes: int) -> float:
    return miou(confusion_matrix(named, truth, n_classes))


def absent_is_zero(truth: Tensor, named: Tensor, n_classes: int) -> float:
    return float(iou(confusion_matrix(named, truth, n_classes)).nan_to_num(0).mean())


def only_true(truth: Tensor, named: Tensor, n_classes: int) -> float:
    """The mean over the classes that occur in the truth."""
    counts = confusion_matrix(named, truth, n_classes)
    return float(iou(counts)[counts.sum(dim=1) > 0].mean())


def dice(truth: Tensor, named: Tensor, n_classes: int) -> float:
    """Twice the common pixels over the sum of both."""
    values = iou(confusion_matrix(named, truth, n_classes))
    return float((2 * values / (1 + values)).nanmean())


def share(truth: Tensor, named: Tensor, n_classes: int, side: int) -> float:
    """Right pixels over the true ones (side 1) or the named ones (0), the mean over classes."""
    counts = confusion_matrix(named, truth, n_classes).double()
    return float((counts.diagonal() / counts.sum(dim=side)).nanmean())


def maps() -> list[tuple[Tensor, Tensor, int]]:
    """Class 3 is absent, class 2 rare; in the last, class 3 is named and does not occur."""
    truth = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 2]])
    named = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 2]])
    zeros, astray = torch.zeros_like(truth), torch.where(named == 2, 3, named)
    return [(truth, named, 4), (truth, zeros, 4), (named, truth, 3), (truth, astray, 5)]


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0) & overlap(a, b, 1)


def overlap(a: Tensor, b: Tensor, i: int, slack: int = 0) -> Tensor:
    """Along axis i: each begins before the other ends, of boxes (x, y, side)."""
    a, b = a[:, None], b[None]
    return (a[..., i] < b[..., i] + b[..., 2] + slack) & (b[..., i] < a[..., i] + a[..., 2] + slack)


def lost_pixel(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0, slack=-1) & overlap(a, b, 1, slack=-1)


def touching(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0, slack=1) & overlap(a, b, 1, slack=1)


def one_axis(a: Tensor, b: Tensor) -> Tensor:
    return overlap(a, b, 0) | overlap(a, b, 1)


def either_corner(a: Tensor, b: Tensor) -> Tensor:
    return corner_inside(a, b) | corner_inside(b, a).T


def corner_inside(a: Tensor, b: Tensor) -> Tensor:
    """Only whether a's upper left corner lies in b."""
    low, high = b[None, :, :2], b[None, :, :2] + b[None, :, 2:]
    corner = a[:, None, :2]
    return ((low <= corner) & (corner < high)).all(dim=2)


def boxes() -> list[tuple[Tensor, Tensor]]:
    """Apart, touching along x or y, in one line, overlapping, one inside the other; one pixel in
    common, the same box, lower left on upper right."""
    a = torch.tensor([[0, 0, 10], [20, 20, 5], [40, 0, 10]])
    b = torch.tensor([[10, 0, 10], [5, 30, 10], [5, 5, 8], [18, 18, 20], [42, 2, 3]])
    more = torch.tensor([[2, 10, 6], [9, 9, 4], [40, 0, 10], [35, 5, 10]])
    return [(a, b), (b, a), (a, more), (more, a)]
