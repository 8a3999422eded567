"""Points on the unit sphere, drawn as two discs: the half that faces us and the half behind.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, style


def sphere_figure(points: Mapping[str, Float[Tensor, "_ 3"]]) -> Figure:
    """Two discs per entry of {"random": [n, 3], ...}, front (z >= 0) and back. Equal areas of the
    sphere are equal areas of the discs (Lambert), so evenly spread points look evenly spread.

    Raises:
        ValueError: there is no entry.
    """
    if not points:
        raise ValueError(f"{points = } is empty; give at least one, as {{name: [n, 3]}}")
    with style():
        count = len(points)
        figure = plt.figure(figsize=(9, 2 * 9 / max(3, count) + 0.3), layout="constrained")
        axes = figure.subplots(2, count, squeeze=False)
        for column, (name, panel) in zip(axes.T, points.items(), strict=True):
            front = panel[:, 2] >= 0
            for ax, half, side in [
                (column[0], front, f"{name}: front {int(front.sum())}"),
                (column[1], ~front, f"back {int((~front).sum())}"),
            ]:
                xy = flat(panel[half].detach().cpu().float())
                ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="lightgray", lw=1))
                ax.scatter(xy[:, 0].numpy(), xy[:, 1].numpy(), s=12, color=COLORS[0])
                ax.set(title=side, xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
                ax.set_axis_off()
    return figure


def flat(half: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Lambert's map of a half sphere onto the unit disc: pole to centre, equator to rim."""
    return half[:, :2] / (1 + half[:, 2:].abs()).sqrt()
