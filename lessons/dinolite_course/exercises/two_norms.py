"""Exercise 06.5, CLS and registers get a norm of their own: the answer, and how it goes wrong."""

import torch
from torch import Tensor, nn

from dinolite_course.checking import Exercise, without_gradients


def tokens_and_norms() -> list[tuple[Tensor, int, nn.Module, nn.Module]]:
    torch.manual_seed(0)
    cls_norm, norm = nn.LayerNorm(8), nn.LayerNorm(8)
    with torch.no_grad():
        for parameter in [*cls_norm.parameters(), *norm.parameters()]:
            parameter.normal_()  # each channel has its own: norms do not cancel each other
    return [(torch.randn(2, 1 + R + 6, 8), R, cls_norm, norm) for R in (4, 2)]


def normed(tokens: Tensor, R: int, cls_norm: nn.Module, norm: nn.Module) -> Tensor:
    return torch.cat([cls_norm(tokens[:, : 1 + R]), norm(tokens[:, 1 + R :])], dim=1)


OWN_NORM = Exercise(
    "06.5",
    "CLS and registers get a norm of their own",
    normed,
    tokens_and_norms,
    (
        ("all tokens went through `norm`", lambda t, R, c, n: n(t)),
        ("the two norms have changed places", lambda t, R, c, n: normed(t, R, n, c)),
        (
            "the registers belong to CLS: they are no places in the picture either",
            lambda t, R, c, n: normed(t, 0, c, n),
        ),
        (
            "CLS and registers went through `norm` before their own",
            lambda t, R, c, n: torch.cat([c(n(t[:, : 1 + R])), n(t[:, 1 + R :])], dim=1),
        ),
        (
            "the patches went through `cls_norm` before their own",
            lambda t, R, c, n: torch.cat([c(t[:, : 1 + R]), n(c(t[:, 1 + R :]))], dim=1),
        ),
        ("the patches come last", lambda t, R, c, n: normed(t, R, c, n).roll(-1 - R, 1)),
    ),
    run=without_gradients,
)
