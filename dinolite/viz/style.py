"""One look for every figure: colours that colour-blind readers can tell apart, small quiet axes,
and files that come out the same each time.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from torch import Tensor

from dinolite.data.picture_checks import check_layout

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, made for colour-blind readers."""
ROLES = {
    "student": "#0072B2",
    "teacher": "#D55E00",
    "hidden": "#CC79A7",
    "query": "#00E5FF",
    "untrained": "#7F7F7F",
    "trained": "#009E73",
    "pixels": "#E69F00",
}
"""One colour for one role, in every figure."""
GROUPS = (
    *("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#F0E442", "#56B4E9", "#D7263D", "#6A3D9A"),
    *("#B2DF8A", "#8C564B", "#FFFFFF", "#000000"),
)
"""The colour of each group of patches, of the largest first."""
BRIGHT = 0.99  # quantile of maps at the bright end of their scale
GREYS = 32  # of the colours of a packed file
DPI = 160  # of every figure that is written to a file
LEFT = 0.3  # inches for the names of rows
LIKE = "inferno"  # maps over a photograph: black is nothing, bright is much
HEAT = "viridis"
DIVERGING = "PuOr"  # -1 to 1, white in the middle
PIXELS = "nearest"  # a pixel is a square; `smooth` makes maps of patches as large as the picture
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


def panels(
    rows: int,
    columns: int,
    width: float = 9.0,
    aspect: float = 1.0,
    title: str = "",
    gap: float = 0.25,
    left: float = 0.0,
) -> tuple[Figure, list]:
    """A figure of rows x columns pictures without axes, and its axes row by row.

    Args:
        width: of all panels together, in inches.
        aspect: height / width of a panel.
        title: of the figure: what it shows, in a sentence.
        gap: inches above each row, for titles.
        left: inches for the names of rows (`name_row`).
    """
    with style():
        above = 0.3 * (title.count("\n") + bool(title))
        height = rows * (width / columns * aspect + gap) + above
        tight = ConstrainedLayoutEngine(w_pad=0.025, h_pad=0.02, wspace=0, hspace=0)
        figure = plt.figure(figsize=(width + left, height), layout=tight)
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=12, fontweight="bold")
    for ax in axes.flat:
        ax.set_axis_off()
    return figure, axes.tolist()


def pictures_above(
    images: UInt8[Tensor, "n 3 H W"], names: Sequence[str], title: str = "", width: float = 10.0
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with the photographs in its first row and below it an empty row for each name, which
    stands at the left; the axes of these rows. Arguments as in `panels`."""
    check_layout(images)
    aspect = images.shape[2] / images.shape[3]
    rows, columns = 1 + len(names), len(images)
    figure, axes = panels(rows, columns, width, aspect, title, gap=0.04, left=LEFT)
    for ax, image in zip(axes[0], images, strict=True):
        show_image(ax, image)
    for row, name in zip(axes[1:], names, strict=True):
        name_row(row[0], name)
    return figure, axes[1:]


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


def smooth(
    maps: Float[Tensor, "n h w"] | Float[Tensor, "n c h w"], size: tuple[int, int]
) -> Float[Tensor, "n H W"] | Float[Tensor, "n c H W"]:
    """Maps of patches as large as the picture (H, W), bilinear; where a patch lies in the picture
    its value lies, too."""
    x = maps.detach().cpu().float()
    x = x[:, None] if maps.ndim == 3 else x
    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return x[:, 0] if maps.ndim == 3 else x


def laid_over(
    image: UInt8[Tensor, "3 H W"],
    values: Float[Tensor, "h w"] | Int64[Tensor, "h w"],
    vmax: float = 1.0,
    cmap: str = LIKE,
) -> Float[Tensor, "3 H W"]:
    """The photograph in grey under a map of its patches; [0, 1].

    Args:
        values: how much, coloured from 0 (and below) to vmax, more is brighter and less of the
            photograph; or whole numbers, the group of each patch, coloured by `GROUPS`.

    Raises:
        ValueError: vmax not above 0, a value that is NaN, or a group that has no colour.
    """
    size = (image.shape[-2], image.shape[-1])
    grey = to_picture(image).mean(dim=2).expand(3, -1, -1)
    values = values.detach().cpu()
    if not values.is_floating_point():
        if not 0 <= int(values.min()) <= int(values.max()) < len(GROUPS):
            raise ValueError(
                f"values has groups {int(values.min())} to {int(values.max())}; allowed: 0 to "
                f"{len(GROUPS) - 1}"
            )
        members = F.one_hot(values, len(GROUPS)).permute(2, 0, 1).float()
        group = smooth(members[None], size)[0].argmax(dim=0)
        colors = torch.tensor([to_rgb(color) for color in GROUPS])[group].permute(2, 0, 1)
        return 0.4 * grey + 0.6 * colors
    if not vmax > 0 or bool(values.isnan().any()):
        raise ValueError(f"vmax = {vmax} must be above 0, and values numbers, none of them NaN")
    share = (smooth(values[None], size)[0] / vmax).clamp(0, 1)
    colors = torch.from_numpy(plt.get_cmap(cmap)(share.numpy())[..., :3]).float().permute(2, 0, 1)
    weight = 0.25 + 0.55 * share
    return (1 - weight) * 0.6 * grey + weight * colors


def show_over(
    ax: Axes,
    image: UInt8[Tensor, "3 H W"],
    values: Float[Tensor, "h w"] | Int64[Tensor, "h w"],
    title: str = "",
    vmax: float = 1.0,
    cmap: str = LIKE,
) -> None:
    """Draw a map of patches, or their groups, over the photograph; arguments as in `laid_over`."""
    show_image(ax, laid_over(image, values, vmax, cmap), title)


def color_scale(figure: Figure, axes: list[list[Axes]], vmax: float, label: str) -> None:
    """One bar of the colours from 0 to vmax, for all rows of maps."""
    colors = ScalarMappable(Normalize(0, vmax), LIKE)
    figure.set_figwidth(figure.get_figwidth() + 0.7)
    every = [ax for row in axes for ax in row]
    with style():
        bar = figure.colorbar(colors, ax=every, shrink=0.5, aspect=40, pad=0.01, ticks=[0, vmax])
        bar.set_label(label, labelpad=-6)
        bar.ax.set_yticklabels(["0", f"{vmax:.2g}"])
    bar.outline.set_visible(False)


def largest(maps: Iterable[Float[Tensor, "*shape"]]) -> float:
    """The 99 % quantile of all maps together, the bright end of their common scale: a few patches
    do not dim all others."""
    values = torch.cat([m.detach().cpu().float().flatten() for m in maps])
    return max(float(values.quantile(BRIGHT)), 1e-6)


def name_row(ax: Axes, name: str) -> None:
    """The name of a row at the left of its first panel, in the colour of its role if it has one."""
    role = name.partition("\n")[0].partition(",")[0]
    ax.text(
        *(-0.04, 0.5, name),
        transform=ax.transAxes,
        rotation=90,
        ha="right",
        va="center",
        fontsize=11,
        fontweight="bold",
        color=ROLES.get(role, "black"),
    )


def png_bytes(figure: Figure, dpi: int = 100, colors: int | None = None) -> bytes:
    """The figure as a PNG without dates or versions in it; pyplot then forgets the figure.

    `colors`: at most so many (64 to 256): those of `ROLES`, greys, the others chosen for the
    picture; a third to a half of the bytes.
    """
    buffer = io.BytesIO()
    with style():  # ticks and their labels are made only now
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)
    if colors is None:
        return buffer.getvalue()
    drawn, packed = Image.open(buffer).convert("RGB"), io.BytesIO()
    kept = [round(255 * x) for color in ROLES.values() for x in to_rgb(color)]  # small, but seen
    kept += [round(255 * i / (GREYS - 1)) for i in range(GREYS) for _ in "rgb"]  # without a tint
    free = colors - len(kept) // 3
    found = drawn.quantize(free, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found[: 3 * free], *kept])
    packing = drawn.quantize(palette=palette, dither=Image.Dither.NONE)
    packing.save(packed, "PNG", optimize=True)
    return packed.getvalue()
