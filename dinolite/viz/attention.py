"""Where does the CLS token look? One map per head over the picture.

DINO Fig. 1, Sec. 4.2.2 "Probing the self-attention map"; not in the official DINOv3 code.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.similarity import frame_patch
from dinolite.viz.style import LEFT, color_scale, largest, name_row, panels, show_image, show_over


def attention_grid(
    attention: Float[Tensor, "h T T"], grid: tuple[int, int], query: int = 0
) -> Float[Tensor, "h rows cols"]:
    """Attention of one query token to the patches, on their grid.

    Args:
        attention: probabilities (query, key); the last rows x cols tokens are the patches, before
            them stand CLS and the storage tokens.
        query: number of the query among all T tokens; 0 = CLS.

    Raises:
        ValueError: the grid has no patches or more than there are tokens after CLS, or there is no
            such query.
    """
    (rows, cols), T = grid, attention.shape[-1]
    if min(grid) < 1 or rows * cols >= T:
        raise ValueError(f"grid {rows} x {cols} does not fit into {T} tokens")
    if not 0 <= query < T:
        raise ValueError(f"query = {query} must be at least 0 and below {T}, the number of tokens")
    return attention[:, query, -rows * cols :].unflatten(1, grid)


def attention_figure(
    image: UInt8[Tensor, "3 H W"],
    attentions: Mapping[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    query: int = 0,
    title: str = "",
    width: float = 10.0,
) -> Figure:
    """One row per network: the photograph, then the attention of the query token over it, as mean
    of the heads and of each head. All have one scale, from 0 to the 99 % quantile of all maps.

    Args:
        attentions: {"untrained": ..., "trained": ...}; all have the same number of heads.
        query: number of the token as in `attention_grid`; a patch is framed.
        title: what is seen, in a sentence.
    """
    check_layout(image, "image", one=True)
    every = {name: attention_grid(a, grid, query) for name, a in attentions.items()}
    every = {name: torch.cat([m.mean(0, keepdim=True), m]) for name, m in every.items()}
    first_patch = next(iter(attentions.values())).shape[-1] - grid[0] * grid[1]
    columns, patch = next(iter(every.values())).shape[0] + 1, query - first_patch
    aspect = image.shape[1] / image.shape[2]
    figure, axes = panels(len(every), columns, width, aspect, title, gap=0.12, left=LEFT)
    vmax = largest(every.values())
    for row, (name, maps) in zip(axes, every.items(), strict=True):
        show_image(row[0], image)
        name_row(row[0], name)
        for i, (ax, values) in enumerate(zip(row[1:], maps, strict=True)):
            words = f"head {i - 1}" if i else "mean of heads"
            show_over(ax, image, values, words if row is axes[0] else "", vmax=vmax)
        if patch >= 0:
            frame_patch(row[0], divmod(patch, grid[1]), grid)
    color_scale(figure, axes, vmax, "attention")
    return figure
