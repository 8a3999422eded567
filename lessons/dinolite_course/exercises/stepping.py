"""Exercise 15.4, a step on paper: clip, move the student, then the teacher. The answer, its cases
and what people get wrong."""

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]


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


def rate_first(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return step(s, t, lr * g, 1.0, clip, m)


def to_length_one(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return moved(s, t, g / max(1.0, g.norm().item()), lr, m)


def uphill(s: Tensor, t: Tensor, g: Tensor, lr: float, clip: float, m: float) -> Pair:
    return step(s, t, -g, lr, clip, m)


def steps() -> list[tuple[Tensor, Tensor, Tensor, float, float, float]]:
    """A gradient that is too long, a short one, and one that is too long with the rate as well."""
    draw = torch.Generator().manual_seed(4)
    s, t, g = torch.randn(3, 5, generator=draw)
    unit = g / g.norm()
    return [
        (s, t, 10 * unit, 0.1, 3.0, 0.9),
        (s, t, unit, 0.5, 3.0, 0.75),
        (t, s, 4 * unit, 0.2, 0.5, 0.6),
    ]


MISTAKES = (
    ("the gradient was not clipped", lambda s, t, g, lr, clip, m: moved(s, t, g, lr, m)),
    ("a gradient shorter than clip stays as it is; yours is made longer", always_scaled),
    ("clip the length of the whole vector, not every number by itself", entry_by_entry),
    ("the teacher followed the student from before the step", teacher_first),
    ("the teacher keeps `momentum` of itself and takes the rest from the student",
     lambda s, t, g, lr, clip, m: step(s, t, g, lr, clip, 1 - m)),
    ("that goes uphill: move against the gradient", uphill),
    ("clip the gradient itself, before it is multiplied by the rate", rate_first),
    ("the gradient may be as long as `clip`, not as 1", to_length_one),
    ("the order of the two is wrong: the student comes first",
     lambda *a: step(*a)[::-1]),
)  # fmt: skip
