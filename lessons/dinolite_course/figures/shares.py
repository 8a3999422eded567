"""Who holds what when several processes train one model: bytes as bars, parts as boxes of which
each process has all, a share, or all for a moment.

After ZeRO, arXiv 1910.02054, Fig. 1; the official code draws nothing of the kind.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from dinolite.viz.style import COLORS, style

MEANING = {1: ("kept", COLORS[0]), 2: ("gathered for now", COLORS[4])}


def held_figure(held: Mapping[str, Sequence[Mapping[str, float]]], unit: float = 2**20) -> Figure:
    """One panel per way, one bar per process, stacked from its parts.

    Args:
        held: {"DDP": [{"student": bytes, "teacher": bytes}, ...one for each process]}.
        unit: bytes in one unit of the axis, otherwise MiB.

    Raises:
        ValueError: there is no way.
    """
    if not held:
        raise ValueError(f"{held = } is empty; give at least one, as {{way: [parts, ...]}}")
    with style():
        figure = plt.figure(figsize=(9, 2.6), layout="constrained")
        widths = [len(processes) + 0.5 for processes in held.values()]
        axes = figure.subplots(1, len(held), squeeze=False, sharey=True, width_ratios=widths)[0]
        for ax, (way, processes) in zip(axes, held.items(), strict=True):
            bottom = [0.0] * len(processes)
            for i, part in enumerate(processes[0]):
                sizes = [process[part] / unit for process in processes]
                x = range(len(processes))
                ax.bar(x, sizes, 0.7, bottom, label=part, color=COLORS[i % len(COLORS)])
                bottom = [low + size for low, size in zip(bottom, sizes, strict=True)]
            ax.set(title=way, xlabel="process", xticks=range(len(processes)))
            ax.grid(axis="x", visible=False)
        axes[0].set_ylabel("MiB" if unit == 2**20 else "GiB" if unit == 2**30 else "units")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right center")
    return figure


def who_holds_figure(
    ways: Mapping[str, Int[Tensor, "processes parts shares"]], parts: Sequence[str]
) -> Figure:
    """One panel per way: a column per process, a box per part, cut into shares.

    Args:
        ways: 0 = not there, 1 = kept, 2 = gathered from the others for now.
        parts: names of the boxes, from the bottom up.

    Raises:
        ValueError: there is no way, or the names are not as many as the parts.
    """
    if not ways:
        raise ValueError(f"{ways = } is empty; give at least one, as {{way: [p, parts, shares]}}")
    with style():
        figure = plt.figure(figsize=(9, 0.6 + 0.42 * len(parts)), layout="constrained")
        axes = figure.subplots(1, len(ways), squeeze=False, sharey=True)[0]
        for ax, (way, state) in zip(axes, ways.items(), strict=True):
            if state.shape[1] != len(parts):
                raise ValueError(f"{len(parts)} names in parts, {way!r} has {state.shape[1]}")
            n, _, cuts = state.shape
            for process, part, share in state.nonzero().tolist():
                _, color = MEANING[int(state[process, part, share])]
                left = process + 0.1 + 0.8 * share / cuts
                ax.add_patch(Rectangle((left, part + 0.1), 0.8 / cuts, 0.8, color=color, lw=0))
            for process in range(n):
                for part in range(len(parts)):
                    corner = (process + 0.1, part + 0.1)
                    ax.add_patch(Rectangle(corner, 0.8, 0.8, fill=False, ec="black", lw=0.8))
            ax.set(title=way, xlim=(0, n), ylim=(0, len(parts)), xlabel="process")
            ax.set_xticks([i + 0.5 for i in range(n)], [str(i) for i in range(n)])
            ax.set_yticks([i + 0.5 for i in range(len(parts))], parts)
            ax.grid(visible=False)
        handles = [Patch(color=color, label=name) for name, color in MEANING.values()]
        figure.legend(handles=handles, loc="outside right center")
    return figure
