"""Crops of a photograph: where they were cut out, and what teacher and student get to see.

DINO Sec. 3.1 "multi-crop"; SwAV Fig. 3; iBOT Fig. 2 (masks). The official code draws none.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from jaxtyping import Bool, Float, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from dinolite.config import CropsConfig
from dinolite.data.masking import SSLBatch
from dinolite.viz.style import COLORS, show_image, style
from dinolite_course.figures.masks import covered
from dinolite_course.figures.rows import Picture, rows_figure

GLOBAL, LOCAL = COLORS[5], COLORS[4]  # bright enough for dark pictures
HALO = [withStroke(linewidth=3, foreground="black")]


def boxes_figure(
    image: Picture,
    global_boxes: Int64[Tensor, "G 4"],
    local_boxes: Int64[Tensor, "L 4"],
    crops: Sequence[Picture] = (),
    title: str = "",
) -> Figure:
    """A photograph with the frames of its global crops (blue, G1, G2, ...) and local crops
    (orange, 1, 2, ...), and the crops beside it, in two rows.

    Args:
        crops: none, or one for each box, global ones first.
    """
    G, L = len(global_boxes), len(local_boxes)
    labels = [f"G{i + 1}" for i in range(G)] + [str(i + 1) for i in range(L)]
    with style():
        figure = plt.figure(figsize=(9 if crops else 4.5, 3), layout="constrained")
        grid = figure.add_gridspec(2, 4 + (len(crops) + 1) // 2)
        photo = figure.add_subplot(grid[:, :4])
        show_image(photo, image, title)
        photo.set_axis_off()
        for i, box in enumerate([*global_boxes, *local_boxes]):
            frame_box(photo, box, GLOBAL if i < G else LOCAL, labels[i], right=i < G)
        for i, crop in enumerate(crops):
            ax = figure.add_subplot(grid[i % 2, 4 + i // 2])
            show_image(ax, crop, labels[i])
            ax.set_axis_off()
    return figure


def frame_box(ax: Axes, box: Int64[Tensor, "4"], color: str, label: str, right: bool) -> None:
    """A frame around (top, left, height, width), its label in the upper left or right corner."""
    top, left, height, width = box.tolist()
    corner = (left - 0.5, top - 0.5)
    look: dict[str, Any] = {"fill": False, "color": color, "lw": 1.8, "path_effects": HALO}
    ax.add_patch(Rectangle(corner, width, height, **look))
    ax.annotate(
        label,
        (left + width - 1, top) if right else (left, top),
        xytext=(-3 if right else 3, -3),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=color,
        fontsize=9,
        path_effects=HALO,
    )


def restore(x: Float[Tensor, "n 3 H W"], crops: CropsConfig) -> Float[Tensor, "n 3 H W"]:
    """Back from what a net reads to [0, 1]."""
    mean, std = x.new_tensor(crops.rgb_mean), x.new_tensor(crops.rgb_std)
    return (x * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


def hide(images: Float[Tensor, "n 3 H W"], masks: Bool[Tensor, "n N"]) -> Float[Tensor, "n 3 H W"]:
    """Black squares where a patch is hidden (True) in square images."""
    side = round(masks.shape[1] ** 0.5)
    return covered(images, masks.unflatten(1, (side, side)), (0.0, 0.0, 0.0))


def batch_figure(batch: SSLBatch, crops: CropsConfig, pictures: int = 4) -> Figure:
    """One row per photo: 2 global crops for the teacher, 2 masked ones and L local ones for the
    student."""
    L = crops.local_crops_number
    seen = restore(batch.global_crops, crops)
    parts = [seen, hide(seen, batch.masks), restore(batch.local_crops, crops)]
    kinds = [x.unflatten(0, (-1, len(seen) // 2)) for x in parts]  # [2 or L, B, 3, g, g]
    rows = [[crop[b] for kind in kinds for crop in kind] for b in range(pictures)]
    titles = ["teacher 1", "teacher 2", "student 1", "student 2"]
    return rows_figure(rows, titles + [f"local {i + 1}" for i in range(L)], width=9)
