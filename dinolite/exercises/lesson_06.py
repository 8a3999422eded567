"""Exercises of lesson 06, the ViT: a shape, a count of parameters, the forward pass, the norms."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dinolite.exercises.exercise import Exercise
from dinolite.models.vision_transformer import DinoVisionTransformer


def patch_map(height: int, width: int, patch: int, D: int) -> tuple[int, int, int]:
    return D, height // patch, width // patch


def block_parameters(D: int) -> int:
    attention = 4 * D * D + 4 * D
    ffn = 8 * D * D + 5 * D
    return attention + ffn + 4 * D + 2 * D


def split(tokens: Tensor, R: int) -> tuple[Tensor, Tensor, Tensor]:
    return tokens[:, 0], tokens[:, 1 : 1 + R], tokens[:, 1 + R :]


# --- the forward pass, and how it goes wrong ---


def small_net() -> DinoVisionTransformer:
    """Two blocks whose every part matters: without LayerScale, with 4 tokens beside the patches."""
    torch.manual_seed(0)
    net = DinoVisionTransformer(
        patch_size=4, embed_dim=16, depth=2, num_heads=2, n_storage_tokens=3
    )
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn(weight.shape) * (0.3 if weight.ndim > 1 else 1))
    return net.eval()


def nets_and_images() -> list[tuple[DinoVisionTransformer, Tensor]]:
    net = small_net()
    return [(net, torch.randn(2, 3, 12, 12)), (net, torch.randn(1, 3, 8, 16))]


@torch.no_grad()
def features(
    net: DinoVisionTransformer,
    images: Tensor,
    norm: bool = True,
    norm_between: bool = False,
    rope: bool = True,
    blocks: Sequence[nn.Module] | None = None,
    registers_last: bool = False,
) -> Tensor:
    """The right features, or those of a mistake."""
    x, (h, w) = net.prepare_tokens_with_masks(images)
    R = net.n_storage_tokens
    if registers_last:
        x = torch.cat([x[:, :1], x[:, 1 + R :], x[:, 1 : 1 + R]], dim=1)
    table = net.rope_embed(H=h, W=w) if rope else None
    for block in net.blocks if blocks is None else blocks:
        x = block(x, table)
        x = net.norm(x) if norm_between else x
    return net.norm(x) if norm else x


def vit_forward(net: DinoVisionTransformer, images: Tensor) -> Tensor:
    return features(net, images)


@torch.no_grad()
def without_gradients(answer: Callable[..., Tensor], *arguments: Any) -> Tensor:
    return answer(*arguments)


# --- norms of their own ---


def tokens_and_norms() -> list[tuple[Tensor, int, nn.Module, nn.Module]]:
    torch.manual_seed(0)
    cls_norm, norm = nn.LayerNorm(8), nn.LayerNorm(8)
    with torch.no_grad():
        cls_norm.weight.fill_(2)
        norm.bias.fill_(-1)
    return [(torch.randn(2, 1 + R + 6, 8), R, cls_norm, norm) for R in (4, 2)]


def normed(tokens: Tensor, R: int, cls_norm: nn.Module, norm: nn.Module) -> Tensor:
    return torch.cat([cls_norm(tokens[:, : 1 + R]), norm(tokens[:, 1 + R :])], dim=1)


EXERCISES = (
    Exercise(
        "06.1",
        "the shape of a map of patch features",
        patch_map,
        lambda: [(224, 224, 16, 384), (160, 224, 16, 768), (96, 48, 8, 192)],
        (
            ("height comes before width", lambda H, W, p, D: (D, W // p, H // p)),
            (
                "that is the shape for a picture viewer; PyTorch's maps have the channels first",
                lambda H, W, p, D: (H // p, W // p, D),
            ),
            ("those are pixels; there is one vector for each patch", lambda H, W, p, D: (D, H, W)),
            (
                "that is the sequence; reshape=True gives it its two dimensions back",
                lambda H, W, p, D: (1, (H // p) * (W // p), D),
            ),
        ),
    ),
    Exercise(
        "06.2",
        "the parameters of one block",
        block_parameters,
        lambda: [(384,), (192,), (768,)],
        (
            ("the biases of the linear layers are missing", lambda D: 12 * D * D + 6 * D),
            ("the norms are missing; each has weight and bias", lambda D: 12 * D * D + 11 * D),
            (
                "2 D are missing: the two LayerScales, or the biases of the two norms",
                lambda D: 12 * D * D + 13 * D,
            ),
            ("q, k and v are three projections; you count one", lambda D: 10 * D * D + 13 * D),
            ("the FFN has two matrices; you count one", lambda D: 8 * D * D + 14 * D),
        ),
    ),
    Exercise(
        "06.3",
        "CLS, registers and patches apart",
        split,
        lambda: [
            (torch.arange(2.0 * 10 * 3).view(2, 10, 3), 4),
            (torch.arange(11.0 * 2).view(1, 11, 2), 2),
        ],
        (
            (
                "the registers are among your patches: patches start at 1 + R",
                lambda t, R: (t[:, 0], t[:, 1 : 1 + R], t[:, 1:]),
            ),
            (
                "you forgot to count CLS: registers and patches start one later",
                lambda t, R: (t[:, 0], t[:, :R], t[:, R:]),
            ),
            (
                "the registers stand behind CLS, not at the end of the sequence",
                lambda t, R: (t[:, 0], t[:, -R:], t[:, 1:-R]),
            ),
            (
                "CLS is one vector per picture, [B, D]: index it, do not slice it",
                lambda t, R: (t[:, :1], t[:, 1 : 1 + R], t[:, 1 + R :]),
            ),
        ),
    ),
    Exercise(
        "06.4",
        "the forward pass of the ViT",
        vit_forward,
        nets_and_images,
        (
            ("the final norm is missing", lambda n, x: features(n, x, norm=False)),
            (
                "the final norm comes once, after the last block, not after each",
                lambda n, x: features(n, x, norm_between=True, norm=False),
            ),
            (
                "the blocks got no RoPE table, so no patch knows its place",
                lambda n, x: features(n, x, rope=False),
            ),
            (
                "the blocks run from last to first",
                lambda n, x: features(n, x, blocks=list(n.blocks)[::-1]),
            ),
            (
                "the registers stand behind the patches; the last N tokens are turned by RoPE, "
                "so these must be the patches",
                lambda n, x: features(n, x, registers_last=True),
            ),
        ),
        run=without_gradients,
    ),
    Exercise(
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
            ("the patches come last", lambda t, R, c, n: normed(t, R, c, n).roll(-1 - R, 1)),
        ),
        run=without_gradients,
    ),
)
