"""What is hidden: covered patches, their positions in a batch, how often each place is hidden, and
the prototypes that are guessed for them.

iBOT Sec. 3.1 (block-wise masks); official `data/masking.py` and `data/collate.py`, which draw
nothing.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float, Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, panels, show_map, style
from dinolite_course.figures.lines import look_of
from dinolite_course.figures.matrices import draw_squares
from dinolite_course.figures.rows import in_colors, rows_figure

COVER = (0.0, 0.45, 0.7)  # the first colour of the palette, rare in photographs


def covered(
    images: Float[Tensor, "*n 3 H W"] | UInt8[Tensor, "*n 3 H W"],
    masks: Bool[Tensor, "*n h w"],
    color: tuple[float, float, float] = COVER,
) -> Float[Tensor, "*n 3 H W"]:
    """Pictures in [0, 1] with a plain colour where the mask is True (hidden)."""
    pictures = images if images.is_floating_point() else images / 255
    down, across = (images.shape[i] // masks.shape[i] for i in (-2, -1))
    holes = masks.repeat_interleave(down, -2).repeat_interleave(across, -1)
    return pictures.where(~holes.unsqueeze(-3), pictures.new_tensor(color)[:, None, None])


def positions_figure(masks: Bool[Tensor, "n h w"], titles: Sequence[str]) -> Figure:
    """One grid for each crop, every patch with its position in the batch; hidden ones dark."""
    n, h, w = masks.shape
    figure, [axes] = panels(1, n, aspect=h / w)
    for crop, (ax, mask, title) in enumerate(zip(axes, masks, titles, strict=True)):
        numbers = [[str((crop * h + r) * w + c) for c in range(w)] for r in range(h)]
        draw_squares(ax, 1.0 - mask.float(), numbers, cmap="Blues_r", vmin=-0.2, vmax=1)
        ax.hlines([r - 0.5 for r in range(h + 1)], -0.5, w - 0.5, "#BBBBBB", lw=0.8)
        ax.vlines([c - 0.5 for c in range(w + 1)], -0.5, h - 0.5, "#BBBBBB", lw=0.8)
        ax.set_title(title, fontsize=9)
    return figure


def hidden_share_figure(runs: Mapping[str, Bool[Tensor, "n h w"]]) -> Figure:
    """How often each patch is hidden, one map per run on one scale, and the middle row as lines."""
    shares = {name: masks.float().mean(0) for name, masks in runs.items()}
    largest = max(share.max().item() for share in shares.values())
    figure, [row] = panels(1, len(runs) + 1)
    for ax, (name, share) in zip(row, shares.items(), strict=False):
        show_map(ax, share, name, HEAT, vmin=0, vmax=largest)
    with style():
        figure.colorbar(row[-2].images[0], ax=row[-2], shrink=0.8)
        row[-1].set_axis_on()
        for name, share in shares.items():
            row[-1].plot(share[len(share) // 2].tolist(), label=name, **look_of(list(shares))[name])
        row[-1].set(title="middle row", xlabel="column", ylim=(0, None))
        row[-1].legend()
    return figure


def assignments_figure(
    images: Float[Tensor, "n 3 H W"],
    masks: Bool[Tensor, "n h w"],
    choices: Mapping[str, Int64[Tensor, "n h w"]],
    width: float = 8.0,
) -> Figure:
    """One row per crop: the crop, what the student sees of it, and one map per entry of `choices`
    with the number of the prototype that is chosen for each patch. The same colour means the same
    prototype, in all maps; -1, no answer, is white.
    """
    columns = {"crop": images, "student sees": covered(images, masks)}
    columns |= {name: in_colors(numbers) for name, numbers in choices.items()}
    rows = [[column[i] for column in columns.values()] for i in range(len(images))]
    return rows_figure(rows, list(columns), width)
