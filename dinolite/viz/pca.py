"""Patch features as colours: the three directions in which patches differ most become red, green
and blue, so patches of the same colour have similar features.

DINOv3 Fig. 13, Sec. 6.1.1; official `notebooks/pca.ipynb` (which fits on the foreground only).
"""

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import pictures_above, show_image


def pca_rgb(
    patches: Float[Tensor, "n D h w"], keep: Bool[Tensor, "n h w"] | None = None
) -> Float[Tensor, "n 3 h w"]:
    """Colours in (0, 1), from one PCA over all given pictures.

    Args:
        keep: patches on which the PCA is fitted (True); the others become black.

    Returns:
        sigmoid(2 z), z the whitened first three components; each component's sign is such that its
        skewness is positive, so that the colours do not flip between runs.

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
    z = z / z[chosen].std(0).clamp(min=1e-12)
    skew = (z[chosen] ** 3).mean(0)
    z = z * torch.where(skew < 0, -1.0, 1.0)
    colors = torch.sigmoid(2 * z) * chosen[:, None]
    return colors.float().view(n, h, w, 3).permute(0, 3, 1, 2)


def pca_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: dict[str, Float[Tensor, "n D h w"]],
    width: float = 9.0,
) -> Figure:
    """Pictures in the first row, one row of colours per network ({"trained": ..., ...})."""
    figure, axes = pictures_above(images, len(patches), width)
    for row, (name, features) in zip(axes[1:], patches.items(), strict=True):
        for i, (ax, colors) in enumerate(zip(row, pca_rgb(features), strict=True)):
            show_image(ax, colors, name if i == 0 else "")
    return figure
