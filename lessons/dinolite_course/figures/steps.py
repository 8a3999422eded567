"""A few numbers over the steps of a short run, beside the lines they should pass or reach.

No counterpart in the paper or the official code.
"""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dinolite.viz.style import style


def steps_figure(
    runs: dict[str, dict[str, Sequence[float]]],
    ylabel: str,
    marks: dict[str, float] | None = None,
) -> Figure:
    """One panel per run, all with the same scale; one line per name over the steps 0, 1, ...

    Args:
        runs: {"right": {"loss": [4.1, 3.9, ...]}, ...}.
        marks: dashed lines across all panels, {"ln K": 4.16}.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError(f"{runs = } is empty; give at least one, as {{name: lines}}")
    with style():
        figure = plt.figure(figsize=(9, 2.8), layout="constrained")
        axes = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
        for ax, (name, lines) in zip(axes, runs.items(), strict=True):
            for (label, values), dash in zip(lines.items(), cycle(("-", "-.", "--")), strict=False):
                ax.plot(range(len(values)), values, dash, lw=1.5, label=label)
            for (label, value), dash in zip((marks or {}).items(), cycle((":", "--"))):
                ax.axhline(value, ls=dash, color="gray", lw=1, label=label)
            ax.set(title=name, xlabel="step")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel(ylabel)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
