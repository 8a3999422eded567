"""One layer of the transformer: tokens exchange (attention), then each thinks alone (FFN), and both
results are added to what was there. In training some samples skip a branch (stochastic depth).

DINOv2 Sec. 5 "Efficient stochastic depth"; official `layers/block.py::SelfAttentionBlock`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dinolite.layers.attention import Rope, SelfAttention
from dinolite.layers.ffn_layers import FFN_LAYERS
from dinolite.layers.layer_scale import LayerScale


class SelfAttentionBlock(nn.Module):
    """x + ls1(attn(norm1 x)), then x + ls2(mlp(norm2 x)).

    `drop_path` is the fraction of samples that skip a branch while training, drawn for each branch
    and call. The official code drops whole samples, not single residuals, and saves their cost.

    With `recompute = True` only the block's input is kept for the backward pass, which computes
    what was inside once more, with the same samples dropped; `keeping` lets it keep some of that.
    """

    recompute = False
    keeping: Mapping[str, Any] = MappingProxyType({})  # further arguments of `checkpoint`

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        ffn_ratio: float = 4.0,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        ffn_bias: bool = True,
        drop_path: float = 0.0,
        init_values: float | None = None,
        norm_layer: Callable[[int], nn.Module] = nn.LayerNorm,
        ffn_layer: str = "mlp",
        mask_k_bias: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path = {drop_path}; it must be in [0, 1)")
        if ffn_layer not in FFN_LAYERS:
            raise ValueError(f"ffn_layer = {ffn_layer!r}; use one of {', '.join(FFN_LAYERS)}")
        self.norm1 = norm_layer(dim)
        self.attn = SelfAttention(dim, num_heads, qkv_bias, proj_bias, mask_k_bias)
        self.ls1 = LayerScale(dim, init_values) if init_values else nn.Identity()
        self.norm2 = norm_layer(dim)
        self.mlp = FFN_LAYERS[ffn_layer](dim, int(dim * ffn_ratio), bias=ffn_bias)
        self.ls2 = LayerScale(dim, init_values) if init_values else nn.Identity()
        self.drop_path = drop_path

    def forward(
        self, x: Float[Tensor, "B T D"], rope: Rope | None = None
    ) -> Float[Tensor, "B T D"]:
        if self.recompute and torch.is_grad_enabled():
            out: Tensor = checkpoint(
                self.both_branches, x, rope, use_reentrant=False, **self.keeping
            )
            return out
        return self.both_branches(x, rope)

    def both_branches(self, x: Tensor, rope: Rope | None) -> Float[Tensor, "B T D"]:
        """Attention, then FFN."""
        if not (self.training and self.drop_path > 0):
            x = x + self.ls1(self.attn(self.norm1(x), rope))
            return x + self.ls2(self.mlp(self.norm2(x)))
        x = drop_samples(
            x, lambda kept: self.ls1(self.attn(self.norm1(kept), rope)), self.drop_path
        )
        return drop_samples(x, lambda kept: self.ls2(self.mlp(self.norm2(kept))), self.drop_path)


def drop_samples(
    x: Float[Tensor, "B T D"], branch: Callable[[Tensor], Tensor], drop_path: float
) -> Float[Tensor, "B T D"]:
    """Add branch(x) to max(int(B (1 - p)), 1) samples, scaled so that the expectation stays."""
    B = x.shape[0]
    n_kept = max(int(B * (1 - drop_path)), 1)
    kept = torch.randperm(B, device=x.device)[:n_kept]
    residual = branch(x[kept])  # [n_kept, T, D]
    return torch.index_add(x, 0, kept, residual.to(x.dtype), alpha=B / n_kept)
