"""The sequence that enters the blocks as a strip of coloured cells, and where each of the tokens
that stand for no patch looks.

Official `models/vision_transformer.py::prepare_tokens_with_masks` makes the sequence; "Vision
Transformers Need Registers" Fig. 9 has such attention maps. The official code draws none of this.
"""

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from dinolite.viz.attention import attention_grid
from dinolite.viz.style import COLORS, HEAT, panels, show_image, show_map, style

KINDS = {"CLS": COLORS[1], "register": COLORS[2], "patch": COLORS[5], "hidden patch": COLORS[6]}


def token_kinds(T: int, registers: int, masks: Bool[Tensor, " N"] | None = None) -> list[str]:
    """What stands at each of T places: one of `KINDS`.

    Args:
        registers: R, the number of storage tokens.
        masks: True = hidden; one entry per patch.

    Raises:
        ValueError: no place is left for a patch, or masks and patches differ in number.
    """
    N = T - 1 - registers
    if registers < 0 or N < 1:
        raise ValueError(f"{registers = } must be at least 0 and leave patches among {T} tokens")
    if masks is not None and masks.shape != (N,):
        raise ValueError(f"masks has shape {list(masks.shape)}; there are [{N}] patches")
    hidden = [False] * N if masks is None else masks.tolist()
    patches = ["hidden patch" if is_hidden else "patch" for is_hidden in hidden]
    return ["CLS", *["register"] * registers, *patches]


def token_strip_figure(
    tokens: Float[Tensor, "T D"],
    registers: int,
    masks: Bool[Tensor, " N"] | None = None,
    width: float = 9.0,
) -> Figure:
    """Above, a cell per token in the colour of its kind; below, the numbers of each token as a
    column. Arguments as in `token_kinds`.
    """
    kinds, names = token_kinds(len(tokens), registers, masks), list(KINDS)
    shown = [name for name in names if name in kinds]
    codes = torch.tensor([[names.index(kind) for kind in kinds]])
    with style():
        figure = plt.figure(figsize=(width, 2.4), layout="constrained")
        strip, matrix = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
        colors = ListedColormap(list(KINDS.values()))
        strip.imshow(codes.numpy(), cmap=colors, vmin=0, vmax=len(KINDS) - 1, aspect="auto")
        strip.vlines([i + 0.5 for i in range(len(tokens) - 1)], -0.5, 0.5, "white", lw=0.8)
        matrix.imshow(tokens.detach().cpu().float().T.numpy(), cmap=HEAT, aspect="auto")
        matrix.set(xlabel="token", ylabel="channel")
        for ax in (strip, matrix):
            ax.grid(False)
        strip.set_yticks([])
        handles = [Patch(color=KINDS[name], label=name) for name in shown]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(shown))
    return figure


def prefix_attention_figure(
    image: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"],
    attentions: dict[str, Float[Tensor, "h T T"]],
    grid: tuple[int, int],
    width: float = 9.0,
) -> Figure:
    """One row per network: the picture, then how CLS and each register look at the patches, mean
    over heads. Each map has its own colours, from 0 to its largest weight; the title has that
    weight in even shares (an even look at all T tokens gives 1).
    """
    T = next(iter(attentions.values())).shape[-1]
    first = T - grid[0] * grid[1]
    names = ["CLS", *(f"reg {i}" for i in range(first - 1))]
    aspect = image.shape[1] / image.shape[2]
    figure, axes = panels(len(attentions), 1 + len(names), width=width, aspect=aspect)
    with style():  # pixels stay squares
        for line, (network, attention) in zip(axes, attentions.items(), strict=True):
            show_image(line[0], image, network)
            for token, name in enumerate(names):
                values = attention_grid(attention, grid, token).mean(0)
                title = f"{name}, max {T * values.max():.1f}"
                show_map(line[1 + token], values, title, vmin=0)
    return figure
