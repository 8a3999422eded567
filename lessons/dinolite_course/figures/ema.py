"""What a slow copy remembers: the weight of each past step, a noisy line and its average, and the
paths of a student and of its teacher.

DINO Sec. 3.1 "Teacher network" (the rule of the average); the official code draws none.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS
from dinolite_course.figures.lines import DASHES, add_legends, plots


def memory_weights(momentum: float, steps: int) -> Float[Tensor, " steps"]:
    """The weight (1 - m) m^k of the student of k steps ago, k = 0, 1, ..., in a teacher that has
    been averaging for long."""
    return (1 - momentum) * torch.tensor(momentum) ** torch.arange(steps)


def ema_of(values: Float[Tensor, " n"], momentum: float) -> Float[Tensor, " n"]:
    """The average after each value; it starts as the first, as a teacher starts as the student."""
    teacher, path = values[0], []
    for value in values:
        teacher = momentum * teacher + (1 - momentum) * value
        path.append(teacher)
    return torch.stack(path)


def memory_figure(momenta: Sequence[float], values: Float[Tensor, " n"], steps: int = 60) -> Figure:
    """Two panels. Left, the weight of the student of 0 to `steps` - 1 steps ago, a line for each
    momentum. Right, `values` in grey and their average for each momentum."""
    with plots(2, (8, 2.3)) as (figure, [left, right]):
        noisy = values.detach().cpu().float()
        right.plot(noisy.tolist(), color="lightgray", lw=1, label="student")
        for momentum, dash in zip(momenta, DASHES, strict=False):
            left.plot(memory_weights(momentum, steps).tolist(), dash, lw=1.5)
            right.plot(ema_of(noisy, momentum).tolist(), dash, lw=1.5, label=f"m = {momentum:g}")
        left.set(title="weight in the teacher", xlabel="steps ago", ylim=(0, None))
        right.set(title="student and teachers", xlabel="step")
        add_legends(figure, [right], together=True)
    return figure


def paths_figure(
    planes: Mapping[str, Mapping[str, Float[Tensor, "n 2"]]], half_side: float = 2.0
) -> Figure:
    """One plane per panel, with rings about its middle, where the loss is lowest, and a path [n, 2]
    for each name. The last point of a path is a dot.

    Args:
        planes: {"momentum 0.9": {"student": [n, 2], "teacher": [n, 2]}, ...}.
        half_side: the planes reach from minus this to this.
    """
    with plots(len(planes), (7.5, 2.7)) as (figure, axes):
        for ax, (title, paths) in zip(axes, planes.items(), strict=True):
            for radius in (half_side / 2, half_side):
                ax.add_patch(plt.Circle((0, 0), radius, fill=False, color="0.85"))
            for (name, path), colour in zip(paths.items(), (COLORS[5], COLORS[1]), strict=False):
                x, y = path.detach().cpu().float().T.tolist()
                ax.plot(x, y, color=colour, lw=1.0, label=name)
                ax.plot(x[-1:], y[-1:], "o", color=colour, ms=6, mec="black", mew=0.8)
            ends = (-half_side, half_side)
            ax.set(title=title, xlim=ends, ylim=ends, aspect="equal")
            ax.grid(visible=False)
        add_legends(figure, axes, together=True)
    return figure
