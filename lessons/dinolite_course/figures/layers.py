"""All heads of all layers at once: where one token looks, a row per head, a column per layer.

DINO Sec. 4.2.2 (heads of the last layer); the official DINOv3 code draws no attention.
"""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.attention import attention_grid
from dinolite.viz.style import panels, show_image, show_map, style
from dinolite_course.figures.queries import frame_patch


def layers_figure(
    image: UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"],
    attentions: Mapping[str, Sequence[Float[Tensor, "h T T"]]],
    grid: tuple[int, int],
    query: int = 0,
    width: float = 7.0,
) -> Figure:
    """Per network a row for each head: the picture, then layer 0, 1, ... Over a map stand layer and
    head, "2.0" for head 0 of layer 2, and its largest weight in even shares: an even look at all T
    tokens gives 1. Scales begin at 0.

    Args:
        attentions: {"untrained": one map per layer, ...}; all have as many layers and heads.
        query: number of the query among all T tokens; 0 = CLS. A patch is framed.

    Raises:
        ValueError: there is no network or no layer, or as in `attention_grid`.
    """
    if not attentions or not all(attentions.values()):
        raise ValueError("attentions is empty; give {name: [layer 0, layer 1, ...]}")
    layers = next(iter(attentions.values()))
    heads, T = layers[0].shape[:2]
    size = (image.shape[1], image.shape[2])
    row, column = divmod(query - (T - grid[0] * grid[1]), grid[1])
    aspect = size[0] / size[1]
    figure, axes = panels(heads * len(attentions), 1 + len(layers), width=width, aspect=aspect)
    names = [(name, head) for name in attentions for head in range(heads)]
    with style():
        for line, (name, head) in zip(axes, names, strict=True):
            if head == 0:
                show_image(line[0], image, name)
            for i, attention in enumerate(attentions[name]):
                values = attention_grid(attention, grid, query)[head]
                title = f"{i}.{head}, max {T * values.max():.1f}"
                show_map(line[1 + i], values, title, vmin=0)
            for ax in line if row >= 0 else []:
                if ax.images:
                    shape = size if ax is line[0] else grid
                    frame_patch(ax, shape, grid, row, column)
    return figure
