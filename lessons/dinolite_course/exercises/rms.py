"""Exercise 05.2, RMSNorm: the answer, and the other norms that it is mistaken for."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dinolite_course.checking import Exercise, keeping


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def tokens_and_weights() -> list[tuple[Tensor, Tensor, float]]:
    g = torch.Generator().manual_seed(5)
    x = 1 + torch.randn(2, 3, 4, generator=g)
    return [(x, torch.tensor([1.0, 2.0, 0.5, 1.0]), eps) for eps in (1e-5, 0.5)]


RMS_NORM = Exercise(
    "05.2",
    "RMSNorm",
    rms_norm,
    tokens_and_weights,
    (
        (
            "that is LayerNorm: RMSNorm does not subtract the mean",
            lambda x, w, e: F.layer_norm(x, x.shape[-1:], eps=e) * w,
        ),
        (
            "the root is missing: it divides by the mean square itself",
            lambda x, w, e: x / (x.square().mean(-1, keepdim=True) + e) * w,
        ),
        (
            "eps stands beside the root; it belongs under it",
            lambda x, w, e: x / (x.square().mean(-1, keepdim=True).sqrt() + e) * w,
        ),
        (
            "the squares are added up; RMSNorm takes their mean",
            lambda x, w, e: x / (x.square().sum(-1, keepdim=True) + e).sqrt() * w,
        ),
        (
            "the mean runs over the tokens; it should run over the channels of each token",
            lambda x, w, e: x / (x.square().mean(1, keepdim=True) + e).sqrt() * w,
        ),
        (
            "the weight is missing",
            lambda x, w, e: x / (x.square().mean(-1, keepdim=True) + e).sqrt(),
        ),
        (
            "that is the spread about the mean; RMSNorm takes the mean of the squares themselves",
            lambda x, w, e: x / (x.var(-1, keepdim=True) + e).sqrt() * w,
        ),
        (
            "one divisor for all; each token has its own",
            lambda x, w, e: x / (x.square().mean() + e).sqrt() * w,
        ),
    ),
    keeping,
)
