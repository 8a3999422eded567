"""Panels of named lines: losses over steps, measures over a setting, signals over the blocks.

DINOv3 Fig. 5 and Fig. 8 and DINO Fig. 7 are of this form; the official code plots nothing.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from dinolite.viz.style import COLORS, style

DASHES, MARKERS = ("-", "--", "-.", ":"), "os^Dv"
FEW = 24  # lines of at most so many values have a marker at each

Line = Any
"""Values; rows of values, all in one colour; a pair (x, values); or one number, a level."""


@contextmanager
def plots(
    columns: int, size: tuple[float, float], rows: int = 1, **how: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of that many inches and its plots, row by row, drawn in the style of the house."""
    with style():
        figure = plt.figure(figsize=size, layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False, **how).flat)


def lines_figure(
    panels: Mapping[str, Mapping[str, Line]],
    x: ArrayLike | None = None,
    xlabel: str = "",
    ylabel: str = "",
    marks: Mapping[str, float] | None = None,
    log: Collection[str] = (),
    xscale: str = "linear",
    upright: Mapping[str, float] | None = None,
    width: float = 9.0,
) -> Figure:
    """One panel per entry, one line per name in it; {"loss": {"student": [4.1, 3.9]}, ...}. A name
    has the same look in all panels. Where panels share names one legend stands below them all.

    Args:
        x: where the values stand; 0, 1, 2, ... without it.
        ylabel: of all panels, which then have one scale.
        marks: level lines across all panels, {"ln K": 4.16}.
        log: the panels whose vertical axis is logarithmic; zeros are not drawn on it.
        xscale: "linear", "log", or "doubling", where every doubling is as long and x are the ticks.
        upright: dotted lines across all panels at places of x, {"warm-up ends": 20}.
    """
    panels = {title: {**lines, **(marks or {})} for title, lines in panels.items()}
    every = [name for lines in panels.values() for name in lines]
    together = len(every) > len(set(every)) or len(panels) == 1
    looks = looks_of(panels, together)
    with plots(len(panels), (width, 2.9), sharey=bool(ylabel)) as (figure, axes):
        for ax, (title, lines) in zip(axes, panels.items(), strict=True):
            draw_lines(ax, lines, looks[title], x)
            for name, place in (upright or {}).items():
                ax.axvline(place, ls=":", color="gray", lw=1.2, label=name)
            ax.set(title=title, xlabel=xlabel)
            if title in log:
                ax.set_yscale("log", nonpositive="mask")
            scale_x(ax, x, xscale)
        axes[0].set_ylabel(ylabel)
        add_legends(figure, axes, together)
    return figure


def looks_of(
    panels: Mapping[str, Mapping[str, Line]], together: bool
) -> dict[str, dict[str, dict[str, Any]]]:
    """The looks of each panel's lines, without its levels; `together`: the same in all panels."""
    named = {t: [n for n, line in lines.items() if np.ndim(line)] for t, lines in panels.items()}
    shared = look_of([name for names in named.values() for name in names])
    return {title: shared if together else look_of(names) for title, names in named.items()}


def look_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dash and marker of each name, in the order in which the names first come."""
    return {
        name: {
            "color": COLORS[i % len(COLORS)],
            "ls": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
            "ms": 4,
            "lw": 1.4,
        }
        for i, name in enumerate(dict.fromkeys(names))
    }


def draw_lines(
    ax: Axes, lines: Mapping[str, Line], looks: Mapping[str, dict[str, Any]], x: ArrayLike | None
) -> None:
    """The lines of a panel, without markers where they would crowd; of several rows in one colour
    the first has the label."""
    grey = cycle(("--", ":", "-."))
    for name, line in lines.items():
        if name not in looks:
            ax.axhline(line, ls=next(grey), color="gray", lw=1.2, label=name)
            continue
        at, values = line if isinstance(line, tuple) and np.ndim(line[0]) else (x, line)
        rows = np.atleast_2d(np.asarray(values, dtype=float))
        at = np.arange(rows.shape[1]) if at is None else np.asarray(at)
        for i, row in enumerate(rows):
            ax.plot(at, row, label=name if i == 0 else f"_{name} {i}", **looks[name])
    if len(ax.lines) > len(lines) or any(np.size(a.get_xdata()) > FEW for a in ax.lines):
        plt.setp(ax.lines, marker="")


def scale_x(ax: Axes, x: ArrayLike | None, scale: str) -> None:
    """The horizontal axis: whole numbers for counted values, powers for the other two scales."""
    if scale == "doubling":
        ax.set_xscale("log", base=2)
        ax.set_xticks(np.asarray(x), [f"{value:g}" for value in np.asarray(x)])
        ax.minorticks_off()
    elif scale == "log":
        ax.set_xscale("log")
    elif x is None:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def add_legends(figure: Figure, axes: Sequence[Axes], together: bool) -> None:
    """One legend below, or one in each panel; none where only one name would stand in it."""
    named = [dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True)) for ax in axes]
    if not together:
        for ax in [ax for ax, names in zip(axes, named, strict=True) if names]:
            ax.legend(fontsize=8)
        return
    handles = {name: handle for names in named[::-1] for name, handle in names.items()}
    order = [name for name in dict.fromkeys(n for names in named for n in names)]
    if len(order) > 1:
        room = figure.get_figwidth() / (0.6 + 0.07 * max(map(len, order)))
        ncols = math.ceil(len(order) / math.ceil(len(order) / room))
        figure.legend([handles[n] for n in order], order, loc="outside lower center", ncols=ncols)


def panels_of(runs: Mapping[str, Mapping[str, Line]]) -> dict[str, dict[str, Line]]:
    """{run: {quantity: line}} turned into {quantity: {run: line}}, a panel per quantity."""
    panels: dict[str, dict[str, Line]] = {}
    for name, run in runs.items():
        for quantity, line in run.items():
            panels.setdefault(quantity, {})[name] = line
    return panels


def percent_of_run(values: ArrayLike, points: int = 500) -> tuple[NDArray, NDArray]:
    """A line for runs of different lengths: percent of the run, and so many of its values."""
    every = np.asarray(values)
    at = np.linspace(0, len(every) - 1, min(points, len(every))).astype(int)
    return 100 * at / len(every), every[at]


def entropy_floor_figure(
    crops: Sequence[int], measured: Mapping[int, Mapping[str, Sequence[float]]]
) -> Figure:
    """Measured entropy over the number of crops beside its floor ln(K / crops) and its ceiling
    ln K, a panel per number of prototypes K. Every prototype gets the same share: SwAV Eq. (4).

    Args:
        measured: {K: {"T 0.07": [an entropy for each number of crops]}}.
    """
    panels = {
        f"K = {K}": {
            **curves,
            "floor": [max(math.log(K / n), 0) for n in crops],
            "ln K": math.log(K),
        }
        for K, curves in measured.items()
    }
    return lines_figure(panels, crops, "crops in the batch", "entropy (nats)", xscale="doubling")


def loss_split_figure(
    runs: Mapping[str, tuple[Sequence[float], Sequence[float]]], start: float
) -> Figure:
    """A loss curve taken apart, DINO Sec. 5.3: below, the entropy of the targets, which no student
    can get under; on top of it the KL divergence. One panel per run, all on one scale.

    Args:
        runs: {"frozen teacher": (entropy, kl)}, one number a step.
        start: ln K, drawn as a dashed line.
    """
    with plots(len(runs), (9, 2.8), sharey=True) as (figure, axes):
        for ax, (name, (entropy, kl)) in zip(axes, runs.items(), strict=True):
            loss = [h + d for h, d in zip(entropy, kl, strict=True)]
            steps = range(len(loss))
            ax.fill_between(steps, entropy, color=COLORS[5], label="target entropy", lw=0)
            ax.fill_between(steps, entropy, loss, color=COLORS[4], label="KL", lw=0)
            ax.plot(steps, loss, color=COLORS[6], lw=1, label="loss")
            ax.axhline(start, color="gray", ls="--", lw=1, label="ln K")
            ax.set(title=name, xlabel="step", ylim=(0, None))
        add_legends(figure, axes, together=True)
    return figure
