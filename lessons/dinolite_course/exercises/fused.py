"""Exercise 04.3, the fused layer's output cut into q, k, v and heads: the answer and ways to cut
wrongly.
"""

import torch
from torch import Tensor

Three = tuple[Tensor, Tensor, Tensor]


def split_qkv(qkv: Tensor, h: int) -> Three:
    q, k, v = (t.unflatten(-1, (h, -1)).transpose(1, 2) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def by_view(qkv: Tensor, h: int) -> Three:
    """The right shape, but head 0 gets the first tokens and not the first numbers."""
    B, T, D3 = qkv.shape
    q, k, v = (t.reshape(B, h, T, D3 // 3 // h) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def heads_first(qkv: Tensor, h: int) -> Three:
    """As if the fused layer wrote q, k, v of head 0, then q, k, v of head 1, ..."""
    q, k, v = qkv.unflatten(-1, (h, 3, -1)).permute(3, 0, 2, 1, 4)
    return q, k, v


def interleaved(qkv: Tensor, h: int) -> Three:
    """Head 0 takes numbers 0, h, 2h, ... of the width."""
    q, k, v = (t.unflatten(-1, (-1, h)).permute(0, 3, 1, 2) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def not_swapped(qkv: Tensor, h: int) -> Three:
    q, k, v = (t.unflatten(-1, (h, -1)) for t in qkv.chunk(3, dim=-1))
    return q, k, v


def fused() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(5)
    return [(torch.randn(2, 6, 3 * 12, generator=draw), h) for h in (3, 2)]
