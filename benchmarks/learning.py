"""What a second of training buys: k-NN against seconds of the recipe `demo`, beside raw pixels and
the untrained net. Evaluation does not count as training.

    python -m benchmarks.learning [RECIPE] [section.key=value ...]
"""

from __future__ import annotations

import time

from benchmarks.record import Table, print_table, start
from benchmarks.runs import Overrides, Recipe, open_recipe, table_name
from benchmarks.timing import synchronize
from dinolite.eval.knn import best_pixel_knn
from dinolite.eval.online import KnnMonitor, evaluation_pictures
from dinolite.train.train import train_step

POINTS = 10


def measure(recipe: str = "demo", overrides: list[str] | None = None) -> Table:
    """k-NN in percent at ten points of a run."""
    state, data, batches = open_recipe(recipe, overrides)
    config = state.config
    monitor, pictures = KnnMonitor(config, data, state.device), evaluation_pictures(config, data)
    if pictures is None:
        raise ValueError(f"recipe = {recipe}: its pictures have no labels; choose one whose have")
    net = state.model.teacher["backbone"]
    rows, seconds, every = [[0, 0.0, monitor(net)["knn"]]], 0.0, config.train.iterations // POINTS
    start = time.perf_counter()
    for batch in batches:
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
    return Table(
        table_name("learning", recipe), sizes, ["iteration", "seconds", "k-NN %"], rows, note
    )


def main(
    recipe: Recipe = "demo",
    overrides: Overrides = None,
) -> None:
    print_table(measure(recipe, overrides))


if __name__ == "__main__":
    start(main)
