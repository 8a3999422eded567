"""Which crop is asked about which: the student's crops on top, the teacher's at the left, and where
they meet the loss of the pair, or a gap where the pair does not count.

DINO Sec. 3.1 Eq. (3); the official code plots nothing.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, panels, show_image, style


def crop_pairs_figure(
    student: Sequence[Float[Tensor, "3 _ _"]],
    teacher: Sequence[Float[Tensor, "3 _ _"]],
    losses: Float[Tensor, "_ _"],
    counted: Bool[Tensor, "_ _"],
) -> Figure:
    """One column per student crop, one row per teacher crop; pictures in [0, 1].

    Args:
        losses: of each pair, in the order of the crops.
        counted: False where the pair is left out; its place stays empty.

    Raises:
        ValueError: the sizes of losses or counted are not (student crops, teacher crops).
    """
    size = (len(student), len(teacher))
    for name, matrix in [("losses", losses), ("counted", counted)]:
        if tuple(matrix.shape) != size:
            raise ValueError(f"{name} has shape {tuple(matrix.shape)}; {size} is wanted")
    if not counted.any():
        raise ValueError("counted is False everywhere; at least one pair must count")
    shown = losses.detach().cpu().float()
    low, high = shown[counted].min().item(), shown[counted].max().item()
    figure, axes = panels(1 + size[1], 1 + size[0])
    with style():
        for i, crop in enumerate(student):
            show_image(axes[0][1 + i], crop, f"student {i}")
        for j, crop in enumerate(teacher):
            show_image(axes[1 + j][0], crop, f"teacher {j}")
            for i in range(size[0]):
                ax, value = axes[1 + j][1 + i], shown[i, j].item()
                if not counted[i, j]:
                    ax.text(0.5, 0.5, "-", ha="center", va="center", fontsize=14)
                    continue
                ax.imshow([[value]], cmap=HEAT, vmin=low, vmax=high)
                color = "white" if value < (low + high) / 2 else "black"
                ax.text(0, 0, f"{value:.2f}", ha="center", va="center", fontsize=9, color=color)
    return figure
