"""A run as it goes: what to watch, and a picture in the notebook that is redrawn while it trains.

DINO Fig. 7 plots the entropy of the targets like this; the official code plots nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from dinolite.viz.curves import Log
from dinolite.viz.style import png_bytes
from dinolite_course.figures.lines import lines_figure

LOSSES = {
    "dino_local_crops_loss": "loss, local",
    "dino_global_crops_loss": "loss, global",
    "dino_target_entropy": "target entropy",
}
NORMS = {
    f"grad_norm/{part}": part.replace("_", " ") for part in ("backbone", "dino_head", "ibot_head")
}


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
    losses = labelled(log, LOSSES) | {"ln K": math.log(n_prototypes), "entropy floor": floor}
    panels = {
        "DINO (nats)": losses,
        "k-NN (%)": labelled(log, {"knn": "k-NN"}) | dict(baselines or {}),
        "gradient norm": labelled(log, NORMS) | {"limit": clip},
    }
    figure = lines_figure(panels, xlabel="iteration", log=["gradient norm"])
    figure.axes[0].set_ylim(0, None)
    return figure


def labelled(log: Log, names: Mapping[str, str]) -> dict[str, tuple[list[int], list[float]]]:
    """Of each name that is logged the line, under its label."""
    found = {label: log[name] for name, label in names.items() if name in log}
    return {label: ([i for i, _ in line], [v for _, v in line]) for label, line in found.items()}


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
