"""Do patches know their own surroundings? Squares of four windows from four photographs: patches of
one tile should be alike, patches of different tiles should not, and a linear probe should name the
photograph of each. All on parts of the photographs that no training window touches.

The idea of DINOv3 Fig. 3 (similarity with a chosen patch) as a figure; no official counterpart.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dinolite.data.mosaics import make_collages
from dinolite.data.windows import CLASSES
from dinolite.eval.segmentation import patch_labels, patch_similarity_auc, segmentation_probe

TILE = 8  # patches on a side of a tile
COLLAGES = ((400, "train", 21), (200, "test", 22))  # number, split, seed

Read = Callable[[UInt8[Tensor, "n 3 H W"]], Float[Tensor, "n D h w"]]


class CollageResult(NamedTuple):
    """Shares in [0, 1]; 0.5 is chance for an AUC."""

    auc: float
    """Cosine similarity of single patches, the picture's mean patch subtracted."""
    auc_smoothed: float
    """The same with each patch replaced by the mean of the 3 x 3 around it."""
    miou: float
    """Of a linear probe for the photograph that each patch is from."""


def collage_scores(read: Read, patch_size: int) -> CollageResult:
    """Judge patch features: `read` makes a map of features of pictures, one vector a patch.

    The collages have tiles of 8 x 8 patches, so they fit every patch size that a window of
    119 px can be enlarged to.
    """
    (train_x, train_y), (test_x, test_y) = (
        make_collages(n, split, seed, TILE * patch_size) for n, split, seed in COLLAGES
    )
    pixels = TILE * patch_size
    masks = [F.interpolate(y[:, None].double(), scale_factor=pixels)[:, 0].long()
             for y in (train_y, test_y)]  # fmt: skip
    train, test = read(train_x), read(test_x)
    centred = test - test.mean(dim=(2, 3), keepdim=True)
    smooth = F.avg_pool2d(centred, 3, stride=1, padding=1, count_include_pad=False)
    labels = patch_labels(masks[1], (2 * TILE, 2 * TILE), len(CLASSES))
    return CollageResult(
        patch_similarity_auc(centred, labels),
        patch_similarity_auc(smooth, labels),
        segmentation_probe(train, masks[0], test, masks[1], len(CLASSES)).miou,
    )
