"""Curves over many powers of ten, on two logarithmic axes.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import style


def loglog_figure(
    x: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str
) -> Figure:
    """One panel per entry, one line per name in it, over the same x; zeros are not drawn.

    Args:
        panels: {"gradient": {"one pair": [1.0, 10.0, ...]}, ...}.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError(f"{panels = } is empty; give at least one, as {{name: lines}}")
    with style():
        figure = plt.figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            for (label, y), look in zip(lines.items(), cycle(("-o", "--s", ":^")), strict=False):
                ax.loglog(x, y, look, ms=4, lw=1.3, label=label)
            ax.set_yscale("log", nonpositive="mask")
            ax.set(title=name, xlabel=xlabel)
            ax.legend()
    return figure
