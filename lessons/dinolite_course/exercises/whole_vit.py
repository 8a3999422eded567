"""Exercise 06.4, the forward pass of the ViT: the answer, and how it goes wrong."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite_course.checking import Exercise, without_gradients


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
    turned_grid: bool = False,
    blocks: Sequence[nn.Module] | None = None,
    registers_last: bool = False,
) -> Tensor:
    """The right features, or those of a mistake."""
    x, (h, w) = net.prepare_tokens_with_masks(images)
    R = net.n_storage_tokens
    if registers_last:
        x = torch.cat([x[:, :1], x[:, 1 + R :], x[:, 1 : 1 + R]], dim=1)
    h, w = (w, h) if turned_grid else (h, w)
    table = net.rope_embed(H=h, W=w) if rope else None
    for block in net.blocks if blocks is None else blocks:
        x = block(x, table)
        x = net.norm(x) if norm_between else x
    return net.norm(x) if norm else x


def vit_forward(net: DinoVisionTransformer, images: Tensor) -> Tensor:
    return features(net, images)


FORWARD = Exercise(
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
            "height and width of the grid have changed places in the RoPE table",
            lambda n, x: features(n, x, turned_grid=True),
        ),
        (
            "the registers stand behind the patches; the last N tokens are turned by RoPE, "
            "so these must be the patches",
            lambda n, x: features(n, x, registers_last=True),
        ),
    ),
    run=without_gradients,
)
