"""The game of hidden words in pictures: a number per patch beside the crop with its holes, and the
prototypes that teacher and student choose for the patches.

iBOT Sec. 3.1 (the loss shown here); the official code draws nothing.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from jaxtyping import Bool, Float, Int64
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, PIXELS, panels, show_image, show_map, style
from dinolite_course.figures.masks import covered

PALETTE = "tab20"
N_COLORS = 20
NO_ANSWER = -1


def patch_maps_figure(
    image: Float[Tensor, "3 H W"],
    mask: Bool[Tensor, "h w"],
    maps: Mapping[str, Float[Tensor, "h w"]],
    width: float = 9.0,
) -> Figure:
    """The crop with its hidden patches covered, and maps of numbers >= 0 on one colour scale.

    Raises:
        ValueError: there is no map.
    """
    if not maps:
        raise ValueError(f"{maps = } is empty; give at least one, as {{name: [h, w]}}")
    largest = max(values.max().item() for values in maps.values())
    figure, [row] = panels(1, 1 + len(maps), width=width)
    with style():
        show_image(row[0], covered(image, mask), "what the student sees")
        for ax, (name, values) in zip(row[1:], maps.items(), strict=True):
            show_map(ax, values, name, HEAT, vmin=0, vmax=largest)
        figure.colorbar(row[-1].images[0], ax=row[-1], shrink=0.8)
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

    Raises:
        ValueError: there are no choices, or a number that has no colour.
    """
    if not choices:
        raise ValueError(f"{choices = } is empty; give at least one, as {{name: [n, h, w]}}")
    for name, numbers in choices.items():
        low, high = int(numbers.min()), int(numbers.max())
        if low < NO_ANSWER or high >= N_COLORS:
            raise ValueError(
                f"choices[{name!r}] has numbers from {low} to {high}; allowed are -1 (no answer) "
                f"to {N_COLORS - 1}"
            )
    figure, rows = panels(len(images), 2 + len(choices), width=width)
    with style():
        for i, row in enumerate(rows):
            show_image(row[0], images[i], "crop" if i == 0 else "")
            show_image(row[1], covered(images[i], masks[i]), "student sees" if i == 0 else "")
            for ax, (name, numbers) in zip(row[2:], choices.items(), strict=True):
                colors = plt.get_cmap(PALETTE)(numbers[i].cpu().numpy())
                colors[numbers[i].cpu().numpy() == NO_ANSWER] = 1.0
                ax.imshow(colors, interpolation=PIXELS)
                ax.set_title(name if i == 0 else "", fontsize=9)
    return figure
