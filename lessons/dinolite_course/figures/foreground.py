"""The foreground step of PCA pictures: the first component alone splits each picture in two, the
part that does not own the border counts as foreground, and colours are fitted on it only.

A recipe known from pictures of DINOv2's features. The official DINOv3 `notebooks/pca.ipynb` gets
its foreground from a classifier trained on pictures with masks instead.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.pca import pca_rgb
from dinolite.viz.style import DIVERGING, panels, show_image, show_map, style


def first_component(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "n h w"]:
    """The first principal component of each picture by itself, over its standard deviation.

    Its sign is chosen so that more than half of the border patches are not positive.

    Raises:
        ValueError: pictures of fewer than 2 patches.
    """
    n, _, h, w = patches.shape
    if h * w < 2:
        raise ValueError(f"patches has {h} x {w} patches per picture; it needs at least 2")
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
    """Where the first component is above 0; arguments and errors as in `first_component`."""
    return first_component(patches) > 0


def foreground_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: dict[str, Float[Tensor, "n D h w"]],
    width: float = 7.0,
) -> Figure:
    """Pictures; then per network the first component, and the colours of what lies above 0."""
    rows, n = 1 + 2 * len(patches), len(images)
    figure, axes = panels(rows, n, width=width, aspect=images.shape[2] / images.shape[3])
    with style():
        for ax, image in zip(axes[0], images, strict=True):
            show_image(ax, image)
        for k, (name, features) in enumerate(patches.items()):
            component = first_component(features)
            colors = pca_rgb(features, component > 0)
            for i in range(n):
                above, below = axes[1 + 2 * k][i], axes[2 + 2 * k][i]
                show_map(above, component[i], name if i == 0 else "", DIVERGING, vmin=-3, vmax=3)
                show_image(below, colors[i])
    return figure
