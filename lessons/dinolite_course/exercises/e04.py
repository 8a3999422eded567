"""Exercises of lesson 04, attention: shapes, weights, cutting into heads, one query, the price."""

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises.fused import (
    by_view,
    fused,
    heads_first,
    interleaved,
    not_swapped,
    split_qkv,
)
from dinolite_course.exercises.large_scores import (
    one_largest,
    overflowing,
    queries_and_keys,
    scaled,
    side_by_side,
    weights_of,
    wrong_sum,
)


def shape_of_q(B: int, T: int, D: int, h: int) -> tuple[int, ...]:
    return B, h, T, D // h


def look(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (keys @ q / q.shape[0] ** 0.5).softmax(dim=0) @ values


def cost(T: int, D: int, h: int) -> tuple[int, int, int]:
    return 3 * D * D, T * T * D, h * T * T


def one_query() -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(6)

    def rand(*size: int) -> Tensor:
        return torch.randn(size, generator=draw)

    return [(rand(4), rand(6, 4), rand(6, 3)), (rand(9), rand(5, 9), rand(5, 9))]


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
            ("subtract each row's own largest score, not the largest of all", one_largest),
            ("the sum runs over the wrong axis: each row sums to 1", wrong_sum),
        ),
        keeping,
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
            (
                "divided by d; it is the root of d",
                lambda q, k, v: (k @ q / len(q)).softmax(0) @ v,
            ),
        ),
        keeping,
    ),
    Exercise(
        "04.5",
        "what heads cost",
        cost,
        lambda: [(261, 96, 3), (201, 384, 6), (201, 384, 12), (3, 4, 2)],
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
            (
                "the bias does not count here",
                lambda T, D, h: (3 * D * D + 3 * D, *cost(T, D, h)[1:]),
            ),
            (
                "only the dot products of q and k count, not the means of the values",
                lambda T, D, h: (3 * D * D, 2 * T * T * D, h * T * T),
            ),
        ),
    ),
)
