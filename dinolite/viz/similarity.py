"""Pick a patch: where, in this picture and in others, are patches like it? Pick a picture: which
training pictures does the net take for the most alike?

DINOv3 Fig. 3 (cosine similarity maps); DINO App. F.1 (k-NN protocol). The official code has no
notebook for either.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.style import COLORS, DIVERGING, panels, pictures_above, show_image, show_map

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
    patches: dict[str, Float[Tensor, "n D h w"]],
    row: int,
    column: int,
    width: float = 9.0,
) -> Figure:
    """Pictures in the first row, the chosen patch framed in the first of them; below, one row of
    similarities per network."""
    figure, axes = pictures_above(images, len(patches), width)
    h, w = next(iter(patches.values())).shape[-2:]
    height, wide = images.shape[2] / h, images.shape[3] / w
    corner = (column * wide - 0.5, row * height - 0.5)
    axes[0][0].add_patch(Rectangle(corner, wide, height, fill=False, color=OTHER, lw=2))
    for line, (name, features) in zip(axes[1:], patches.items(), strict=True):
        maps = similarity_map(features, row, column)
        for i, (ax, values) in enumerate(zip(line, maps, strict=True)):
            show_map(ax, values, name if i == 0 else "", DIVERGING, vmin=-1, vmax=1)
    return figure


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
