"""Does a place keep its features when the picture gets larger? The same picture at two sizes: the
patches of the larger one are averaged over what was one patch of the smaller one, and compared.

DINOv3 Sec. 5.1 compares sizes by downstream results, Fig. 4 and 17 by pictures; the official code
has nothing of the kind.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Agreement(NamedTuple):
    """Of two maps of the same pictures, each minus the mean of its picture."""

    cosine: float
    """Mean cosine of the same place, -1 to 1."""
    found: float
    """Share of places of the first map whose nearest place of the second map, by cosine within the
    picture, is the same one. Chance is one over the number of places."""


def pooled(maps: Float[Tensor, "n D H W"], grid: tuple[int, int]) -> Float[Tensor, "n D h w"]:
    """The mean of the patches in each cell of a coarser grid.

    Raises:
        ValueError: the rows or columns of the grid do not divide those of the maps.
    """
    H, W = maps.shape[2:]
    h, w = grid
    if h < 1 or w < 1 or H % h or W % w:
        raise ValueError(f"grid = {h} x {w} does not divide maps of {H} x {W} patches")
    return F.avg_pool2d(maps, (H // h, W // w))


def agreement(small: Float[Tensor, "n D h w"], large: Float[Tensor, "n2 D2 H W"]) -> Agreement:
    """How well features of one size stand for those of another.

    Args:
        small: patches of pictures.
        large: patches of the same pictures with a multiple of rows and of columns, or as many.

    Raises:
        ValueError: other pictures or widths, or grids that do not divide.
    """
    if small.shape[:2] != large.shape[:2]:
        raise ValueError(
            f"small is {list(small.shape)}, large is {list(large.shape)}; the first two numbers, "
            "pictures and width, must be equal"
        )
    again = pooled(large, (small.shape[2], small.shape[3]))
    a, b = (
        F.normalize((x - x.mean(dim=(2, 3), keepdim=True)).flatten(2), dim=1)
        for x in (small.float(), again.float())
    )
    table = a.mT @ b  # [n, N, N]: cosine of place i here and place j there
    same = torch.arange(table.shape[1], device=table.device)
    found = (table.argmax(dim=2) == same).float().mean()
    return Agreement(float(table.diagonal(dim1=1, dim2=2).mean()), float(found))
