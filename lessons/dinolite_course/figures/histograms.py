"""How often which value occurs: one histogram per panel, all over the same range.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, style


def histogram_figure(
    values: Mapping[str, Float[Tensor, "_"]],
    xlabel: str,
    low: float,
    high: float,
    bins: int = 40,
) -> Figure:
    """One panel per entry of {"untrained": [n], ...}, with a dotted line at its median.

    Raises:
        ValueError: there is no entry.
    """
    if not values:
        raise ValueError(f"{values = } is empty; give at least one, as {{name: [n]}}")
    with style():
        figure = plt.figure(figsize=(9, 2.2), layout="constrained")
        axes = figure.subplots(1, len(values), squeeze=False)[0]
        for i, (ax, (name, x)) in enumerate(zip(axes, values.items(), strict=True)):
            shown = x.detach().cpu().float()
            color = COLORS[i % len(COLORS)]
            ax.hist(shown.numpy(), bins=bins, range=(low, high), color=color)
            ax.axvline(shown.median().item(), color=COLORS[-1], ls=":", lw=1)
            ax.set(title=name, xlabel=xlabel, xlim=(low, high))
        axes[0].set_ylabel("count")
    return figure
