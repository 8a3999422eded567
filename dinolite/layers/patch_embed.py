"""An image becomes a sequence: cut it into patches and project each to a vector of width D.

DINOv3 Sec. 3.2 "Updated Model Architecture"; official `layers/patch_embed.py::PatchEmbed`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """A strided convolution: every `patch_size` x `patch_size` square, times one matrix."""

    def __init__(self, patch_size: int = 16, in_chans: int = 3, embed_dim: int = 768) -> None:
        super().__init__()
        if patch_size < 1 or in_chans < 1:
            raise ValueError(f"{patch_size = } and {in_chans = } must be at least 1")
        self.patch_size = patch_size
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def reset_parameters(self) -> None:
        """Weight and bias uniform in +-1/sqrt(C p^2), as the official code draws them."""
        bound = 1 / math.sqrt(self.in_chans * self.patch_size**2)
        nn.init.uniform_(self.proj.weight, -bound, bound)
        assert self.proj.bias is not None
        nn.init.uniform_(self.proj.bias, -bound, bound)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B h w D"]:
        """Project the patches of images [B, C, H, W] to [B, H/p, W/p, D].

        Raises:
            ValueError: H or W is not a multiple of the patch size (the official code silently
                crops such an image), C is not `in_chans`, or the numbers are of another type.
        """
        self.check(x)
        return self.proj(x).permute(0, 2, 3, 1)  # [B, h, w, D]

    def check(self, x: Tensor) -> None:
        """Raise ValueError for images that `forward` cannot take."""
        if x.ndim != 4:
            raise ValueError(f"image has the shape {list(x.shape)}; this model takes [B, C, H, W]")
        chans, height, width = x.shape[1:]
        if height % self.patch_size or width % self.patch_size or not height or not width:
            raise ValueError(
                f"image is {height} x {width} pixels; height and width must be multiples of "
                f"patch_size = {self.patch_size}"
            )
        if chans != self.in_chans:
            raise ValueError(f"image has {chans} channels; this model takes {self.in_chans}")
        own, kind = self.proj.weight.dtype, x.device.type
        if not x.is_floating_point():
            raise ValueError(
                f"image holds {x.dtype}, this model takes {own}: dinolite.eval.features.preprocess "
                "makes it of 0..255"
            )
        if x.dtype != own and not (
            torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        ):
            raise ValueError(
                f"image holds {x.dtype}, this model {own}: convert one of them, or use "
                "torch.autocast"
            )
