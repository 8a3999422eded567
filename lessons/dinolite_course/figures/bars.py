"""Bars: distributions over prototypes, histograms, and what a whole is made of.

DINOv3 Fig. 16a has some of these totals as a table; the official code draws nothing of the kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import COLORS, ROLES
from dinolite_course.figures.lines import plots

FEW = 10  # as many bars still get a number each
GIB = 2**30
Vector = Float[Tensor, "_"]


def bars_figure(
    vectors: Mapping[str, Vector | Mapping[str, Vector]],
    same_scale: bool = True,
    xlabel: str = "prototype",
    height: float = 2.2,
    start: int = 0,
) -> Figure:
    """One panel per vector, a bar per number; {"teacher": [K], "student": [K]}. Several vectors
    {name: [K]} of one panel stand side by side, with a legend.

    Args:
        same_scale: one vertical axis for all panels, so that heights can be compared.
        start: number of the first bar.
    """
    with plots(len(vectors), (9, height), sharey=same_scale) as (figure, axes):
        for i, (ax, (title, panel)) in enumerate(zip(axes, vectors.items(), strict=True)):
            group = panel if isinstance(panel, Mapping) else {"": panel}
            width = 0.8 / len(group)
            for j, (name, vector) in enumerate(group.items()):
                values = vector.detach().cpu().float().tolist()
                x = np.arange(start, start + len(values)) + (j - (len(group) - 1) / 2) * width
                ax.bar(x, values, width, color=COLORS[(i + j) % len(COLORS)], label=name)
            ax.axhline(0, color="black", lw=0.8)
            ax.set(title=title, xlabel=xlabel)
            ax.grid(axis="x", visible=False)
            if len(values) <= FEW:
                ax.set_xticks(range(start, start + len(values)))
            if len(group) > 1:
                ax.legend(fontsize=8)
    return figure


def named_bars_figure(
    panels: Mapping[str, Mapping[str, float]],
    limits: Mapping[str, tuple[float, float]],
    title: str = "",
    digits: int = 1,
) -> Figure:
    """A horizontal bar with its number for each name, from above to below; a panel per quantity,
    {"k-NN (%)": {"untrained": 17.5, "trained": 56.0}, ...}, all with the same names.

    Args:
        limits: both ends of each quantity's axis, chance and perfect for instance.
        title: the finding.
    """
    names = list(next(iter(panels.values())))
    with plots(len(panels), (9, 0.32 * len(names) + 1.0), sharey=True) as (figure, axes):
        for ax, (quantity, bars) in zip(axes, panels.items(), strict=True):
            low, high = limits[quantity]
            colors = [ROLES.get(name, COLORS[0]) for name in names]
            drawn = ax.barh(names, [bars[n] - low for n in names], left=low, color=colors)
            ax.bar_label(drawn, [f"{bars[n]:.{digits}f}" for n in names], padding=3)
            ax.set(title=quantity, xlim=(low, high), xticks=(low, high))
            ax.grid(axis="y", visible=False)
        axes[0].invert_yaxis()
        figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def histogram_figure(
    values: Mapping[str, Vector | Mapping[str, Vector]],
    xlabel: str,
    low: float,
    high: float,
    limit: float | None = None,
) -> Figure:
    """How often which value occurs: one panel per entry, {"untrained": [n], ...}, with a dotted
    line at its median; or outlines of several vectors {name: [n]} on a logarithmic axis, on which
    a single vector can be seen.

    Args:
        low, high: of the axis; values beyond are counted in the first and the last bin.
        limit: where the dotted line stands instead.
    """
    with plots(len(values), (9, 2.2), sharey=limit is not None) as (figure, axes):
        for i, (ax, (title, panel)) in enumerate(zip(axes, values.items(), strict=True)):
            group = panel if isinstance(panel, Mapping) else {title: panel}
            single = group is not panel
            for name, vector in group.items():
                x = vector.detach().cpu().float().flatten()
                bins = np.linspace(low, high, 41 if single else 49).tolist()
                color = COLORS[i % len(COLORS)] if single else None
                kind: Any = "stepfilled" if single else "step"
                ax.hist(x.clamp(low, high), bins, label=name, lw=1.5, color=color, histtype=kind)
            line = x.median().item() if limit is None else limit
            ax.axvline(line, color=COLORS[-1], ls=":", lw=1)
            ax.set(title=title, xlabel=xlabel, xlim=(low, high))
            ax.set_yscale("linear" if single else "log")
        axes[0].set_ylabel("count")
        if not single:
            axes[-1].legend(loc="upper right")
    return figure


def family_figure(counts: Mapping[str, int], mark: str | None = None) -> Figure:
    """A bar per network on a logarithmic axis, with its parameters in millions at its end.

    Args:
        counts: {"vits16": 21600000, ...}, from above to below.
        mark: the name whose bar is coloured: the teacher of the others, say.
    """
    colors = [COLORS[1] if name == mark else COLORS[0] for name in counts]
    with plots(1, (8, 0.7 + 0.32 * len(counts))) as (figure, [ax]):
        ax.barh(list(counts), list(counts.values()), color=colors, height=0.65)
        for row, count in enumerate(counts.values()):
            ax.text(count * 1.08, row, f"{count / 1e6:,.1f} M", va="center")
        ax.set(xscale="log", xlim=(min(counts.values()) / 3, max(counts.values()) * 3))
        ax.set_xlabel("parameters")
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
    return figure


def stack_bars(ax: Axes, bars: Sequence[Mapping[str, float]], upright: bool = False) -> list[float]:
    """A bar per entry, cut into its parts, {"student": 4.0, ...}; gives their lengths."""
    ends = [0.0] * len(bars)
    for i, part in enumerate(bars[0]):
        sizes = [bar[part] for bar in bars]
        draw = ax.bar if upright else ax.barh
        draw(range(len(bars)), sizes, 0.65, ends, color=COLORS[i % len(COLORS)], label=part)
        ends = [end + size for end, size in zip(ends, sizes, strict=True)]
    ax.grid(axis="x" if upright else "y", visible=False)
    return ends


def parameters_figure(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Where the numbers of a network sit: a bar per network, from 0 to 100 percent, cut into its
    parts; beside its name the total in millions.

    Args:
        counts: {"vit_small": {"attention": 7000000, "FFN": ...}, ...}; all have the same parts.
    """
    totals = {name: sum(count.values()) for name, count in counts.items()}
    shares = [{p: 100 * n / totals[name] for p, n in c.items()} for name, c in counts.items()]
    labels = [f"{name}\n{total / 1e6:.1f} M" for name, total in totals.items()]
    with plots(1, (8, 0.8 + 0.55 * len(counts))) as (figure, [ax]):
        stack_bars(ax, shares)
        for row, one in enumerate(shares):
            end = 0.0
            for share in one.values():
                words = f"{share:.0f}" if share >= 4 else ""
                ax.text(end + share / 2, row, words, ha="center", va="center", color="white")
                end += share
        ax.set(xlim=(0, 100), xlabel="percent of all parameters")
        ax.set_yticks(range(len(labels)), labels)
        ax.invert_yaxis()
        figure.legend(loc="outside upper center", ncols=len(shares[0]))
    return figure


def held_figure(held: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Who holds what when several processes train one model: a panel per way, a bar per process,
    in MiB, stacked from its parts. After ZeRO, arXiv 1910.02054, Fig. 1.

    Args:
        held: {"DDP": [{"student": bytes, "teacher": bytes}, ...one for each process]}.
    """
    widths = [len(processes) + 0.5 for processes in held.values()]
    with plots(len(held), (9, 2.6), sharey=True, width_ratios=widths) as (figure, axes):
        for ax, (way, processes) in zip(axes, held.items(), strict=True):
            stack_bars(ax, [{p: n / 2**20 for p, n in one.items()} for one in processes], True)
            ax.set(title=way, xlabel="process", xticks=range(len(processes)))
        axes[0].set_ylabel("MiB")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right center")
    return figure


def budget_figure(
    rooms: Mapping[str, tuple[float, float]],
    memory: Mapping[str, Mapping[str, float]],
    limit: float,
) -> Figure:
    """What a batch buys and what it costs. Left, a bar per loss from its floor up to ln K (SwAV
    Sec. 3.1, Eq. 4); right, a bar per way of sharing, the memory of one GPU part by part.

    Args:
        rooms: {"DINO": (floor, ln K)}, in nats.
        memory: {"DDP": {"student": bytes, ...}}.
        limit: GiB that a GPU has, a dashed line.
    """
    with plots(2, (9, 2.8), width_ratios=[1, 2]) as (figure, [left, right]):
        for i, (low, high) in enumerate(rooms.values()):
            left.bar(i, high - low, 0.6, low, color=COLORS[5])
            left.text(i, low, f"{low:.1f}", ha="center", va="top", fontsize=8)
            left.text(i, high, f"{high:.1f}", ha="center", va="bottom", fontsize=8)
        left.set(title="room of the loss (nats)", ylim=(-1.2, 13))
        left.set_xticks(range(len(rooms)), list(rooms))
        left.grid(axis="x", visible=False)
        parts = [{p: n / GIB for p, n in way.items()} for way in memory.values()]
        for row, end in enumerate(stack_bars(right, parts)):
            right.text(end, row, f" {end:.1f}", va="center", fontsize=8)
        right.axvline(limit, ls="--", color="black", lw=1)
        right.set(title="memory of one GPU (GiB)")
        right.set_yticks(range(len(memory)), list(memory))
        right.margins(x=0.15)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=6)
    return figure
