"""Pictures and maps of their patches in rows: before and after, one picture as several networks see
it, one patch and all that are like it.

DINOv3 Fig. 3, 6 and 10 are of this form; the official code draws none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.similarity import OTHER, SAME, frame_panel
from dinolite.viz.similarity import frame_patch as frame_query
from dinolite.viz.style import (
    DIVERGING,
    DPI,
    HEAT,
    LEFT,
    color_scale,
    largest,
    name_row,
    panels,
    pictures_above,
    show_image,
    show_map,
    show_over,
    style,
)

Picture = Float[Tensor, "3 _ _"] | UInt8[Tensor, "3 _ _"]
Panel = Picture | Float[Tensor, "_ _"]
"""A picture in [0, 1] or uint8, or a map with a number per patch."""
Panels = (
    Sequence[Panel] | Float[Tensor, "_ _ _"] | Float[Tensor, "_ 3 _ _"] | UInt8[Tensor, "_ 3 _ _"]
)
Patch = tuple[int, int]
SCALES: dict[str, tuple[str, float | None, float | None]] = {
    "signed": (DIVERGING, -1, 1),
    "positive": (HEAT, 0, None),
    "own": (HEAT, None, None),
    "shared": (HEAT, None, None),
}
"""Colours of maps: from -1 to 1 with white for 0; from 0 to each map's largest number; from each
map's smallest to its largest; the same for all maps from the smallest to the largest of all."""
WIDEST, CHOSEN = 2.0, "#D55E00"  # inches of a panel; the colour of a frame
PLATE: dict[str, Any] = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 2}
HALO = [withStroke(linewidth=3.5, foreground="white")]
CLASSES = "tab20"


def compare_figure(
    images: Mapping[str, Panel],
    width: float | None = None,
    columns: int | None = None,
    scale: str = "signed",
    patch: Patch | list[list[Patch]] | None = None,
) -> Figure:
    """Pictures and maps side by side, each under its name; their sizes may differ.

    Args:
        width: in inches; without it, as wide as the panels need, up to 9.
        columns: panels in a row; all of them without it.
        scale: colours of the maps, see `SCALES`.
        patch: (row, column) of the first map's grid to be framed in all panels, or for each panel
            a list of such patches.
    """
    cells = list(images.items())
    columns = columns or len(cells)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    figure, axes = draw_panels(rows, scale, width)
    if patch:
        each = [[patch]] * len(cells) if isinstance(patch, tuple) else patch
        grid = next(panel.shape for _, panel in cells if panel.ndim == 2)
        for ax, patches in zip([ax for row in axes for ax in row], each, strict=False):
            for one in patches:
                frame_patch(ax, one, grid)
    return figure


def rows_figure(
    rows: Mapping[str, Panels] | Sequence[Panels],
    titles: Sequence[str] = (),
    width: float | None = None,
    scale: str = "signed",
    place: tuple[float, float] | None = None,
) -> Figure:
    """A row of pictures or maps per entry, its name over its first panel; {"": photographs,
    "trained": maps, ...}, or a list of rows without names.

    Args:
        titles: of the columns.
        width, scale: as in `compare_figure`.
        place: a point, as shares of height and width from the upper left. The patch in which it
            lies is framed: in a map that of its own grid, in a picture that of the next map below
            it or beside it.
    """
    named = rows if isinstance(rows, Mapping) else {" " * i: row for i, row in enumerate(rows)}
    cells: list[list[tuple[str, Panel]]] = []
    for name, panels_of_row in named.items():
        above = [title if not cells else "" for title in titles or [""] * len(panels_of_row)]
        above[0] = ", ".join(filter(None, [name.strip(), above[0]]))
        cells.append(list(zip(above, panels_of_row, strict=True)))
    figure, axes = draw_panels(cells, scale, width)
    for r, row in enumerate(cells if place else []):
        for c, (_, panel) in enumerate(row):
            near = [panel, *(below[c][1] for below in cells[r:]), *(p for _, p in row)]
            grid = next((p.shape for p in near if p.ndim == 2), None)
            if place and grid:
                frame_patch(axes[r][c], (int(place[0] * grid[0]), int(place[1] * grid[1])), grid)
    return figure


def queries_figure(
    images: UInt8[Tensor, "n 3 H W"],
    maps: Mapping[str, Float[Tensor, "n h w"]],
    patches: Sequence[Patch],
    title: str = "",
    width: float = 8.0,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Photographs, a patch framed in each; below, for every network a row of cosines with that
    patch over the photograph, all on one scale from 0 to 1, with the mean of each map or `words`.

    Args:
        maps: {"trained": cosines of each patch with the framed one, ...}.
        patches: (row, column) of the framed patch of each photograph, in the grid of the maps.
        title: the finding.
        words: {"trained": what to write into each map, ...}.
    """
    figure, axes = pictures_above(images, list(maps), title, width)
    words = words or {name: [f"mean {x.mean():.2f}" for x in row] for name, row in maps.items()}
    for ax, patch in zip(figure.axes, patches, strict=False):
        frame_query(ax, patch, next(iter(maps.values())).shape[1:])
    for line, (name, row) in zip(axes, maps.items(), strict=True):
        for ax, image, values, said in zip(line, images, row, words[name], strict=True):
            show_over(ax, image, values)
            ax.text(0.03, 0.97, said, transform=ax.transAxes, va="top", bbox=PLATE)
    color_scale(figure, [figure.axes], 1.0, "cosine")
    return figure


def sizes_figure(
    images: Sequence[UInt8[Tensor, "3 _ _"]],
    maps: Mapping[str, Sequence[Float[Tensor, "_ _"]] | Sequence[Int64[Tensor, "_ _"]]],
    title: str = "",
    place: tuple[float, float] | None = None,
    width: float = 7.0,
) -> Figure:
    """One photograph at several sizes in the first row, as the net gets it; below, for every kind
    of features its map at each size over the last of these pictures. Maps of numbers have one scale
    from 0 to the 99 % quantile of them all; whole numbers are groups, each with its colour.

    Args:
        maps: {"pixels": [map at the first size, ...], "trained": [...], ...}.
        title: the finding.
        place: a point, as shares of height and width from the upper left, that is framed in the
            photographs.
    """
    aspect = images[-1].shape[1] / images[-1].shape[2]
    figure, axes = panels(1 + len(maps), len(images), width, aspect, title, gap=0.08, left=LEFT)
    figure.set_dpi(DPI)
    grid = next(iter(maps.values()))[0].shape
    for ax, image in zip(axes[0], images, strict=True):
        show_image(ax, image, f"{image.shape[1]} x {image.shape[2]} px")
        if place:
            frame_query(ax, (int(place[0] * grid[0]), int(place[1] * grid[1])), grid)
    numbers = [m for row in maps.values() for m in row if m.is_floating_point()]
    vmax = largest(numbers) if numbers else 1.0
    for line, (name, row) in zip(axes[1:], maps.items(), strict=True):
        name_row(line[0], name)
        for ax, values in zip(line, row, strict=True):
            show_over(ax, images[-1], values, vmax=vmax)
    if numbers:
        color_scale(figure, axes, vmax, "cosine")
    return figure


def draw_panels(
    rows: Sequence[Sequence[tuple[str, Panel]]], scale: str = "signed", width: float | None = None
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of (title, panel) in rows, and its axes; what is missing in a row stays empty."""
    columns = max(map(len, rows))
    every = [panel for row in rows for _, panel in row]
    aspect = max(panel.shape[-2] / panel.shape[-1] for panel in every)
    figure, axes = panels(len(rows), columns, width or min(9.0, WIDEST * columns), aspect)
    cmap, low, high = SCALES[scale]
    maps = [panel.detach().float() for panel in every if panel.ndim == 2]
    if scale == "shared":
        low, high = min(float(m.min()) for m in maps), max(float(m.max()) for m in maps)
    for line, row in zip(axes, rows, strict=True):
        for ax, (title, panel) in zip(line, row, strict=False):
            if panel.ndim == 3:
                show_image(ax, panel, title)
            else:
                show_map(ax, panel, title, cmap, vmin=low, vmax=high)
                last = ax
    if scale == "shared":
        figure.colorbar(last.images[0], ax=last, shrink=0.8)
    return figure, axes


def frame_patch(ax: Axes, patch: Patch, grid: Sequence[int]) -> None:
    """Frame patch (row, column) of a grid that lies over whatever the panel shows."""
    H, W = ax.images[0].get_size()
    height, width = H / grid[0], W / grid[1]
    corner = (patch[1] * width - 0.5, patch[0] * height - 0.5)
    frame = Rectangle(corner, width, height, fill=False, color=CHOSEN, lw=1.6, path_effects=HALO)
    ax.add_patch(frame)


def in_colors(numbers: Int[Tensor, "*n h w"]) -> Float[Tensor, "*n 3 h w"]:
    """A colour for each number, the same in every map; below 0 is white, the 21st is the first."""
    colors = torch.tensor(plt.get_cmap(CLASSES).colors)  # type: ignore[attr-defined]
    white = (numbers < 0)[..., None]
    return torch.where(white, 1.0, colors[numbers % len(colors)]).movedim(-1, -3)


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
                frame_panel(ax, SAME if bank_labels[found] == query_labels[i] >= 0 else OTHER)
    return figure


class Vote(NamedTuple):
    """The neighbours of one query, the nearest first, and the share of the vote of each class."""

    pictures: UInt8[Tensor, "k 3 H W"]
    labels: Int64[Tensor, " k"]
    shares: Float[Tensor, " C"]


def votes_figure(
    query: UInt8[Tensor, "3 H W"],
    label: int,
    votes: Mapping[str, Vote],
    classes: Sequence[str],
    shown: int = 8,
) -> Figure:
    """One row per net: the query, its first `shown` neighbours, framed in green where the class is
    the query's and in orange where it is not, and the three largest shares of the k-NN vote (DINO
    App. F.1).
    """
    with style():
        figure = plt.figure(figsize=(9, 0.95 * len(votes) + 0.1), layout="constrained")
        grid = figure.add_gridspec(len(votes), 2 + shown, width_ratios=[1] * (1 + shown) + [2.2])
        for i, (name, vote) in enumerate(votes.items()):
            axes = [figure.add_subplot(grid[i, c]) for c in range(2 + shown)]
            for ax in axes[:-1]:
                ax.set_axis_off()
            show_image(axes[0], query, name)
            for ax, picture, own in zip(axes[1:-1], vote.pictures, vote.labels, strict=False):
                show_image(ax, picture)
                frame_panel(ax, SAME if own == label else OTHER)
            best = vote.shares.topk(min(3, len(classes)))
            named = best.indices.tolist()
            colors = [SAME if c == label else OTHER for c in named]
            axes[-1].barh(range(len(named)), best.values.tolist(), color=colors)
            axes[-1].set_yticks(range(len(named)), [classes[c] for c in named], fontsize=7)
            axes[-1].invert_yaxis()
            axes[-1].set(xlim=(0, 1), xticks=())
            axes[-1].grid(visible=False)
    return figure
