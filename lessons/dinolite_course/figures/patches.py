"""Patches: the grid over a photograph with the number of every patch, the row of patches that the
grid becomes, and the kernels that read them.

DINOv3 Sec. 3.2 "Updated Model Architecture" (patches of 16 pixels); official
`layers/patch_embed.py::PatchEmbed`. The official code draws none of this.
"""

import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import panels, show_image, style, to_picture

LINE, PLATE, GAP = "white", "#000000B0", 0.12  # GAP: between patches of a row, in patches


def patch_grid_figure(
    image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"],
    patch_size: int,
    numbers: bool = True,
    width: float = 6.0,
) -> Figure:
    """The photograph under its grid; each patch with its number in reading order, if wanted.

    Raises:
        ValueError: height or width is not a multiple of `patch_size`.
    """
    height, breadth = image.shape[1:]
    if patch_size < 1 or height % patch_size or breadth % patch_size:
        raise ValueError(
            f"{patch_size = } does not divide the {height} x {breadth} pixels of the picture"
        )
    h, w = height // patch_size, breadth // patch_size
    figure, [[ax]] = panels(1, 1, width=width, aspect=height / breadth)
    with style():  # pixels stay squares
        show_image(ax, image)
    ax.hlines([r * patch_size - 0.5 for r in range(h + 1)], -0.5, breadth - 0.5, LINE, lw=1)
    ax.vlines([c * patch_size - 0.5 for c in range(w + 1)], -0.5, height - 0.5, LINE, lw=1)
    for n in range(h * w if numbers else 0):
        row, column = divmod(n, w)
        middle = (column + 0.5) * patch_size - 0.5, (row + 0.5) * patch_size - 0.5
        write_number(ax, n, middle, size=min(10.0, 26 * width / w))
    return figure


def write_number(ax: Axes, n: int, middle: tuple[float, float], size: float) -> None:
    """A white number on a dark plate, legible on any photograph."""
    plate = {"facecolor": PLATE, "edgecolor": "none", "pad": 1.5}
    ax.text(*middle, str(n), color="white", fontsize=size, ha="center", va="center", bbox=plate)


def sequence_figure(
    patches: Float[Tensor, "N 3 p p"] | UInt8[Tensor, "N 3 p p"], width: float = 9.0
) -> Figure:
    """Patches in one row from left to right, in the order given, each under its number.

    Raises:
        ValueError: there is no patch.
    """
    N = len(patches)
    if N < 1:
        raise ValueError("patches is empty; give at least one")
    figure, [[ax]] = panels(1, 1, width=width, aspect=1.3 / (N * (1 + GAP)))
    for n, patch in enumerate(patches):
        left = n * (1 + GAP)
        with style():
            ax.imshow(to_picture(patch).numpy(), extent=(left, left + 1, 0, 1))
        ax.text(left + 0.5, 1.1, str(n), fontsize=min(9.0, 26 * width / N), ha="center")
    ax.set(xlim=(0, N * (1 + GAP) - GAP), ylim=(0, 1.3))
    return figure


def kernels_figure(kernels: dict[str, Float[Tensor, "n 3 p p"]], width: float = 9.0) -> Figure:
    """One row of kernels per name, all rows equally long. Grey is 0; each kernel is scaled by
    its own largest weight, so colours compare within a kernel, not between kernels.

    Raises:
        ValueError: no row, or rows of different lengths.
    """
    counts = {name: len(row) for name, row in kernels.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"kernels has rows of {counts}; give one row or more, equally long")
    figure, axes = panels(len(kernels), next(iter(counts.values())), width=width)
    for line, (name, row) in zip(axes, kernels.items(), strict=True):
        largest = row.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
        pictures = 0.5 + row.detach() / (2 * largest.clamp(min=torch.finfo(row.dtype).tiny))
        for i, (ax, picture) in enumerate(zip(line, pictures, strict=True)):
            show_image(ax, picture, f"{name} {i}")
    return figure
