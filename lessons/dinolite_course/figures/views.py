"""What one change at a time makes of a photograph, and which views of it are compared.

DINO Eq. (3) has the pairs of views; the official code draws neither.
"""

import math

import matplotlib.pyplot as plt
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import panels, show_image, style

Picture = Float[Tensor, "3 _ _"] | UInt8[Tensor, "3 _ _"]


def changes_figure(images: dict[str, Picture], columns: int = 5) -> Figure:
    """Pictures of one shape in rows, each under its name.

    Raises:
        ValueError: there is no picture, or no column.
    """
    if not images or columns < 1:
        raise ValueError(f"{len(images)} pictures, columns = {columns}; give at least one of each")
    rows = math.ceil(len(images) / columns)
    height, width = next(iter(images.values())).shape[1:]
    figure, axes = panels(rows, columns, aspect=height / width)
    with style():
        flat = [ax for row in axes for ax in row]
        for ax, (name, image) in zip(flat, images.items(), strict=False):
            show_image(ax, image, name)
    return figure


def meetings_figure(counted: Bool[Tensor, "t s"]) -> Figure:
    """One square per pair of a teacher's view (row) and a student's view (column), dark where the
    two are compared. The first t columns are the student's global crops, the others local ones.

    Raises:
        ValueError: fewer columns than rows.
    """
    t, s = counted.shape
    if s < t:
        raise ValueError(f"counted has shape {[t, s]}: the student has the teacher's {t} views too")
    with style():
        figure = plt.figure(figsize=(0.62 * s + 1.4, 0.62 * t + 0.9), layout="constrained")
        ax = figure.subplots()
        ax.grid(visible=False)
        ax.pcolormesh(counted.numpy().astype(float), cmap="Blues", vmin=0, vmax=1.3, edgecolors="w")
        ax.set(aspect="equal", title="student")
        ax.invert_yaxis()
        ax.xaxis.tick_top()
        names = [f"G{i + 1}" for i in range(t)] + [str(i + 1) for i in range(s - t)]
        ax.set_xticks([i + 0.5 for i in range(s)], names)
        ax.set_yticks([i + 0.5 for i in range(t)], [f"teacher G{i + 1}" for i in range(t)])
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
        for i in range(t):
            for j in range(s):
                if not counted[i, j]:
                    ax.text(j + 0.5, i + 0.5, "x", ha="center", va="center", color="#888888")
    return figure
