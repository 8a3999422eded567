"""Where the time of a pretraining step goes: data, teacher, student, losses, backward, clipping,
optimiser, EMA. The parts are those of `train_step`, called one by one; the whole `train_step` is
timed beside them, so that one sees that nothing is missing.

    python -m benchmarks.step [RECIPE] [section.key=value ...] [--rounds 15]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.record import Table, print_table, start
from benchmarks.runs import Overrides, Recipe, open_recipe, sizes_of, table_name
from benchmarks.timing import synchronize
from dinolite import parallel
from dinolite.data.masking import SSLBatch
from dinolite.parallel import autocast
from dinolite.train.param_groups import set_rates
from dinolite.train.train import TrainState, train_step

INSIDE = ("teacher", "student", "losses", "backward")
PARTS = ("data", *INSIDE, "clip", "optimiser", "EMA")
WARM_UP = 3


class Clock:
    """Seconds of each named part, one number a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        synchronize()
        start = time.perf_counter()
        yield
        synchronize()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name][WARM_UP:])


def step_in_parts(state: TrainState, batch: SSLBatch, clock: Clock) -> None:
    """`train_step`, cut where its parts meet."""
    model, now = state.model, state.schedules.at(state.iteration)
    set_rates(state.optimizer.param_groups, now.lr, now.last_layer_lr, now.weight_decay)
    with autocast(state.config, state.device):
        with clock.part("teacher"):
            teacher = model.get_teacher_output(batch, now.teacher_temp)
        with clock.part("student"):
            student = model.get_student_output(batch)
        with clock.part("losses"):
            losses = model.compute_losses(teacher, student, batch)
            total = model.combine(losses, now.local_loss_weight, now.gram_loss_weight)
    with clock.part("backward"):
        state.optimizer.zero_grad(set_to_none=True)
        total.backward()
    with clock.part("clip"):
        for network in model.student.values():
            parallel.clip_grad_norm_(network.parameters(), state.config.optim.clip_grad)
    with clock.part("optimiser"):
        state.optimizer.step()
    with clock.part("EMA"):
        model.update_teacher(now.momentum)
    state.iteration += 1


def measure(recipe: str = "demo", overrides: list[str] | None = None, rounds: int = 15) -> Table:
    """Milliseconds and share of each part; `train_step` itself in every second round."""
    run, clock = open_recipe(recipe, overrides), Clock()
    state, batches = run.state, run.batches
    for _ in range(rounds + WARM_UP):
        with clock.part("data"):
            batch = next(batches)
        step_in_parts(state, batch, clock)
        batch = next(batches)
        with clock.part("train_step"):
            train_step(state, batch)
    medians = {part: clock.median(part) for part in PARTS}
    whole = sum(medians.values())
    rows = [[part, 1e3 * t, 100 * t / whole] for part, t in medians.items()]
    outside = sum(t for part, t in medians.items() if part not in INSIDE)
    rows.append(["sum", 1e3 * whole, 100.0])
    rows.append(["outside forward and backward", 1e3 * outside, 100 * outside / whole])
    step = clock.median("train_step") + medians["data"]
    rows.append(["train_step + data, whole", 1e3 * step, 100 * step / whole])
    sizes = sizes_of(run, recipe, overrides)
    return Table(table_name("step", recipe), sizes, ["part", "median ms", "% of the sum"], rows)


def main(
    recipe: Recipe = "demo",
    overrides: Overrides = None,
    rounds: int = 15,
) -> None:
    print_table(measure(recipe, overrides, rounds))


if __name__ == "__main__":
    start(main)
