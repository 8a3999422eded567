"""Where a patch is: axial rotary position embedding (RoPE). A patch's row and column become
angles by which pairs of its query's and key's numbers are turned, so that a dot product of the two
depends on where the patches lie relative to each other.

RoFormer Sec. 3.2.2, axial form as in RoPE-ViT Sec. 3.2; DINOv3 Sec. 3.2 (box [-1, 1], jittering);
official `layers/rope_position_encoding.py::RopePositionEmbedding`.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RopePositionEmbedding(nn.Module):
    """Angle tables for a grid of patches. No learnt weights; `periods` is a persistent buffer.

    Args:
        embed_dim, num_heads: width D and heads h; D / h must be divisible by 4.
        base: periods are base^(4i / head_dim), i = 0 .. head_dim/4 - 1. Or give
        min_period, max_period: a geometric row from one to the other, both included.
        normalize_coords: "separate" scales each axis to [-1, 1]; "max" and "min" divide both axes
            by the longer or the shorter side.
        shift_coords, jitter_coords, rescale_coords: augmentation in training mode: add U(-s, s)
            per axis, then multiply per axis by a factor log-uniform in [1/j, j], then both axes
            by one factor log-uniform in [1/r, r]. None = off.
    """

    periods: Tensor

    def __init__(
        self,
        embed_dim: int,
        *,
        num_heads: int,
        base: float | None = 100.0,
        min_period: float | None = None,
        max_period: float | None = None,
        normalize_coords: Literal["min", "max", "separate"] = "separate",
        shift_coords: float | None = None,
        jitter_coords: float | None = None,
        rescale_coords: float | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % (4 * num_heads):
            raise ValueError(
                f"embed_dim = {embed_dim} with num_heads = {num_heads}: the width must be a "
                "multiple of 4 x heads, two axes of turning pairs"
            )
        both = min_period is not None and max_period is not None
        if (base is None) != both or (base is not None and (min_period or max_period)):
            raise ValueError(
                f"RoPE got base = {base}, min_period = {min_period}, max_period = {max_period}; "
                "give either base, or min_period and max_period with base = None"
            )
        if normalize_coords not in ("min", "max", "separate"):
            raise ValueError(f"normalize_coords = {normalize_coords!r}; use min, max or separate")
        for name, factor in (("jitter_coords", jitter_coords), ("rescale_coords", rescale_coords)):
            if factor is not None and factor < 1:
                raise ValueError(f"{name} = {factor}; it must be at least 1")
        self.head_dim = embed_dim // num_heads
        self.base, self.min_period, self.max_period = base, min_period, max_period
        self.normalize_coords = normalize_coords
        self.shift_coords = shift_coords
        self.jitter_coords = jitter_coords
        self.rescale_coords = rescale_coords
        self.register_buffer("periods", torch.empty(self.head_dim // 4), persistent=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill `periods` [head_dim / 4] from the settings."""
        n = self.head_dim // 4
        steps = torch.arange(n, device=self.periods.device, dtype=torch.float32)
        if self.base is not None:
            periods = self.base ** (4 * steps / self.head_dim)
        else:
            assert self.min_period is not None and self.max_period is not None
            ratio = self.max_period / self.min_period
            periods = self.min_period * ratio ** (steps / max(n - 1, 1))
        self.periods.copy_(periods)

    def coordinates(self, H: int, W: int) -> Float[Tensor, "N 2"]:
        """Centres (row, column) of a grid of H x W patches, on the box [-1, 1]."""
        device = self.periods.device
        over = {"separate": (H, W), "max": (max(H, W),) * 2, "min": (min(H, W),) * 2}
        over_h, over_w = over[self.normalize_coords]
        rows = (torch.arange(H, device=device, dtype=torch.float32) + 0.5) / over_h
        cols = (torch.arange(W, device=device, dtype=torch.float32) + 0.5) / over_w
        coords = torch.stack(torch.meshgrid(rows, cols, indexing="ij"), dim=-1)  # [H, W, 2]
        return 2 * coords.flatten(0, 1) - 1  # [N, 2]

    def forward(
        self, *, H: int, W: int
    ) -> tuple[Float[Tensor, "N head_dim"], Float[Tensor, "N head_dim"]]:
        """(sin, cos) of the angles of every patch, row-major; one table for all heads and samples.

        With `draws`, every call draws anew: the ViT calls once per block and crop size, as the
        official code does. Otherwise it calls once per crop size.
        """
        coords = self.coordinates(H, W)
        return self.table(self.augment(coords) if self.draws else coords)

    @property
    def draws(self) -> bool:
        """Are the coordinates augmented? In training mode, with a shift, jitter or rescaling."""
        factors = self.shift_coords, self.jitter_coords, self.rescale_coords
        return self.training and any(factors)

    def augment(self, coords: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
        """Shift, then jitter, then rescale the coordinates; one draw for the whole batch."""

        def log_uniform(n: int, factor: float) -> Tensor:
            u = torch.rand(n, device=coords.device) * 2 - 1
            return torch.exp(u * math.log(factor))

        if self.shift_coords:
            coords = coords + (torch.rand(2, device=coords.device) * 2 - 1) * self.shift_coords
        if self.jitter_coords:
            coords = coords * log_uniform(2, self.jitter_coords)
        if self.rescale_coords:
            coords = coords * log_uniform(1, self.rescale_coords)
        return coords

    def table(
        self, coords: Float[Tensor, "N 2"]
    ) -> tuple[Float[Tensor, "N head_dim"], Float[Tensor, "N head_dim"]]:
        """Angles 2 pi c / period laid out [rows, columns, rows, columns] along head_dim."""
        angles = 2 * math.pi * coords[:, :, None] / self.periods.float()  # [N, 2, head_dim / 4]
        angles = angles.flatten(1).tile(2)  # [N, head_dim]
        return angles.sin(), angles.cos()
