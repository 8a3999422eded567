"""Do patches know what they show? Squares of four windows from four photographs: patches of one
tile should be alike, patches of different tiles should not, and a linear probe should name the
photograph of each. All on parts of the photographs that no training window touches.

The idea of DINOv3 Fig. 3 (similarity with a chosen patch) as a figure; no official counterpart.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dinolite.data.photographs import CLASSES
from dinolite.data.scenes import make_collages
from dinolite.eval.segmentation import patch_labels, patch_similarity_auc, segmentation_probe

TILE = 8  # patches on a side of a tile
COLLAGES = ((400, "train", 21), (200, "test", 22))  # number, split, seed

Read = Callable[[UInt8[Tensor, "n 3 H W"]], Float[Tensor, "n D h w"]]


class CollageResult(NamedTuple):
    """Shares in [0, 1]; 0.5 is chance for an AUC. Each patch stands for the mean of the 3 x 3
    around it, minus the mean of its picture."""

    auc: float
    """Cosine similarity tells pairs in one tile from pairs across tiles. Near patches are alike in
    any picture, so this is above chance without knowing any tile."""
    auc_same_distance: float
    """The same among pairs that lie equally far apart in the same direction: what is left when
    nearness does not help. Place still does: tiles always meet in the middle, so features that are
    nothing but a patch's row and column reach 0.88 (and 0.97 in `auc`). Compare nets only where
    both know as much of the place, and take `miou` for what patches know of the picture."""
    miou: float
    """Of a linear probe for the photograph that each single patch is from."""


def collage_scores(read: Read, patch_size: int) -> CollageResult:
    """Judge patch features. `read` makes a map of features of pictures, one vector a patch."""
    pixels = TILE * patch_size
    (train_x, train_y), (test_x, test_y) = (
        make_collages(n, split, seed, pixels) for n, split, seed in COLLAGES
    )
    masks = [
        y.repeat_interleave(pixels, dim=1).repeat_interleave(pixels, dim=2)
        for y in (train_y, test_y)
    ]
    train, test = read(train_x), read(test_x)
    smooth = test - test.mean(dim=(2, 3), keepdim=True)
    smooth = F.avg_pool2d(smooth, 3, stride=1, padding=1, count_include_pad=False)
    labels = patch_labels(masks[1], (2 * TILE, 2 * TILE), len(CLASSES))
    return CollageResult(
        patch_similarity_auc(smooth, labels),
        auc_at_same_distance(smooth),
        segmentation_probe(train, masks[0], test, masks[1], len(CLASSES)).miou,
    )


def auc_at_same_distance(features: Float[Tensor, "n D S S"]) -> float:
    """AUC of cosine similarity for "same tile", for each displacement between two patches (shorter
    than a tile) by itself; the mean over displacements and pictures.

    Args:
        features: collages of two by two tiles, S / 2 patches to a tile's side.
    """
    x = F.normalize(features.float(), dim=1)
    side = x.shape[2]
    half = side // 2
    number = torch.arange(side, device=x.device) // half
    tile = 2 * number[:, None] + number  # [S, S]
    values = []
    for down in range(half):
        for right in range(1 - half, half):
            if down == 0 and right <= 0:  # each pair once
                continue
            rows = slice(0, side - down), slice(down, side)
            first = slice(max(0, -right), side - max(0, right))
            columns = first, slice(first.start + right, first.stop + right)
            a, b = ((slice(None), slice(None), r, c) for r, c in zip(rows, columns, strict=True))
            similarity = (x[a] * x[b]).sum(dim=1).flatten(1)  # [n, pairs]
            similarity = similarity.round(decimals=5)  # rounding errors are no difference
            same = (tile[a[2:]] == tile[b[2:]]).flatten()
            values.append(auc_of_rows(similarity[:, same], similarity[:, ~same]))
    return float(torch.stack(values).mean())


def auc_of_rows(
    positive: Float[Tensor, "n p"], negative: Float[Tensor, "n q"]
) -> Float[Tensor, " n"]:
    """For each row, the share of (positive, negative) pairs with the positive one higher; equal
    values count one half."""
    ordered = negative.sort(dim=1).values
    wanted = positive.contiguous()
    below = torch.searchsorted(ordered, wanted) + torch.searchsorted(ordered, wanted, right=True)
    return below.double().mean(dim=1) / (2 * negative.shape[1])
