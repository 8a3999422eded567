"""Exercises of lesson 05, the block: samples kept, RMSNorm, SwiGLU's size, parallel branches."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "05.1",
    "how many samples pass through a branch",
    cases=[(10, 0.3), (8, 0.3), (2, 0.3), (1, 0.5), (16, 0.4), (4, 0.0)],
)
def n_kept(B, p):
    return max(int(B * (1 - p)), 1)


n_kept.slips = [
    ("one sample at least always passes", "max(int(B * (1 - p)), 1)", "int(B * (1 - p))"),
    ("that rounds to the nearest; the code cuts the fraction off", "int", "round"),
    ("that rounds up; the code rounds down", "int", "math.ceil"),
    ("those are the samples that skip; asked are those that pass", "(1 - p)", "p"),
]


def tokens_and_weights():
    draw = torch.Generator().manual_seed(5)
    x = 1 + torch.randn(2, 3, 4, generator=draw)
    return [(x, torch.tensor([1.0, 2.0, 0.5, 1.0]), eps) for eps in (1e-5, 0.5)]


@exercise("05.2", "RMSNorm", cases=tokens_and_weights, run=keeping)
def rms_norm(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


rms_norm.slips = [
    (
        "that is LayerNorm: RMSNorm does not subtract the mean",
        lambda x, weight, eps: F.layer_norm(x, weight.shape, weight, eps=eps),
    ),
    ("the root is missing: it divides by the mean square itself", ".sqrt()", ""),
    ("eps stands beside the root; it belongs under it", " + eps).sqrt()", ".sqrt() + eps)"),
    ("the squares are added up; RMSNorm takes their mean", "mean", "sum"),
    ("the mean runs over the tokens; it should run over the channels of each token", "-1", "1"),
    ("the weight is missing", " * weight", ""),
    (
        "that is the spread about the mean; RMSNorm takes the mean of the squares themselves",
        "square().mean(",
        "var(",
    ),
    ("one divisor for all; each token has its own", "mean(-1, keepdim=True)", "mean()"),
]


@exercise(
    "05.3",
    "the size of a SwiGLU network",
    cases=[(384, 6, 8), (4096, 3, 64), (64, 4, 32), (88, 4, 64), (25, 4, 2)],
)
def swiglu_size(D, ratio, align):
    width = -(-int(D * ratio * 2 / 3) // align) * align
    return width, 3 * D * width


swiglu_size.slips = [
    ("the width is rounded down; it should go up to the next multiple", "-(-int", "(int"),
    (
        "the width is rounded to the nearest multiple; it should always go up",
        ("-(-int", "round(int"),
        ("// align", "/ align"),
    ),
    ("the two thirds are missing: that is the width of an Mlp", " * 2 / 3", ""),
    ("cut the two thirds to an integer first, then go up", "int(", "math.ceil("),
    (
        "a width that is a multiple already stays as it is",
        ("-(-int", "(int"),
        ("// align", "// align + 1"),
    ),
    ("the width is not aligned yet", ("-(-int", "int"), (" // align) * align", "")),
    ("the width is right; there are three matrices (gate, value, back), not two", "3 *", "2 *"),
]


def parts():
    """A token batch and six small parts that stand for a block's."""
    draw = torch.Generator().manual_seed(6)
    x, w1, w2 = (torch.randn(*shape, generator=draw) for shape in ((2, 3, 4), (4, 4), (4, 4)))
    norm = nn.LayerNorm(4, elementwise_affine=False)
    attn, mlp = (lambda y: y.flip(1) @ w1), (lambda y: F.gelu(y @ w2))
    return [(x, norm, attn, lambda y: y / 2, lambda y: 2 * norm(y), mlp, lambda y: y / 3)]


@exercise("05.4", "a parallel block", cases=parts)
def parallel_block(x, norm1, attn, ls1, norm2, mlp, ls2):
    # The FFN no longer sees what attention gathered in this block, only what
    # earlier blocks did. In return the two branches can be computed at once.
    return x + ls1(attn(norm1(x))) + ls2(mlp(norm2(x)))


parallel_block.slips = [
    (
        "that is the usual block: the second branch reads what the first has changed",
        "norm2(x)",
        "norm2(x + ls1(attn(norm1(x))))",
    ),
    ("x is added twice, once with each branch", "return x", "return 2 * x"),
    ("the residual is missing: x itself is not added", "return x +", "return"),
    ("the norms are missing: each branch reads a normed copy", ("norm1(", "("), ("norm2(", "(")),
    ("LayerScale is missing", ("ls1(", "("), ("ls2(", "(")),
    ("one norm serves both branches; the FFN has its own", "norm2(", "norm1("),
]


@exercise("05.5", "gamma for a depth", cases=[(12, 2.0), (40, 1.1), (24, 3.0)])
def gamma_for(depth, growth):
    # growth^2 = 1 + 2 depth gamma^2. A net four times as deep needs half the
    # gamma: the root again.
    return math.sqrt((growth**2 - 1) / (2 * depth))


gamma_for.slips = [
    ("that is gamma squared: take the root", "math.sqrt", ""),
    ("each block has two branches", "(2 * depth)", "depth"),
    (
        "you added lengths; vectors at right angles add their squares",
        ("math.sqrt", ""),
        ("growth**2", "growth"),
    ),
    ("growth has to be squared, too", "growth**2", "growth"),
    ("the token's own length, 1, is part of the sum of squares", "(growth**2 - 1)", "growth**2"),
    (
        "that is growth by the same factor each time; at right angles squares add",
        lambda depth, growth: growth ** (1 / (2 * depth)) - 1,
    ),
    ("the root covers the whole fraction", ("((growth", "(growth"), ("depth))", "depth)")),
]
