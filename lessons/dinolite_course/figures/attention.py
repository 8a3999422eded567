"""Where tokens look: maps of attention by head, by layer and by token, and attention rollout.

DINO Sec. 4.2.2 (attention maps per head); "Vision Transformers Need Registers" Fig. 9; not in the
official DINOv3 code.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.attention import attention_grid
from dinolite_course.figures.rows import Panel, Picture, draw_panels, frame_patch


def patch_token(T: int, grid: tuple[int, int], row: int, column: int) -> int:
    """Number of patch (row, column) among all T tokens: the patches are the last rows x cols."""
    return T - grid[0] * grid[1] + row * grid[1] + column


def query_attention_figure(
    image: Picture,
    attentions: Mapping[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    query: int = 0,
    scale: str = "positive",
) -> Figure:
    """One row per network: the picture, then where the query token looks, head by head.

    A query that is a patch is framed. The number above a map is its largest weight, counted in
    even shares: an even look at all T tokens gives 1.

    Args:
        query: number of the query among all T tokens; 0 = CLS. `patch_token` finds a patch.
        scale: as in `compare_figure`.
    """
    rows = [
        [
            (name, image),
            *titled(attention, grid, {f"head {i}": (i, query) for i in range(len(attention))}),
        ]
        for name, attention in attentions.items()
    ]
    T = next(iter(attentions.values())).shape[-1]
    return draw_framed(rows, grid, query - (T - grid[0] * grid[1]), scale=scale)


def prefix_attention_figure(
    image: Picture,
    attentions: Mapping[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    width: float = 9.0,
) -> Figure:
    """One row per network: the picture, then how CLS and each register look at the patches, mean
    over heads; scales and numbers as in `query_attention_figure`."""
    rows: list[list[tuple[str, Panel]]] = []
    for name, attention in attentions.items():
        registers = attention.shape[-1] - 1 - grid[0] * grid[1]
        tokens = {"CLS": (0, 0)} | {f"reg {i}": (0, 1 + i) for i in range(registers)}
        mean = attention.mean(dim=0, keepdim=True)
        rows.append([(name, image), *titled(mean, grid, tokens)])
    return draw_framed(rows, grid, -1, width)


def titled(
    attention: Float[Tensor, "h T T"], grid: tuple[int, int], shown: Mapping[str, tuple[int, int]]
) -> list[tuple[str, Panel]]:
    """The map of each (head, query), under its name and its largest weight in even shares."""
    T, found = attention.shape[-1], []
    for name, (head, query) in shown.items():
        values = attention_grid(attention, grid, query)[head]
        found.append((f"{name}, max {T * values.max():.1f}", values))
    return found


def draw_framed(
    rows: Sequence[Sequence[tuple[str, Panel]]],
    grid: tuple[int, int],
    patch: int,
    width: float | None = None,
    scale: str = "positive",
) -> Figure:
    """The rows, with a frame around one patch in each panel, unless its number is below 0."""
    figure, axes = draw_panels(rows, scale, width)
    for ax in [ax for line in axes for ax in line] if patch >= 0 else []:
        frame_patch(ax, divmod(patch, grid[1]), grid)
    return figure


def attention_rollout(maps: Sequence[Float[Tensor, "B h T T"]]) -> Float[Tensor, "B T T"]:
    """Shares of the input tokens (columns) in each output token (rows); every row sums to 1.

    Args:
        maps: one per layer, the first layer first, as from `get_attention_maps`.

    Raises:
        ValueError: there is no map, or they differ in shape.
    """
    if not maps or any(m.shape != maps[0].shape for m in maps):
        shapes = [list(m.shape) for m in maps]
        raise ValueError(f"maps has shapes {shapes}; wanted is one shape [B, h, T, T] or more")
    T = maps[0].shape[-1]
    identity = torch.eye(T, dtype=maps[0].dtype, device=maps[0].device)
    shares = identity.expand(len(maps[0]), T, T)
    for attention in maps:
        layer = (attention.mean(dim=1) + identity) / 2
        shares = layer @ shares
    return shares
