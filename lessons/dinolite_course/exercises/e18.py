"""Exercises of lesson 18, reading features: shapes, the vote, mIoU, overlapping windows, and points
that k-NN can tell apart and a line cannot.
"""

import torch

from dinolite.eval.knn import knn_accuracy
from dinolite.eval.linear import ridge_probe
from dinolite_course.checking import Remark, as_bools
from dinolite_course.exercises import exercise


@exercise("18.1", "shapes", cases=[(3000, 600, 64, 16, 10), (7, 5, 4, 3, 2)])
def shapes(n, m, D, C, k):
    # A row per test picture; the probe reads two vectors side by side.
    return (m, n), (m, k), (m, C), (2 * D, C)


shapes.slips = [
    (
        "the rows are test pictures: each of them asks the whole bank",
        "(m, n), (m, k), (m, C)",
        "(n, m), (n, k), (n, C)",
    ),
    ("the probe reads CLS and mean patch side by side, two vectors of width D", "2 * D", "D"),
    ("neighbours vote for classes: one share per class, not per neighbour", "(m, C)", "(m, k)"),
    ("nn.Linear stores its weight that way round; here it is x @ weight", "2 * D, C", "C, 2 * D"),
    (
        "only the similarities are the wrong way round: a row per test picture there, too",
        "(m, n)",
        "(n, m)",
    ),
]


def neighbours():
    cosines = torch.tensor([0.9, 0.8, 0.75, 0.4])
    first, second = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 2, 0, 0])
    return [(cosines, first, 3, 0.1), (cosines, first, 3, 1.0), (cosines, second, 4, 0.07)]


@exercise("18.2", "the vote", cases=neighbours)
def vote(cosines, labels, n_classes, temperature):
    weights = (cosines / temperature).softmax(dim=0)  # [k]
    shares = torch.zeros(n_classes)
    for weight, label in zip(weights, labels, strict=True):
        shares[label] += weight
    return shares


vote.slips = [
    (
        "every neighbour counted alike; the nearer ones have more votes",
        "+= weight",
        "+= 1 / len(labels)",
    ),
    ("the shares do not sum to 1: softmax divides by the sum", "softmax(dim=0)", "exp()"),
    ("the cosine is divided by the temperature, not multiplied", " / ", " * "),
    ("the temperature is not used", " / temperature", ""),
    ("indexing with equal labels keeps one of their weights; all must be added", "+=", "="),
]


def maps():
    """Class 3 is absent, class 2 rare; in the last, class 3 is named and does not occur."""
    truth = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 2]])
    named = torch.tensor([[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 2]])
    zeros, astray = torch.zeros_like(truth), torch.where(named == 2, 3, named)
    return [(truth, named, 4), (truth, zeros, 4), (named, truth, 3), (truth, astray, 5)]


@exercise("18.3", "mIoU", cases=maps)
def mean_iou(truth, named, n_classes):
    values = []
    for c in range(n_classes):
        both = ((truth == c) & (named == c)).sum().item()
        either = ((truth == c) | (named == c)).sum().item()
        if either:  # a class that is nowhere does not count
            values.append(both / either)
    return sum(values) / len(values)


mean_iou.slips = [
    (
        "that is the share of right pixels; large classes hide the small ones in it",
        "sum(values) / len(values)",
        "(truth == named).double().mean().item()",
    ),
    (
        "a class that neither occurs nor is named does not count, not as 0",
        "len(values)",
        "n_classes",
    ),
    ("a class that is named but does not occur counts, too, as 0", "if either", "if c in truth"),
    (
        "the common pixels count once in the union (twice: that is Dice)",
        "both / either",
        "2 * both / (either + both)",
    ),
    ("the union is missing what was named so and is not (that is recall)", " | (named == c)", ""),
    ("the union is missing what is so and was not named (that is precision)", "(truth == c) |", ""),
]


def boxes():
    """Apart, touching along x or y, in one line, overlapping, one inside the other; one pixel in
    common, the same box, lower left on upper right."""
    a = torch.tensor([[0, 0, 10], [20, 20, 5], [40, 0, 10]])
    b = torch.tensor([[10, 0, 10], [5, 30, 10], [5, 5, 8], [18, 18, 20], [42, 2, 3]])
    more = torch.tensor([[2, 10, 6], [9, 9, 4], [40, 0, 10], [35, 5, 10]])
    return [(a, b), (b, a), (a, more), (more, a)]


@exercise("18.4", "do windows overlap?", cases=boxes, run=as_bools)
def overlaps(a, b):
    a, b = a[:, None], b[None]  # [n, 1, 3], [1, m, 3]
    start = torch.maximum(a[..., :2], b[..., :2])  # of the common part
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return (start < end).all(dim=2)


overlaps.slips = [
    ("windows that only touch share no pixel: < and not <=", "start < end", "start <= end"),
    ("they must overlap along x and along y, both", ".all(", ".any("),
    (
        "a window can reach into another without its corner being inside",
        "(start < end)",
        "((start == a[..., :2]) & (start < end))",
    ),
    (
        "they can overlap with neither upper left corner in the other",
        ".all(dim=2)",
        ".all(2) & ((start == a[..., :2]).all(2) | (start == b[..., :2]).all(2))",
    ),
    ("one common pixel is enough; left + side is the first column outside", "end)", "end - 1)"),
    ("the other way round: True where pixels are shared", "return ", "return ~"),
]


def classes_told_apart(function):
    """Is each point's nearest other one of its class? Does a linear probe fail?"""
    x, y = function()
    if x.shape != (40, 2) or not x.is_floating_point() or not bool(x.isfinite().all()):
        raise Remark(f"x is {list(x.shape)}, {x.dtype}; wanted are [40, 2] finite floats")
    if y.shape != (40,) or y.is_floating_point() or sorted(y.tolist()) != [0] * 20 + [1] * 20:
        raise Remark(f"y is {list(y.shape)}, {y.dtype}; wanted are 20 zeros and 20 ones, ints")
    near = knn_accuracy(x, y, x, y, [1], skip_first_nn=True)[1]
    return near > 0.99, ridge_probe(x, y).accuracy(x, y) < 0.7


@exercise("18.5", "where a line fails", cases=[()], run=classes_told_apart)
def tricky():
    # East and west are class 0, north and south class 1: each class's mean is
    # the middle, so no line helps, while every neighbour is of the same class.
    corner = torch.arange(40) % 4
    angle = corner * torch.pi / 2 + torch.linspace(-0.2, 0.2, 40)
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    return x, corner % 2


tricky.slips = [
    ("a line tells these classes apart as well; mix their places", "corner % 2", "corner // 2"),
    (
        "nearest neighbours fail here, too: equal classes must lie together",
        "corner % 2",
        "torch.arange(40) // 4 % 2",
    ),
    (
        "the other way round: a line tells them apart, and the neighbours are mixed (by "
        "cosine a point's length does not count)",
        ("corner * torch.pi / 2 + ", ""),  # neighbours of both classes, near and far
        ("return x", "return x * (1 + 2 * (corner % 2))[:, None]"),
    ),
]
