"""Several measures of several networks over the steps of their training, one plot for each measure,
so that one sees which goes up while another goes down.

DINOv3 Fig. 5 (classification rises, segmentation falls) and Fig. 8 (what Gram anchoring changes).
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import style

Line = tuple[Sequence[float], Sequence[float]]
"""Steps, and the value at each."""


def measures_figure(
    measures: Mapping[str, Mapping[str, Line]],
    marks: Mapping[str, Mapping[str, float]] | None = None,
    width: float = 9.0,
) -> Figure:
    """One plot per measure, one line per run, the legend for all on the right.

    Args:
        measures: {"k-NN": {"with Gram": (steps, values), "without": ...}, ...}.
        marks: dashed lines, {"k-NN": {"untrained": 0.2}}, named in the legend.

    Raises:
        ValueError: there is no measure, or a line has other numbers of steps and values.
    """
    if not measures:
        raise ValueError(f"{measures = } is empty; give at least one, as {{name: lines}}")
    handles = {}
    with style():
        figure = plt.figure(figsize=(width, 2.7), layout="constrained")
        axes = figure.subplots(1, len(measures), squeeze=False)[0]
        for ax, (title, lines) in zip(axes, measures.items(), strict=True):
            for (name, (steps, values)), form in zip(lines.items(), cycle("os^Dv"), strict=False):
                if len(steps) != len(values):
                    raise ValueError(
                        f"measures[{title!r}][{name!r}] has {len(steps)} steps and {len(values)} "
                        "values; allowed: as many of one as of the other"
                    )
                handles[name] = ax.plot(steps, values, marker=form, ms=4, lw=1.4)[0]
            for (name, value), dash in zip(
                (marks or {}).get(title, {}).items(), cycle((":", "--"))
            ):
                handles[name] = ax.axhline(value, ls=dash, color="gray", lw=1)
            ax.set(title=title, xlabel="step")
        if len(handles) > 1:
            figure.legend(handles.values(), handles.keys(), loc="outside right center")
    return figure
