"""How long are the patch vectors of each layer, and do a few stand far out?

"Vision Transformers Need Registers" Sec. 2.1 and Fig. 3, 4; DINOv3 App. A.1 and Fig. 20. The
official code draws none of it.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import style


def norms_figure(
    norms: Mapping[str, Sequence[Float[Tensor, "_"]]], limit: float = 3.0, high: float = 6.0
) -> Figure:
    """A panel per layer with a histogram per network, in units of the median of that layer; counts
    are logarithmic, so that a single vector can be seen. The dotted line marks `limit` medians.

    Args:
        norms: {"untrained": [layer 0, layer 1, ...], ...}, lengths of all patch vectors.
        high: end of the axis; longer ones are counted in the last bin.

    Raises:
        ValueError: there is no network, or they have different numbers of layers.
    """
    counts = {len(layers) for layers in norms.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"norms has {sorted(counts)} layers; wanted is the same number for all")
    n_layers = counts.pop()
    with style():
        figure = plt.figure(figsize=(9, 2.2), layout="constrained")
        axes = figure.subplots(1, n_layers, squeeze=False, sharey=True)[0]
        for i, ax in enumerate(axes):
            for name, layers in norms.items():
                x = layers[i].detach().cpu().float().flatten()
                shown = (x / x.median()).clamp(max=high - 1e-3)
                bins = torch.linspace(0, high, 49).tolist()
                ax.hist(shown.numpy(), bins=bins, histtype="step", label=name, linewidth=1.5)
            ax.axvline(limit, color="black", ls=":", lw=1)
            ax.set(title=f"layer {i}", xlabel="length / median", yscale="log", xlim=(0, high))
        axes[0].set_ylabel("patches")
        axes[-1].legend(loc="upper right")
    return figure
