"""Patch features as colours: the three directions in which patches differ most become red, green
and blue, so patches of the same colour have similar features.

DINOv3 Fig. 13, Sec. 6.1.1; official `notebooks/pca.ipynb` (which fits on the foreground only).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import pictures_above, show_image, smooth

LOW = 0.02  # quantile that becomes 0; one patch that differs from all does not set the scale


def pca_rgb(
    patches: Float[Tensor, "n D h w"], keep: Bool[Tensor, "n h w"] | None = None
) -> Float[Tensor, "n 3 h w"]:
    """Colours in [0, 1], from one PCA over all given pictures.

    Args:
        keep: patches on which the PCA is fitted (True); the others become black.

    Returns:
        the first three components, each scaled so that its quantiles of 2 % and 98 % (over all
        pictures) become 0 and 1, and cut off there; each component's sign is such that its skewness
        is positive, so that the colours do not flip between runs.

    Raises:
        ValueError: patches of fewer than 3 numbers, or fewer than 4 patches to fit on.
    """
    n, D, h, w = patches.shape
    if D < 3:
        raise ValueError(f"patches are vectors of {D} numbers; three colours need at least 3")
    x = patches.permute(0, 2, 3, 1).flatten(0, 2).double()  # [n h w, D]
    chosen = torch.ones(len(x), dtype=torch.bool) if keep is None else keep.flatten().cpu()
    if int(chosen.sum()) < 4:
        raise ValueError(f"{int(chosen.sum())} patches to fit a PCA on; it needs at least 4")
    x = x.cpu()
    mean = x[chosen].mean(0)
    _, _, directions = torch.linalg.svd(x[chosen] - mean, full_matrices=False)
    z = (x - mean) @ directions[:3].T  # [n h w, 3]
    z = z * torch.where((z[chosen] ** 3).mean(0) < 0, -1.0, 1.0)
    colors = quantile_scaled(z, chosen) * chosen[:, None]
    return colors.float().view(n, h, w, 3).permute(0, 3, 1, 2)


def quantile_scaled(
    z: Float[Tensor, "N c"], chosen: Bool[Tensor, " N"] | None = None
) -> Float[Tensor, "N c"]:
    """Every column scaled so that its 2 % and 98 % quantiles (of the chosen rows) become 0 and 1,
    cut off there; equal numbers become 0.5."""
    x = z if chosen is None else z[chosen]
    low, high = (x.quantile(q, dim=0) for q in (LOW, 1 - LOW))
    flat = high - low <= 1e-12 * x.abs().amax().clamp(min=1)
    share = (z - low) / torch.where(flat, 1.0, high - low)
    return torch.where(flat, 0.5, share.clamp(0, 1))


def pca_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    width: float = 10.0,
    title: str = "",
) -> Figure:
    """The photographs; below, a row of colours for each kind of features ({"pixels": ..., ...})."""
    figure, axes = pictures_above(images, list(patches), width, title)
    size = (images.shape[2], images.shape[3])
    for row, features in zip(axes, patches.values(), strict=True):
        for ax, colors in zip(row, smooth(pca_rgb(features), size), strict=True):
            show_image(ax, colors)
    return figure
