"""What is hidden: photographs with covered patches, the positions of patches in a batch, and how
often each place of the grid is hidden.

iBOT Sec. 3.1 (block-wise masks); official `data/masking.py` and `data/collate.py`, which draw
nothing.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, HEAT, panels, show_image, show_map, style, to_picture

COVER = (0.0, 0.45, 0.7)  # the first colour of the palette, rare in photographs
LINE = "#BBBBBB"


def covered(image: Float[Tensor, "3 H W"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, "3 H W"]:
    """The picture with a plain blue where the mask is True (hidden)."""
    holes = F.interpolate(mask[None, None].float(), size=image.shape[-2:], mode="nearest")[0]
    return image * (1 - holes) + image.new_tensor(COVER)[:, None, None] * holes


def masked_figure(
    images: Float[Tensor, "n 3 H W"] | UInt8[Tensor, "n 3 H W"],
    masks: Bool[Tensor, "m h w"],
    titles: Sequence[str],
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """Pictures whose hidden patches are covered, row by row; all in one row without `columns`.

    Raises:
        ValueError: there is no picture, or not one mask and one title for each.
    """
    n = len(images)
    if not n or not n == len(masks) == len(titles):
        raise ValueError(
            f"{n} images, {len(masks)} masks, {len(titles)} titles; give one or more of each, "
            f"equally many"
        )
    columns = columns or n
    aspect = images.shape[-2] / images.shape[-1]
    figure, rows = panels(-(-n // columns), columns, width=width, aspect=aspect)
    axes = [ax for row in rows for ax in row]
    for ax, image, mask, title in zip(axes, images, masks, titles, strict=False):
        picture = to_picture(image).permute(2, 0, 1)
        with style():
            show_image(ax, covered(picture, mask.cpu()), title)
    return figure


def positions_figure(masks: Bool[Tensor, "n h w"], titles: Sequence[str]) -> Figure:
    """One grid for each crop, every patch with its position in the whole batch; hidden ones dark.

    Raises:
        ValueError: there is no mask, or not one title for each.
    """
    if not len(masks) or len(masks) != len(titles):
        raise ValueError(f"{len(masks)} masks, {len(titles)} titles; give equally many, at least 1")
    h, w = masks.shape[1:]
    figure, [row] = panels(1, len(masks), aspect=h / w)
    for crop, (ax, mask, title) in enumerate(zip(row, masks, titles, strict=True)):
        with style():
            show_map(ax, mask.float(), title, cmap="Blues", vmin=0, vmax=1.2)
        draw_lines(ax, h, w)
        for n, hidden in enumerate(mask.flatten().tolist()):
            color, (r, c) = ("white" if hidden else "black"), divmod(n, w)
            number = str(crop * h * w + n)
            ax.text(c, r, number, color=color, ha="center", va="center", fontsize=9)
    return figure


def draw_lines(ax: Axes, h: int, w: int) -> None:
    """Lines between the patches of a grid whose patches are 1 wide."""
    ax.hlines([r - 0.5 for r in range(h + 1)], -0.5, w - 0.5, LINE, lw=0.8)
    ax.vlines([c - 0.5 for c in range(w + 1)], -0.5, h - 0.5, LINE, lw=0.8)


def hidden_share_figure(runs: Mapping[str, Bool[Tensor, "n h w"]]) -> Figure:
    """How often each patch is hidden, one map per run on one scale, and the middle row as curves.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("runs is empty; give at least one, as {name: masks}")
    shares = {name: masks.float().mean(0) for name, masks in runs.items()}
    largest = max(share.max().item() for share in shares.values())
    figure, [row] = panels(1, len(runs) + 1)
    for ax, (name, share) in zip(row, shares.items(), strict=False):
        with style():
            show_map(ax, share, name, HEAT, vmin=0, vmax=largest)
    with style():
        figure.colorbar(row[len(runs) - 1].images[0], ax=row[len(runs) - 1], shrink=0.8)
        last = row[-1]
        last.set_axis_on()
        for i, (name, share) in enumerate(shares.items()):
            middle = share[share.shape[0] // 2].tolist()
            last.plot(middle, "-" if i == 0 else "--", color=COLORS[i % len(COLORS)], label=name)
        last.set(title="middle row", xlabel="column", ylim=(0, None))
        last.legend()
    return figure
