"""What each token does on its own: a small network applied to every token alike.

Two forms: `Mlp` (widen, GELU, narrow) and `SwiGLUFFN` (one branch gates the other; "GLU variants
improve Transformer"; DINOv3 Table 2). Official `layers/ffn_layers.py`.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Mlp(nn.Module):
    """fc2(GELU(fc1(x))), the inner width being `hidden`."""

    def __init__(self, dim: int, hidden: int, bias: bool = True) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return self.fc2(F.gelu(self.fc1(x)))


def swiglu_width(hidden: int, align: int) -> int:
    """Two thirds of the asked width (three matrices instead of two), rounded up to `align`."""
    return -(-int(hidden * 2 / 3) // align) * align


class SwiGLUFFN(nn.Module):
    """w3(silu(w1 x) * w2 x): w1 is the gate, w2 the value."""

    def __init__(self, dim: int, hidden: int, bias: bool = True, align_to: int = 8) -> None:
        super().__init__()
        width = swiglu_width(hidden, align_to)
        self.w1 = nn.Linear(dim, width, bias=bias)
        self.w2 = nn.Linear(dim, width, bias=bias)
        self.w3 = nn.Linear(width, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return self.w3(F.silu(self.w1(x)) * self.w2(x))


FFN_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": Mlp,
    "swiglu": SwiGLUFFN,
    "swiglu32": partial(SwiGLUFFN, align_to=32),
    "swiglu64": partial(SwiGLUFFN, align_to=64),
    "swiglu128": partial(SwiGLUFFN, align_to=128),
}
