"""From a feature to scores for K prototypes: an MLP down to a narrow unit vector, then one matrix
whose rows are the prototypes.

DINO App. C (without its weight normalisation, which DINOv3 dropped); DINOv3 Table 2 for sizes;
official `layers/dino_head.py::DINOHead`.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class DINOHead(nn.Module):
    """in_dim -> hidden -> ... -> bottleneck -> unit length -> `out_dim` prototypes (no bias)."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        nlayers: int = 3,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        last_layer_std: float = 0.02,
    ) -> None:
        super().__init__()
        if nlayers < 1:
            raise ValueError(f"nlayers = {nlayers}; a head has at least 1 layer")
        widths = [in_dim, *[hidden_dim] * (nlayers - 1), bottleneck_dim]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.GELU()]
        # one layer alone has no number in its name, as in the official code
        self.mlp = layers[0] if nlayers == 1 else nn.Sequential(*layers[:-1])
        self.last_layer = nn.Linear(bottleneck_dim, out_dim, bias=False)
        self.init_weights(last_layer_std)

    def init_weights(self, last_layer_std: float = 0.02) -> None:
        """Every weight from N(0, 0.02), every bias 0; the prototypes from N(0, last_layer_std)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                std = last_layer_std if module is self.last_layer else 0.02
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def bottleneck(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B bottleneck"]:
        """The unit vectors that are compared with the prototypes."""
        x = self.mlp(x)
        return F.normalize(x, dim=-1, eps=1e-6 if x.dtype == torch.float16 else 1e-12)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B K"]:
        return self.last_layer(self.bottleneck(x))
