"""Directions: points on the unit circle and sphere, arrows between them, and prototypes, by whose
answers every point is painted.

DINO App. C describes the head that holds prototypes; the official code draws nothing of the kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int64
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, DIVERGING, show_map, style
from dinolite_course.figures.lines import plots

MANY = 6  # more points have no letters, more prototypes no numbers; then colours come again
RING = 180  # points on the circle
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
    """
    count = len(points)
    with plots(count, (min(9, 3 * count), 3 if count < 4 else 2.5)) as (figure, axes):
        for ax, (name, panel) in zip(axes, points.items(), strict=True):
            draw_disc(ax, name, EDGE)
            xy = panel.detach().cpu().float()
            draw_points(ax, xy, groups)
            if links is not None and name in links:
                ways, shrink = xy[links[name]] - xy, 5
            elif arrows is not None and name in arrows:
                ways, shrink = arrows[name].detach().cpu().float(), 0
            else:
                continue
            for tail, tip in zip(xy.tolist(), (xy + ways).tolist(), strict=True):
                draw_arrow(ax, tail, tip, COLORS[1], shrink)
    return figure


def gram_circles_figure(
    stages: Mapping[str, Float[Tensor, "N 2"]],
    parts: Int64[Tensor, " N"],
    cls: Float[Tensor, "2"],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Patches as dots on the circle, coloured by their part, CLS as an arrow; below each circle the
    cosines of all pairs (the Gram matrix), all on one scale from -1 to 1.

    Args:
        stages: {"early": patches of length 1, ...}, sorted by part, so that a part is a block.
        parts: the number of each patch's part, an index into `names`.
        title: the finding.
    """
    count = len(stages)
    middles = [float((parts == i).nonzero().float().mean()) for i in range(len(names))]
    with style():
        figure = plt.figure(figsize=(9, 9 / max(3, count) * 1.75 + 0.4), layout="constrained")
        axes = figure.subplots(2, count, squeeze=False, height_ratios=(1, 0.66))
        for (ax, below), (name, points) in zip(axes.T, stages.items(), strict=True):
            draw_disc(ax, name, 1.12)
            draw_arrow(ax, (0, 0), (0.93 * cls).tolist(), "black")
            beside = 0.5 * cls + 0.12 * torch.stack([-cls[1], cls[0]])
            ax.text(*beside.tolist(), "CLS", weight="bold", va="center", ha="center")
            xy = points.detach().cpu().float()
            draw_dots(ax, xy, [COLORS[i] for i in parts.tolist()])
            show_map(below, xy @ xy.T, "", DIVERGING, vmin=-1, vmax=1)
            below.set(xticks=middles, xticklabels=names, yticks=middles, yticklabels=names)
            below.tick_params(length=0)
            below.grid(visible=False)
            for i, label in enumerate(below.get_yticklabels()):  # what the dots' colours mean
                label.set(color=COLORS[i], weight="bold")
        axes[1][0].set_ylabel("cosine of each pair")
        figure.colorbar(axes[1][-1].images[0], ax=list(axes[1]), shrink=0.9, ticks=(-1, 0, 1))
        figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def draw_dots(ax: Axes, xy: Tensor, colors: Sequence[str]) -> None:
    """Large dots with a white rim, so that those that lie close together can be told apart."""
    ax.scatter(xy[:, 0].numpy(), xy[:, 1].numpy(), s=75, c=colors, edgecolors="white", zorder=3)


def draw_disc(ax: Axes, title: str, edge: float) -> None:
    """The empty circle."""
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="lightgray", lw=1))
    ax.set(title=title, xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    ax.set_axis_off()


def draw_points(ax: Axes, xy: Tensor, groups: Tensor | None) -> None:
    """The points, with letters outside the circle if there are few."""
    numbers = [0] * len(xy) if groups is None else groups.tolist()
    colors = [COLORS[g % len(COLORS)] for g in numbers]
    ax.scatter(xy[:, 0].numpy(), xy[:, 1].numpy(), s=28, c=colors, zorder=3)
    if len(xy) <= MANY:
        for i, (x, y) in enumerate((1.22 * xy).tolist()):
            ax.text(x, y, chr(ord("A") + i), ha="center", va="center")


def draw_arrow(ax: Axes, tail: Any, tip: Any, color: Any, shrink: float = 0) -> None:
    """An arrow, `shrink` points (of a font) shorter at both ends."""
    look = {"arrowstyle": "-|>", "color": color, "lw": 1.5, "shrinkA": shrink, "shrinkB": shrink}
    ax.annotate("", tip, tail, arrowprops=look, zorder=4)


def sphere_figure(points: Mapping[str, Float[Tensor, "_ 3"]]) -> Figure:
    """Two discs per entry of {"random": [n, 3], ...}: the half that faces us (z >= 0) and the half
    behind. Equal areas of the sphere are equal areas of the discs (Lambert), so evenly spread
    points look evenly spread.
    """
    with style():
        count = len(points)
        figure = plt.figure(figsize=(9, 2 * 9 / max(3, count) + 0.3), layout="constrained")
        axes = figure.subplots(2, count, squeeze=False)
        for (above, below), (name, panel) in zip(axes.T, points.items(), strict=True):
            front = panel[:, 2] >= 0
            for ax, half, title in [(above, front, f"{name}: front"), (below, ~front, "back")]:
                draw_disc(ax, f"{title} {int(half.sum())}", 1.1)
                xy = flat(panel[half].detach().cpu().float())
                ax.scatter(xy[:, 0].numpy(), xy[:, 1].numpy(), s=12, color=COLORS[0])
    return figure


def flat(half: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Lambert's map of a half sphere onto the unit disc: pole to centre, equator to rim."""
    return half[:, :2] / (1 + half[:, 2:].abs()).sqrt()


def even_prototypes(K: int, turn: float = 0.0) -> Float[Tensor, "K 2"]:
    """K prototypes of length 1 at equal distances on the circle, turned by that many degrees."""
    angles = torch.arange(K) * 2 * torch.pi / K + torch.pi * turn / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def prototype_colors(K: int) -> Float[Tensor, "K 3"]:
    """The colour of each prototype; the seventh has that of the first."""
    return torch.tensor([to_rgb(COLORS[k % MANY]) for k in range(K)])


def answers(
    points: Float[Tensor, "n 2"], prototypes: Float[Tensor, "K 2"], temp: float
) -> Float[Tensor, "n K"]:
    """The softmax of dot products divided by the temperature."""
    return (points @ prototypes.T / temp).softmax(dim=-1)


def prototypes_figure(
    circles: Mapping[str, tuple[Float[Tensor, "K 2"], float]],
    points: Mapping[str, Float[Tensor, "n 2"]] | None = None,
) -> Figure:
    """One panel per circle, all to one scale: prototypes as arrows, points painted by their answer.

    A point's colour is the mean of the prototypes' colours, weighted with its answer.

    Args:
        circles: {"temperature 0.1": (prototypes, 0.1), ...}.
        points: for a panel by name, the points to paint; without them, the whole unit circle.
    """
    points = points or {}
    ring = even_prototypes(RING)
    drawn = [*(prototypes for prototypes, _ in circles.values()), *points.values(), ring]
    reach = 1.3 * max(vectors.detach().norm(dim=1).max().item() for vectors in drawn)
    with plots(len(circles), (max(3.0 * len(circles), 4.0), 3.1)) as (figure, axes):
        for ax, (name, (prototypes, temp)) in zip(axes, circles.items(), strict=True):
            draw_prototypes(ax, prototypes.detach(), temp, points.get(name, ring).detach())
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=name)
    return figure


def draw_prototypes(
    ax: Axes, prototypes: Float[Tensor, "K 2"], temp: float, points: Float[Tensor, "n 2"]
) -> None:
    """Points first, arrows on top."""
    colors = prototype_colors(len(prototypes))
    painted = (answers(points, prototypes, temp) @ colors).clamp(0, 1)
    size = 26 if len(points) > 2 * MANY else 110
    x, y = points.T.tolist()
    ax.scatter(x, y, c=painted.numpy(), s=size, linewidths=0)
    plate = {"boxstyle": "circle,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85}
    for k, (tip, color) in enumerate(zip(prototypes.tolist(), colors.tolist(), strict=True)):
        draw_arrow(ax, (0, 0), tip, color)
        if len(prototypes) <= MANY:
            far = 1 + 0.22 / max((tip[0] ** 2 + tip[1] ** 2) ** 0.5, 1e-6)
            look = {"color": color, "weight": "bold", "ha": "center", "va": "center", "zorder": 5}
            ax.text(far * tip[0], far * tip[1], str(k), bbox=plate, **look)
