"""A film strip: the same pictures, seen by one network at several steps of its training.

DINOv3 Fig. 6 shows similarity maps over training; the official code draws no such strip.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import panels, show_image, style


def whitened(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "N 3"]:
    """The first three principal components of all patches, each over its standard deviation."""
    x = patches.detach().cpu().double().permute(0, 2, 3, 1).flatten(0, 2)  # [N, D]
    if x.shape[1] < 3 or len(x) < 4:
        raise ValueError(f"patches has {len(x)} vectors of {x.shape[1]} numbers; wanted: 4 of 3")
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

    Raises:
        ValueError: there is no step, they differ in shape, or are too small for three colours.
    """
    shapes = {tuple(p.shape) for p in patches.values()}
    if len(shapes) != 1:
        raise ValueError(f"patches has shapes {sorted(shapes)}; wanted is one, the same for all")
    n, _, h, w = shapes.pop()
    colors: dict[str, Tensor] = {}
    after: Tensor | None = None
    for name, features in reversed(list(patches.items())):
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
    """A row per picture: the picture, then its colours at each step; arguments as in
    `film_colors`."""
    colors = film_colors(patches)
    aspect = images.shape[2] / images.shape[3]
    figure, axes = panels(len(images), 1 + len(colors), width=width, aspect=aspect)
    with style():
        for i, (line, image) in enumerate(zip(axes, images, strict=True)):
            show_image(line[0], image)
            for ax, (name, shown) in zip(line[1:], colors.items(), strict=True):
                show_image(ax, shown[i], name if i == 0 else "")
    return figure
