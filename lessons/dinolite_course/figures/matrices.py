"""Matrices as squares of colour, with their numbers in them or many at a glance.

No counterpart in the papers; the official code logs gradient norms per module.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, HEAT, PIXELS, panels, show_image, style
from dinolite_course.figures.lines import plots
from dinolite_course.figures.rows import Picture

Matrix = Float[Tensor, "_ _"]


def matrix_figure(matrices: Mapping[str, Matrix], decimals: int = 2, side: float = 0.62) -> Figure:
    """Small matrices side by side, for sums one can redo on paper: a square per entry, coloured
    from the smallest to the largest number of its matrix, with the number written in it.

    Args:
        matrices: {"scores": ..., "weights": ...}.
        side: of a square, in inches.
    """
    columns = [m.shape[1] for m in matrices.values()]
    tallest = max(m.shape[0] for m in matrices.values())
    size = (side * (sum(columns) + 0.5 * len(columns)), side * tallest + 0.4)
    with plots(len(columns), size, width_ratios=columns) as (figure, axes):
        for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
            values = matrix.detach().cpu().float()
            draw_squares(
                ax, values, [[f"{v:.{decimals}f}" for v in row] for row in values.tolist()]
            )
            ax.set_title(name, fontsize=9)
            ax.set_axis_off()
    return figure


def draw_squares(ax: Axes, values: Matrix, words: Sequence[Sequence[str]], **look: Any) -> None:
    """A square for each value, white for NaN, with its words in a colour that can be read on it."""
    image = ax.imshow(values.numpy(), **{"cmap": HEAT, **look})
    low, high = image.get_clim()
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            color = "white" if value < (low + high) / 2 else "black"
            ax.text(j, i, words[i][j], ha="center", va="center", fontsize=9, color=color)
    ax.grid(visible=False)


def gradient_figure(norms: Mapping[str, Mapping[str, float]]) -> Figure:
    """Who learns from what: a row per loss, a column per part, coloured by the logarithm of the
    gradient norm, with the norm in it; white = no gradient.

    Args:
        norms: {"ibot": {"backbone": 1.5, "dino_head": 0.0, ...}, ...}; all have the same parts.
    """
    values = torch.tensor([list(row.values()) for row in norms.values()])
    logs = torch.where(values > 0, values.log10(), torch.nan)
    with plots(1, (7, 0.6 + 0.42 * len(norms))) as (figure, [ax]):
        draw_squares(
            ax, logs, [[f"{v:.3g}" for v in row] for row in values.tolist()], aspect="auto"
        )
        parts = next(iter(norms.values()))
        ax.set_xticks(range(len(parts)), [part.replace("_", " ") for part in parts])
        ax.set_yticks(range(len(norms)), [name.replace("_", " ") for name in norms])
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    return figure


def confusion_figure(
    matrices: Mapping[str, Int64[Tensor, "C C"]], classes: Sequence[str], height: float = 3.4
) -> Figure:
    """Which class is taken for which: one panel per matrix [truth, named], its rows in shares of
    their sums, from 0 to 1.
    """
    with plots(len(matrices), (9, height)) as (figure, axes):
        for i, (ax, (name, matrix)) in enumerate(zip(axes, matrices.items(), strict=True)):
            shares = matrix.float() / matrix.sum(dim=1, keepdim=True).clamp(min=1)
            ax.imshow(shares.numpy(), cmap=HEAT, vmin=0, vmax=1)
            ax.set(title=name, xlabel="named")
            ax.grid(visible=False)
            ax.set_xticks(range(len(classes)), classes, fontsize=7, rotation=90)
            ax.set_yticks(range(len(classes)), classes if i == 0 else [], fontsize=7)
        figure.colorbar(axes[-1].images[0], ax=axes, shrink=0.8, label="share of the row")
    return figure


def answers_figure(
    answers: Mapping[str, Matrix],
    xlabel: str = "prototype",
    ylabel: str = "picture",
    picture: Picture | None = None,
) -> Figure:
    """What a network says, a map per entry: a row per picture and a column per prototype, or as the
    labels say. All maps have one scale from 0 to the value that one percent of the numbers exceed.

    Args:
        picture: drawn at the left, where all is said of one.
    """
    top = torch.cat([m.detach().float().flatten() for m in answers.values()]).quantile(0.99).item()
    widths = [1.0] * (picture is not None) + [2.0] * len(answers)
    with plots(len(widths), (9, 2.6), width_ratios=widths) as (figure, axes):
        if picture is not None:
            show_image(axes[0], picture, "the picture")
            axes.pop(0).set_axis_off()
        for ax, (name, matrix) in zip(axes, answers.items(), strict=True):
            fill_panel(ax, matrix, top)
            ax.set(title=name, xlabel=xlabel, yticks=[])
        axes[0].set_ylabel(ylabel)
    return figure


def fill_panel(ax: Axes, matrix: Matrix, vmax: float | None) -> None:
    """A matrix stretched over the panel, from 0 to `vmax`."""
    shown = matrix.detach().cpu().float().numpy()
    ax.imshow(shown, HEAT, vmin=0, vmax=vmax, aspect="auto", interpolation=PIXELS)
    ax.grid(visible=False)


def targets_figure(targets: Mapping[str, Matrix], vmax: float | None = 1.0) -> Figure:
    """Whom the teacher assigns where, one column per entry of {"softmax": [n, K], ...}: a row per
    crop, a column per prototype; below, the share of the batch that goes to each prototype, with a
    dotted line at the even share 1 / K. DINO Sec. 5.3 names the two ways in which it goes wrong.

    Args:
        vmax: upper end of all colour scales; None = the largest number of each map.
    """
    with style():
        figure = plt.figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(2, len(targets), squeeze=False, height_ratios=[3, 1])
        for (above, below), (name, matrix) in zip(axes.T, targets.items(), strict=True):
            fill_panel(above, matrix, vmax)
            above.set(title=name, xticks=[], yticks=[])
            shares = matrix.detach().cpu().float().mean(dim=0).tolist()  # [K]
            below.bar(range(len(shares)), shares, width=0.9, color=COLORS[0])
            below.axhline(1 / len(shares), color=COLORS[-1], ls=":", lw=1)
            below.set(xlabel="prototype", xticks=[], xlim=(-0.5, len(shares) - 0.5))
        axes[0, 0].set_ylabel("crop")
        axes[1, 0].set_ylabel("share")
    return figure


def crop_pairs_figure(
    student: Sequence[Picture],
    teacher: Sequence[Picture],
    losses: Matrix,
    counted: Bool[Tensor, "_ _"],
) -> Figure:
    """Which crop is asked about which (DINO Eq. 3): one column per student crop, one row per
    teacher crop, and where they meet the loss of the pair.

    Args:
        losses: [student crops, teacher crops].
        counted: False where the pair is left out; a dash stands in its place.
    """
    low, high = losses[counted].min().item(), losses[counted].max().item()
    figure, axes = panels(1 + len(teacher), 1 + len(student))
    for i, crop in enumerate(student):
        show_image(axes[0][1 + i], crop, f"student {i}")
    for j, crop in enumerate(teacher):
        show_image(axes[1 + j][0], crop, f"teacher {j}")
        for i in range(len(student)):
            ax, value = axes[1 + j][1 + i], losses[i, j].detach().cpu().view(1, 1)
            if counted[i, j]:
                draw_squares(ax, value, [[f"{value.item():.2f}"]], vmin=low, vmax=high)
            else:
                ax.text(0.5, 0.5, "-", ha="center", va="center", fontsize=14)
    return figure


def meetings_figure(counted: Bool[Tensor, "t s"]) -> Figure:
    """One square per pair of a teacher's view (row) and a student's view (column), dark where the
    two are compared (DINO Eq. 3). The first t columns are the student's global crops, the others
    local ones.
    """
    t, s = counted.shape
    with plots(1, (0.62 * s + 1.4, 0.62 * t + 0.9)) as (figure, [ax]):
        words = [["" if met else "x" for met in row] for row in counted.tolist()]
        draw_squares(ax, 1.0 - counted.float(), words, cmap="Blues_r", vmin=-0.3, vmax=1)
        for edge in range(1, s):
            ax.axvline(edge - 0.5, color="white")
        for edge in range(1, t):
            ax.axhline(edge - 0.5, color="white")
        ax.set_xticks(
            range(s), [f"G{i + 1}" for i in range(t)] + [f"{i + 1}" for i in range(s - t)]
        )
        ax.set_yticks(range(t), [f"teacher G{i + 1}" for i in range(t)])
        ax.set_title("student")
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        for side in ax.spines.values():
            side.set_visible(False)
    return figure
