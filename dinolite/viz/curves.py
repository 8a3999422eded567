"""How a run went: losses, target entropy beside its floor, k-NN, feature spread, gradient norms.

DINO Fig. 7 (what collapse looks like in the entropy); the official code plots nothing.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dinolite.metrics import MACHINE
from dinolite.viz.style import style

Log = dict[str, list[tuple[int, float]]]
"""For each logged name the (iteration, value) pairs."""

PLOTS = {
    "loss": ["total_loss", "dino_global_crops_loss", "dino_local_crops_loss", "ibot_loss"],
    "target entropy (nats)": [
        "dino_target_entropy",
        "dino_entropy_floor",
        "ibot_target_entropy",
        "ibot_entropy_floor",
    ],
    "k-NN (%)": ["knn"],
    "feature spread and KoLeo": ["feature_spread", "koleo_loss", "gram_loss"],
    "gradient norm": ["grad_norm/backbone", "grad_norm/dino_head", "grad_norm/ibot_head"],
    "learning rate": ["lr"],
}


def read_log(path: Path) -> Log:
    """The numbers of a `metrics.jsonl`, without seconds and memory, in which equal runs differ; a
    half-written last line is left out."""
    log: Log = {}
    for line in path.read_text("utf8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        for name, value in values.items():
            if name != "iteration" and not name.startswith(MACHINE):
                log.setdefault(name, []).append((values["iteration"], value))
    return log


def curves_figure(log: Log, baselines: dict[str, float] | None = None) -> Figure:
    """Six small plots over iterations.

    Args:
        baselines: horizontal lines in the k-NN plot, {"raw pixels": 28.0, ...}, in percent.
    """
    with style():
        figure = plt.figure(figsize=(9, 5), layout="constrained")
        axes: list[Axes] = figure.subplots(2, 3).ravel().tolist()
        for ax, (title, names) in zip(axes, PLOTS.items(), strict=True):
            for name in [n for n in names if n in log]:
                x, y = zip(*log[name], strict=True)
                label = name.removeprefix("grad_norm/").replace("_", " ")
                dash = ":" if name.endswith("floor") else "-"
                ax.plot(x, y, dash, label=label, marker="o" if len(x) < 8 else None, ms=3, lw=1.2)
            if title.startswith("k-NN"):
                for i, (name, value) in enumerate((baselines or {}).items()):
                    ax.axhline(value, ls=("--", ":")[i % 2], color="gray", lw=1, label=name)
            if title == "gradient norm":
                ax.set_yscale("log")
            ax.set_title(title)
            ax.set_xlabel("iteration")
            if len(ax.get_legend_handles_labels()[1]) > 1:
                ax.legend(fontsize=7)
    return figure
