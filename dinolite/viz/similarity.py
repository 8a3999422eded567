"""Pick a patch: where, in this picture and in others, are patches like it? Pick a picture: which
training pictures does the net take for the most alike?

DINOv3 Fig. 3 (cosine similarity maps); DINO App. F.1 (k-NN protocol). The official code has no
notebook for either.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.style import (
    COLORS,
    ROLES,
    color_scale,
    largest,
    panels,
    pictures_above,
    show_image,
    show_over,
)

SHEET = 6  # pictures in a row
SAME, OTHER = COLORS[2], COLORS[1]  # frames, green and orange


def similarity_map(
    patches: Float[Tensor, "n D h w"], row: int, column: int, picture: int = 0, center: bool = True
) -> Float[Tensor, "n h w"]:
    """Cosine of every patch of n pictures with patch (row, column) of one of them, -1 to 1.

    Args:
        center: subtract the mean patch of all pictures first; otherwise what all patches have in
            common hides the differences.
    """
    n, _, h, w = patches.shape
    if not (0 <= row < h and 0 <= column < w and 0 <= picture < n):
        raise ValueError(
            f"patch ({row}, {column}) of picture {picture}; there are {n} pictures of {h} x {w}"
        )
    if center:
        patches = patches - patches.mean(dim=(0, 2, 3), keepdim=True)
    x = F.normalize(patches, dim=1)
    return (x * x[picture, :, row, column, None, None]).sum(dim=1)


def similarity_figure(
    images: UInt8[Tensor, "n 3 H W"],
    patches: Mapping[str, Float[Tensor, "n D h w"]],
    row: int,
    column: int,
    width: float = 10.0,
    title: str = "",
    picture: int = 0,
) -> Figure:
    """The photographs, the chosen patch framed in one of them; below, a row for each kind of
    features: what is like that patch, from 0 (no more alike than patches are on average) to the
    99 % quantile of all rows together. Negative similarities are not shown.
    """
    figure, axes = pictures_above(images, list(patches), width, title)
    h, w = next(iter(patches.values())).shape[-2:]
    maps = [similarity_map(features, row, column, picture) for features in patches.values()]
    vmax = largest(maps)
    for line, values in zip(axes, maps, strict=True):
        for ax, image, one in zip(line, images, values, strict=True):
            show_over(ax, image, one, vmax=vmax)
    color_scale(figure, axes, vmax, "cosine")
    for line in [figure.axes[: len(images)], *axes]:
        frame_patch(line[picture], (row, column), (h, w))
    return figure


def frame_patch(ax: Axes, patch: tuple[int, int], grid: Sequence[int]) -> None:
    """Frame patch (row, column) of a grid that lies over the picture in the panel; the frame is
    half a patch away from it on each side, so that the patch is seen."""
    H, W = ax.images[0].get_size()
    height, wide = H / grid[0], W / grid[1]
    corner = ((patch[1] - 0.5) * wide - 0.5, (patch[0] - 0.5) * height - 0.5)
    frame = Rectangle(corner, 2 * wide, 2 * height, fill=False, color=ROLES["query"], lw=2)
    frame.set_path_effects([withStroke(linewidth=4, foreground="black")])
    ax.add_patch(frame)


def search_figure(
    query: UInt8[Tensor, "3 H W"], found: Sequence[tuple[str, UInt8[Tensor, "3 _ _"]]]
) -> Figure:
    """A sheet of six pictures a row: the one that was asked for, then those that were found, each
    under its words."""
    shown = [("asked", query), *found]
    figure, axes = panels(-(-len(shown) // SHEET), SHEET)
    for ax, (words, picture) in zip([ax for row in axes for ax in row], shown, strict=False):
        show_image(ax, picture, words)
    return figure


def neighbours_figure(
    bank_images: UInt8[Tensor, "n 3 H W"],
    bank_labels: Int64[Tensor, " n"],
    query_images: UInt8[Tensor, "m 3 H W"],
    query_labels: Int64[Tensor, " m"],
    neighbours: dict[str, Int64[Tensor, "m k"]],
) -> Figure:
    """One row per query: the query, then its k neighbours by each net, framed in green where the
    class is the query's and in orange where it is not.

    Args:
        neighbours: {"untrained": rows of the bank, "trained": ...}, the nearest first.
    """
    check_layout(bank_images, "bank_images")
    check_layout(query_images, "query_images")
    k = next(iter(neighbours.values())).shape[1]
    figure, axes = panels(len(query_images), 1 + k * len(neighbours))
    for i, row in enumerate(axes):
        show_image(row[0], query_images[i], "query" if i == 0 else "")
        for j, (name, rows) in enumerate(neighbours.items()):
            for c, found in enumerate(rows[i].tolist()):
                ax = row[1 + j * k + c]
                show_image(ax, bank_images[found], name if i == 0 and c == 0 else "")
                ax.set_axis_on()
                ax.set(xticks=[], yticks=[])
                color = SAME if bank_labels[found] == query_labels[i] >= 0 else OTHER
                ax.spines[:].set(visible=True, color=color, linewidth=2.5)
    return figure
