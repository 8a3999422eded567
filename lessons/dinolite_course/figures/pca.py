"""Patch features as colours: a foreground step before, and a film strip over the steps of a run
whose colours do not flip.

DINOv3 Fig. 6 and 13. The official `notebooks/pca.ipynb` gets its foreground from a classifier
trained on pictures with masks; the step here is known from pictures of DINOv2's features.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.pca import pca_rgb
from dinolite_course.figures.rows import rows_figure


def first_component(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "n h w"]:
    """The first principal component of each picture by itself, over its standard deviation.

    Its sign is chosen so that more than half of the border patches are not positive.
    """
    n, _, h, w = patches.shape
    x = patches.detach().cpu().double().flatten(2).mT  # [n, N, D]
    x = x - x.mean(dim=1, keepdim=True)
    direction = torch.linalg.svd(x, full_matrices=False)[2][:, 0]  # [n, D]
    z = (x @ direction[:, :, None])[:, :, 0]
    z = (z / z.std(dim=1, keepdim=True).clamp(min=1e-12)).view(n, h, w)
    border = torch.ones(h, w, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    flip = (z[:, border] > 0).double().mean(dim=1) > 0.5
    return torch.where(flip[:, None, None], -z, z).float()


def foreground_mask(patches: Float[Tensor, "n D h w"]) -> Bool[Tensor, "n h w"]:
    """Where the first component is above 0."""
    return first_component(patches) > 0


def foreground_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    width: float = 7.0,
) -> Figure:
    """Pictures; then per network the first component from -3 to 3, and the colours of what lies
    above 0, from a PCA that is fitted there only."""
    rows = {"": images}
    for name, features in patches.items():
        component = first_component(features)
        rows[name] = component / 3
        rows[f"{name}, above 0"] = pca_rgb(features, component > 0)
    return rows_figure(rows, width=width)


def whitened(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "N 3"]:
    """The first three principal components of all patches, each over its standard deviation."""
    x = patches.detach().cpu().double().permute(0, 2, 3, 1).flatten(0, 2)  # [N, D]
    x = x - x.mean(dim=0)
    z = x @ torch.linalg.svd(x, full_matrices=False)[2][:3].T
    return z / z.std(dim=0).clamp(min=1e-12)


def film_colors(
    patches: Mapping[str, Float[Tensor, "n D h w"]],
) -> dict[str, Float[Tensor, "n 3 h w"]]:
    """Colours for every step, from a PCA of its own, that do not flip from step to step.

    The axes of a PCA have no sign, and equally strong ones no order. So from the last step
    backwards the three axes are turned (a rotation, mirrors allowed) to agree as well as possible
    with those of the step after it: the orthogonal Procrustes problem. The turned components
    still have variance 1 and no correlation; nothing is added that the step does not have.

    Args:
        patches: {"step 0": ..., "step 100": ...} in order of time, the same pictures in each.
    """
    colors: dict[str, Tensor] = {}
    after: Tensor | None = None
    for name, features in reversed(list(patches.items())):
        n, _, h, w = features.shape
        z = whitened(features)
        if after is None:
            z = z * torch.where((z**3).mean(dim=0) < 0, -1.0, 1.0)
        else:
            left, _, right = torch.linalg.svd(z.T @ after)
            z = z @ (left @ right)
        colors[name] = torch.sigmoid(2 * z).float().view(n, h, w, 3).permute(0, 3, 1, 2)
        after = z
    return dict(reversed(colors.items()))


def film_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    width: float = 9.0,
) -> Figure:
    """A row per picture: the picture, then its colours at each step, as in `film_colors`."""
    colors = film_colors(patches)
    rows = [[image, *(c[i] for c in colors.values())] for i, image in enumerate(images)]
    return rows_figure(rows, ["", *colors], width)
