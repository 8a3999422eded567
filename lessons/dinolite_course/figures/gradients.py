"""Who learns from what: a table of gradient norms, one row per loss, one column per part.

No counterpart in the paper; the official code logs the norms of the total per module.
"""

import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import HEAT, style


def gradient_figure(norms: dict[str, dict[str, float]]) -> Figure:
    """Squares coloured by the logarithm of the norm, with the norm in them; white = no gradient.

    Args:
        norms: {"ibot": {"backbone": 1.5, "dino_head": 0.0, ...}, ...}; all have the same parts.

    Raises:
        ValueError: a row has other parts than the first, or a norm is negative.
    """
    parts = list(next(iter(norms.values())))
    for name, row in norms.items():
        if list(row) != parts or min(row.values()) < 0:
            raise ValueError(f"norms[{name!r}] = {row}; needed are {', '.join(parts)}, at least 0")
    logs = [[math.log10(v) if v > 0 else math.nan for v in row.values()] for row in norms.values()]
    drawn = [x for row in logs for x in row if not math.isnan(x)]
    middle = (min(drawn) + max(drawn)) / 2 if drawn else 0.0
    with style():
        figure = plt.figure(figsize=(7, 0.6 + 0.42 * len(norms)), layout="constrained")
        ax = figure.subplots()
        ax.imshow(logs, cmap=HEAT, aspect="auto")
        ax.set_xticks(range(len(parts)), [part.replace("_", " ") for part in parts])
        ax.set_yticks(range(len(norms)), [name.replace("_", " ") for name in norms])
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        ax.grid(visible=False)
        for i, row in enumerate(norms.values()):
            for j, value in enumerate(row.values()):
                dark = value > 0 and math.log10(value) < middle
                words = f"{value:.3g}" if value > 0 else "0"
                color = "white" if dark else "black"
                ax.text(j, i, words, ha="center", va="center", fontsize=9, color=color)
    return figure
