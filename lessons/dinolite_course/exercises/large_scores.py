"""Exercise 04.2, softmax by hand for scores of any size: the answer, what overflows, underflows or
sums over the wrong axis.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.figures.matrices import matrix_figure


def scaled(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / q.shape[-1] ** 0.5


def weights_of(q: Tensor, k: Tensor) -> Tensor:
    return scaled(q, k).softmax(dim=-1)


def overflowing(q: Tensor, k: Tensor) -> Tensor:
    e = scaled(q, k).exp()
    return e / e.sum(dim=-1, keepdim=True)


def one_largest(q: Tensor, k: Tensor) -> Tensor:
    """Far below the largest score of all, whole rows become zeros."""
    e = (scaled(q, k) - scaled(q, k).max()).exp()
    return e / e.sum(dim=-1, keepdim=True)


def wrong_sum(q: Tensor, k: Tensor) -> Tensor:
    e = (scaled(q, k) - scaled(q, k).amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-2, keepdim=True)


def queries_and_keys() -> list[tuple[Tensor, Tensor]]:
    """Ordinary scores; very large ones, far apart; rows of several hundred, close together."""
    draw = torch.Generator().manual_seed(4)
    q, k = torch.randn(2, 2, 3, 5, 4, generator=draw)
    a, b = (8 * q).round() / 8, (8 * k).round() / 8  # products are exact, also with 100 added
    return [(q, k), (30 * q, 30 * k), (a, b + 100)]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    """The weights of the first picture's first head."""
    return matrix_figure({"expected": expected[0, 0], "yours": actual[0, 0]})
