"""What the student does not get to see: blocks of patches, until exactly the wanted number is
hidden; how many that is in each crop of a batch; and the batch of one step, with the positions of
its hidden patches.

iBOT App. (blockwise masking, after BEiT Alg. 1); DINOv3 App. C (ratios); official `data/masking.py`
(one mask at a time, while here all of a batch grow together) and `data/collate.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Real
from torch import Generator, Tensor

from dinolite.config import IbotConfig

MIN_NUM_PATCHES = 4  # smallest area that is asked for; rounding its sides may give less
MAX_TRIES = 10  # in a row without success; the rest is then hidden patch by patch


class MaskingGenerator:
    """Masks for a grid of patches; True = hidden.

    Args:
        input_size: (rows, columns) of the grid.
        max_num_patches: most patches that one block may add; None = half of the grid.
        min_aspect, max_aspect: range of a block's height / width, drawn log-uniformly.
    """

    def __init__(
        self,
        input_size: tuple[int, int],
        max_num_patches: float | None = None,
        min_aspect: float = 0.3,
        max_aspect: float | None = None,
    ) -> None:
        self.height, self.width = input_size
        self.grid = torch.tensor(input_size)[:, None]
        self.places = torch.arange(max(input_size))
        half = self.height * self.width // 2
        self.max_num_patches = half if max_num_patches is None else max_num_patches
        self.log_aspect = (math.log(min_aspect), math.log(max_aspect or 1 / min_aspect))

    def __call__(
        self, n_masked: Int64[Tensor, "n"], generator: Generator | None = None
    ) -> Bool[Tensor, "n H W"]:
        """One mask for each entry, with exactly that many hidden patches.

        Raises:
            ValueError: an entry is negative or larger than the grid.
        """
        cells = self.height * self.width
        if len(n_masked) and not 0 <= int(n_masked.min()) <= int(n_masked.max()) <= cells:
            raise ValueError(f"n_masked = {n_masked.tolist()}; a grid has 0 to {cells} patches")
        masks = torch.zeros(len(n_masked), self.height, self.width, dtype=torch.bool)
        hidden, failures = torch.zeros_like(n_masked), torch.zeros_like(n_masked)
        while (growing := (hidden < n_masked) & (failures < MAX_TRIES)).any():
            largest = (n_masked - hidden).clamp(max=self.max_num_patches)
            blocks, possible = self.draw_blocks(largest, generator)
            new = (blocks & ~masks).sum((1, 2))
            accepted = growing & possible & (new > 0) & (new <= largest)
            masks |= blocks & accepted[:, None, None]
            hidden = hidden + new * accepted
            failures = torch.where(accepted, 0, failures + 1)
        return self.complete(masks, n_masked, generator)

    def draw_blocks(
        self, largest: Real[Tensor, "n"], generator: Generator | None
    ) -> tuple[Bool[Tensor, "n H W"], Bool[Tensor, "n"]]:
        """A random block for each mask, of an area up to `largest` before its sides are rounded,
        and whether it is smaller than the grid on both sides."""
        u = torch.rand(4, len(largest), generator=generator)
        area = MIN_NUM_PATCHES + u[0] * (largest - MIN_NUM_PATCHES)
        low, high = self.log_aspect
        aspect = torch.exp(low + u[1] * (high - low))
        side = torch.stack([area * aspect, area / aspect]).sqrt().round()  # [2, n] height, width
        start = (u[2:] * (self.grid - side + 1).clamp(min=1)).floor()[:, :, None]  # [2, n, 1]
        inside = (self.places >= start) & (self.places < start + side[:, :, None])  # [2, n, places]
        blocks = inside[0, :, : self.height, None] & inside[1, :, None, : self.width]
        return blocks, (side < self.grid).all(0)

    def complete(
        self,
        masks: Bool[Tensor, "n H W"],
        n_masked: Int64[Tensor, "n"],
        generator: Generator | None,
    ) -> Bool[Tensor, "n H W"]:
        """Hide single patches at random until the count is exact."""
        flat = masks.flatten(1)
        order = torch.rand(flat.shape, generator=generator).masked_fill(flat, -1)  # hidden first
        position = order.argsort(dim=1).argsort(dim=1)  # rank of each patch in its mask
        return (position < n_masked[:, None]).view_as(masks)


def draw_masks(
    n_crops: int, grid: tuple[int, int], ibot: IbotConfig, generator: Generator | None = None
) -> Bool[Tensor, "n N"]:
    """Masks [n_crops, N] for the global crops of a batch, shuffled over the crops; True = hidden.

    int(n_crops x mask_sample_probability) crops are masked. Their ratios are a fixed ladder, not
    drawn: linspace(min, max, n + 1) without its first step, so the mean is the same in each batch.
    """
    n_masked = int(n_crops * ibot.mask_sample_probability)
    # In float32, as the official: some ratios just below a whole patch would else hide one more.
    ratios = torch.linspace(*ibot.mask_ratio_min_max, n_masked + 1, dtype=torch.float32)[1:]
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


@dataclass
class SSLBatch:
    """B pictures, 2 global and L local crops of each. Masks: True = hidden."""

    global_crops: Float[Tensor, "GB 3 g g2"]
    local_crops: Float[Tensor, "LB 3 l l2"]
    masks: Bool[Tensor, "GB N"]
    mask_indices_list: Int64[Tensor, "M"]
    """Positions of the hidden patches in [2B * N]."""
    masks_weight: Float[Tensor, "M"]
    """1 / (number of hidden patches in the same crop)."""
    gram_teacher_crops: Float[Tensor, "GB 3 G G2"] | None = None

    def to(self, device: torch.device) -> SSLBatch:
        """The batch on another device, copied without waiting."""
        tensors = {name: x for name, x in vars(self).items() if x is not None}
        return SSLBatch(**{name: x.to(device, non_blocking=True) for name, x in tensors.items()})
