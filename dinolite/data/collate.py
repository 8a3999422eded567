"""A batch for one step: crops stacked crop-major (crop 0 of every picture, then crop 1, ...), the
masks of the global crops, and where in the batch the hidden patches are.

DINOv3 App. C (mask ratios and probability); official `data/collate.py::collate_data_and_cast`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from dinolite.data.masking import MaskingGenerator
from dinolite.settings import IbotConfig


@dataclass
class SSLBatch:
    """B pictures, 2 global and L local crops of each. Masks: True = hidden."""

    global_crops: Float[Tensor, "GB 3 g g"]
    local_crops: Float[Tensor, "LB 3 l l"]
    masks: Bool[Tensor, "GB N"]
    mask_indices_list: Int64[Tensor, "M"]
    """Positions of the hidden patches in [2B * N]."""
    masks_weight: Float[Tensor, "M"]
    """1 / (number of hidden patches in the same crop)."""
    gram_teacher_crops: Float[Tensor, "GB 3 G G"] | None = None

    def to(self, device: torch.device) -> SSLBatch:
        """The batch on another device, copied without waiting."""
        moved = {
            f.name: None
            if (x := getattr(self, f.name)) is None
            else x.to(device, non_blocking=True)
            for f in fields(self)
        }
        return SSLBatch(**moved)  # type: ignore[arg-type]


def draw_masks(
    n_crops: int, grid: tuple[int, int], ibot: IbotConfig, generator: Generator | None = None
) -> Bool[Tensor, "n N"]:
    """Masks [n_crops, N] for the global crops of a batch, shuffled over the crops; True = hidden.

    int(n_crops x mask_sample_probability) crops are masked. Their ratios are a fixed ladder, not
    drawn: linspace(min, max, n + 1) without its first step, so the mean is the same in each batch.
    """
    n_masked = int(n_crops * ibot.mask_sample_probability)
    ratios = torch.linspace(*ibot.mask_ratio_min_max, n_masked + 1, dtype=torch.float64)[1:]
    counts = torch.zeros(n_crops, dtype=torch.int64)
    counts[:n_masked] = (ratios * (grid[0] * grid[1])).long()
    # The official limit on one block, half of the crop, written in its odd rounding.
    masks = MaskingGenerator(grid, max_num_patches=grid[0] * 0.5 // 1 * grid[1])(counts, generator)
    if ibot.mask_random_circular_shift:
        masks = roll(masks, generator)
    return masks.flatten(1)[torch.randperm(n_crops, generator=generator)]


def roll(masks: Bool[Tensor, "n H W"], generator: Generator | None) -> Bool[Tensor, "n H W"]:
    """Shift every mask around the edges by an own random amount."""
    n, h, w = masks.shape
    dy = torch.randint(h, (n, 1, 1), generator=generator)
    dx = torch.randint(w, (n, 1, 1), generator=generator)
    rows = (torch.arange(h)[None, :, None] + dy) % h
    cols = (torch.arange(w)[None, None, :] + dx) % w
    return masks[torch.arange(n)[:, None, None], rows, cols]


def mask_positions(
    masks: Bool[Tensor, "n N"],
) -> tuple[Int64[Tensor, "M"], Float[Tensor, "M"]]:
    """`mask_indices_list` and `masks_weight` of masks (True = hidden)."""
    indices = masks.flatten().nonzero().flatten()  # [M]
    weight = 1 / masks.sum(dim=1).clamp(min=1).float()  # [n]
    return indices, weight[indices // masks.shape[1]]
