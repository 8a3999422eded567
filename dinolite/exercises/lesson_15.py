"""Exercises of lesson 15, one step: a shape, weights by counting pairs, crop order, a step on
paper, who learns from what."""

import torch
from torch import Tensor

from dinolite.exercises.exercise import Exercise

Pair = tuple[Tensor, Tensor]


def shape(B: int, L: int, K: int) -> tuple[int, ...]:
    return 2 + L, B, K


def dino_weights(L: int, ignore_diagonal: bool) -> tuple[float, float]:
    return shares(2 * L, 2 if ignore_diagonal else 4)


def shares(n_local: float, n_global: float) -> tuple[float, float]:
    return n_local / (n_local + n_global), n_global / (n_local + n_global)


def picture_means(x: Tensor, B: int) -> Tensor:
    return x.unflatten(0, (-1, B)).mean(dim=0)


def step(
    student: Tensor, teacher: Tensor, grad: Tensor, lr: float, clip: float, momentum: float
) -> Pair:
    factor = min(1.0, clip / grad.norm().item())
    return moved(student, teacher, factor * grad, lr, momentum)


def moved(student: Tensor, teacher: Tensor, grad: Tensor, lr: float, momentum: float) -> Pair:
    student = student - lr * grad
    return student, momentum * teacher + (1 - momentum) * student


def always_scaled(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return moved(s, t, g * clip / g.norm(), lr, m)


def entry_by_entry(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return moved(s, t, g.clamp(-clip, clip), lr, m)


def teacher_first(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return step(s, t, g, lr, clip, m)[0], m * t + (1 - m) * s


def uphill(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return step(s, t, -g, lr, clip, m)


def who_learns(dino: float, koleo: float, ibot: float) -> tuple[bool, ...]:
    anything = dino > 0 or koleo > 0 or ibot > 0
    return anything, anything, dino > 0, ibot > 0


def features() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(3)
    return [(torch.randn(15, 4, generator=draw), 3), (torch.randn(12, 2, generator=draw), 2)]


def steps() -> list[tuple[Tensor, Tensor, Tensor, float, float, float]]:
    """A gradient that is too long, and a short one."""
    draw = torch.Generator().manual_seed(4)
    s, t, g = torch.randn(3, 5, generator=draw)
    return [(s, t, 10 * g / g.norm(), 0.1, 3.0, 0.9), (s, t, g / g.norm(), 0.5, 3.0, 0.75)]


EXERCISES = (
    Exercise(
        "15.1",
        "the shape of all logits",
        shape,
        lambda: [(6, 3, 64), (32, 8, 128), (4, 1, 16)],
        (
            ("pictures first is picture order; crops come first", lambda B, L, K: (B, 2 + L, K)),
            ("those are the small crops; the student sees the large ones too",
             lambda B, L, K: (L, B, K)),
            ("right before the cut; now give crops an axis of their own",
             lambda B, L, K: ((2 + L) * B, K)),
        ),
    ),
    Exercise(
        "15.2",
        "weights of the DINO terms",
        dino_weights,
        lambda: [(3, True), (3, False), (8, True), (1, False)],
        (
            ("right where all pairs count; with ignore_diagonal only two large-large pairs are "
             "left, so count pairs, not crops", lambda L, ignore_diagonal: shares(2 * L, 4)),
            ("right where the diagonal is left out; without that there are 4 large-large pairs",
             lambda L, ignore_diagonal: shares(2 * L, 2)),
            ("the two are exchanged: local comes first",
             lambda L, ignore_diagonal: dino_weights(L, ignore_diagonal)[::-1]),
            ("every pair weighs the same, not every term", lambda L, ignore_diagonal: (0.5, 0.5)),
        ),
    ),
    Exercise(
        "15.3",
        "means over the crops of a picture",
        picture_means,
        features,
        (
            ("that reads the rows in picture order, so every mean mixes pictures: in crop order "
             "the axis of crops comes first", lambda x, B: x.unflatten(0, (B, -1)).mean(dim=1)),
            ("that is one mean for each crop, over pictures; the other axis is wanted",
             lambda x, B: x.unflatten(0, (-1, B)).mean(dim=1)),
            ("those are the features of crop 0 alone", lambda x, B: x[:B]),
            ("that is the sum; divide by the number of crops",
             lambda x, B: x.unflatten(0, (-1, B)).sum(dim=0)),
        ),
    ),
    Exercise(
        "15.4",
        "one step on paper",
        step,
        steps,
        (
            ("the gradient was not clipped", lambda s, t, g, lr, clip, m: moved(s, t, g, lr, m)),
            ("a gradient shorter than clip stays as it is; yours is made longer", always_scaled),
            ("clip the length of the whole vector, not every number by itself", entry_by_entry),
            ("the teacher followed the student from before the step", teacher_first),
            ("the teacher keeps `momentum` of itself and takes the rest from the student",
             lambda s, t, g, lr, clip, m: step(s, t, g, lr, clip, 1 - m)),
            ("that goes uphill: move against the gradient", uphill),
        ),
    ),
    Exercise(
        "15.5",
        "who learns from what",
        who_learns,
        lambda: [(1, 0.1, 1), (1, 0.1, 0), (1, 0, 0), (0, 0.1, 0), (0, 0, 1)],
        (
            ("the mask token learns from more than iBOT: CLS of a masked crop looks at it",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, ibot > 0, dino > 0, ibot > 0)),
            ("KoLeo works on features, before the heads; it reaches neither of them",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, dino + koleo + ibot > 0,
                                        dino + koleo > 0, ibot > 0)),
            ("both heads are reached in your answer; each learns from its own loss only",
             lambda dino, koleo, ibot: (True, True, True, True)),
            ("KoLeo reaches the backbone, and through it the mask token, even alone",
             lambda dino, koleo, ibot: (dino + ibot > 0, dino + ibot > 0, dino > 0, ibot > 0)),
        ),
    ),
)  # fmt: skip
