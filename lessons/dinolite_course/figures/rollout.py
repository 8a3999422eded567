"""From which patches may a token have received something, over all layers? Attention rollout
multiplies the attention of the layers, each averaged with the identity for the residual path.

Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928); neither in
the DINOv3 paper nor in the official code. It leaves out values, FFN, norms and layer scales.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def attention_rollout(maps: Sequence[Float[Tensor, "B h T T"]]) -> Float[Tensor, "B T T"]:
    """Shares of the input tokens (columns) in each output token (rows); every row sums to 1.

    Args:
        maps: one per layer, the first layer first, as from `get_attention_maps`.

    Raises:
        ValueError: there is no map, or they differ in shape.
    """
    if not maps or any(m.shape != maps[0].shape for m in maps):
        shapes = [list(m.shape) for m in maps]
        raise ValueError(f"maps has shapes {shapes}; wanted is one shape [B, h, T, T] or more")
    T = maps[0].shape[-1]
    identity = torch.eye(T, dtype=maps[0].dtype, device=maps[0].device)
    shares = identity.expand(len(maps[0]), T, T)
    for attention in maps:
        layer = (attention.mean(dim=1) + identity) / 2
        shares = layer @ shares
    return shares
