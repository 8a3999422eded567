"""One training step as a drawing: every tensor with its shape, every arrow with what makes it.

DINOv3 Sec. 3.2 in one picture; official `train/ssl_meta_arch.py::SSLMetaArch.forward_backward`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dinolite.viz.style import COLORS, style

TEACHER, STUDENT, EDGE = COLORS[0], COLORS[1], "#777777"
WIDTH, HEIGHT = 2.1, 0.72


class Node(NamedTuple):
    """A tensor: the name under which its shape is given, its words, and its middle."""

    name: str
    label: str
    x: float
    y: float
    color: str = EDGE


NODES = (
    Node("global_crops", "global crops", 1.2, 6.0),
    Node("masks", "masks", 1.2, 3.6),
    Node("local_crops", "local crops", 1.2, 2.3),
    Node("teacher_cls", "CLS", 4.3, 6.6, TEACHER),
    Node("teacher_hidden", "hidden patches", 4.3, 5.4, TEACHER),
    Node("teacher_cls_logits", "logits", 7.4, 6.6, TEACHER),
    Node("teacher_patch_logits", "logits", 7.4, 5.4, TEACHER),
    Node("cls_targets", "targets", 10.5, 6.6, TEACHER),
    Node("patch_targets", "targets", 10.5, 5.4, TEACHER),
    Node("student_cls", "all CLS", 4.3, 3.6, STUDENT),
    Node("student_hidden", "hidden patches", 4.3, 2.3, STUDENT),
    Node("student_cls_logits", "logits", 7.4, 3.6, STUDENT),
    Node("student_patch_logits", "logits", 7.4, 2.3, STUDENT),
    Node("global_logits", "global logits", 10.5, 4.1, STUDENT),
    Node("local_logits", "local logits", 10.5, 3.1, STUDENT),
    Node("global_cls", "global CLS", 7.4, 1.0, STUDENT),
)
LOSSES = (
    Node("dino_global_crops_loss", "DINO global", 13.7, 6.2),
    Node("dino_local_crops_loss", "DINO local", 13.7, 4.6),
    Node("ibot_loss", "iBOT", 13.7, 2.6),
    Node("koleo_loss", "KoLeo", 13.7, 1.0),
)
TOTAL = Node("total", "total", 16.9, 3.6)
ARROWS = (
    ("global_crops", "teacher_cls", "ViT"), ("global_crops", "teacher_hidden", ""),
    ("teacher_cls", "teacher_cls_logits", "head"),
    ("teacher_hidden", "teacher_patch_logits", "head"),
    ("teacher_cls_logits", "cls_targets", "Sinkhorn"),
    ("teacher_patch_logits", "patch_targets", "Sinkhorn"),
    ("global_crops", "student_cls", ""), ("masks", "student_cls", "ViT"),
    ("local_crops", "student_cls", ""), ("masks", "student_hidden", ""),
    ("student_cls", "student_cls_logits", "head"),
    ("student_hidden", "student_patch_logits", "head"),
    ("student_cls", "global_cls", ""),
    ("student_cls_logits", "global_logits", ""), ("student_cls_logits", "local_logits", ""),
    ("cls_targets", "dino_global_crops_loss", ""), ("cls_targets", "dino_local_crops_loss", ""),
    ("global_logits", "dino_global_crops_loss", ""), ("local_logits", "dino_local_crops_loss", ""),
    ("patch_targets", "ibot_loss", ""), ("student_patch_logits", "ibot_loss", ""),
    ("global_cls", "koleo_loss", ""),
)  # fmt: skip


def one_step_figure(shapes: dict[str, Sequence[int]], weights: dict[str, float]) -> Figure:
    """From crops to the total, left to right: teacher above, student below.

    Args:
        shapes: of the tensors in `NODES`, by name.
        weights: with which the losses in `LOSSES` go into the total, by name.

    Raises:
        ValueError: a tensor or a loss is missing.
    """
    for given, nodes, what in ((shapes, NODES, "shapes"), (weights, LOSSES, "weights")):
        if missing := [node.name for node in nodes if node.name not in given]:
            raise ValueError(f"{what} = {list(given)} has no {', '.join(missing)}")
    with style():
        figure = plt.figure(figsize=(9, 4), layout="constrained")
        ax = figure.subplots()
        ax.set(xlim=(0, 18.1), ylim=(0.4, 7.6))
        ax.set_axis_off()
        frame(ax, (3.0, 4.9), (11.8, 7.5), "teacher: no gradient", TEACHER)
        frame(ax, (3.0, 0.5), (11.8, 4.65), "student: gradient", STUDENT)
        places = {node.name: (node.x, node.y) for node in (*NODES, *LOSSES)}
        for start, end, words in ARROWS:
            arrow(ax, places[start], places[end], words)
        for node in NODES:
            box(ax, node, f"{node.label}\n{list(shapes[node.name])}")
        for node in LOSSES:
            arrow(ax, (node.x, node.y), (TOTAL.x, TOTAL.y), "")
            box(ax, node, f"{node.label}\nx {weights[node.name]:g}")
        box(ax, TOTAL, TOTAL.label)
    return figure


def frame(
    ax: Axes, low: tuple[float, float], high: tuple[float, float], words: str, color: str
) -> None:
    """A tinted area with its name at the upper left."""
    ax.add_patch(
        FancyBboxPatch(
            low, high[0] - low[0], high[1] - low[1], boxstyle="round,pad=0,rounding_size=0.15",
            fc=color, ec=color, alpha=0.12, linewidth=0,
        )
    )  # fmt: skip
    ax.text(low[0] + 0.15, high[1] - 0.08, words, va="top", fontsize=8, color=color)


def box(ax: Axes, node: Node, words: str) -> None:
    """A white box with its words."""
    corner = (node.x - WIDTH / 2, node.y - HEIGHT / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", fc="white",
            ec=node.color, linewidth=1.2, zorder=2,
        )
    )  # fmt: skip
    ax.text(node.x, node.y, words, ha="center", va="center", fontsize=7.5, zorder=3)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], words: str) -> None:
    """From the right side of a box to the left side of another, or down within a column."""
    a = (start[0] + WIDTH / 2, start[1])
    b = (end[0] - WIDTH / 2, end[1])
    ax.add_patch(
        FancyArrowPatch(
            a, b, arrowstyle="->", mutation_scale=8, color=EDGE, shrinkA=0, shrinkB=0, zorder=1
        )
    )
    if words:
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + 0.04)
        ax.text(*middle, words, ha="center", va="bottom", fontsize=7, zorder=3)
