"""Exercises 09.4 and 09.5, prototypes: one step of them, and prototypes of length 1. The answers,
their cases and what people get wrong.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def step(z: Tensor, W: Tensor, p: Tensor, temp: float, lr: float) -> Tensor:
    q = (z @ W.T / temp).softmax(dim=-1)
    return W - lr * (q - p).T @ z / temp / len(z)


def without_student(z: Tensor, W: Tensor, p: Tensor, temp: float, lr: float) -> Tensor:
    return W + lr * p.T @ z / temp / len(z)


def no_temperature_inside(z: Tensor, W: Tensor, p: Tensor, temp: float, lr: float) -> Tensor:
    q = (z @ W.T).softmax(dim=-1)
    return W - lr * (q - p).T @ z / temp / len(z)


def unit_design(W: Tensor, temp: float) -> tuple[Tensor, float]:
    return F.normalize(W, dim=1), temp / W[0].norm().item()


def one_step() -> list[tuple[Tensor, Tensor, Tensor, float, float]]:
    draw = torch.Generator().manual_seed(4)
    z = F.normalize(torch.randn(3, 5, generator=draw), dim=1)
    W = torch.randn(4, 5, generator=draw)
    p = torch.randn(3, 4, generator=draw).softmax(dim=1)
    return [(z, W, p, 0.5, 0.2), (z[:2], W, p[:2], 0.1, 0.01)]


def equal_rows() -> list[tuple[Tensor, float]]:
    draw = torch.Generator().manual_seed(5)
    W = F.normalize(torch.randn(6, 4, generator=draw), dim=1)
    return [(2.5 * W, 0.1), (0.32 * W, 0.04)]
