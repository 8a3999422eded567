"""Exercises of lesson 20, Gram anchoring: sizes, the table, the loss, larger crops, a blind one."""

import torch
import torch.nn.functional as F

from dinolite_course.checking import Remark, keeping
from dinolite_course.exercises import exercise


@exercise("20.1", "entries of the Gram matrices", cases=[(2, 3, 5), (16, 64, 384)])
def entries(B, N, D):
    return B * N * N, (B * N) ** 2


BOTH = "B * N * N, (B * N) ** 2"
entries.slips = [
    ("patches against patches: D is summed away", BOTH, "B * N * D, B * N * D"),
    ("that is channels against channels", BOTH, "B * D * D, D * D"),
    ("the batch has B N patches, each compared with all B N", "(B * N) ** 2", "B * B * N"),
    ("that is one picture; there are B", "B * N * N", "N * N"),
    ("the other order: within pictures first", BOTH, "(B * N) ** 2, B * N * N"),
]


def a_pair(seed, D=5, N=4):
    """Patch features of student and teacher, [B, N, D] = [3, N, D], none of length 1."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, N, D, generator=draw)
    x = x * (0.5 + torch.rand(2, 3, N, 1, generator=draw)) + 0.5
    return x[0], x[1]


def some_features():
    return [a_pair(0)[:1], a_pair(1, D=4)[:1]]


@exercise("20.2", "the Gram matrix", cases=some_features, run=keeping)
def gram_of(x):
    x = F.normalize(x, dim=-1)  # [B, N, D]
    return x @ x.mT  # [B, N, N]


gram_of.slips = [
    ("patches must have length 1, so that entries are cosines", "F.normalize(x, dim=-1)", "x"),
    ("channels against channels: the matrix for style; wanted are patches", "x @ x.mT", "x.mT @ x"),
    ("normalised over the patches; D, the last axis, is the one", "dim=-1", "dim=1"),
]


def training(function, student, teacher):
    """The loss that a function returns.

    Raises:
        Remark: an argument was changed in place, or no gradient leads to the student.
    """
    loss = keeping(function, student, teacher)
    again = function(student.clone().requires_grad_(), teacher)
    if isinstance(again, torch.Tensor) and not again.requires_grad:
        raise Remark("no gradient leads from this loss to the student: it could not train")
    return loss


def pairs():
    return [a_pair(0), a_pair(1, N=6)]


@exercise("20.3", "the Gram loss", cases=pairs, run=training)
def loss_of(student, teacher):
    return (gram_of(student) - gram_of(teacher)).square().mean()


loss_of.slips = [
    ("the sum over all entries; the official code takes the mean", "mean", "sum"),
    ("the sum over a picture's entries; take the mean over them, too", "mean", "sum((1, 2)).mean"),
    (
        "not normalised",
        ("gram_of(student)", "student @ student.mT"),
        ("gram_of(teacher)", "teacher @ teacher.mT"),
    ),
    (
        "that compares patches across pictures",
        ("(student)", "(student.flatten(0, 1))"),
        ("(teacher)", "(teacher.flatten(0, 1))"),
    ),
    (
        "that holds the features themselves; compare their tables",
        ("gram_of(student)", "F.normalize(student, dim=-1)"),
        ("gram_of(teacher)", "F.normalize(teacher, dim=-1)"),
    ),
    ("absolute differences; take squares", "square", "abs"),
]


def some_patches():
    draw = torch.Generator().manual_seed(3)
    big = torch.randn(2, 64, 5, generator=draw)
    return [(big, 4), (big[:, :36], 3), (big, 6), (big[:, :25], 7)]


@exercise("20.4", "from larger crops to the student's grid", cases=some_patches)
def to_grid(patches, side):
    n = round(patches.shape[1] ** 0.5)
    grid = patches.mT.unflatten(2, (n, n))  # [B, D, n, n]
    grid = F.interpolate(grid, size=(side, side), mode="bicubic")
    return grid.flatten(2).mT  # [B, side side, D]


to_grid.slips = [
    ("rows and columns are exchanged", "grid.flatten", "grid.mT.flatten"),
    (
        "a view does not exchange axes: channels and places are mixed up",
        "mT.unflatten(2, (n, n))",
        "reshape(len(patches), -1, n, n)",
    ),
    ("bilinear; bicubic is asked for", "bicubic", "bilinear"),
    ("the nearest patch only; bicubic is asked for", "bicubic", "nearest"),
    ("those are the first patches of the large grid", "grid.flatten(2).mT", "patches[:, :side**2]"),
    ("antialiased", '"bicubic"', '"bicubic", antialias=True'),
    (
        "right on the grid; but a view mixes it up on the way back",
        "flatten(2).mT",
        "reshape(len(grid), side * side, -1)",
    ),
]


@exercise("20.5", "a Gram loss of centred patches", cases=pairs, run=training)
def centred_loss(student, teacher):
    # Blind to whatever is added to all patches of a picture alike. But that
    # is one way in which dense features decay: all patches come to agree
    # with CLS. The usual loss sees it, this one does not.
    s, t = (x - x.mean(dim=1, keepdim=True) for x in (student, teacher))
    return loss_of(s, t)


centred_loss.slips = [
    ("nothing is subtracted", " - x.mean(dim=1, keepdim=True)", ""),
    ("the mean over channels; subtract the picture's mean patch", "dim=1", "dim=2"),
    ("the mean over the whole batch; each picture has its own", "dim=1", "dim=(0, 1)"),
    (
        "subtract first, then make the length 1",
        "(student, teacher))",
        "F.normalize(torch.stack([student, teacher]), dim=-1))",
    ),
    ("both sides are centred", "(s, t)", "(s, teacher)"),
]
