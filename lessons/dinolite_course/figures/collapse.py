"""Is the teacher still answering? Monitors of several runs over the steps, the answers themselves,
and how many directions the features use.

DINO Sec. 5.3, Fig. 7 draws two of the curves; the official code plots nothing.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, HEAT, PIXELS, style

Curves = dict[str, list[Sequence[float]]]
"""For each monitor one curve per seed, evenly spaced from the first step to the last."""


def monitors_figure(runs: dict[str, Curves], steps: int) -> Figure:
    """A panel per monitor, a colour per run, a line per seed.

    Args:
        runs: {"healthy": {"loss": [seed 0, seed 1, ...], "spread": ...}, ...}, all with the same
            monitors.
        steps: the step of every curve's last value; the first is at step 0.

    Raises:
        ValueError: no run, or runs with different monitors.
    """
    if not runs or len({tuple(curves) for curves in runs.values()}) != 1:
        raise ValueError(f"runs = {list(runs)} must be at least one, with the same monitors")
    titles = list(next(iter(runs.values())))
    with style():
        figure = plt.figure(figsize=(9, 2.6), layout="constrained")
        axes = figure.subplots(1, len(titles), squeeze=False)[0]
        for ax, title in zip(axes, titles, strict=True):
            for color, (name, curves) in zip(COLORS, runs.items(), strict=False):
                for seed, values in enumerate(curves[title]):
                    x = np.linspace(0, steps, len(values))
                    label = name if seed == 0 else f"_{name} {seed}"
                    ax.plot(x, values, color=color, lw=1.2, label=label)
            ax.set(title=title, xlabel="step")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(runs))
    return figure


def answers_figure(answers: dict[str, Float[Tensor, "n K"]]) -> Figure:
    """For each run a map: a row per picture, a column per prototype, bright = much of the answer.

    Raises:
        ValueError: there is no map.
    """
    if not answers:
        raise ValueError(f"{answers = } is empty; give at least one, as {{name: [n, K]}}")
    with style():
        figure = plt.figure(figsize=(9, 2.4), layout="constrained")
        axes = figure.subplots(1, len(answers), sharey=True, squeeze=False)[0]
        for ax, (name, probs) in zip(axes, answers.items(), strict=True):
            shown = probs.detach().float().sqrt().numpy()  # the root, so that small shares show
            ax.imshow(shown, HEAT, vmin=0, vmax=1, aspect="auto", interpolation=PIXELS)
            ax.set(title=name, xlabel="prototype")
            ax.grid(visible=False)
        axes[0].set_ylabel("picture")
    return figure


def directions_figure(shares: dict[str, Float[Tensor, " m"]]) -> Figure:
    """Bars side by side: the share of the variance in direction 1, 2, ..., for each run.

    Raises:
        ValueError: there is nothing to draw, or the runs have different numbers of directions.
    """
    if not shares or len({len(values) for values in shares.values()}) != 1:
        raise ValueError(f"shares = {list(shares)} must be at least one, all of the same length")
    with style():
        figure = plt.figure(figsize=(8, 2.6), layout="constrained")
        ax = figure.subplots()
        width = 0.8 / len(shares)
        for i, (name, values) in enumerate(shares.items()):
            x = np.arange(1, len(values) + 1) + (i - (len(shares) - 1) / 2) * width
            ax.bar(x, values.detach().float().numpy(), width, color=COLORS[i], label=name)
        ax.set(xlabel="direction", ylabel="share of the variance", ylim=(0, 1))
        ax.set_xticks(range(1, len(values) + 1))
        figure.legend(loc="outside upper center", ncols=len(shares))
    return figure
