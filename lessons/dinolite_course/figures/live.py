"""A run as it goes: what to watch, and a picture in the notebook that is redrawn while it trains.

DINO Fig. 7 plots the entropy of the targets like this; the official code plots nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dinolite.viz.curves import Log
from dinolite.viz.style import png_bytes, style

LOSSES = {
    "dino_local_crops_loss": "loss, local",
    "dino_global_crops_loss": "loss, global",
    "dino_target_entropy": "target entropy",
}
NORMS = ("grad_norm/backbone", "grad_norm/dino_head", "grad_norm/ibot_head")
KNN = "knn"


def run_figure(
    log: Log,
    n_prototypes: int,
    floor: float,
    clip: float,
    baselines: Mapping[str, float] | None = None,
) -> Figure:
    """Three panels: DINO losses and target entropy between ln K and the entropy floor; k-NN beside
    what it should beat; gradient norms before clipping beside the limit.

    Args:
        log: (iteration, value) pairs by logged name, as of `read_log`; names may be missing.
        n_prototypes: K.
        floor: entropy floor of the DINO targets.
        clip: limit of the gradient norms.
        baselines: level lines in the k-NN panel, {"raw pixels": 28.0}, in percent.
    """
    with style():
        figure = plt.figure(figsize=(9, 3.1), layout="constrained")
        losses, knn, norms = figure.subplots(1, 3)
        for name, label in LOSSES.items():
            draw(losses, log, name, label)
        losses.axhline(math.log(n_prototypes), ls="--", color="gray", lw=1, label="ln K")
        losses.axhline(floor, ls=":", color="black", lw=1.2, label="entropy floor")
        losses.set(title="DINO (nats)", ylim=(0, None))
        draw(knn, log, KNN, "k-NN")
        for i, (label, value) in enumerate((baselines or {}).items()):
            knn.axhline(value, ls=("--", ":", "-.")[i % 3], color="gray", lw=1, label=label)
        knn.set(title="k-NN (%)")
        for name in NORMS:
            draw(norms, log, name, name.removeprefix("grad_norm/").replace("_", " "))
        norms.axhline(clip, ls="--", color="gray", lw=1, label="limit")
        norms.set(title="gradient norm", yscale="log")
        for ax in (losses, knn, norms):
            ax.set_xlabel("iteration")
            if ax.lines:  # between the entropy and its floor is room
                ax.legend(fontsize=7, loc="center right" if ax is losses else "best")
    return figure


def draw(ax: Axes, log: Log, name: str, label: str) -> None:
    """The line of a logged name; points where there are few."""
    if name in log:
        x, y = zip(*log[name], strict=True)
        ax.plot(x, y, marker="o" if len(x) < 12 else None, ms=4, lw=1.2, label=label)


class LiveFigure(widgets.VBox):
    """A picture that code replaces while it works: show it in one cell, `update` it in the next.

    No Output widget is used, so a stored notebook and nbval see a fixed text only.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.words = widgets.HTML(f"<pre>{title}: nothing drawn yet</pre>")
        self.image = widgets.Image(
            format="png", layout=widgets.Layout(display="none", max_width="100%")
        )
        super().__init__([self.words, self.image])

    def update(self, figure: Figure) -> None:
        """Draw this instead of what was drawn before."""
        self.image.value = png_bytes(figure)  # and closed, or Jupyter shows it once more
        self.image.layout.display = ""
        self.words.layout.display = "none"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live view; where nothing is live, a fixed text, and the picture if there is one."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        bundle["text/plain"] = f"live figure: {self.title}"
        if self.image.value:
            bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle
