"""One patch of a picture, framed, and maps of what it has to do with all the others: how much it
looks at them, or how alike it is to them through its place alone.

DINOv3 Fig. 3 has such maps of features; the official code draws none.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from dinolite.viz.style import DIVERGING, HEAT, panels, show_image, show_map, style

Picture = Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"]
CHOSEN = "#D55E00"


def frame_patch(ax: Axes, patch: tuple[int, int], height: float = 1, width: float = 1) -> None:
    """Frame patch (row, column) of a panel whose patches are height x width pixels."""
    corner = (patch[1] * width - 0.5, patch[0] * height - 0.5)
    halo = [withStroke(linewidth=4, foreground="white")]
    frame = Rectangle(corner, width, height, fill=False, color=CHOSEN, lw=2, path_effects=halo)
    ax.add_patch(frame)


def show_chosen(ax: Axes, image: Picture, grid: tuple[int, int], patch: tuple[int, int]) -> None:
    """A picture with one patch of its grid framed."""
    with style():  # small pictures: pixels with sharp edges, which also make small files
        show_image(ax, image, f"patch ({patch[0]}, {patch[1]})")
    frame_patch(ax, patch, image.shape[1] / grid[0], image.shape[2] / grid[1])


def check_patch(patch: tuple[int, int], grid: tuple[int, int]) -> None:
    """A ValueError if the grid has no such patch."""
    if not (0 <= patch[0] < grid[0] and 0 <= patch[1] < grid[1]):
        raise ValueError(f"patch = {patch} does not lie on the grid of {grid[0]} x {grid[1]}")


def looking_figure(
    images: Sequence[Picture],
    maps: Sequence[Float[Tensor, "h w"]],
    patches: Sequence[tuple[int, int]],
) -> Figure:
    """For each picture, itself with a patch framed, and how much that patch looks at the others.

    Raises:
        ValueError: a patch lies outside its grid.
    """
    figure, axes = panels(1, 2 * len(images), aspect=images[0].shape[1] / images[0].shape[2])
    low = min(float(values.min()) for values in maps)
    high = max(float(values.max()) for values in maps)
    for i, (image, values, patch) in enumerate(zip(images, maps, patches, strict=True)):
        grid = (values.shape[0], values.shape[1])
        check_patch(patch, grid)
        show_chosen(axes[0][2 * i], image, grid, patch)
        show_map(axes[0][2 * i + 1], values, "where it looks", vmin=low, vmax=high)
        frame_patch(axes[0][2 * i + 1], patch)
    return figure


def relative_position_figure(
    image: Picture,
    maps: Mapping[str, Float[Tensor, "h w"]],
    patches: Sequence[tuple[int, int]],
    signed: bool = True,
) -> Figure:
    """The picture with patches framed, then maps over its grid, each with its patch framed.

    Args:
        maps: by name. They may have several resolutions: a patch is one of the first map, and the
            same part of the picture is framed in the others.
        patches: (row, column), one per map or one for all.
        signed: colours from -1 to 1 with white for 0; else from the lowest to the highest value.

    Raises:
        ValueError: another number of patches, or one outside the first grid.
    """
    if len(patches) not in (1, len(maps)):
        raise ValueError(f"{len(patches)} patches for {len(maps)} maps; give one, or one per map")
    first = next(iter(maps.values()))
    grid = (first.shape[0], first.shape[1])
    low, high, colors = -1.0, 1.0, DIVERGING
    if not signed:
        low = min(float(values.min()) for values in maps.values())
        high = max(float(values.max()) for values in maps.values())
        colors = HEAT
    columns = 1 + len(maps)
    aspect = image.shape[1] / image.shape[2]
    figure, axes = panels(1, columns, min(9.0, 2.2 * columns), aspect)
    for patch in patches:
        check_patch(patch, grid)
        show_chosen(axes[0][0], image, grid, patch)
    if len(patches) > 1:
        axes[0][0].set_title(f"{len(patches)} patches", fontsize=9)
    each = list(patches) * (len(maps) if len(patches) == 1 else 1)
    for ax, (name, values), patch in zip(axes[0][1:], maps.items(), each, strict=True):
        show_map(ax, values, name, colors, vmin=low, vmax=high)
        frame_patch(ax, patch, values.shape[0] / grid[0], values.shape[1] / grid[1])
    return figure
