"""Pictures side by side and below each of them what several methods say of its patches.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping

from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, panels, show_image, show_map, style


def map_rows_figure(
    images: UInt8[Tensor, "n 3 H W"] | Float[Tensor, "n 3 H W"],
    maps: Mapping[str, Float[Tensor, "m h w"]],
    vmin: float | None = 0,
    vmax: float | None = None,
    cmap: str = HEAT,
    width: float = 9.0,
) -> Figure:
    """Pictures in the first row, then one row of maps per name.

    Args:
        maps: {"rollout": ..., "hiding": ...}; a row's name stands over its first map.
        vmin, vmax: ends of the colour scale; None = those of each map by itself.

    Raises:
        ValueError: a row has another number of maps than there are pictures.
    """
    for name, values in maps.items():
        if len(values) != len(images):
            raise ValueError(f"maps[{name!r}] has {len(values)} maps for {len(images)} pictures")
    aspect = images.shape[2] / images.shape[3]
    figure, axes = panels(1 + len(maps), len(images), width=width, aspect=aspect)
    with style():
        for ax, image in zip(axes[0], images, strict=True):
            show_image(ax, image)
        for line, (name, values) in zip(axes[1:], maps.items(), strict=True):
            for i, (ax, shown) in enumerate(zip(line, values, strict=True)):
                show_map(ax, shown, name if i == 0 else "", cmap, vmin=vmin, vmax=vmax)
    return figure
