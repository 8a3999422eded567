"""Where the crops of a photograph were cut out: numbered frames on it, and the crops beside it.

SwAV Fig. 3 shows such views; the official code draws none.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float, Int64, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from dinolite.viz.style import COLORS, show_image, style

Picture = Float[Tensor, "3 _ _"] | UInt8[Tensor, "3 _ _"]
GLOBAL, LOCAL = COLORS[5], COLORS[4]  # bright enough for dark pictures
HALO = [withStroke(linewidth=3, foreground="black")]


def frame_box(
    ax: Axes, box: Int64[Tensor, "4"], color: str, label: str, right: bool = False
) -> None:
    """A frame around (top, left, height, width), its label in the upper left or right corner."""
    top, left, height, width = box.tolist()
    frame = Rectangle(
        (left - 0.5, top - 0.5), width, height, fill=False, color=color, lw=1.8, path_effects=HALO
    )
    ax.add_patch(frame)
    corner = (left + width - 1, top) if right else (left, top)
    ax.annotate(
        label,
        corner,
        xytext=(-3 if right else 3, -3),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=color,
        fontsize=9,
        path_effects=HALO,
    )


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

    Raises:
        ValueError: another number of crops.
    """
    boxes = [*global_boxes, *local_boxes]
    G, L = len(global_boxes), len(local_boxes)
    if len(crops) not in (0, len(boxes)):
        raise ValueError(f"{len(crops)} crops for {len(boxes)} boxes; give none, or one for each")
    labels = [f"G{i + 1}" for i in range(G)] + [str(i + 1) for i in range(L)]
    colors = [GLOBAL] * G + [LOCAL] * L
    columns = (len(crops) + 1) // 2
    with style():
        figure = plt.figure(figsize=(9 if crops else 4.5, 3), layout="constrained")
        grid = figure.add_gridspec(2, 4 + columns)
        photo = figure.add_subplot(grid[:, :4])
        show_image(photo, image, title)
        photo.set_axis_off()
        for box, label, color in zip(boxes, labels, colors, strict=True):
            frame_box(photo, box, color, label, right=color == GLOBAL)
        for i, (crop, label) in enumerate(zip(crops, labels, strict=False)):
            ax = figure.add_subplot(grid[i % 2, 4 + i // 2])
            show_image(ax, crop, label)
            ax.set_axis_off()
    return figure
