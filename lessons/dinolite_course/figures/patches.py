"""Patches and tokens: the grid over a photograph, the row of patches that it becomes, the kernels
that read them, and the sequence that enters the blocks.

DINOv3 Sec. 3.2 "Updated Model Architecture" (patches of 16 pixels); official
`layers/patch_embed.py` and `models/vision_transformer.py::prepare_tokens_with_masks`, which draw
nothing.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from dinolite.viz.style import COLORS, HEAT, panels, show_image, style, to_picture
from dinolite_course.figures.rows import rows_figure

PLATE, GAP = "#000000B0", 0.12  # behind numbers; between patches of a row, in patches
KINDS = {"CLS": COLORS[1], "register": COLORS[2], "patch": COLORS[5], "hidden patch": COLORS[6]}


def patch_grid_figure(
    image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"], patch_size: int, width: float = 6.0
) -> Figure:
    """The photograph under its grid, each patch with its number in reading order."""
    height, breadth = image.shape[1:]
    h, w = height // patch_size, breadth // patch_size
    figure, [[ax]] = panels(1, 1, width=width, aspect=height / breadth)
    show_image(ax, image)
    ax.hlines([r * patch_size - 0.5 for r in range(h + 1)], -0.5, breadth - 0.5, "white", lw=1)
    ax.vlines([c * patch_size - 0.5 for c in range(w + 1)], -0.5, height - 0.5, "white", lw=1)
    plate = {"facecolor": PLATE, "edgecolor": "none", "pad": 1.5}
    look = {"color": "white", "fontsize": min(10.0, 26 * width / w), "ha": "center", "va": "center"}
    for n in range(h * w):
        row, column = divmod(n, w)
        middle = (column + 0.5) * patch_size - 0.5, (row + 0.5) * patch_size - 0.5
        ax.text(*middle, str(n), bbox=plate, **look)
    return figure


def sequence_figure(
    patches: Float[Tensor, "N 3 p p"] | UInt8[Tensor, "N 3 p p"], width: float = 9.0
) -> Figure:
    """Patches in one row from left to right, in the order given, each under its number."""
    N = len(patches)
    figure, [[ax]] = panels(1, 1, width=width, aspect=1.3 / (N * (1 + GAP)))
    for n, patch in enumerate(patches):
        left = n * (1 + GAP)
        extent = (left, left + 1, 0, 1)
        ax.imshow(to_picture(patch).numpy(), extent=extent, interpolation="nearest")
        ax.text(left + 0.5, 1.1, str(n), fontsize=min(9.0, 26 * width / N), ha="center")
    ax.set(xlim=(0, N * (1 + GAP) - GAP), ylim=(0, 1.3))
    return figure


def kernels_figure(kernels: Mapping[str, Float[Tensor, "n 3 p p"]], width: float = 9.0) -> Figure:
    """One row of kernels per name, all rows equally long. Grey is 0; each kernel is scaled by
    its own largest weight, so colours compare within a kernel, not between kernels."""
    rows = {}
    for name, row in kernels.items():
        largest = row.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
        rows[name] = 0.5 + row.detach() / (2 * largest.clamp(min=torch.finfo(row.dtype).tiny))
    return rows_figure(rows, width=width)


def token_kinds(T: int, registers: int, masks: Bool[Tensor, " N"] | None = None) -> list[str]:
    """What stands at each of T places, one of `KINDS`: CLS, the R storage tokens, and patches, of
    which those are hidden where `masks` is True."""
    hidden = [False] * (T - 1 - registers) if masks is None else masks.tolist()
    patches = ["hidden patch" if is_hidden else "patch" for is_hidden in hidden]
    return ["CLS", *["register"] * registers, *patches]


def token_strip_figure(
    tokens: Float[Tensor, "T D"],
    registers: int,
    masks: Bool[Tensor, " N"] | None = None,
    width: float = 9.0,
) -> Figure:
    """Above, a cell per token in the colour of its kind; below, the numbers of each token as a
    column. Arguments as in `token_kinds`."""
    kinds, names = token_kinds(len(tokens), registers, masks), list(KINDS)
    codes = [[names.index(kind) for kind in kinds]]
    with style():
        figure = plt.figure(figsize=(width, 2.4), layout="constrained")
        strip, matrix = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
        colors = ListedColormap(list(KINDS.values()))
        strip.imshow(codes, cmap=colors, vmin=0, vmax=len(KINDS) - 1, aspect="auto")
        strip.vlines([i + 0.5 for i in range(len(tokens) - 1)], -0.5, 0.5, "white", lw=0.8)
        matrix.imshow(tokens.detach().cpu().float().T.numpy(), cmap=HEAT, aspect="auto")
        matrix.set(xlabel="token", ylabel="channel")
        for ax in (strip, matrix):
            ax.grid(False)
        strip.set_yticks([])
        handles = [Patch(color=KINDS[name], label=name) for name in names if name in kinds]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure
