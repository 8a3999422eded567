"""Where do the numbers of a network sit? One bar per network, cut into its parts.

DINOv3 Fig. 16a gives only the totals; the official code draws nothing of the kind.
"""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import style


def parameters_figure(counts: dict[str, dict[str, int]]) -> Figure:
    """One bar per network, from 0 to 100 percent; beside its name the total in millions.

    Args:
        counts: {"vit_small": {"attention": 7000000, "FFN": ...}, ...}; all have the same parts.

    Raises:
        ValueError: a network has no parameters, or other parts than the first.
    """
    parts = list(next(iter(counts.values())))
    for name, count in counts.items():
        if list(count) != parts or sum(count.values()) <= 0:
            raise ValueError(
                f"counts[{name!r}] = {count}; needed are {', '.join(parts)}, not all 0"
            )
    totals = {name: sum(count.values()) for name, count in counts.items()}
    labels = [f"{name}\n{total / 1e6:.1f} M" for name, total in totals.items()]
    with style():
        figure = plt.figure(figsize=(8, 0.8 + 0.55 * len(counts)), layout="constrained")
        ax = figure.subplots()
        left = [0.0] * len(counts)
        for part in parts:
            shares = [100 * counts[name][part] / totals[name] for name in counts]
            ax.barh(labels, shares, left=left, height=0.6, label=part)
            for row, (start, share) in enumerate(zip(left, shares, strict=True)):
                if share >= 4:
                    ax.text(
                        start + share / 2,
                        row,
                        f"{share:.0f}",
                        ha="center",
                        va="center",
                        color="white",
                    )
            left = [start + share for start, share in zip(left, shares, strict=True)]
        ax.set(xlim=(0, 100), xlabel="percent of all parameters")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        figure.legend(loc="outside upper center", ncols=len(parts))
    return figure
