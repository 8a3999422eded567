"""Measures of several networks over something that is varied, a small plot for each measure.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import style


def lines_figure(
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    doubling: bool = False,
    width: float = 9.0,
) -> Figure:
    """One panel per measure, one line per name in it, over the same x and on the same scale.

    Args:
        panels: {"cosine": {"trained": [0.9, 1.0, ...]}, ...}.
        doubling: x on an axis where every doubling is as long, with a tick at each value.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError(f"{panels = } is empty; give at least one, as {{name: lines}}")
    with style():
        figure = plt.figure(figsize=(width, 2.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            for (label, y), look in zip(lines.items(), cycle(("-o", "--s", ":^")), strict=False):
                ax.plot(x, y, look, ms=4, lw=1.4, label=label)
            if doubling:
                ax.set_xscale("log", base=2)
                ax.set_xticks(x, [f"{value:g}" for value in x])
                ax.minorticks_off()
            ax.set(title=name, xlabel=xlabel)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
