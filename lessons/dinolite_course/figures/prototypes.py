"""Prototypes as directions: on a circle, where every point is painted with its answer, and on a
photograph, where every patch is painted with its favourite.

DINO App. C describes the head that holds them; the official code draws nothing of the kind.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, PIXELS, panels, show_image, style

MANY = 6  # colours for prototypes; the seventh gets the first one again
RING = 180  # points on the circle
FEW = 12  # as many points are drawn large


def colors_of(K: int) -> Float[Tensor, "K 3"]:
    """The colour of each prototype."""
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

    Raises:
        ValueError: no circle, a temperature that is not above 0, or points for no panel.
    """
    points = points or {}
    if not circles or not set(points) <= set(circles):
        raise ValueError(
            f"circles = {list(circles)} must be at least one and have the panels {list(points)}"
        )
    if any(temp <= 0 for _, temp in circles.values()):
        raise ValueError(f"temp = {[t for _, t in circles.values()]}; each must be above 0")
    angles = torch.arange(RING) * 2 * torch.pi / RING
    ring = torch.stack([angles.cos(), angles.sin()], dim=1)
    drawn = [*(prototypes for prototypes, _ in circles.values()), *points.values(), ring]
    reach = 1.3 * max(vectors.detach().norm(dim=1).max().item() for vectors in drawn)
    with style():
        figure = plt.figure(figsize=(max(3.0 * len(circles), 4.0), 3.1), layout="constrained")
        axes = figure.subplots(1, len(circles), squeeze=False)[0]
        for ax, (name, (prototypes, temp)) in zip(axes, circles.items(), strict=True):
            draw_circle(ax, prototypes.detach(), temp, points.get(name, ring).detach())
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=name)
    return figure


def draw_circle(
    ax: Axes, prototypes: Float[Tensor, "K 2"], temp: float, points: Float[Tensor, "n 2"]
) -> None:
    """Points first, arrows on top."""
    colors = colors_of(len(prototypes))
    painted = answers(points, prototypes, temp) @ colors
    x, y = points.T.tolist()
    ax.scatter(
        x, y, c=painted.clamp(0, 1).numpy(), s=26 if len(points) > FEW else 110, linewidths=0
    )
    for k, (to, color) in enumerate(zip(prototypes.tolist(), colors.tolist(), strict=True)):
        arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", to, (0, 0), arrowprops=arrow)
        if len(prototypes) <= MANY:
            far = 1 + 0.22 / max((to[0] ** 2 + to[1] ** 2) ** 0.5, 1e-6)
            text = ax.text(far * to[0], far * to[1], str(k), color=color, weight="bold")
            text.set(ha="center", va="center")
            text.set_bbox(
                {"boxstyle": "circle,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85}
            )


def favourites_figure(
    image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"],
    maps: Mapping[str, Int[Tensor, "h w"]],
) -> Figure:
    """The photograph, and beside it one map per entry: the colour of each patch's favourite.

    Raises:
        ValueError: there is no map.
    """
    if not maps:
        raise ValueError("maps = {} is empty; give at least one, as {name: [h, w]}")
    figure, [axes] = panels(1, 1 + len(maps))
    show_image(axes[0], image)
    for ax, (name, favourites) in zip(axes[1:], maps.items(), strict=True):
        shown = (favourites.detach().cpu() % MANY).numpy()
        colormap = ListedColormap(COLORS[:MANY])
        ax.imshow(shown, cmap=colormap, vmin=-0.5, vmax=MANY - 0.5, interpolation=PIXELS)
        ax.set_title(name, fontsize=9)
    return figure


def even_prototypes(K: int, turn: float = 0.0) -> Float[Tensor, "K 2"]:
    """K prototypes of length 1 at equal distances on the circle, turned by that many degrees."""
    if K < 1:
        raise ValueError(f"K = {K}; a circle has at least 1 prototype")
    angles = torch.arange(K) * 2 * torch.pi / K + torch.pi * turn / 180
    return F.normalize(torch.stack([angles.cos(), angles.sin()], dim=1), dim=1)
