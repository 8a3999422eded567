"""Distributions over prototypes as bars, side by side: what the teacher asks for, what the student
says, and in which direction the loss pulls.

No counterpart in the paper or the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, style

FEW = 10  # as many bars still get a number each


def bars_figure(
    vectors: Mapping[str, Float[Tensor, "_"]],
    same_scale: bool = True,
    xlabel: str = "prototype",
    height: float = 2.2,
) -> Figure:
    """One panel per vector, a bar per number; {"teacher": [K], "student": [K]}.

    Args:
        same_scale: one vertical axis for all panels, so that heights can be compared.

    Raises:
        ValueError: there is no vector.
    """
    if not vectors:
        raise ValueError(f"{vectors = } is empty; give at least one, as {{name: vector}}")
    with style():
        figure = plt.figure(figsize=(9, height), layout="constrained")
        axes = figure.subplots(1, len(vectors), squeeze=False, sharey=same_scale)[0]
        for i, (ax, (name, vector)) in enumerate(zip(axes, vectors.items(), strict=True)):
            values = vector.detach().cpu().float().tolist()
            ax.bar(range(len(values)), values, color=COLORS[i % len(COLORS)])
            ax.axhline(0, color="black", lw=0.8)
            ax.set(title=name, xlabel=xlabel)
            ax.grid(axis="x", visible=False)
            if len(values) <= FEW:
                ax.set_xticks(range(len(values)))
    return figure
