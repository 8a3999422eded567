"""A family of networks by size: how many numbers each has, and how much memory they take.

DINOv3 Fig. 16a has the totals as a table; the official code draws nothing of the kind.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import COLORS, style


def family_figure(counts: Mapping[str, int], mark: str | None = None) -> Figure:
    """A bar per network on a logarithmic axis, with its parameters in millions at its end.

    Args:
        counts: {"vits16": 21600000, ...}, from above to below.
        mark: the name whose bar is coloured: the teacher of the others, say.

    Raises:
        ValueError: there is no network, one without parameters, or none of the name `mark`.
    """
    if not counts or min(counts.values()) < 1:
        raise ValueError(f"counts = {dict(counts)}; at least one network, none below 1")
    if mark is not None and mark not in counts:
        raise ValueError(f"mark = {mark!r} is none of {', '.join(counts)}")
    colors = [COLORS[1] if name == mark else COLORS[0] for name in counts]
    with style():
        figure = plt.figure(figsize=(8, 0.7 + 0.32 * len(counts)), layout="constrained")
        ax = figure.subplots()
        ax.barh(list(counts), list(counts.values()), color=colors, height=0.65)
        for row, count in enumerate(counts.values()):
            ax.text(count * 1.08, row, f"{count / 1e6:,.1f} M", va="center")
        ax.set(xscale="log", xlim=(min(counts.values()) / 3, max(counts.values()) * 3))
        ax.set_xlabel("parameters")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    return figure
