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

from dinolite.viz.film import film_colors
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


def film_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    width: float = 9.0,
) -> Figure:
    """A row per picture: the picture, then its colours at each step, as in `film_colors`."""
    colors = film_colors(patches)
    rows = [[image, *(c[i] for c in colors.values())] for i, image in enumerate(images)]
    return rows_figure(rows, ["", *colors], width)
