"""The one map of the course: from a photograph to the losses and back, each part with the number of
its lesson. Every lesson shows it with its own box lit.

DINOv3 Sec. 3.2 and 4.2 in one picture; official `train/ssl_meta_arch.py`.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dinolite.viz.style import COLORS, style

LIT, QUIET, EDGE, FRAME = COLORS[4], "#F2F2F2", "#888888", "#BBBBBB"


class Box(NamedTuple):
    """Middle, width and height of a box, in units of about a word."""

    lesson: str
    label: str
    x: float
    y: float
    w: float = 1.5
    h: float = 0.62


BOXES = (
    Box("07", "crops", 1.9, 5.0),
    Box("08", "masking", 3.9, 4.1),
    Box("06", "teacher ViT", 5.9, 5.9),
    Box("06", "student ViT", 5.9, 4.1),
    Box("14", "EMA", 5.9, 5.0, 1.0, 0.5),
    Box("09", "heads", 7.9, 5.9),
    Box("09", "heads", 7.9, 4.1),
    Box("11", "Sinkhorn", 9.9, 5.9),
    Box("10", "DINO loss", 11.9, 5.55),
    Box("12", "iBOT loss", 11.9, 4.75),
    Box("13", "KoLeo", 11.9, 3.95),
    Box("20", "Gram", 9.9, 3.85),
    Box("01", "patches", 1.2, 1.3),
    Box("02", "tokens", 3.0, 1.3),
    Box("03", "RoPE", 4.8, 1.75, 1.4),
    Box("04", "attention", 4.8, 0.95, 1.4),
    Box("05", "block x L", 6.6, 1.3),
    Box("18", "read features", 9.5, 1.75, 2.0),
    Box("19", "see features", 9.5, 0.95, 2.0),
    Box("21", "resolution", 11.8, 1.75, 2.0),
    Box("22", "real weights", 11.8, 0.95, 2.0),
)
# lesson, words, left, bottom, right, top
FRAMES = (
    ("16", "training: the loop   (23 scaling)", 0.1, 3.05, 13.0, 7.15),
    ("15", "one step", 1.0, 3.35, 12.85, 6.7),
    ("06", "inside the ViT", 0.1, 0.35, 7.6, 2.55),
    ("18", "afterwards", 8.2, 0.35, 13.0, 2.55),
)
ARROWS = (
    ((0.62, 5.0), (1.15, 5.0)), ((2.65, 5.2), (5.15, 5.85)), ((2.65, 4.8), (3.15, 4.25)),
    ((4.65, 4.1), (5.15, 4.1)), ((6.65, 5.9), (7.15, 5.9)), ((6.65, 4.1), (7.15, 4.1)),
    ((8.65, 5.9), (9.15, 5.9)), ((8.65, 4.35), (11.15, 5.4)), ((8.65, 4.25), (11.15, 4.75)),
    ((10.65, 5.8), (11.15, 5.6)), ((10.65, 5.7), (11.15, 4.95)), ((5.9, 4.41), (5.9, 4.75)),
    ((5.9, 5.25), (5.9, 5.59)), ((1.95, 1.3), (2.25, 1.3)), ((3.75, 1.3), (4.1, 1.3)),
    ((5.5, 1.3), (5.85, 1.3)), ((7.35, 1.3), (7.6, 1.3)),
)  # fmt: skip
SPECIAL = {"00": {b.lesson for b in BOXES}, "17": {"14", "11", "13"}, "16": {"15"}, "23": {"16"}}


def pipeline_map(lesson: str = "00") -> Figure:
    """The map with the boxes of a lesson ("00" to "23") lit; "00" lights them all."""
    lit = {lesson} | SPECIAL.get(lesson, set())
    with style():
        figure = plt.figure(figsize=(9, 5), layout="constrained")
        ax = figure.subplots()
        ax.set(xlim=(0, 13.1), ylim=(0.2, 7.3))
        ax.set_axis_off()
        for number, words, left, bottom, right, top in FRAMES:
            on = number in lit and lesson != "00"
            draw_frame(ax, (left, bottom, right, top), words, on)
        for start, end in ARROWS:
            ax.add_patch(FancyArrowPatch(start, end, arrowstyle="->", mutation_scale=9, color=EDGE))
        ax.text(0.33, 5.0, "photo", ha="center", va="center", fontsize=9, rotation=90)
        for box in BOXES:
            draw_box(ax, box, box.lesson in lit)
    return figure


def draw_frame(ax: Axes, corners: tuple[float, float, float, float], words: str, lit: bool) -> None:
    """A frame around boxes, its name at the upper left."""
    left, bottom, right, top = corners
    color, width = (LIT, 3.0) if lit else (FRAME, 1.0)
    ax.add_patch(
        FancyBboxPatch(
            (left, bottom), right - left, top - bottom, linewidth=width, fc="none", ec=color,
            boxstyle="round,pad=0,rounding_size=0.15",
        )
    )  # fmt: skip
    ax.text(left + 0.15, top - 0.12, words, va="top", fontsize=9, color="#444444")


def draw_box(ax: Axes, box: Box, lit: bool) -> None:
    """A box with its words and the number of its lesson."""
    corner = (box.x - box.w / 2, box.y - box.h / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner, box.w, box.h, boxstyle="round,pad=0,rounding_size=0.12",
            fc=LIT if lit else QUIET, ec="black" if lit else EDGE, linewidth=1.5 if lit else 0.8,
        )
    )  # fmt: skip
    ax.text(box.x, box.y, f"{box.label}\n{box.lesson}", ha="center", va="center", fontsize=8.5)
