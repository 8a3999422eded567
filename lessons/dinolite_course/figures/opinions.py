"""What a network says of one picture, step after step of a run: does it change its mind?

No counterpart in the papers or the official code.
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import HEAT, PIXELS, show_image, style


def opinions_figure(
    picture: Float[Tensor, "3 H W"] | UInt8[Tensor, "3 H W"],
    answers: Mapping[str, Float[Tensor, "steps K"]],
) -> Figure:
    """The picture, and a map per entry of {"momentum 0": [steps, K], ...}: a column per step, a row
    per prototype, the brighter the surer. All maps have one scale of colours, which ends at the
    value that one percent of the numbers exceed.

    Raises:
        ValueError: there are no answers.
    """
    if not answers:
        raise ValueError(f"{answers = } is empty; give at least one, as {{name: [steps, K]}}")
    values = torch.cat([matrix.detach().cpu().float().flatten() for matrix in answers.values()])
    top = float(values.quantile(0.99))
    with style():
        figure = plt.figure(figsize=(9, 2.6), layout="constrained")
        widths = [1.0, *[2.0] * len(answers)]
        first, *axes = figure.subplots(1, len(widths), width_ratios=widths)
        show_image(first, picture, "the picture")
        first.set_axis_off()
        for ax, (name, matrix) in zip(axes, answers.items(), strict=True):
            shown = matrix.detach().cpu().float().T.numpy()
            ax.imshow(shown, HEAT, vmin=0, vmax=top, aspect="auto", interpolation=PIXELS)
            ax.set(title=name, xlabel="step", yticks=[])
            ax.grid(visible=False)
        axes[0].set_ylabel("prototype")
    return figure
