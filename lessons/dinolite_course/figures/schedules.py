"""Schedules before the run: how learning rate, weight decay, temperature and momentum will change.

DINOv3 Sec. 3.2 "Optimization" has constants, DINOv2 Table 16 cosines; the official code draws none.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dinolite.viz.style import style

Values = Sequence[float] | NDArray[np.float64]
FEW, MANY = 12, 500  # up to FEW values get a point each, of more than MANY only so many are drawn


def schedules_figure(
    panels: Mapping[str, Mapping[str, Values]], marks: Mapping[str, float] | None = None
) -> Figure:
    """One panel per quantity, a line per schedule: {"lr": {"v1": [0.0, ...], "v2": [...]}, ...}.

    The horizontal axis counts iterations where all schedules are equally long, else it has the
    percent of the run.

    Args:
        marks: dotted upright lines at iterations, {"warm-up ends": 20}; only for equal lengths.

    Raises:
        ValueError: nothing to draw, an empty schedule, or marks with schedules of several lengths.
    """
    lengths = {len(values) for lines in panels.values() for values in lines.values()}
    if not lengths or 0 in lengths:
        raise ValueError(f"panels has schedules of lengths {sorted(lengths)}; allowed: 1 and up")
    if marks and len(lengths) > 1:
        raise ValueError(f"{marks = } need schedules of one length, not of {sorted(lengths)}")
    with style():
        figure = plt.figure(figsize=(9, 2.7), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (title, lines) in zip(axes, panels.items(), strict=True):
            for (name, values), dash in zip(lines.items(), cycle(("-", "--", "-.")), strict=False):
                at = np.arange(len(values))
                if len(values) > MANY:
                    at = np.linspace(0, len(values) - 1, MANY).astype(int)
                x = at if len(lengths) == 1 else 100 * at / len(values)
                marker = "o" if len(values) <= FEW else None
                ax.plot(x, np.asarray(values)[at], dash, label=name, marker=marker, ms=4, lw=1.5)
            for name, iteration in (marks or {}).items():
                ax.axvline(iteration, ls=":", color="gray", lw=1, label=name)
            ax.set(title=title, xlabel="iteration" if len(lengths) == 1 else "percent of the run")
        handles, labels = axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
