"""Exercise 10.3, the mean over pairs of different crops: the answer, its cases and what people get
wrong.
"""

import torch
from torch import Tensor

from dinolite.loss.dino_clstoken_loss import DINOLoss


def all_crops(student: Tensor, teacher: Tensor, temp: float) -> Tensor:
    return DINOLoss(temp)(student, teacher)


def other_crops(student: Tensor, teacher: Tensor, temp: float) -> Tensor:
    return DINOLoss(temp)(student, teacher, ignore_diagonal=True)


def too_many_counted(student: Tensor, teacher: Tensor, temp: float) -> Tensor:
    s, t = len(student), len(teacher)
    return other_crops(student, teacher, temp) * (s * t - min(s, t)) / (s * t)


def summed(student: Tensor, teacher: Tensor, temp: float) -> Tensor:
    s, t = len(student), len(teacher)
    return other_crops(student, teacher, temp) * (s * t - min(s, t))


def crops() -> list[tuple[Tensor, Tensor, float]]:
    draw = torch.Generator().manual_seed(1)

    def rand(*size: int) -> Tensor:
        return torch.randn(size, generator=draw)

    sizes = [(2, 2, 0.5), (5, 2, 0.2), (4, 3, 0.3)]
    return [(rand(s, 3, 6), rand(t, 3, 6).softmax(-1), temp) for s, t, temp in sizes]
