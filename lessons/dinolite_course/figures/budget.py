"""What a batch buys and what it costs, in one picture: how far the loss can fall, from ln K to its
floor, and the memory of one GPU, part by part.

The floor follows from SwAV Sec. 3.1, Eq. (4); no counterpart in the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dinolite.viz.style import COLORS, style

GIB = 2**30


def budget_figure(
    rooms: Mapping[str, tuple[float, float]],
    memory: Mapping[str, Mapping[str, float]],
    limit: float | None = None,
) -> Figure:
    """Two panels. Left, a bar per loss from its floor up to ln K. Right, a bar per way of sharing,
    stacked from its parts.

    Args:
        rooms: {"DINO": (floor, ln K)}, in nats.
        memory: {"DDP": {"student": bytes, ...}}.
        limit: GiB that a GPU has, a dashed line.

    Raises:
        ValueError: there is no room, or no way.
    """
    if not rooms or not memory:
        raise ValueError(f"{rooms = } and {memory = } both need an entry")
    with style():
        figure = plt.figure(figsize=(9, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 2])
        draw_rooms(left, rooms)
        draw_memory(right, memory, limit)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=6)
    return figure


def draw_rooms(ax: Axes, rooms: Mapping[str, tuple[float, float]]) -> None:
    """A bar for each loss, its ends named."""
    for i, (low, high) in enumerate(rooms.values()):
        ax.bar(i, high - low, 0.6, low, color=COLORS[5])
        ax.text(i, low, f"{low:.1f}", ha="center", va="top", fontsize=8)
        ax.text(i, high, f"{high:.1f}", ha="center", va="bottom", fontsize=8)
    ax.set(title="room of the loss (nats)", ylim=(-1.2, 13), xticks=range(len(rooms)))
    ax.set_xticklabels(list(rooms))
    ax.grid(axis="x", visible=False)


def draw_memory(ax: Axes, memory: Mapping[str, Mapping[str, float]], limit: float | None) -> None:
    """A stacked bar for each way of sharing, its length in GiB behind it."""
    for row, parts in enumerate(memory.values()):
        start = 0.0
        for i, (part, size) in enumerate(parts.items()):
            color, label = COLORS[i % len(COLORS)], part if row == 0 else None
            ax.barh(row, size / GIB, 0.6, start, color=color, label=label)
            start += size / GIB
        ax.text(start, row, f" {start:.1f}", va="center", fontsize=8)
    if limit is not None:
        ax.axvline(limit, ls="--", color="black", lw=1)
    ax.set(title="memory of one GPU (GiB)", yticks=range(len(memory)))
    ax.set_yticklabels(list(memory))
    ax.margins(x=0.15)
    ax.grid(axis="y", visible=False)
