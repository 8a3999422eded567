"""Small matrices side by side with their numbers in them, for sums one can redo on paper.

No counterpart in the paper or the official code.
"""

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, style


def matrix_figure(
    matrices: dict[str, Float[Tensor, "_ _"]], decimals: int = 2, side: float = 0.62
) -> Figure:
    """One panel per matrix: a square per entry, coloured from its smallest to its largest number,
    with the number written in it.

    Args:
        matrices: {"scores": ..., "weights": ...}.
        side: of a square, in inches.
    """
    columns = [m.shape[1] for m in matrices.values()]
    tallest = max(m.shape[0] for m in matrices.values())
    size = (side * (sum(columns) + 0.5 * len(columns)), side * tallest + 0.4)
    with style():
        figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(columns), squeeze=False, width_ratios=columns)[0]
        for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
            values = matrix.detach().cpu().float()
            ax.imshow(values.numpy(), cmap=HEAT)
            ax.set_title(name, fontsize=9)
            ax.set_axis_off()
            middle = (values.min() + values.max()) / 2
            for (i, j), value in zip(index_pairs(values), values.flatten().tolist(), strict=True):
                color = "white" if value < middle else "black"
                text = f"{value:.{decimals}f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=9, color=color)
    return figure


def index_pairs(matrix: Float[Tensor, "_ _"]) -> list[tuple[int, int]]:
    """(row, column) of every entry, row by row."""
    return [(i, j) for i in range(matrix.shape[0]) for j in range(matrix.shape[1])]
