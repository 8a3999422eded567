"""Where RoPE puts patches and what it does to them: turned pairs, boxes of coordinates, angle
fields.

DINOv3 Sec. 3.2 "Updated Model Architecture" (the box [-1, 1]); the official code draws none of it.
"""

from collections.abc import Mapping

from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.style import COLORS, to_picture
from dinolite_course.figures.circles import draw_arrow
from dinolite_course.figures.lines import plots
from dinolite_course.figures.rows import Picture, rows_figure


def turned_pairs_figure(
    pairs: Mapping[str, tuple[Float[Tensor, "2"], Float[Tensor, "2"]]],
) -> Figure:
    """One panel per name: a query (blue) and a key (orange) as arrows from the origin."""
    reach = 1.15 * max(float(v.norm()) for pair in pairs.values() for v in pair)
    with plots(len(pairs), (9, 9 / len(pairs))) as (figure, axes):
        for ax, (name, pair) in zip(axes, pairs.items(), strict=True):
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=name)
            for letter, vector, color in zip("qk", pair, COLORS, strict=False):
                x, y = vector.tolist()
                draw_arrow(ax, (0, 0), (x, y), color)
                ax.text(1.12 * x, 1.12 * y, letter, color=color, ha="center", va="center")
    return figure


def coordinates_figure(
    image: Picture, coordinates: Mapping[str, Float[Tensor, "N 2"]], grid: tuple[int, int]
) -> Figure:
    """The picture laid where its patches' coordinates put it; dashed, the box [-1, 1].

    Args:
        coordinates: (row, column) of the centre of every patch, row by row; one panel per name,
            more than three in two rows.
        grid: rows and columns, at least 2 of each.
    """
    edges = {name: picture_edges(c.view(*grid, 2)) for name, c in coordinates.items()}
    lefts, rights, bottoms, tops = zip(*edges.values(), (-1, 1, 1, -1), strict=True)
    wide = (min(lefts) - 0.1, max(rights) + 0.1)
    high = (max(bottoms) + 0.1, min(tops) - 0.1)  # rows grow downwards
    aspect = (high[0] - high[1]) / (wide[1] - wide[0])
    lines = 2 if len(edges) > 3 else 1
    across = -(-len(edges) // lines)
    side = min(3.4 if lines > 1 else 2.4, 9 / across)
    size = (side * across, lines * (side * aspect + 0.4))
    with plots(across, size, lines) as (figure, axes):
        for ax, (name, corners) in zip(axes, edges.items(), strict=True):
            ax.imshow(to_picture(image).numpy(), extent=corners, alpha=0.7)
            rows, columns = coordinates[name].detach().cpu().unbind(1)
            ax.plot(columns, rows, ".", color="black", ms=3)
            ax.add_patch(Rectangle((-1, -1), 2, 2, fill=False, ls="--", lw=1.5, color=COLORS[1]))
            ax.set(xlim=wide, ylim=high, aspect="equal", title=name)
            ax.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    return figure


def picture_edges(centres: Float[Tensor, "h w 2"]) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the picture: half a patch beyond the outermost centres."""
    rows, columns = centres[:, 0, 0].tolist(), centres[0, :, 1].tolist()
    down, across = (rows[1] - rows[0]) / 2, (columns[1] - columns[0]) / 2
    return columns[0] - across, columns[-1] + across, rows[-1] + down, rows[0] - down


def angle_field_figure(
    table: tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]], grid: tuple[int, int]
) -> Figure:
    """The table (sin, cos) of `RopePositionEmbedding` over the grid: sines in the first row,
    cosines below, one column per turned pair."""
    pairs = table[0].shape[1] // 2
    sin, cos = (values[:, :pairs].T.unflatten(1, grid) for values in table)
    titles = [f"pair {i}" for i in range(pairs)]
    return rows_figure({"sin": sin, "cos": cos}, titles, width=9)
