"""Exercises of lesson 04, attention: shapes, weights, cutting into heads, one query, the price."""

import torch

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.matrices import matrix_figure


@exercise("04.1", "the shape of q", cases=[(2, 261, 96, 3), (1, 201, 384, 6), (8, 41, 128, 4)])
def shape_of_q(B, T, D, h):
    return B, h, T, D // h


shape_of_q.slips = [
    ("heads come before tokens: each head multiplies its own [T, d] matrices", "h, T", "T, h"),
    ("the heads share the width: each has D / h numbers, not D", " // h", ""),
    ("the last two axes are the wrong way round: that is k transposed", "T, D // h", "D // h, T"),
]


def queries_and_keys():
    """Ordinary scores; very large ones, far apart; rows of several hundred, close together."""
    draw = torch.Generator().manual_seed(4)
    q, k = torch.randn(2, 2, 3, 5, 4, generator=draw)
    a, b = (8 * q).round() / 8, (8 * k).round() / 8  # products are exact, also with 100 added
    return [(q, k), (30 * q, 30 * k), (a, b + 100)]


@exercise(
    "04.2",
    "weights without softmax",
    cases=queries_and_keys,
    run=keeping,
    picture=lambda right, yours: matrix_figure({"expected": right[0, 0], "yours": yours[0, 0]}),
)
def weights_of(q, k):
    scores = q @ k.mT / q.shape[-1] ** 0.5  # [B, h, T, T]
    scores = scores - scores.amax(dim=-1, keepdim=True)  # now at most 0
    e = scores.exp()
    return e / e.sum(dim=-1, keepdim=True)


weights_of.slips = [
    ("divide by the root of d: the scale is missing", " / q.shape[-1] ** 0.5", ""),
    ("divided by d; it is the root of d, the spread of a dot product", " ** 0.5", ""),
    (
        "wrong axis: the weights of each row sum to 1",
        ("amax(dim=-1", "amax(dim=-2"),
        ("sum(dim=-1", "sum(dim=-2"),
    ),
    ("transposed: rows are queries, q comes first", "q @ k.mT", "k @ q.mT"),
    (
        "right for small scores, nan for large ones: subtract the largest score of each "
        "row before exp; it cancels, as the bias of the keys did",
        " - scores.amax(dim=-1, keepdim=True)",
        "",
    ),
    (
        "subtract each row's own largest score, not the largest of all",
        "amax(dim=-1, keepdim=True)",
        "max()",
    ),
    ("the sum runs over the wrong axis: each row sums to 1", "sum(dim=-1", "sum(dim=-2"),
]


def fused():
    draw = torch.Generator().manual_seed(5)
    return [(torch.randn(2, 6, 3 * 12, generator=draw), h) for h in (3, 2)]


@exercise("04.3", "q, k and v, cut into heads", cases=fused)
def split_qkv(qkv, h):
    B, T, width = qkv.shape
    parts = qkv.chunk(3, dim=-1)  # each [B, T, D]
    return tuple(p.view(B, T, h, width // 3 // h).transpose(1, 2) for p in parts)


split_qkv.slips = [
    (
        "the shape is right, the numbers are not: head 0 got the first tokens; cut the "
        "width into (h, d) first, then transpose",
        "view(B, T, h, width // 3 // h).transpose(1, 2)",
        "reshape(B, h, T, width // 3 // h)",
    ),
    (
        "all of q comes first, then k, then v: cut into thirds before heads",
        "chunk(3, dim=-1)",
        "unflatten(-1, (h, 3, -1)).unbind(3)",
    ),
    (
        "a head has neighbouring numbers, not each h-th one: (h, d) in order",
        "h, width // 3 // h).transpose(1, 2)",
        "width // 3 // h, h).permute(0, 3, 1, 2)",
    ),
    ("heads and tokens must change places: transpose(1, 2)", ".transpose(1, 2)", ""),
]


def one_query():
    draw = torch.Generator().manual_seed(6)

    def rand(*size):
        return torch.randn(size, generator=draw)

    return [(rand(4), rand(6, 4), rand(6, 3)), (rand(9), rand(5, 9), rand(5, 9))]


@exercise("04.4", "one query looks", cases=one_query, run=keeping)
def look(q, keys, values):
    scores = keys @ q / q.shape[0] ** 0.5  # [T]
    return scores.softmax(dim=0) @ values


look.slips = [
    ("divide by the root of d: the scale is missing", " / q.shape[0] ** 0.5", ""),
    ("the root is that of the numbers in a query, not of the number of keys", "/ q.", "/ keys."),
    ("those are raw scores; weights are positive and sum to 1", ".softmax(dim=0)", ""),
    (
        "that is the value of the best key alone; attention is a mean over all",
        "scores.softmax(dim=0) @ values",
        "values[scores.argmax()]",
    ),
    ("keys are compared, values are handed over", "@ values", "@ keys"),
    ("divided by d; it is the root of d", " ** 0.5", ""),
]


@exercise("04.5", "what heads cost", cases=[(261, 96, 3), (201, 384, 6), (201, 384, 12), (3, 4, 2)])
def cost(T, D, h):
    # Only the maps depend on h. Twelve heads can ask twelve questions at once
    # where three ask three, for the same weights and multiplications. Each of
    # them asks with fewer numbers, D / h, so its question is coarser.
    return 3 * D * D, T * T * D, h * T * T


cost.slips = [
    (
        "a score of one head has D / h multiplications, so all heads together T x T x D",
        "T * T * D",
        "h * T * T * D",
    ),
    ("that is one map; every head has its own", "h * T * T", "T * T"),
    ("that is the matrix of q alone; qkv is three times as wide", "3 * D", "D"),
    ("those are the multiplications of one head; there are h of them", "T * D", "T * D // h"),
    ("the bias does not count here", "3 * D * D", "3 * D * D + 3 * D"),
    ("only the dot products of q and k count, not the means of the values", "D, T", "D, 2 * T"),
]
