"""A loss curve taken apart: below, the entropy of the targets, which no student can get under; on
top of it the KL divergence, what the student still gets wrong. The upper edge is the loss.

DINO Sec. 5.3 and Fig. 7 plot the two parts; the official code plots nothing.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dinolite.viz.style import COLORS, style

Parts = tuple[Sequence[float], Sequence[float]]
"""(entropy of the target, KL divergence), one number a step."""


def loss_split_figure(runs: Mapping[str, Parts], start: float) -> Figure:
    """One panel per run, all on one scale; {"frozen teacher": (entropy, kl)}.

    Args:
        start: ln K, drawn as a dashed line.

    Raises:
        ValueError: there is no run, or its two parts differ in length.
    """
    if not runs:
        raise ValueError(f"{runs = } is empty; give at least one, as {{name: (entropy, kl)}}")
    with style():
        figure = plt.figure(figsize=(9, 2.8), layout="constrained")
        axes = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
        for ax, (name, (entropy, kl)) in zip(axes, runs.items(), strict=True):
            if len(entropy) != len(kl):
                raise ValueError(f"run {name!r}: {len(entropy)} entropies, {len(kl)} divergences")
            loss = [h + d for h, d in zip(entropy, kl, strict=True)]
            steps = range(len(loss))
            ax.fill_between(steps, entropy, color=COLORS[5], label="target entropy", lw=0)
            ax.fill_between(steps, entropy, loss, color=COLORS[4], label="KL", lw=0)
            ax.plot(steps, loss, color=COLORS[6], lw=1, label="loss")
            ax.axhline(start, color="gray", ls="--", lw=1, label="ln K")
            ax.set(title=name, xlabel="step", ylim=(0, None))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
