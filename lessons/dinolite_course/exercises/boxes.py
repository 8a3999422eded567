"""Exercises 07.2 and 07.5, boxes: the size of one, and how much of it lies in another. The answers,
their cases and what people get wrong.
"""

import torch
from torch import Tensor


def box_size(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    area = height * width * share
    return round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)


def without_root(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """The share taken of each side, as if it were a share of the length."""
    return round(height * share / aspect**0.5), round(width * share * aspect**0.5)


def whole_aspect(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """The aspect taken without a root."""
    side = (height * width * share) ** 0.5
    return round(side / aspect), round(side * aspect)


def photo_shape(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """The aspect multiplied onto the photograph's own instead of replacing it."""
    return round(height * (share / aspect) ** 0.5), round(width * (share * aspect) ** 0.5)


def fractions(height: int, width: int, share: float, aspect: float) -> tuple[float, float]:
    area = height * width * share
    return (area / aspect) ** 0.5, (area * aspect) ** 0.5


def cut_off(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    h, w = fractions(height, width, share, aspect)
    return int(h), int(w)


def edges(a: Tensor, b: Tensor) -> Tensor:
    """Height and width [..., 2] of what two boxes share; negative where they are apart."""
    start = torch.maximum(a[..., :2], b[..., :2])
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return end - start


def shared(a: Tensor, b: Tensor) -> Tensor:
    return edges(a, b).clamp(min=0).prod(dim=-1)


def area(box: Tensor) -> Tensor:
    return box[..., 2:].prod(dim=-1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    return shared(a, b) / area(a)


def product_clamped(a: Tensor, b: Tensor) -> Tensor:
    return edges(a, b).prod(dim=-1).clamp(min=0) / area(a)


def as_corners(a: Tensor, b: Tensor) -> Tensor:
    """(top, left, height, width) read as (top, left, bottom, right)."""
    start, end = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    return (end - start).clamp(min=0).prod(dim=-1) / area(a)


def sizes() -> list[tuple[int, int, float, float]]:
    """(height, width, share, aspect); the last box is wider than its photograph."""
    return [(60, 80, 0.25, 1.2), (300, 451, 0.1, 0.9), (200, 90, 0.5, 1.3)]


def pairs() -> list[tuple[Tensor, Tensor]]:
    """Inside, half out at either end, the same; apart in height, in width, in both; a corner in
    common. Then with a and b exchanged, and fewer.
    """
    both = [
        [[10.0, 10, 20, 20], [5, 5, 40, 50]],
        [[0, 0, 10, 20], [5, 10, 30, 40]],
        [[30, 8, 20, 9], [10, 5, 25, 30]],
        [[3, 4, 6, 8], [3, 4, 6, 8]],
        [[0, 0, 5, 5], [20, 2, 10, 10]],
        [[2, 30, 6, 7], [3, 10, 9, 8]],
        [[0, 0, 5, 4], [20, 30, 10, 11]],
        [[8, 9, 10, 16], [12, 2, 20, 12]],
    ]
    a, b = torch.tensor(both).unbind(dim=1)  # [8, 4] each
    return [(a, b), (b, a), (a[5:], b[5:])]
