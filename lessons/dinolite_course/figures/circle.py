"""Points on the unit circle: where they lie, which one each calls its nearest, and which way each
is pushed.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, style

NAMED = 6  # as many points still get a letter each
EDGE = 1.35


def circle_figure(
    points: Mapping[str, Float[Tensor, "_ 2"]],
    links: Mapping[str, Int64[Tensor, " _"]] | None = None,
    arrows: Mapping[str, Float[Tensor, "_ 2"]] | None = None,
    groups: Int64[Tensor, " _"] | None = None,
) -> Figure:
    """One circle per entry of {"before": [n, 2], ...}; up to six points are called A, B, C, ...

    Args:
        links: by panel, the point to which each point has an arrow.
        arrows: by panel, an arrow [n, 2] that starts at each point.
        groups: the colour of each point, the same in all panels.

    Raises:
        ValueError: there is no panel.
    """
    if not points:
        raise ValueError(f"{points = } is empty; give at least one, as {{name: [n, 2]}}")
    with style():
        count = len(points)
        figure = plt.figure(figsize=(min(9, 3 * count), 3 if count < 4 else 2.5))
        figure.set_layout_engine("constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        for ax, (name, panel) in zip(axes, points.items(), strict=True):
            draw_circle(ax, name)
            xy = panel.detach().cpu().float()
            draw_points(ax, xy, groups)
            if links is not None and name in links:
                draw_arrows(ax, xy, xy[links[name]] - xy, shrink=5)
            if arrows is not None and name in arrows:
                draw_arrows(ax, xy, arrows[name].detach().cpu().float())
    return figure


def draw_circle(ax: Axes, title: str) -> None:
    """The empty circle."""
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="lightgray", lw=1))
    ax.set(title=title, xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    ax.set_axis_off()


def draw_points(ax: Axes, xy: Tensor, groups: Tensor | None) -> None:
    """The points, with letters outside the circle if there are few."""
    numbers = [0] * len(xy) if groups is None else groups.tolist()
    colors = [COLORS[g % len(COLORS)] for g in numbers]
    ax.scatter(xy[:, 0].numpy(), xy[:, 1].numpy(), s=28, c=colors, zorder=3)
    if len(xy) <= NAMED:
        for i, (x, y) in enumerate((1.22 * xy).tolist()):
            ax.text(x, y, chr(ord("A") + i), ha="center", va="center")


def draw_arrows(ax: Axes, start: Tensor, way: Tensor, shrink: float = 0) -> None:
    """One arrow per point, `shrink` points (of a font) shorter at both ends."""
    for tail, tip in zip(start.tolist(), (start + way).tolist(), strict=True):
        look = {"arrowstyle": "-|>", "color": COLORS[1], "lw": 1.4}
        look |= {"shrinkA": shrink, "shrinkB": shrink}
        ax.annotate("", tip, tail, arrowprops=look, zorder=4)
