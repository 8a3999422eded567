"""One patch asks, all patches answer: a photograph with the asking patch framed, and beside it how
much it looks at every place.

DINO Sec. 4.2.2 (attention maps per head); not in the official DINOv3 code.
"""

from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.attention import attention_grid
from dinolite.viz.style import panels, show_image, show_map, style

Picture = Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"]
WIDEST = 1.8  # inches, so that few panels do not grow huge


def patch_token(T: int, grid: tuple[int, int], row: int, column: int) -> int:
    """Number of patch (row, column) among all T tokens: the patches are the last rows x cols.

    Raises:
        ValueError: there is no such patch, or the grid does not fit into T tokens.
    """
    rows, cols = grid
    if not (0 <= row < rows and 0 <= column < cols):
        raise ValueError(f"patch ({row}, {column}); the grid has {rows} rows, {cols} columns")
    if rows * cols > T:
        raise ValueError(f"grid {rows} x {cols} does not fit into {T} tokens")
    return T - rows * cols + row * cols + column


def frame_patch(ax: Axes, size: tuple[int, int], grid: tuple[int, int], row: int, col: int) -> None:
    """A frame around one patch of a picture or map of that size (height, width); white on black, to
    be seen on every colour."""
    height, width = size[0] / grid[0], size[1] / grid[1]
    corner = (col * width - 0.5, row * height - 0.5)
    for color, lw in (("black", 3.5), ("white", 1.5)):
        ax.add_patch(Rectangle(corner, width, height, fill=False, color=color, lw=lw))


def lookup_figure(
    image: Picture,
    maps: dict[str, Float[Tensor, "rows cols"]],
    row: int,
    column: int,
    vmin: float | None = 0,
) -> Figure:
    """A picture and named maps over it, the asking patch framed in all of them.

    Args:
        maps: {"head 0": ..., "head 1": ...}, each with a value per patch.
        vmin: where the colour scale of each map begins; None = at its smallest value, which shows
            differences however small they are.

    Raises:
        ValueError: there is no such patch.
    """
    grid, size = next(iter(maps.values())).shape, image.shape[1:]
    patch_token(grid.numel(), (grid[0], grid[1]), row, column)
    n = 1 + len(maps)
    figure, axes = panels(1, n, min(9.0, n * WIDEST), aspect=size[0] / size[1])
    with style():  # square pixels stay square, and files small
        show_image(axes[0][0], image)
        frame_patch(axes[0][0], (size[0], size[1]), (grid[0], grid[1]), row, column)
        for ax, (name, values) in zip(axes[0][1:], maps.items(), strict=True):
            show_map(ax, values, name, vmin=vmin)
            frame_patch(ax, (grid[0], grid[1]), (grid[0], grid[1]), row, column)
    return figure


def query_attention_figure(
    image: Picture,
    attentions: dict[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    query: int = 0,
    vmin: float | None = 0,
) -> Figure:
    """One row per network: the picture, then where the query token looks, head by head.

    A query that is a patch is framed. The number above a map is its largest weight, counted in
    even shares: an even look at all T tokens gives 1.

    Args:
        query: number of the query among all T tokens; 0 = CLS. `patch_token` finds a patch.
        vmin: as in `lookup_figure`.
    """
    heads, T = next(iter(attentions.values())).shape[:2]
    n, size = 1 + heads, (image.shape[1], image.shape[2])
    figure, axes = panels(len(attentions), n, min(9.0, n * WIDEST), aspect=size[0] / size[1])
    row, column = divmod(query - (T - grid[0] * grid[1]), grid[1])
    with style():
        for line, (name, attention) in zip(axes, attentions.items(), strict=True):
            show_image(line[0], image, name)
            for i, values in enumerate(attention_grid(attention, grid, query)):
                show_map(line[1 + i], values, f"head {i}, max {T * values.max():.1f}", vmin=vmin)
            for ax, shape in zip(line, [size] + [grid] * heads, strict=True) if row >= 0 else []:
                frame_patch(ax, shape, grid, row, column)
    return figure
