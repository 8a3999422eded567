"""How one token looks at the others: multi-head self-attention, with RoPE on the patch tokens.

"Attention is all you need"; DINOv3 Sec. 3.2; official `layers/attention.py::SelfAttention`.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Rope = tuple[Tensor, Tensor]  # (sin, cos), each [N, head_dim]


# One head of one patch, d = 8. Pair i is (a_i, b_i); two pairs are turned by angles r of the row,
# two by angles c of the column, and the table has each angle twice:
#
#     x                     a0    a1    a2    a3  |  b0    b1    b2    b3
#     angle                 r0    r1    c0    c1  |  r0    r1    c0    c1
#     x rolled by d/2       b0    b1    b2    b3  |  a0    a1    a2    a3
#     sin, signs put in   -sin  -sin  -sin  -sin  | sin   sin   sin   sin
#
#     x cos + (x rolled)(sin, signs put in)  =  a cos - b sin  |  b cos + a sin
def apply_rope(x: Float[Tensor, "B h T d"], rope: Rope) -> Float[Tensor, "B h T d"]:
    """Turn the last N of T tokens by their angles; the first T - N (CLS, storage) stay as they are.

    Number i of a head is paired with number i + d/2 ("rotate half"), and each pair is turned by
    the angle of the patch: (a, b) -> (a cos - b sin, b cos + a sin). Computed in the table's
    float32 whatever the dtype of x.
    """
    sin, cos = rope
    half = x.shape[-1] // 2
    # All T tokens are turned, the first T - N by nothing: cheaper than cutting and joining x.
    prefix = (0, 0, x.shape[-2] - sin.shape[0], 0)
    cos = F.pad(cos, prefix, value=1.0)  # [T, d]
    sin = F.pad(torch.cat([-sin[:, :half], sin[:, half:]], dim=1), prefix)  # [T, d]
    x32 = x.to(sin.dtype)
    return (x32 * cos + x32.roll(half, dims=-1) * sin).to(x.dtype)


class LinearKMaskedBias(nn.Linear):
    """The fused q, k, v layer whose bias is multiplied by `bias_mask`, zero on the key third.

    A constant added to every key would, without RoPE, cancel in the softmax; so it is left out.
    """

    bias_mask: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=True)
        self.register_buffer("bias_mask", torch.empty(out_features), persistent=True)
        self.reset_bias_mask()

    def reset_bias_mask(self) -> None:
        """One for the thirds of q and v, zero for the third of k."""
        self.bias_mask.fill_(1)
        self.bias_mask.chunk(3)[1].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias * self.bias_mask)


class SelfAttention(nn.Module):
    """softmax(q k^T / sqrt(head_dim)) v for each head, between two linear layers."""

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        mask_k_bias: bool = False,
    ) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"dim = {dim} must be a multiple of num_heads = {num_heads}")
        self.num_heads = num_heads
        if mask_k_bias and qkv_bias:
            self.qkv: nn.Linear = LinearKMaskedBias(dim, 3 * dim)
        else:
            self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)

    def queries_keys_values(
        self, x: Float[Tensor, "B T D"], rope: Rope | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v, each [B, h, T, head_dim]; q and k turned by RoPE where a table is given."""
        B, T, D = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, h, T, head_dim]
        if rope is not None:
            q, k = apply_rope(q, rope), apply_rope(k, rope)
        return q, k, v

    def forward(
        self, x: Float[Tensor, "B T D"], rope: Rope | None = None
    ) -> Float[Tensor, "B T D"]:
        """Attend among the T tokens of each sample."""
        q, k, v = self.queries_keys_values(x, rope)
        out = F.scaled_dot_product_attention(q, k, v)  # [B, h, T, head_dim]
        return self.proj(out.transpose(1, 2).flatten(2))  # [B, T, D]

    def attention_map(
        self, x: Float[Tensor, "B T D"], rope: Rope | None = None
    ) -> Float[Tensor, "B h T T"]:
        """The probabilities that `forward` uses and never shows; row = query, column = key."""
        q, k, _ = self.queries_keys_values(x, rope)
        return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)
