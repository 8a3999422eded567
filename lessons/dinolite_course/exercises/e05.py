"""Exercises of lesson 05, the block: samples kept, RMSNorm, SwiGLU's size, parallel branches."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dinolite_course.checking import Exercise
from dinolite_course.exercises.rms import RMS_NORM

Part = Callable[[Tensor], Tensor]


def n_kept(B: int, p: float) -> int:
    return max(int(B * (1 - p)), 1)


def swiglu_size(D: int, ratio: float, align: int) -> tuple[int, int]:
    width = -(-int(int(D * ratio) * 2 / 3) // align) * align
    return width, 3 * D * width


def size_of(width: int, D: int, matrices: int = 3) -> tuple[int, int]:
    return width, matrices * D * width


def parallel_block(
    x: Tensor, norm1: Part, attn: Part, ls1: Part, norm2: Part, mlp: Part, ls2: Part
) -> Tensor:
    return x + ls1(attn(norm1(x))) + ls2(mlp(norm2(x)))


def usual_block(
    x: Tensor, norm1: Part, attn: Part, ls1: Part, norm2: Part, mlp: Part, ls2: Part
) -> Tensor:
    x = x + ls1(attn(norm1(x)))
    return x + ls2(mlp(norm2(x)))


def gamma_for(depth: int, growth: float) -> float:
    return math.sqrt((growth**2 - 1) / (2 * depth))


def parts() -> list[tuple[Tensor | Part, ...]]:
    """A token batch and six small parts that stand for a block's."""
    g = torch.Generator().manual_seed(6)
    x, w1, w2 = (torch.randn(*shape, generator=g) for shape in ((2, 3, 4), (4, 4), (4, 4)))
    norm = nn.LayerNorm(4, elementwise_affine=False)
    attn, mlp = (lambda y: y.flip(1) @ w1), (lambda y: F.gelu(y @ w2))
    return [(x, norm, attn, lambda y: y / 2, lambda y: 2 * norm(y), mlp, lambda y: y / 3)]


EXERCISES = (
    Exercise(
        "05.1",
        "how many samples pass through a branch",
        n_kept,
        lambda: [(10, 0.3), (8, 0.3), (2, 0.3), (1, 0.5), (16, 0.4), (4, 0.0)],
        (
            ("one sample at least always passes", lambda B, p: int(B * (1 - p))),
            (
                "that rounds to the nearest; the code cuts the fraction off",
                lambda B, p: max(round(B * (1 - p)), 1),
            ),
            ("that rounds up; the code rounds down", lambda B, p: math.ceil(B * (1 - p))),
            (
                "those are the samples that skip; asked are those that pass",
                lambda B, p: max(int(B * p), 1),
            ),
        ),
    ),
    RMS_NORM,
    Exercise(
        "05.3",
        "the size of a SwiGLU network",
        swiglu_size,
        lambda: [(384, 6, 8), (4096, 3, 64), (64, 4, 32), (88, 4, 64), (25, 4, 2)],
        (
            (
                "the width is rounded down; it should go up to the next multiple",
                lambda D, r, a: size_of(int(D * r * 2 / 3) // a * a, D),
            ),
            (
                "the width is rounded to the nearest multiple; it should always go up",
                lambda D, r, a: size_of(round(int(D * r * 2 / 3) / a) * a, D),
            ),
            (
                "the two thirds are missing: that is the width of an Mlp",
                lambda D, r, a: size_of(-(-D * r // a) * a, D),
            ),
            (
                "cut the two thirds to an integer first, then go up",
                lambda D, r, a: size_of(-(-math.ceil(D * r * 2 / 3) // a) * a, D),
            ),
            (
                "a width that is a multiple already stays as it is",
                lambda D, r, a: size_of((int(D * r * 2 / 3) // a + 1) * a, D),
            ),
            ("the width is not aligned yet", lambda D, r, a: size_of(int(D * r * 2 / 3), D)),
            (
                "the width is right; there are three matrices (gate, value, back), not two",
                lambda D, r, a: size_of(swiglu_size(D, r, a)[0], D, 2),
            ),
        ),
    ),
    Exercise(
        "05.4",
        "a parallel block",
        parallel_block,
        parts,
        (
            (
                "that is the usual block: the second branch reads what the first has changed",
                usual_block,
            ),
            (
                "x is added twice, once with each branch",
                lambda x, n1, f, s1, n2, g, s2: 2 * x + s1(f(n1(x))) + s2(g(n2(x))),
            ),
            (
                "the residual is missing: x itself is not added",
                lambda x, n1, f, s1, n2, g, s2: s1(f(n1(x))) + s2(g(n2(x))),
            ),
            (
                "the norms are missing: each branch reads a normed copy",
                lambda x, n1, f, s1, n2, g, s2: x + s1(f(x)) + s2(g(x)),
            ),
            ("LayerScale is missing", lambda x, n1, f, s1, n2, g, s2: x + f(n1(x)) + g(n2(x))),
            (
                "one norm serves both branches; the FFN has its own",
                lambda x, n1, f, s1, n2, g, s2: x + s1(f(n1(x))) + s2(g(n1(x))),
            ),
        ),
    ),
    Exercise(
        "05.5",
        "gamma for a depth",
        gamma_for,
        lambda: [(12, 2.0), (40, 1.1), (24, 3.0)],
        (
            (
                "that is gamma squared: take the root",
                lambda depth, growth: (growth**2 - 1) / (2 * depth),
            ),
            (
                "each block has two branches",
                lambda depth, growth: math.sqrt((growth**2 - 1) / depth),
            ),
            (
                "you added lengths; vectors at right angles add their squares",
                lambda depth, growth: (growth - 1) / (2 * depth),
            ),
            (
                "growth has to be squared, too",
                lambda depth, growth: math.sqrt((growth - 1) / (2 * depth)),
            ),
            (
                "the token's own length, 1, is part of the sum of squares",
                lambda depth, growth: math.sqrt(growth**2 / (2 * depth)),
            ),
            (
                "that is growth by the same factor each time; at right angles squares add",
                lambda depth, growth: growth ** (1 / (2 * depth)) - 1,
            ),
            (
                "the root covers the whole fraction",
                lambda depth, growth: math.sqrt(growth**2 - 1) / (2 * depth),
            ),
        ),
    ),
)
