"""Pictures side by side, each under its name: before and after, right and wrong.

No counterpart in the paper or the official code.
"""

from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import panels, show_image, style


def compare_figure(
    images: dict[str, Float[Tensor, "3 _ _"] | UInt8[Tensor, "3 _ _"]], width: float = 9.0
) -> Figure:
    """One row of pictures, floats in [0, 1] or uint8, their sizes may differ.

    Raises:
        ValueError: there is no picture.
    """
    if not images:
        raise ValueError(f"{images = } is empty; give at least one, as {{name: picture}}")
    aspect = max(image.shape[1] / image.shape[2] for image in images.values())
    figure, axes = panels(1, len(images), width=width, aspect=aspect)
    with style():  # pixels stay squares
        for ax, (name, image) in zip(axes[0], images.items(), strict=True):
            show_image(ax, image, name)
    return figure
