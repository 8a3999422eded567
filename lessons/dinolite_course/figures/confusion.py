"""Which class is taken for which: confusion matrices as squares of colour, side by side.

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Int64
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, style


def confusion_figure(
    matrices: Mapping[str, Int64[Tensor, "C C"]], classes: Sequence[str], height: float = 3.4
) -> Figure:
    """One panel per matrix [truth, named], its rows in shares of their sums, from 0 to 1. Columns
    have the numbers that stand behind the names of the rows.

    Raises:
        ValueError: there is no matrix, or one does not have a row and a column per class.
    """
    if not matrices:
        raise ValueError(f"{matrices = } is empty; give at least one, as {{name: matrix}}")
    C = len(classes)
    for name, matrix in matrices.items():
        if matrix.shape != (C, C):
            raise ValueError(f"matrices[{name!r}] is {list(matrix.shape)}; wanted is [{C}, {C}]")
    with style():
        figure = plt.figure(figsize=(9, height), layout="constrained")
        axes = figure.subplots(1, len(matrices), squeeze=False)[0]
        for i, (ax, (name, matrix)) in enumerate(zip(axes, matrices.items(), strict=True)):
            shares = matrix.float() / matrix.sum(dim=1, keepdim=True).clamp(min=1)
            ax.imshow(shares.numpy(), cmap=HEAT, vmin=0, vmax=1)
            ax.set(title=name, xlabel="named")
            ax.grid(visible=False)
            ax.set_xticks(range(C), [str(c) for c in range(C)], fontsize=7)
            rows = [f"{name} {c}" for c, name in enumerate(classes)] if i == 0 else range(C)
            ax.set_yticks(range(C), rows, fontsize=7)
    return figure
