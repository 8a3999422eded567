"""Drawings of boxes and arrows: the map of the course, one training step with the shape of every
tensor, and which process holds which part of a model.

DINOv3 Sec. 3.2 and 4.2; official `train/ssl_meta_arch.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from torch import Tensor

from dinolite.viz.style import COLORS
from dinolite_course.figures.lines import plots

LIT, QUIET, EDGE, FRAME = COLORS[4], "#F2F2F2", "#888888", "#BBBBBB"
TEACHER, STUDENT = COLORS[0], COLORS[1]
Point = tuple[float, float]


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
# lesson, words, lower left corner, upper right corner
FRAMES = (
    ("16", "training: the loop   (23 scaling)", (0.1, 3.05), (13.0, 7.15)),
    ("15", "one step", (1.0, 3.35), (12.85, 6.7)),
    ("06", "inside the ViT", (0.1, 0.35), (7.6, 2.55)),
    ("18", "afterwards", (8.2, 0.35), (13.0, 2.55)),
)
MAP_ARROWS = (
    ((0.62, 5.0), (1.15, 5.0)),
    ((2.65, 5.2), (5.15, 5.85)),
    ((2.65, 4.8), (3.15, 4.25)),
    ((4.65, 4.1), (5.15, 4.1)),
    ((6.65, 5.9), (7.15, 5.9)),
    ((6.65, 4.1), (7.15, 4.1)),
    ((8.65, 5.9), (9.15, 5.9)),
    ((8.65, 4.35), (11.15, 5.4)),
    ((8.65, 4.25), (11.15, 4.75)),
    ((10.65, 5.8), (11.15, 5.6)),
    ((10.65, 5.7), (11.15, 4.95)),
    ((5.9, 4.41), (5.9, 4.75)),
    ((5.9, 5.25), (5.9, 5.59)),
    ((1.95, 1.3), (2.25, 1.3)),
    ((3.75, 1.3), (4.1, 1.3)),
    ((5.5, 1.3), (5.85, 1.3)),
    ((7.35, 1.3), (7.6, 1.3)),
)
SPECIAL = {"00": {b.lesson for b in BOXES}, "17": {"14", "11", "13"}, "16": {"15"}, "23": {"16"}}


def pipeline_map(lesson: str = "00") -> Figure:
    """The one map of the course: from a photograph to the losses and back, each part with the
    number of its lesson. The boxes of a lesson ("00" to "23") are lit; "00" lights them all."""
    lit = {lesson} | SPECIAL.get(lesson, set())
    with plots(1, (9, 5)) as (figure, [ax]):
        ax.set(xlim=(0, 13.1), ylim=(0.2, 7.3))
        ax.set_axis_off()
        for number, words, low, high in FRAMES:
            on = number in lit and lesson != "00"
            color, wide = (LIT, 3.0) if on else (FRAME, 1.0)
            draw_box(ax, low, high, fc="none", ec=color, lw=wide)
            at = (low[0] + 0.15, high[1] - 0.12)
            ax.text(*at, words, va="top", fontsize=9, color="#444444")
        for start, end in MAP_ARROWS:
            draw_arrow(ax, start, end, 9)
        ax.text(0.33, 5.0, "photo", ha="center", va="center", fontsize=9, rotation=90)
        for box in BOXES:
            on = box.lesson in lit
            look: dict[str, Any] = {"fc": LIT if on else QUIET, "ec": "black" if on else EDGE}
            corners = (box.x - box.w / 2, box.y - box.h / 2), (box.x + box.w / 2, box.y + box.h / 2)
            draw_box(ax, *corners, f"{box.label}\n{box.lesson}", 8.5, lw=1.5 if on else 0.8, **look)
    return figure


def draw_box(
    ax: Axes, low: Point, high: Point, words: str = "", size: float = 8, **look: Any
) -> None:
    """A box with round corners between two corners, its words in the middle."""
    width, height = high[0] - low[0], high[1] - low[1]
    shape = "round,pad=0,rounding_size=0.13"
    ax.add_patch(FancyBboxPatch(low, width, height, boxstyle=shape, **{"zorder": 2, **look}))
    middle = (low[0] + width / 2, low[1] + height / 2)
    ax.text(*middle, words, ha="center", va="center", fontsize=size, zorder=3)


def draw_arrow(ax: Axes, start: Point, end: Point, size: float, words: str = "") -> None:
    """An arrow, its words above the middle."""
    head = FancyArrowPatch(start, end, arrowstyle="->", mutation_scale=size, color=EDGE, zorder=1)
    ax.add_patch(head)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.04)
    ax.text(*middle, words, ha="center", va="bottom", fontsize=7, zorder=3)


class Node(NamedTuple):
    """A tensor of a step: its words, its middle, its colour."""

    label: str
    x: float
    y: float
    color: str = EDGE


NODES = {
    "global_crops": Node("global crops", 1.2, 6.0),
    "masks": Node("masks", 1.2, 3.6),
    "local_crops": Node("local crops", 1.2, 2.3),
    "teacher_cls": Node("CLS", 4.3, 6.6, TEACHER),
    "teacher_hidden": Node("hidden patches", 4.3, 5.4, TEACHER),
    "teacher_cls_logits": Node("logits", 7.4, 6.6, TEACHER),
    "teacher_patch_logits": Node("logits", 7.4, 5.4, TEACHER),
    "cls_targets": Node("targets", 10.5, 6.6, TEACHER),
    "patch_targets": Node("targets", 10.5, 5.4, TEACHER),
    "student_cls": Node("all CLS", 4.3, 3.6, STUDENT),
    "student_hidden": Node("hidden patches", 4.3, 2.3, STUDENT),
    "student_cls_logits": Node("logits", 7.4, 3.6, STUDENT),
    "student_patch_logits": Node("logits", 7.4, 2.3, STUDENT),
    "global_logits": Node("global logits", 10.5, 4.1, STUDENT),
    "local_logits": Node("local logits", 10.5, 3.1, STUDENT),
    "global_cls": Node("global CLS", 7.4, 1.0, STUDENT),
}
LOSSES = {
    "dino_global_crops_loss": Node("DINO global", 13.7, 6.2),
    "dino_local_crops_loss": Node("DINO local", 13.7, 4.6),
    "ibot_loss": Node("iBOT", 13.7, 2.6),
    "koleo_loss": Node("KoLeo", 13.7, 1.0),
}
TOTAL = Node("total", 16.9, 3.6)
# from: to, and what makes it, where that is written
ARROWS = {
    "global_crops": {"teacher_cls": "ViT", "teacher_hidden": "", "student_cls": ""},
    "teacher_cls": {"teacher_cls_logits": "head"},
    "teacher_hidden": {"teacher_patch_logits": "head"},
    "teacher_cls_logits": {"cls_targets": "Sinkhorn"},
    "teacher_patch_logits": {"patch_targets": "Sinkhorn"},
    "masks": {"student_cls": "ViT", "student_hidden": ""},
    "local_crops": {"student_cls": ""},
    "student_cls": {"student_cls_logits": "head", "global_cls": ""},
    "student_hidden": {"student_patch_logits": "head"},
    "student_cls_logits": {"global_logits": "", "local_logits": ""},
    "cls_targets": {"dino_global_crops_loss": "", "dino_local_crops_loss": ""},
    "global_logits": {"dino_global_crops_loss": ""},
    "local_logits": {"dino_local_crops_loss": ""},
    "patch_targets": {"ibot_loss": ""},
    "student_patch_logits": {"ibot_loss": ""},
    "global_cls": {"koleo_loss": ""},
}


def one_step_figure(shapes: Mapping[str, Sequence[int]], weights: Mapping[str, float]) -> Figure:
    """One training step from crops to the total, left to right: teacher above, student below.

    Args:
        shapes: of the tensors in `NODES`, by name.
        weights: with which the losses in `LOSSES` go into the total, by name.
    """
    with plots(1, (9, 4)) as (figure, [ax]):
        ax.set(xlim=(0, 18.1), ylim=(0.4, 7.6))
        ax.set_axis_off()
        for low, high, words, color in [
            ((3.0, 4.9), (11.8, 7.5), "teacher: no gradient", TEACHER),
            ((3.0, 0.5), (11.8, 4.65), "student: gradient", STUDENT),
        ]:
            draw_box(ax, low, high, fc=color, lw=0, alpha=0.12, zorder=1)
            ax.text(low[0] + 0.15, high[1] - 0.08, words, va="top", fontsize=8, color=color)
        nodes = {**NODES, **LOSSES}
        for start, ends in ARROWS.items():
            for end, words in ends.items():
                join_nodes(ax, nodes[start], nodes[end], words)
        for name, node in NODES.items():
            draw_node(ax, node, f"{node.label}\n{list(shapes[name])}")
        for name, node in LOSSES.items():
            join_nodes(ax, node, TOTAL)
            draw_node(ax, node, f"{node.label}\nx {weights[name]:g}")
        draw_node(ax, TOTAL, TOTAL.label)
    return figure


def draw_node(ax: Axes, node: Node, words: str) -> None:
    """A white box with its words."""
    low, high = (node.x - 1.05, node.y - 0.36), (node.x + 1.05, node.y + 0.36)
    draw_box(ax, low, high, words, 7.5, fc="white", ec=node.color, lw=1.2)


def join_nodes(ax: Axes, start: Node, end: Node, words: str = "") -> None:
    """An arrow from the right side of a box to the left side of another."""
    draw_arrow(ax, (start.x + 1.05, start.y), (end.x - 1.05, end.y), 8, words)


HELD = {1: ("kept", COLORS[0]), 2: ("gathered for now", COLORS[4])}


def who_holds_figure(
    ways: Mapping[str, Int[Tensor, "processes parts shares"]], parts: Sequence[str]
) -> Figure:
    """Who holds what when several processes train one model, one panel per way: a column per
    process, a box per part, cut into shares. After ZeRO, arXiv 1910.02054, Fig. 1.

    Args:
        ways: 0 = not there, 1 = kept, 2 = gathered from the others for now.
        parts: names of the boxes, from the bottom up.
    """
    with plots(len(ways), (9, 0.6 + 0.42 * len(parts)), sharey=True) as (figure, axes):
        for ax, (way, state) in zip(axes, ways.items(), strict=True):
            n, _, cuts = state.shape
            for process, part, share in state.nonzero().tolist():
                left = process + 0.1 + 0.8 * share / cuts
                _, color = HELD[int(state[process, part, share])]
                ax.add_patch(Rectangle((left, part + 0.1), 0.8 / cuts, 0.8, color=color, lw=0))
            for corner in [(p + 0.1, q + 0.1) for p in range(n) for q in range(len(parts))]:
                ax.add_patch(Rectangle(corner, 0.8, 0.8, fill=False, ec="black", lw=0.8))
            ax.set(title=way, xlim=(0, n), ylim=(0, len(parts)), xlabel="process")
            ax.set_xticks([i + 0.5 for i in range(n)], [str(i) for i in range(n)])
            ax.set_yticks([i + 0.5 for i in range(len(parts))], parts)
            ax.grid(visible=False)
        handles = [Patch(color=color, label=name) for name, color in HELD.values()]
        figure.legend(handles=handles, loc="outside right center")
    return figure
