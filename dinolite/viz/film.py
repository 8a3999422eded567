"""How a net came to see: groups, similarity and PCA colours of one photograph after ever more steps
of one run, in colours that do not change their meaning on the way.

DINOv3 Fig. 6 (patch similarity over training); the official code has no notebook for it.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.groups import patch_groups, renumbered
from dinolite.viz.pca import quantile_scaled
from dinolite.viz.similarity import frame_patch, similarity_map
from dinolite.viz.style import LEFT, largest, name_row, panels, show_image, show_over, smooth

KINDS = ("groups", "like the frame", "PCA colours")
Steps = Mapping[str, Float[Tensor, "n D h w"]]
"""{"step 0": ..., "step 100": ...} in order of time, the same pictures in each."""


def whitened(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "N 3"]:
    """The first three principal components of all patches, each over its standard deviation."""
    x = patches.detach().cpu().double().permute(0, 2, 3, 1).flatten(0, 2)  # [N, D]
    x = x - x.mean(dim=0)
    z = x @ torch.linalg.svd(x, full_matrices=False)[2][:3].T
    return z / z.std(dim=0).clamp(min=1e-12)


def film_colors(patches: Steps) -> dict[str, Float[Tensor, "n 3 h w"]]:
    """Colours for every step, from a PCA of its own, that do not flip from step to step.

    The axes of a PCA have no sign, and equally strong ones no order. So from the last step
    backwards the three axes are turned (a rotation, mirrors allowed) to agree as well as possible
    with those of the step after it: the orthogonal Procrustes problem. The turned components
    still have variance 1 and no correlation; nothing is added that the step does not have.
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
        colors[name] = quantile_scaled(z).float().view(n, h, w, 3).permute(0, 3, 1, 2)
        after = z
    return dict(reversed(colors.items()))


def film_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Steps,
    patch: tuple[int, int],
    k: int,
    picture: int = 0,
    title: str = "",
    width: float = 12.0,
) -> Figure:
    """Rows: the groups, the similarity with the framed patch, and the PCA colours of one
    photograph; columns: the photograph and the steps of training. Groups and colours are found over
    all photographs together; the similarity has one scale for all steps.

    Args:
        patch: (row, column) of the framed patch in that picture.
        k: number of groups.
        picture: the number of the one that is shown.
    """
    check_layout(images)
    image, size = images[picture], (images.shape[2], images.shape[3])
    columns, aspect = 1 + len(patches), size[0] / size[1]
    figure, axes = panels(len(KINDS), columns, width, aspect, title, gap=0.1, left=LEFT)
    maps = [similarity_map(x, *patch, picture)[picture] for x in patches.values()]
    vmax, groups, colors = largest(maps), groups_over_time(patches, k), film_colors(patches)
    for row, kind in zip(axes, KINDS, strict=True):
        show_image(row[0], image)
        name_row(row[0], kind)
    frame_patch(axes[1][0], patch, (maps[0].shape[0], maps[0].shape[1]))
    for i, name in enumerate(patches):
        show_over(axes[0][i + 1], image, groups[name][picture], name)
        show_over(axes[1][i + 1], image, maps[i], vmax=vmax)
        show_image(axes[2][i + 1], smooth(colors[name][picture][None], size)[0])
    return figure


def groups_over_time(patches: Steps, k: int) -> dict[str, Tensor]:
    """`patch_groups` of every step, from the last backwards with the numbers of the step after."""
    groups: dict[str, Tensor] = {}
    after: Tensor | None = None
    for name, features in reversed(list(patches.items())):
        found = patch_groups(features, k)
        after = found if after is None else renumbered(found, after)
        groups[name] = after
    return dict(reversed(groups.items()))
