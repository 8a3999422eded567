"""One photograph at several sizes and below each what networks make of its patches.

DINOv3 Fig. 4 shows patches as colours at a very high resolution; the official code draws none.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import DIVERGING, panels, show_image, show_map, style
from dinolite_course.figures.places import frame_patch

Picture = Float[Tensor, "3 _ _"] | UInt8[Tensor, "3 _ _"]
Map = Float[Tensor, "_ _"] | Float[Tensor, "3 _ _"]


def resolutions_figure(
    images: Mapping[str, Picture],
    maps: Mapping[str, Sequence[Map]],
    place: tuple[float, float] | None = None,
    width: float = 9.0,
) -> Figure:
    """The pictures in the first row, then a row per network with a map for each of them.

    Args:
        images: the same photograph, {"64 px": ..., "128 px": ...}.
        maps: {"trained": [...]}: values from -1 to 1 as [h, w], or colours in [0, 1] as [3, h, w].
        place: a point in the photograph, as shares of its height and width from the upper left;
            the patch that it lies in is framed, in the pictures by the first row's grid.

    Raises:
        ValueError: a row has another number of maps than there are pictures, or the place lies
            outside.
    """
    if place is not None and not all(0 <= share < 1 for share in place):
        raise ValueError(f"place = {place}; both shares must be at least 0 and below 1")
    for name, row in maps.items():
        if len(row) != len(images):
            raise ValueError(f"maps[{name!r}] has {len(row)} maps for {len(images)} pictures")
    aspect = max(image.shape[1] / image.shape[2] for image in images.values())
    figure, axes = panels(1 + len(maps), len(images), width=width, aspect=aspect)
    with style():
        for i, (ax, (name, image)) in enumerate(zip(axes[0], images.items(), strict=True)):
            show_image(ax, image, name)
            if place is not None and maps:
                h, w = next(iter(maps.values()))[i].shape[-2:]
                frame_patch(ax, patch_at(place, (h, w)), image.shape[1] / h, image.shape[2] / w)
        for line, (name, row) in zip(axes[1:], maps.items(), strict=True):
            for i, (ax, values) in enumerate(zip(line, row, strict=True)):
                show_row_map(ax, values, name if i == 0 else "")
                if place is not None:
                    frame_patch(ax, patch_at(place, (values.shape[-2], values.shape[-1])))
    return figure


def show_row_map(ax: Axes, values: Map, title: str) -> None:
    """Values from -1 to 1, or colours."""
    if values.ndim == 3:
        show_image(ax, values, title)
    else:
        show_map(ax, values, title, DIVERGING, vmin=-1, vmax=1)


def patch_at(place: tuple[float, float], grid: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the patch that a point lies in."""
    return int(place[0] * grid[0]), int(place[1] * grid[1])
