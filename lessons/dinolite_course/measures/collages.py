"""Do patches know what they show? Squares of four windows from four photographs: patches of one
tile should be alike, patches of different tiles should not, and a linear probe should name the
photograph of each. All on parts of the photographs that no training window touches.

The idea of DINOv3 Fig. 3 (similarity with a chosen patch) as a figure; no official counterpart.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dinolite.data.demo_pictures.photographs import CLASSES, make_windows
from dinolite.data.demo_pictures.scenes import SIDE
from dinolite.eval.segmentation import patch_labels, segmentation_probe

TILE = 8  # patches on a side of a tile
COLLAGES = ((400, "train", 21), (200, "test", 22))  # number, split, seed

Read = Callable[[UInt8[Tensor, "n 3 H W"]], Float[Tensor, "n D h w"]]


def make_collages(
    n: int, split: str, seed: int, tile: int
) -> tuple[UInt8[Tensor, "n 3 S S"], Int64[Tensor, "n 2 2"]]:
    """n squares of two by two windows of four different photographs, `tile` pixels each, S = 2
    `tile`. Labels: indices into `photographs.CLASSES`.

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


def make_uneven_collages(
    n: int, split: str, seed: int, side: int, patch_size: int
) -> tuple[UInt8[Tensor, "n 3 S S"], Int64[Tensor, "n h w"]]:
    """n collages of `side` x `side` pixels whose four windows meet at a random patch of the middle
    half, so that no patch knows by its place alone in which it lies; and the number of the window,
    0 to 3, of each patch.

    Raises:
        ValueError: as `make_collages`; `side` is no multiple of `patch_size`.
    """
    if side % patch_size:
        raise ValueError(f"side={side} must be a multiple of patch_size={patch_size}")
    images, _ = make_collages(n, split, seed, side)  # four whole windows each
    windows = images.unflatten(2, (2, side)).unflatten(4, (2, side))  # [n, 3, 2, S, 2, S]
    count = side // patch_size
    generator = torch.Generator().manual_seed(seed + 1)
    cut = torch.randint(count // 4, 3 * count // 4 + 1, (n, 2), generator=generator)
    row, column = ((torch.arange(count) >= cut[:, i, None]).long() for i in (0, 1))  # [n, count]
    tiles = 2 * row[:, :, None] + column[:, None, :]  # [n, h, w]
    pixels = tiles.repeat_interleave(patch_size, dim=1).repeat_interleave(patch_size, dim=2)
    full = torch.zeros_like(windows[:, :, 0, :, 0])
    for i in range(4):
        here = (pixels == i)[:, None]
        full = torch.where(here, windows[:, :, i // 2, :, i % 2], full)
    return full, tiles


def miou_without_labels(
    features: Float[Tensor, "n D h w"], tiles: Int64[Tensor, "n h w"], seed: int = 0
) -> Float[Tensor, " n"]:
    """Segmentation that learns from no label: the patches of each picture, of length 1, in as many
    groups as it has tiles (k-means); the mean IoU, 0 to 1, of groups and tiles, matched as well as
    they can be. Near patches are alike: patches that are nothing but their row and column are all
    right where tiles are quarters of the picture, and far from nothing elsewhere."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans

    values = []
    for x, tile in zip(F.normalize(features.double(), dim=1), tiles.flatten(1), strict=True):
        known, number = tile.unique(return_inverse=True)  # numbers of tiles, whatever they are
        k = len(known)
        means = KMeans(k, n_init=4, random_state=seed)
        group = torch.from_numpy(means.fit_predict(x.flatten(1).T.numpy())).long()
        both = torch.bincount(k * group + number, minlength=k * k).view(k, k).double()
        iou = both / (both.sum(0) + both.sum(1, keepdim=True) - both)  # [groups, tiles]
        matched = linear_sum_assignment(-iou.numpy())
        values.append(iou[matched].mean())
    return torch.stack(values).float()


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


def patch_similarity_auc(
    features: Float[Tensor, "n D h w"], labels: Int64[Tensor, "n h w"]
) -> float:
    """How well cosine similarity tells pairs of patches with the same label from pairs with
    different ones: the area under the ROC curve, 0.5 = chance, 1 = perfectly.

    Pairs are taken within each picture and the pictures' values averaged. Patches labelled -1 are
    left out, and so are pictures where all pairs are of one kind.

    Raises:
        ValueError: no picture has pairs of both kinds.
    """
    values = []
    for x, y in zip(features.flatten(2).mT, labels.flatten(1), strict=True):
        x, y = F.normalize(x[y >= 0].float(), dim=1), y[y >= 0]  # [N, D]
        i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
        same = y[i] == y[j]
        if same.any() and not same.all():
            similarity = (x @ x.T)[i, j]
            values.append(float(auc(similarity[same], similarity[~same])))
    if not values:
        raise ValueError("labels has no picture with pairs of the same and of different labels")
    return sum(values) / len(values)


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
            values.append(auc(similarity[:, same], similarity[:, ~same]))
    return float(torch.stack(values).mean())


def auc(positive: Float[Tensor, "*n p"], negative: Float[Tensor, "*n q"]) -> Float[Tensor, "*n"]:
    """For each row, the share of (positive, negative) pairs with the positive one higher; equal
    values count one half. So many short rows are slow one by one in scikit-learn."""
    ordered, wanted = negative.sort(dim=-1).values, positive.contiguous()
    below = torch.searchsorted(ordered, wanted) + torch.searchsorted(ordered, wanted, right=True)
    return below.double().mean(dim=-1) / (2 * negative.shape[-1])
