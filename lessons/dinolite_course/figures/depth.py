"""A number after each block: how a quantity changes, or two networks part, on the way down.

DINOv3 App. B.2, Fig. 21 (a task's score by layer) is of this form; the official code draws none.
"""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dinolite.viz.style import style


def depth_figure(
    lines: dict[str, Sequence[float]], ylabel: str, floor: float | None = None
) -> Figure:
    """One line per name over the blocks 0, 1, ...

    Args:
        lines: values after each block.
        floor: draw on a logarithmic scale that starts here; smaller values are drawn at the floor.

    Raises:
        ValueError: `floor` is not above 0.
    """
    if floor is not None and floor <= 0:
        raise ValueError(f"floor = {floor} must be above 0, where a logarithmic scale begins")
    with style():
        figure = plt.figure(figsize=(8, 2.8), layout="constrained")
        ax = figure.subplots()
        for (name, values), marker in zip(lines.items(), cycle("os^vD"), strict=False):
            shown = values if floor is None else [max(value, floor) for value in values]
            ax.plot(range(len(values)), shown, marker=marker, ms=4, lw=1.2, label=name)
        ax.set(xlabel="after block", ylabel=ylabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if floor is not None:
            ax.set_yscale("log")
        figure.legend(loc="outside upper center", ncols=len(lines))
    return figure
