"""Exercises of lesson 20, Gram anchoring: sizes, the table, the loss, larger crops, a blind one."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.config import GramConfig
from dinolite.loss.gram_loss import GramLoss
from dinolite.train.gram import resize_patches
from dinolite_course.checking import Exercise, Remark, keeping


def entries(B: int, N: int, D: int) -> tuple[int, int]:
    return B * N * N, (B * N) ** 2


def gram(x: Tensor) -> Tensor:
    return GramLoss().gram(x)


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    return GramLoss()(student, teacher)


def summed(student: Tensor, teacher: Tensor) -> Tensor:
    return (gram(student) - gram(teacher)).square().sum()


def features(student: Tensor, teacher: Tensor) -> Tensor:
    return F.mse_loss(F.normalize(student, dim=-1), F.normalize(teacher, dim=-1))


def brought(patches: Tensor, side: int) -> Tensor:
    return resize_patches(patches, side * side, GramConfig())


def resized(
    patches: Tensor, side: int, mode: str, flip: bool = False, antialias: bool = False
) -> Tensor:
    """`flip`: rows and columns are exchanged on the way back."""
    n = round(patches.shape[1] ** 0.5)
    grid = patches.mT.unflatten(2, (n, n))  # [B, D, n, n]
    grid = F.interpolate(grid, size=(side, side), mode=mode, antialias=antialias)
    return (grid.mT if flip else grid).flatten(2).mT


def crumpled(patches: Tensor, side: int) -> Tensor:
    """A view where a transposition is needed: channels and places are mixed."""
    B, N, D = patches.shape
    n = round(N**0.5)
    grid = patches.reshape(B, D, n, n)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return grid.flatten(2).mT


def centred(dim: int | tuple[int, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        s, t = (x - x.mean(dim=dim, keepdim=True) for x in (student, teacher))
        return gram_loss(s, t)

    return loss


def unit_first(student: Tensor, teacher: Tensor) -> Tensor:
    s, t = (F.normalize(x, dim=-1) for x in (student, teacher))
    return centred(1)(s, t)


def one_side(student: Tensor, teacher: Tensor) -> Tensor:
    return gram_loss(student - student.mean(dim=1, keepdim=True), teacher)


def a_pair(seed: int, D: int = 5, N: int = 4) -> tuple[Tensor, Tensor]:
    """Patch features of student and teacher, [B, N, D] = [3, N, D], none of length 1."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, N, D, generator=draw)
    x = x * (0.5 + torch.rand(2, 3, N, 1, generator=draw)) + 0.5
    return x[0], x[1]


def training(
    function: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor
) -> Tensor:
    """The loss that a function returns.

    Raises:
        Remark: an argument was changed in place, or no gradient leads to the student.
    """
    loss = keeping(function, student, teacher)
    learner = student.clone().requires_grad_()
    again = function(learner, teacher)
    if isinstance(again, Tensor) and not again.requires_grad:
        raise Remark("no gradient leads from this loss to the student: it could not train")
    return loss


def some_patches() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(3)
    big = torch.randn(2, 64, 5, generator=draw)
    return [(big, 4), (big[:, :36], 3), (big, 6), (big[:, :25], 7)]


EXERCISES = (
    Exercise(
        "20.1",
        "entries of the Gram matrices",
        entries,
        lambda: [(2, 3, 5), (16, 64, 384)],
        (
            ("patches against patches: D is summed away", lambda B, N, D: (B * N * D, B * N * D)),
            ("that is channels against channels", lambda B, N, D: (B * D * D, D * D)),
            (
                "the batch has B N patches, each compared with all B N",
                lambda B, N, D: (B * N * N, B * B * N),
            ),
            ("that is one picture; there are B", lambda B, N, D: (N * N, (B * N) ** 2)),
            ("the other order: within pictures first", lambda B, N, D: entries(B, N, D)[::-1]),
        ),
    ),
    Exercise(
        "20.2",
        "the Gram matrix",
        gram,
        lambda: [(a_pair(0)[0],), (a_pair(1, D=4)[0],)],
        (
            ("patches must have length 1, so that entries are cosines", lambda x: x @ x.mT),
            (
                "channels against channels: the matrix for style; wanted are patches",
                lambda x: F.normalize(x, dim=-1).mT @ F.normalize(x, dim=-1),
            ),
            (
                "normalised over the patches; D, the last axis, is the one",
                lambda x: F.normalize(x, dim=1) @ F.normalize(x, dim=1).mT,
            ),
        ),
        run=keeping,
    ),
    Exercise(
        "20.3",
        "the Gram loss",
        gram_loss,
        lambda: [a_pair(0), a_pair(1, N=6)],
        (
            ("the sum over all entries; the official code takes the mean", summed),
            (
                "the sum over a picture's entries; take the mean over them, too",
                lambda s, t: summed(s, t) / len(s),
            ),
            ("not normalised", lambda s, t: GramLoss(apply_norm=False)(s, t)),
            ("that compares patches across pictures", lambda s, t: GramLoss(img_level=False)(s, t)),
            ("that holds the features themselves; compare their tables", features),
            (
                "absolute differences; take squares",
                lambda s, t: (gram(s) - gram(t)).abs().mean(),
            ),
        ),
        run=training,
    ),
    Exercise(
        "20.4",
        "from larger crops to the student's grid",
        brought,
        some_patches,
        (
            ("rows and columns are exchanged", lambda x, n: resized(x, n, "bicubic", flip=True)),
            ("a view does not exchange axes: channels and places are mixed up", crumpled),
            ("bilinear; bicubic is asked for", lambda x, n: resized(x, n, "bilinear")),
            ("the nearest patch only; bicubic is asked for", lambda x, n: resized(x, n, "nearest")),
            ("those are the first patches of the large grid", lambda x, n: x[:, : n * n]),
            ("antialiased", lambda x, n: resized(x, n, "bicubic", antialias=True)),
            (
                "right on the grid; but a view mixes it up on the way back",
                lambda x, n: brought(x, n).mT.reshape(len(x), n * n, -1),
            ),
        ),
    ),
    Exercise(
        "20.5",
        "a Gram loss of centred patches",
        centred(1),
        lambda: [a_pair(0), a_pair(1, N=6)],
        (
            ("nothing is subtracted", gram_loss),
            ("the mean over channels; subtract the picture's mean patch", centred(2)),
            ("the mean over the whole batch; each picture has its own", centred((0, 1))),
            ("subtract first, then make the length 1", unit_first),
            ("both sides are centred", one_side),
        ),
        run=training,
    ),
)
