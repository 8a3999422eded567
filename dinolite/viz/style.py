"""One look for every figure: colours that colour-blind readers can tell apart, small quiet axes,
and files that come out the same each time.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.picture_checks import check_layout

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, made for colour-blind readers."""
HEAT = "viridis"
DIVERGING = "PuOr"  # -1 to 1, white in the middle
PIXELS = "nearest"  # a pixel or patch is a square, never smoothed
SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "image.interpolation": PIXELS,
    "svg.hashsalt": "dinolite",
}


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside look like all the others."""
    with plt.rc_context({**SETTINGS, "axes.prop_cycle": plt.cycler(color=COLORS)}):
        yield


def panels(rows: int, columns: int, width: float = 9.0, aspect: float = 1.0) -> tuple[Figure, list]:
    """A figure of rows x columns pictures without axes, and its axes row by row.

    `aspect`: height / width of a panel.
    """
    with style():
        side = width / columns
        figure = plt.figure(figsize=(width, rows * (side * aspect + 0.25)), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
    return figure, axes.tolist()


def pictures_above(
    images: UInt8[Tensor, "n 3 H W"], rows: int, width: float
) -> tuple[Figure, list]:
    """A figure with the pictures in its first row and `rows` empty ones below; its axes."""
    check_layout(images)
    aspect = images.shape[2] / images.shape[3]
    figure, axes = panels(1 + rows, len(images), width=width, aspect=aspect)
    for ax, image in zip(axes[0], images, strict=True):
        show_image(ax, image)
    return figure, axes


def to_picture(image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"]) -> Tensor:
    """[H, W, 3] in [0, 1] from uint8, or from floats in [0, 1], which are cut off there.

    Raises:
        ValueError: another layout or type, or floats that cannot be meant for [0, 1]: NaN, or
            further outside than 1, as of 0 to 255 or of normalised pictures.
    """
    check_layout(image, "image", one=True)
    picture = image.detach().cpu().permute(1, 2, 0)
    if image.dtype == torch.uint8:
        return picture.float() / 255
    far = picture.numel() and not (picture.amin() >= -1 and picture.amax() <= 2)
    if not image.is_floating_point() or far:
        raise ValueError(
            f"image is {image.dtype}, values from {picture.amin():.4g} to {picture.amax():.4g}; "
            "allowed: uint8, or floats in [0, 1]: divide by 255, or undo the normalisation"
        )
    return picture.float().clamp(0, 1)


def show_image(
    ax: Axes, image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"], title: str = ""
) -> None:
    """Draw a picture into a panel."""
    ax.imshow(to_picture(image).numpy(), interpolation=PIXELS)
    ax.set_title(title, fontsize=9)


def show_map(
    ax: Axes,
    values: Float[Tensor, "h w"],
    title: str = "",
    cmap: str = HEAT,
    vmin: float | None = None,
    vmax: float | None = None,
) -> None:
    """Draw a value per patch into a panel; vmin and vmax have the ends of the colour scale."""
    shown = values.detach().cpu().float().numpy()
    ax.imshow(shown, cmap=cmap, vmin=vmin, vmax=vmax, interpolation=PIXELS)
    ax.set_title(title, fontsize=9)


def png_bytes(figure: Figure, dpi: int = 100) -> bytes:
    """The figure as a PNG without dates or versions in it; pyplot then forgets the figure."""
    buffer = io.BytesIO()
    with style():  # ticks and their labels are made only now
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
