"""What a second of training buys: k-NN against seconds of the recipe `demo`, beside raw pixels and
the untrained net. Evaluation does not count as training.

    python -m benchmarks.learning [RECIPE] [section.key=value ...]
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from benchmarks.record import Table, device, print_table, run
from benchmarks.timing import synchronize
from dinolite.config import load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.eval.knn import best_pixel_knn
from dinolite.eval.online import KnnMonitor, evaluation_pictures
from dinolite.train.run_folder import data_settings
from dinolite.train.state import make_state
from dinolite.train.train import train_step

POINTS = 10


def measure(recipe: str = "demo", overrides: list[str] | None = None) -> Table:
    """k-NN in percent at ten points of a run."""
    config = load_config(recipe, overrides or [])
    state = make_state(config, device())
    data = load_pictures(split="train", **data_settings(config))
    monitor, pictures = KnnMonitor(config, data, state.device), evaluation_pictures(config, data)
    if pictures is None:
        raise ValueError(f"recipe = {recipe}: its pictures have no labels; choose one whose have")
    net = state.model.teacher["backbone"]
    rows, seconds, every = [[0, 0.0, monitor(net)["knn"]]], 0.0, config.train.iterations // POINTS
    start = time.perf_counter()
    for batch in ssl_batches(data, config, state.device):
        train_step(state, batch)
        if state.iteration % every == 0:
            synchronize()
            seconds += time.perf_counter() - start
            rows.append([state.iteration, seconds, monitor(net)["knn"]])
            start = time.perf_counter()
    bank, queries = pictures
    k = config.evaluation.knn_k
    pixels = best_pixel_knn(bank, bank.labels, queries, queries.labels, ks=(k,)).accuracy
    sizes = f"recipe {recipe}, {len(bank)} -> {len(queries)} pictures, seed {config.train.seed}"
    note = f"best of raw pixels: {100 * pixels:.1f} %; chance {100 / len(bank.classes):.1f} %"
    name = "learning" if recipe == "demo" else f"learning {recipe}"
    return Table(name, sizes, ["iteration", "seconds", "k-NN %"], rows, note)


def main(
    recipe: str = "demo",
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    print_table(measure(recipe, overrides))


if __name__ == "__main__":
    run(main)
