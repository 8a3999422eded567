"""Mosaics: pictures with several things in them, put together from windows of the photographs, the
photograph of every pixel known. Windows that show one thing teach what a picture is; for what a
patch is, pictures must hold more than one. No counterpart in the paper or the official code.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dinolite.data.scenes import Scenes
from dinolite.data.windows import make_windows

# split -> number of mosaics, seed
DEFAULT_COUNT_AND_SEED = MappingProxyType({"train": (8000, 3), "test": (1000, 1_000_004)})
SIDE = (72, 119)  # of the windows, in pixels of a photograph whose short side has 384
MAX_REGIONS = 6
_CHUNK = 500  # mosaics made at once; each needs twice as many windows


def make_mosaics(n: int, split: str, seed: int, size: int = 96) -> Scenes:
    """n mosaics of `size` x `size` pixels: 1 to 6 regions, each from another window of that split.

    A region is what lies nearest to one of as many random points. Labels: the photograph that
    covers most; masks: the photograph of each pixel (index into `windows.CLASSES`) + 1, as in
    scenes, but no pixel is background. Same arguments, same mosaics.

    Raises:
        ValueError: n < 1, an unknown split, size < 4.
    """
    if n < 1:
        raise ValueError(f"n={n} mosaics asked for; allowed: 1 and up")
    generator = torch.Generator().manual_seed(seed)
    images, masks = [], []
    for start in range(0, n, _CHUNK):
        count = min(_CHUNK, n - start)
        windows, labels = make_windows(2 * count, split, seed + start, size, SIDE)
        chosen = torch.randint(len(windows), (count, MAX_REGIONS), generator=generator)
        region = _regions(count, size, generator)  # [count, size, size]
        image, mask = windows[chosen[:, 0]], torch.zeros_like(region)
        for i in range(MAX_REGIONS):
            here = region == i
            image = torch.where(here[:, None], windows[chosen[:, i]], image)
            mask = torch.where(here, labels[chosen[:, i], None, None] + 1, mask)
        images.append(image)
        masks.append(mask)
    all_masks = torch.cat(masks)
    return Scenes(torch.cat(images), all_masks.flatten(1).mode(1).values - 1, all_masks)


def _regions(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "n size size"]:
    """The number of the nearest of 1 to 6 random points, for every pixel."""
    count = torch.randint(1, MAX_REGIONS + 1, (n, 1), generator=generator)
    points = torch.rand(n, MAX_REGIONS, 2, generator=generator) * size
    points[torch.arange(MAX_REGIONS) >= count] = torch.inf  # there is no such point
    centre = torch.arange(size) + 0.5
    rows = (centre - points[:, :, :1]).square()  # [n, 6, size]
    columns = (centre - points[:, :, 1:]).square()
    return (rows[:, :, :, None] + columns[:, :, None, :]).argmin(1)


def make_collages(
    n: int, split: str, seed: int, tile: int
) -> tuple[UInt8[Tensor, "n 3 S S"], Int64[Tensor, "n 2 2"]]:
    """n squares of two by two windows of four different photographs, `tile` pixels each, S = 2
    `tile`: to test whether patches know what they show. Labels: indices into `windows.CLASSES`.

    Raises:
        ValueError: n < 1, an unknown split, tile < 4.
    """
    if n < 1:
        raise ValueError(f"n={n} collages asked for; allowed: 1 and up")
    windows, labels = make_windows(6 * n + 64, split, seed, tile, SIDE)
    generator = torch.Generator().manual_seed(seed)
    order = torch.argsort(torch.rand(n, len(windows), generator=generator), dim=1)[:, :64]
    new = torch.ones(n, 64, dtype=torch.bool)  # the first window of its photograph in the row
    shuffled = labels[order]  # [n, 64]
    for i in range(1, 64):
        new[:, i] = (shuffled[:, :i] != shuffled[:, i, None]).all(1)
    chosen = order[new & (new.cumsum(1) <= 4)].view(n, 2, 2)
    tiles = windows[chosen]  # [n, 2, 2, 3, tile, tile]
    return tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3), labels[chosen]
