"""A few measured points: lines with a marker at each place, in panels that share one scale.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import style

LOOKS = ("-o", "--s", ":^")


def points_figure(
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    ylabel: str,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """One panel per entry, one line per name in it, all over the same x.

    Args:
        panels: {"seed 0": {"student": [20.0, 25.0, ...]}, ...}.
        marks: dashed level lines across all panels, {"untrained": 22.0}.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError(f"{panels = } is empty; give at least one, as {{name: lines}}")
    with style():
        figure = plt.figure(figsize=(8, 2.3), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (name, lines) in zip(axes, panels.items(), strict=True):
            for (label, y), look in zip(lines.items(), cycle(LOOKS), strict=False):
                ax.plot(x, y, look, ms=4, lw=1.3, label=label)
            for label, level in (marks or {}).items():
                ax.axhline(level, ls="--", color="gray", lw=1, label=label)
            ax.set(title=name, xlabel=xlabel)
        axes[0].set_ylabel(ylabel)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
