"""Two views of one photograph and lines between patches that chose each other: green where the
place is right, orange where it is not.

DINOv3 Sec. 6.1.3 measures such matches; the official code draws none.
"""

from collections.abc import Mapping

from jaxtyping import Bool, Int64, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from torch import Tensor

from dinolite.viz.style import panels, show_image, style

RIGHT, WRONG = "#009E73", "#D55E00"
Pairs = tuple[Int64[Tensor, " P"], Int64[Tensor, " P"], Bool[Tensor, " P"]]
"""Patch of a, patch of b, is it right?"""


def correspondences_figure(
    a: UInt8[Tensor, "3 H W"],
    b: UInt8[Tensor, "3 H W"],
    pairs: Mapping[str, Pairs],
    grid: tuple[int, int],
    every: int = 4,
    width: float = 9.0,
) -> Figure:
    """Per network the two views side by side, with a line for each `every`-th pair; the title
    counts all of them, right / pairs.

    Raises:
        ValueError: there is no network, or `every` is below 1.
    """
    if not pairs or every < 1:
        raise ValueError(f"pairs has {len(pairs)} entries, {every = }; both must be at least 1")
    height, w = a.shape[1] / grid[0], a.shape[2] / grid[1]
    figure, axes = panels(1, 2 * len(pairs), width=width, aspect=a.shape[1] / a.shape[2])
    with style():
        for k, (name, (start, end, good)) in enumerate(pairs.items()):
            left, right = axes[0][2 * k : 2 * k + 2]
            show_image(left, a, name)
            show_image(right, b, f"{int(good.sum())} / {len(good)}")
            drawn = [start[::every].tolist(), end[::every].tolist(), good[::every].tolist()]
            for i, j, ok in zip(*drawn, strict=True):
                ends = [((n % grid[1] + 0.5) * w, (n // grid[1] + 0.5) * height) for n in (i, j)]
                line = ConnectionPatch(
                    ends[0], ends[1], coordsA="data", coordsB="data", axesA=left, axesB=right
                )
                line.set_color(RIGHT if ok else WRONG)
                line.set(linewidth=0.8)
                line.set_in_layout(False)
                figure.add_artist(line)
    return figure
