"""Where RoPE puts patches and what it does to them: turned pairs, boxes of coordinates, angle
fields.

DINOv3 Sec. 3.2 "Updated Model Architecture" (the box [-1, 1]); the official code draws none of it.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.style import COLORS, DIVERGING, panels, show_map, style, to_picture

Picture = Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"]
QUERY, KEY, BOX = COLORS[0], COLORS[1], COLORS[1]


def turned_pairs_figure(
    pairs: Mapping[str, tuple[Float[Tensor, "2"], Float[Tensor, "2"]]],
) -> Figure:
    """One panel per name: a query (blue) and a key (orange) as arrows from the origin."""
    reach = 1.15 * max(float(v.norm()) for pair in pairs.values() for v in pair)
    with style():
        figure = plt.figure(figsize=(9, 9 / len(pairs)), layout="constrained")
        axes = figure.subplots(1, len(pairs), squeeze=False)[0]
        for ax, (name, pair) in zip(axes, pairs.items(), strict=True):
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=name)
            for letter, vector, color in zip("qk", pair, (QUERY, KEY), strict=True):
                x, y = vector.tolist()
                tip = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", (x, y), (0, 0), arrowprops=tip)
                ax.text(1.12 * x, 1.12 * y, letter, color=color, ha="center", va="center")
    return figure


def coordinates_figure(
    image: Picture, coordinates: Mapping[str, Float[Tensor, "N 2"]], grid: tuple[int, int]
) -> Figure:
    """The picture laid where its patches' coordinates put it; dashed, the box [-1, 1].

    Args:
        coordinates: (row, column) of the centre of every patch, row by row; one panel per name.
        grid: rows and columns, at least 2 of each.

    Raises:
        ValueError: the grid is smaller, or has another number of patches.
    """
    if min(grid) < 2 or any(len(c) != grid[0] * grid[1] for c in coordinates.values()):
        sizes = ", ".join(str(len(c)) for c in coordinates.values())
        raise ValueError(f"grid = {grid} must be at least 2 x 2 and fit the {sizes} coordinates")
    edges = {name: picture_edges(c.view(*grid, 2)) for name, c in coordinates.items()}
    lefts, rights, bottoms, tops = zip(*edges.values(), (-1, 1, 1, -1), strict=True)
    wide = (min(lefts) - 0.1, max(rights) + 0.1)
    high = (max(bottoms) + 0.1, min(tops) - 0.1)  # rows grow downwards
    aspect = (high[0] - high[1]) / (wide[1] - wide[0])
    with style():
        side = min(2.4, 9 / len(edges))
        size = (side * len(edges), side * aspect + 0.4)
        figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(edges), squeeze=False)[0]
        for ax, (name, (left, right, bottom, top)) in zip(axes, edges.items(), strict=True):
            ax.imshow(to_picture(image).numpy(), extent=(left, right, bottom, top), alpha=0.7)
            rows, columns = coordinates[name].detach().cpu().unbind(1)
            ax.plot(columns, rows, ".", color="black", ms=3)
            ax.add_patch(Rectangle((-1, -1), 2, 2, fill=False, ls="--", lw=1.5, color=BOX))
            ax.set(xlim=wide, ylim=high, aspect="equal", title=name)
            ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    return figure


def picture_edges(centres: Float[Tensor, "h w 2"]) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the picture: half a patch beyond the outermost centres."""
    rows, columns = centres[:, 0, 0], centres[0, :, 1]
    down, across = float(rows[1] - rows[0]) / 2, float(columns[1] - columns[0]) / 2
    return (
        float(columns[0]) - across,
        float(columns[-1]) + across,
        float(rows[-1]) + down,
        float(rows[0]) - down,
    )


def angle_field_figure(
    table: tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]],
    grid: tuple[int, int],
    pairs: Sequence[int] | None = None,
) -> Figure:
    """The table over the grid: sines in the first row, cosines below, one column per pair.

    Args:
        table: (sin, cos) as `RopePositionEmbedding` gives them.
        pairs: which of the d / 2 pairs; all by default.

    Raises:
        ValueError: the table is not of this grid, or there is no such pair.
    """
    N, d = table[0].shape
    chosen = range(d // 2) if pairs is None else pairs
    if grid[0] * grid[1] != N or not all(0 <= pair < d // 2 for pair in chosen):
        raise ValueError(
            f"grid = {grid}, pairs = {list(chosen)}; the table has {N} patches and {d // 2} pairs"
        )
    figure, axes = panels(2, len(chosen), aspect=grid[0] / grid[1])
    for name, row, values in zip(("sin", "cos"), axes, table, strict=True):
        for ax, pair in zip(row, chosen, strict=True):
            field = values[:, pair].unflatten(0, grid)
            show_map(ax, field, f"{name}, pair {pair}", DIVERGING, vmin=-1, vmax=1)
    return figure
