"""How sharp the targets of a batch can be: measured entropy beside its floor ln(K / crops).

Follows from SwAV Sec. 3.1, Eq. (4): every prototype gets the same share; no counterpart in the
official code.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import COLORS, style


def entropy_floor_figure(
    crops: Sequence[int], measured: Mapping[int, Mapping[str, Sequence[float]]]
) -> Figure:
    """One panel per number of prototypes K: entropy over the number of crops, one curve per
    temperature, the floor dotted, ln K as a grey line.

    Args:
        measured: {K: {"T 0.07": [an entropy for each number of crops]}}.

    Raises:
        ValueError: nothing was measured.
    """
    if not measured:
        raise ValueError(f"{measured = } is empty; give at least one number of prototypes")
    with style():
        figure = plt.figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(1, len(measured), squeeze=False, sharey=True)[0]
        for ax, (K, curves) in zip(axes, measured.items(), strict=True):
            ax.axhline(math.log(K), color="gray", lw=1, label="ln K")
            for i, (name, values) in enumerate(curves.items()):
                ax.plot(crops, values, "os^D"[i % 4] + "-", color=COLORS[i], ms=4, label=name)
            floor = [max(math.log(K / n), 0) for n in crops]
            ax.plot(crops, floor, ":", color=COLORS[-1], lw=2, label="floor")
            ax.set_xscale("log", base=2)
            ax.set(title=f"K = {K}", xlabel="crops in the batch")
            ax.set_xticks(crops[::2], [str(n) for n in crops[::2]])
        axes[0].set_ylabel("entropy (nats)")
        named = axes[0].get_legend_handles_labels()
        figure.legend(*named, loc="outside lower center", ncols=len(named[1]))
    return figure
