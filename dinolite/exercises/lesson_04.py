"""Exercises of lesson 04, attention: shapes, weights, cutting into heads, one query, the price."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.exercises.exercise import Exercise
from dinolite.viz.matrices import matrix_figure

Three = tuple[Tensor, Tensor, Tensor]


def shape_of_q(B: int, T: int, D: int, h: int) -> tuple[int, ...]:
    return B, h, T, D // h


def scaled(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / q.shape[-1] ** 0.5


def weights_of(q: Tensor, k: Tensor) -> Tensor:
    return scaled(q, k).softmax(dim=-1)


def overflowing(q: Tensor, k: Tensor) -> Tensor:
    e = scaled(q, k).exp()
    return e / e.sum(dim=-1, keepdim=True)


def split_qkv(qkv: Tensor, h: int) -> Three:
    q, k, v = (t.unflatten(-1, (h, -1)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def by_view(qkv: Tensor, h: int) -> Three:
    """The right shape, but head 0 gets the first tokens and not the first numbers."""
    B, T, D3 = qkv.shape
    q, k, v = (t.reshape(B, h, T, D3 // 3 // h) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def heads_first(qkv: Tensor, h: int) -> Three:
    """As if the fused layer wrote q, k, v of head 0, then q, k, v of head 1, ..."""
    q, k, v = qkv.unflatten(-1, (h, 3, -1)).permute(3, 0, 2, 1, 4)
    return q, k, v


def interleaved(qkv: Tensor, h: int) -> Three:
    """Head 0 takes numbers 0, h, 2h, ... of the width."""
    q, k, v = (t.unflatten(-1, (-1, h)).permute(0, 3, 1, 2) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def not_swapped(qkv: Tensor, h: int) -> Three:
    q, k, v = (t.unflatten(-1, (h, -1)) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def look(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (keys @ q / q.shape[0] ** 0.5).softmax(dim=0) @ values


def cost(T: int, D: int, h: int) -> tuple[int, int, int]:
    return 3 * D * D, T * T * D, h * T * T


def queries_and_keys() -> list[tuple[Tensor, Tensor]]:
    """Ordinary scores, then scores of several hundred."""
    draw = torch.Generator().manual_seed(4)
    q, k = torch.randn(2, 2, 3, 5, 4, generator=draw)
    return [(q, k), (30 * q, 30 * k)]


def fused() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(5)
    return [(torch.randn(2, 6, 3 * 12, generator=draw), h) for h in (3, 2)]


def one_query() -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(6)

    def rand(*size: int) -> Tensor:
        return torch.randn(size, generator=draw)

    return [(rand(4), rand(6, 4), rand(6, 3)), (rand(9), rand(5, 9), rand(5, 9))]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    """The weights of the first picture's first head."""
    return matrix_figure({"expected": expected[0, 0], "yours": actual[0, 0]})


EXERCISES = (
    Exercise(
        "04.1",
        "the shape of q",
        shape_of_q,
        lambda: [(2, 261, 96, 3), (1, 201, 384, 6), (8, 41, 128, 4)],
        (
            (
                "heads come before tokens: each head multiplies its own [T, d] matrices",
                lambda B, T, D, h: (B, T, h, D // h),
            ),
            (
                "the heads share the width: each has D / h numbers, not D",
                lambda B, T, D, h: (B, h, T, D),
            ),
            (
                "the last two axes are the wrong way round: that is k transposed",
                lambda B, T, D, h: (B, h, D // h, T),
            ),
        ),
    ),
    Exercise(
        "04.2",
        "weights without softmax",
        weights_of,
        queries_and_keys,
        (
            ("divide by the root of d: the scale is missing", lambda q, k: (q @ k.mT).softmax(-1)),
            (
                "divided by d; it is the root of d, the spread of a dot product",
                lambda q, k: (q @ k.mT / q.shape[-1]).softmax(-1),
            ),
            ("wrong axis: the weights of each row sum to 1", lambda q, k: scaled(q, k).softmax(-2)),
            ("transposed: rows are queries, q comes first", lambda q, k: scaled(k, q).softmax(-1)),
            (
                "right for small scores, nan for large ones: subtract the largest score of each "
                "row before exp; it cancels, as the bias of the keys did",
                overflowing,
            ),
        ),
        picture=side_by_side,
    ),
    Exercise(
        "04.3",
        "q, k and v, cut into heads",
        split_qkv,
        fused,
        (
            (
                "the shape is right, the numbers are not: head 0 got the first tokens; cut the "
                "width into (h, d) first, then transpose",
                by_view,
            ),
            ("all of q comes first, then k, then v: cut into thirds before heads", heads_first),
            ("a head has neighbouring numbers, not each h-th one: (h, d) in order", interleaved),
            ("heads and tokens must change places: transpose(1, 2)", not_swapped),
        ),
    ),
    Exercise(
        "04.4",
        "one query looks",
        look,
        one_query,
        (
            (
                "divide by the root of d: the scale is missing",
                lambda q, k, v: (k @ q).softmax(0) @ v,
            ),
            (
                "the root is that of the numbers in a query, not of the number of keys",
                lambda q, k, v: (k @ q / len(k) ** 0.5).softmax(0) @ v,
            ),
            (
                "those are raw scores; weights are positive and sum to 1",
                lambda q, k, v: (k @ q / q.shape[0] ** 0.5) @ v,
            ),
            (
                "that is the value of the best key alone; attention is a mean over all",
                lambda q, k, v: v[(k @ q).argmax()],
            ),
            ("keys are compared, values are handed over", lambda q, k, v: look(q, k, k)),
        ),
    ),
    Exercise(
        "04.5",
        "what heads cost",
        cost,
        lambda: [(261, 96, 3), (201, 384, 6), (201, 384, 12)],
        (
            (
                "a score of one head has D / h multiplications, so all heads together T x T x D",
                lambda T, D, h: (3 * D * D, h * T * T * D, h * T * T),
            ),
            (
                "that is one map; every head has its own",
                lambda T, D, h: (3 * D * D, T * T * D, T * T),
            ),
            (
                "that is the matrix of q alone; qkv is three times as wide",
                lambda T, D, h: (D * D, T * T * D, h * T * T),
            ),
            (
                "those are the multiplications of one head; there are h of them",
                lambda T, D, h: (3 * D * D, T * T * D // h, h * T * T),
            ),
        ),
    ),
)
