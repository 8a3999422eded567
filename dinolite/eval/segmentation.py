"""Do patches know what they show? A linear probe names the class of every patch, its scores are
scaled up to pixels, and mIoU counts.

DINOv3 Sec. 6.1.2 and App. D.1; official `eval/segmentation/` (there a batch norm and a 1x1
convolution trained with AdamW; here the same linear map, by ridge regression).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dinolite.data.picture_checks import Range, as_pictures
from dinolite.eval.linear import RIDGES, class_count, held_out_tenth, ridge_probe

PICTURES_AT_ONCE = 16  # whose scores are kept for every pixel


class SegmentationResult(NamedTuple):
    """Shares in [0, 1] over all test pixels; `per_class` is the IoU of each class (nan = the class
    neither occurs nor is named), `miou` their mean; `confusion` counts pixels [truth, named]."""

    miou: float
    pixel_accuracy: float
    per_class: tuple[float, ...]
    confusion: Int64[Tensor, "C C"]


def segmentation_probe(
    train: Float[Tensor, "n D h w"],
    train_masks: Int64[Tensor, "n H W"],
    test: Float[Tensor, "m D h w"],
    test_masks: Int64[Tensor, "m H W"],
    n_classes: int | None = None,
    ridges: Sequence[float] = RIDGES,
) -> SegmentationResult:
    """A ridge probe on single patches, every class weighing alike, judged on every pixel.

    Args:
        train, test: patch features, from `extract_patches` or `pixel_patches`.
        train_masks, test_masks: the class of each pixel from 0; -1 = does not count. A patch is
            trained on with the commonest class of its pixels.
        n_classes: C; None = the highest class in both masks + 1.
        ridges: as in `ridge_probe`; the held-out tenth consists of whole pictures.

    Raises:
        ValueError: fewer than two training pictures or no test pixel with a class, or other shapes.
    """
    check_maps(train=(train, train_masks), test=(test, test_masks))
    known = (train_masks >= 0).flatten(1).any(dim=1).cpu()
    if known.sum() < 2 or not (test_masks >= 0).any():
        raise ValueError(
            f"train_masks has {int(known.sum())} pictures, test_masks {(test_masks >= 0).sum()} "
            "pixels with a class (from 0); needed are 2 and 1"
        )
    n_classes = class_count(torch.stack([train_masks.max(), test_masks.max()]), n_classes)
    (h, w), x = train.shape[2:], train.permute(0, 2, 3, 1).flatten(0, 2)  # [n h w, D]
    y = patch_labels(train_masks, (h, w), n_classes).flatten()
    hidden = known.masked_scatter(known, held_out_tenth(int(known.sum()))).repeat_interleave(h * w)
    x, y, hidden = x[y >= 0], y[y >= 0], hidden[(y >= 0).cpu()]
    probe = ridge_probe(x, y, n_classes, ridges, hidden, balanced=True)
    confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)
    for maps, masks in zip(*(x.split(PICTURES_AT_ONCE) for x in (test, test_masks)), strict=True):
        scores = probe.scores(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # [B, C, h, w]
        scores = F.interpolate(scores, size=masks.shape[1:], mode="bilinear")  # [B, C, H, W]
        confusion += confusion_matrix(scores.argmax(dim=1), masks, n_classes).cpu()
    right = float(confusion.diagonal().sum() / confusion.sum())
    return SegmentationResult(miou(confusion), right, tuple(iou(confusion).tolist()), confusion)


def check_maps(**parts: tuple[Tensor, Tensor]) -> None:
    """Are these features [n, D, h, w], and a class for each pixel? ValueError if not."""
    for name, (x, masks) in parts.items():
        if x.ndim != 4 or not x.is_floating_point():
            raise ValueError(
                f"{name} is {x.dtype} {list(x.shape)}; allowed: features [n, D, h, w], as of "
                "extract_patches or pixel_patches"
            )
        if masks.ndim != 3 or len(masks) != len(x) or masks.dtype != torch.int64:
            raise ValueError(
                f"{name}_masks is {masks.dtype} {list(masks.shape)}; allowed: int64 "
                f"[{len(x)}, H, W], -1 where a pixel does not count (in uint8 files often 255)"
            )


def patch_labels(
    masks: Int64[Tensor, "n H W"], grid: tuple[int, int], n_classes: int
) -> Int64[Tensor, "n h w"]:
    """The commonest class of each patch's pixels; of equally common ones the lowest number; -1
    where no pixel counts.

    Args:
        masks: the class of each pixel, from 0; -1 = does not count.
        grid: (h, w), rows and columns of patches.

    Raises:
        ValueError: the grid does not divide H and W.
    """
    n, H, W = masks.shape
    h, w = grid
    if H % h or W % w:
        raise ValueError(f"grid = {h} x {w} does not divide masks of {H} x {W} pixels")
    cells = masks.view(n, h, H // h, w, W // w).transpose(2, 3).flatten(3)  # [n, h, w, pixels]
    counts = torch.stack([(cells == c).sum(dim=3) for c in range(n_classes)], dim=3)
    return torch.where(counts.amax(dim=3) > 0, counts.argmax(dim=3), -1)


def confusion_matrix(
    named: Int64[Tensor, "*n"], truth: Int64[Tensor, "*n"], n_classes: int
) -> Int64[Tensor, "C C"]:
    """How often class i (row) was named class j (column); where the truth is -1 is not counted."""
    counts = truth >= 0
    pairs = truth[counts] * n_classes + named[counts]
    return torch.bincount(pairs, minlength=n_classes**2).view(n_classes, n_classes)


def iou(confusion: Int64[Tensor, "C C"]) -> Float[Tensor, " C"]:
    """Intersection over union of each class; nan for a class that neither occurs nor is named."""
    both = confusion.diagonal().double()
    return both / (confusion.sum(dim=0) + confusion.sum(dim=1) - both)


def miou(confusion: Int64[Tensor, "C C"]) -> float:
    """Mean IoU, in [0, 1], over the classes that occur or are named."""
    return float(iou(confusion).nanmean())


def pixel_patches(
    images: UInt8[Tensor, "n 3 H W"] | Float[Tensor, "n 3 H W"],
    patch_size: int,
    neighbourhood: bool = False,
    value_range: Range = None,
) -> Float[Tensor, "n d h w"]:
    """The baseline: the pixels of each patch in [0, 1], d = 3 patch_size^2.

    With `neighbourhood` the mean of the 3 x 3 patches around (those inside the picture) follows,
    and d is twice as large. `value_range` as in `extract_features`.

    Raises:
        ValueError: patch_size does not divide H and W, another layout, or floats without a range.
    """
    images = as_pictures(images, value_range)
    H, W = images.shape[2:]
    if patch_size < 1 or H % patch_size or W % patch_size:
        raise ValueError(f"patch_size = {patch_size} does not divide images of {H} x {W} pixels")
    x = F.pixel_unshuffle(images.float() / 255, patch_size)  # [n, d, h, w]
    if not neighbourhood:
        return x
    around = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    return torch.cat([x, around], dim=1)
