"""Exercise 03.3, turn neighbouring numbers: the answer, other layouts, and what goes wrong."""

import math

import torch
from torch import Tensor


def turn_interleaved(x: Tensor, angle: Tensor, direction: float = 1.0) -> Tensor:
    a, b = x[:, 0::2], x[:, 1::2]
    sin, cos = direction * angle.sin(), angle.cos()
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(1)


def turn_half(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)


def halves(x: Tensor, angle: Tensor) -> Tensor:
    """The right pairs, all first numbers written before all second ones."""
    return turn_interleaved(x, angle).unflatten(1, (-1, 2)).mT.flatten(1)


def repeated(x: Tensor, angle: Tensor) -> Tensor:
    """The right neighbours, the angles laid out for halves."""
    quarter = turn_interleaved(x, torch.full_like(angle, math.pi / 2))
    return x * angle.cos().tile(2) + quarter * angle.sin().tile(2)


def turned_twice(x: Tensor, angle: Tensor) -> Tensor:
    out = x.clone()
    a, b = out[:, 0::2], out[:, 1::2]
    out[:, 0::2] = a * angle.cos() - b * angle.sin()
    out[:, 1::2] = b * angle.cos() + a * angle.sin()
    return out


def some_pairs() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(3)
    x, angle = torch.randn(5, 8, generator=draw), 3 * torch.randn(5, 4, generator=draw)
    return [(x, angle), (x[:3, :4], angle[:3, :2])]
