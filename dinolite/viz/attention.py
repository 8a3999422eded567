"""Where does the CLS token look? One map per head over the picture.

DINO Fig. 1, Sec. 4.2.2 "Probing the self-attention map"; not in the official DINOv3 code.
"""

import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.style import panels, show_image, show_map


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
    attentions: dict[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    query: int = 0,
) -> Figure:
    """One row per network: the picture, the mean over heads, then each head.

    Args:
        attentions: {"trained": ..., "untrained": ...}; all have the same number of heads.
    """
    check_layout(image, "image", one=True)
    heads = next(iter(attentions.values())).shape[0]
    figure, axes = panels(len(attentions), heads + 2, aspect=image.shape[1] / image.shape[2])
    for row, (name, attention) in zip(axes, attentions.items(), strict=True):
        maps = attention_grid(attention, grid, query)
        show_image(row[0], image, name)
        titles = ["mean of heads", *(f"head {i}" for i in range(heads))]
        shown = torch.cat([maps.mean(0, keepdim=True), maps])
        for ax, values, title in zip(row[1:], shown, titles, strict=True):
            show_map(ax, values, title, vmin=0)
    return figure
