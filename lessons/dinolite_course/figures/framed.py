"""One patch framed in a picture, and beside it what several networks say of all patches: how alike
they are to the framed one.

DINOv3 Fig. 3, Fig. 6 and Fig. 10 (similarity maps, over training and before and after Gram).
"""

from collections.abc import Mapping

from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.style import DIVERGING, panels, show_image, show_map, style


def framed_figure(
    image: UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
    maps: Mapping[str, Float[Tensor, "h w"]],
    patch: tuple[int, int],
    width: float = 9.0,
) -> Figure:
    """The picture with its frame, then a map from -1 to 1 per network, 0 in the middle.

    Args:
        patch: row and column of the framed patch.

    Raises:
        ValueError: there is no map, or one without that patch.
    """
    if not maps:
        raise ValueError(f"{maps = } is empty; give at least one, as {{name: map}}")
    for name, values in maps.items():
        h, w = values.shape
        if not (0 <= patch[0] < h and 0 <= patch[1] < w):
            raise ValueError(f"{patch = } is not in maps[{name!r}] with {h} x {w} patches")
    H, W = image.shape[1:]
    figure, axes = panels(1, 1 + len(maps), width=width, aspect=H / W)
    with style():
        show_image(axes[0][0], image)
        corner = (patch[1] * W / w - 0.5, patch[0] * H / h - 0.5)
        axes[0][0].add_patch(Rectangle(corner, W / w, H / h, fill=False, color="#D55E00", lw=2))
        for ax, (name, values) in zip(axes[0][1:], maps.items(), strict=True):
            show_map(ax, values, name, DIVERGING, vmin=-1, vmax=1)
    return figure
