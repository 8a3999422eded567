"""Bringing the numbers of a token back to a common size before each branch: LayerNorm, or RMSNorm.

"Layer Normalization"; "Root Mean Square Layer Normalization"; official `norm_layer_dict` of
`models/vision_transformer.py`.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

NORM_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "layernorm": partial(nn.LayerNorm, eps=1e-6),
    "layernormbf16": partial(nn.LayerNorm, eps=1e-5),  # in all released models
    "rmsnorm": partial(nn.RMSNorm, eps=1e-5),
}


def norm_named(norm_layer: str) -> Callable[[int], nn.Module]:
    """The norm of that name, waiting for its width.

    Raises:
        ValueError: there is none of that name.
    """
    if norm_layer not in NORM_LAYERS:
        raise ValueError(f"norm_layer = {norm_layer!r}; use one of {', '.join(NORM_LAYERS)}")
    return NORM_LAYERS[norm_layer]
