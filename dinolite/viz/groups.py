"""Groups of patches: which patches of several photographs are alike, without any label? The same
colour is the same group in all of them.

No counterpart in the official code.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import pictures_above, show_over

STARTS = 3  # k-means from so many random starts, of which the best counts


def patch_groups(
    patches: Float[Tensor, "n D h w"], k: int, seed: int = 0
) -> Int64[Tensor, "n h w"]:
    """The group of each patch, 0 to k - 1, by k-means over all pictures together.

    The mean of all patches is taken off, each patch becomes the mean of its 3 x 3 neighbourhood
    (as far as it lies in the picture) and is scaled to length 1. Group 0 is the largest.

    Raises:
        ValueError: features that are not finite, or k below 1 or above the number of patches.
    """
    from sklearn.cluster import KMeans

    if bad := int((~patches.isfinite()).sum()):
        raise ValueError(f"patches has {bad} numbers that are not finite; allowed: finite ones")
    n, _, h, w = patches.shape
    if not 1 <= k <= n * h * w:
        raise ValueError(f"k = {k}; allowed: 1 to {n * h * w}, the number of patches")
    x = patches.detach().cpu().float()
    x = x - x.mean(dim=(0, 2, 3), keepdim=True)
    x = F.normalize(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), dim=1)
    rows = x.permute(0, 2, 3, 1).flatten(0, 2).numpy()  # [n h w, D]
    found = torch.from_numpy(KMeans(k, n_init=STARTS, random_state=seed).fit_predict(rows)).long()
    by_size = torch.bincount(found, minlength=k).argsort(descending=True, stable=True)
    return by_size.argsort()[found].view(n, h, w)


def renumbered(groups: Int64[Tensor, "n h w"], like: Int64[Tensor, "n h w"]) -> Tensor:
    """The same groups with the numbers of those in `like` that they share most patches with (the
    assignment that keeps most patches), so that two figures have the same colours."""
    from scipy.optimize import linear_sum_assignment

    k = int(torch.maximum(groups.max(), like.max())) + 1
    shared = torch.bincount((k * groups + like).flatten(), minlength=k * k).view(k, k)
    return torch.from_numpy(linear_sum_assignment(shared.numpy(), maximize=True)[1])[groups]


def groups_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    k: int,
    seed: int = 0,
    title: str = "",
    width: float = 10.0,
) -> Figure:
    """The photographs; below, a row for each kind of features with their groups in colours. The
    colours of a row agree with those of the last as far as their groups do.

    Args:
        patches: {"pixels": ..., "untrained": ..., "trained": ...}.
        title: what is seen, in a sentence.
    """
    groups = {name: patch_groups(x, k, seed) for name, x in patches.items()}
    *_, last = groups.values()
    figure, axes = pictures_above(images, list(groups), width, title)
    for row, found in zip(axes, groups.values(), strict=True):
        for ax, image, numbers in zip(row, images, renumbered(found, last), strict=True):
            show_over(ax, image, numbers)
    return figure
