"""Whom the teacher assigns where: one row per crop, one column per prototype, and below it how much
of the batch each prototype gets.

DINO Sec. 5.3 speaks of the two ways in which this picture goes wrong; the official code plots
nothing.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, HEAT, PIXELS, style


def targets_figure(targets: Mapping[str, Float[Tensor, "_ _"]], vmax: float | None = 1.0) -> Figure:
    """One column per entry of {"softmax": [n, K], ...}: the targets, and below them the share of
    the batch that goes to each prototype, with a dotted line at the even share 1 / K.

    Args:
        vmax: upper end of all colour scales; None = the largest number of each map.

    Raises:
        ValueError: there are no targets.
    """
    if not targets:
        raise ValueError(f"{targets = } is empty; give at least one, as {{name: [n, K]}}")
    with style():
        figure = plt.figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(2, len(targets), squeeze=False, height_ratios=[3, 1])
        for (above, below), (name, matrix) in zip(axes.T, targets.items(), strict=True):
            p = matrix.detach().cpu().float()
            above.imshow(p.numpy(), HEAT, vmin=0, vmax=vmax, aspect="auto", interpolation=PIXELS)
            above.set(title=name, xticks=[], yticks=[])
            above.grid(False)
            shares = p.mean(dim=0)  # [K]
            below.bar(range(len(shares)), shares.tolist(), width=0.9, color=COLORS[0])
            below.axhline(1 / len(shares), color=COLORS[-1], ls=":", lw=1)
            below.set(xlabel="prototype", xticks=[], xlim=(-0.5, len(shares) - 0.5))
        axes[0, 0].set_ylabel("crop")
        axes[1, 0].set_ylabel("share")
    return figure
