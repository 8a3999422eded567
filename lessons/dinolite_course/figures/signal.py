"""What becomes of a signal on its way through a deep network: curves over the blocks, a photograph
seen by its tokens at several depths, and the samples that stochastic depth lets skip a branch.

CaiT and DINOv2 Sec. 5 tell of the parts shown here; the official code plots nothing.
"""

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.style import COLORS, DIVERGING, panels, show_image, show_map, style, to_picture

DASHES = ("-", "--", "-.", ":")
FADED = 0.15  # how much is left of a picture that is skipped


def signal_figure(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    x: Sequence[float] | None = None,
    xlabel: str = "block",
    log: Collection[str] = (),
) -> Figure:
    """One panel per quantity, one curve per run; {"pre-norm": {"token norm": [5.4, ...]}}.

    Args:
        x: where the values stand; 0, 1, 2, ... without it.
        log: the quantities that are drawn on a logarithmic axis.
    """
    quantities = list(dict.fromkeys(name for run in runs.values() for name in run))
    if not quantities:
        raise ValueError("runs is empty: give at least one run with one quantity")
    with style():
        figure = plt.figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(1, len(quantities), squeeze=False)[0]
        for ax, quantity in zip(axes, quantities, strict=True):
            for i, (label, run) in enumerate(runs.items()):
                if quantity in run:
                    values = run[quantity]
                    where = range(len(values)) if x is None else x
                    dash = DASHES[i % len(DASHES)]
                    ax.plot(where, values, dash, color=COLORS[i % len(COLORS)], label=label)
            ax.set(title=quantity, xlabel=xlabel, yscale="log" if quantity in log else "linear")
        named = {ln.get_label(): ln for ax in axes for ln in ax.get_lines()}
        order = [label for label in runs if label in named]
        figure.legend(
            [named[label] for label in order], order, loc="outside lower center", ncols=len(order)
        )
    return figure


def depth_maps_figure(
    image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"],
    maps: Mapping[str, Float[Tensor, "n h w"]],
    titles: Sequence[str],
    patch: tuple[int, int],
) -> Figure:
    """One row per network: the photograph with a framed patch, then maps of values in [-1, 1].

    Args:
        titles: one for each of the n maps.
        patch: row and column of the framed patch.
    """
    h, w = next(iter(maps.values())).shape[-2:]
    height, width = image.shape[-2] / h, image.shape[-1] / w
    figure, rows = panels(len(maps), 1 + len(titles), aspect=image.shape[-2] / image.shape[-1])
    for row, (name, values) in zip(rows, maps.items(), strict=True):
        show_image(row[0], image, name)
        corner = (patch[1] * width - 0.5, patch[0] * height - 0.5)
        row[0].add_patch(Rectangle(corner, width, height, fill=False, color=COLORS[1], lw=2))
        for ax, title, each in zip(row[1:], titles, values, strict=True):
            show_map(ax, each, title, DIVERGING, vmin=-1, vmax=1)
    return figure


def mosaic_figure(pictures: Mapping[str, Float[Tensor, "3 _ _"]]) -> Figure:
    """Pictures of any size in a row, each under its name; values outside [0, 1] are clipped."""
    figure, rows = panels(1, len(pictures))
    for ax, (name, picture) in zip(rows[0], pictures.items(), strict=True):
        show_image(ax, picture, name)
    return figure


def kept_figure(
    images: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
    kept: Mapping[str, Bool[Tensor, "B"]],
) -> Figure:
    """One row per branch: the photographs that pass through it; those that skip it are faded."""
    figure, rows = panels(len(kept), len(images), aspect=images.shape[-2] / images.shape[-1])
    for row, (name, passes) in zip(rows, kept.items(), strict=True):
        for i, (ax, image) in enumerate(zip(row, images, strict=True)):
            picture = to_picture(image)
            shown = picture if passes[i] else 1 - FADED * (1 - picture)
            ax.imshow(shown.numpy(), interpolation="nearest")
            ax.set_title(name if i == 0 else "", fontsize=9)
    return figure
