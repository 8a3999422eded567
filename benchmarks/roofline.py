"""What share of the machine's best a step reaches: the rate of a large matrix product and of a copy
are measured, a step's operations are counted by PyTorch, and its time is measured beside them.

    python -m benchmarks.roofline [RECIPE] [section.key=value ...] [--rounds 15]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.record import Table, device, print_table, start
from benchmarks.runs import Overrides, Recipe, open_recipe, sizes_of, table_name
from benchmarks.timing import Timing, alternate
from dinolite.train.train import train_step

SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices
COPIED = {"cpu": 2**24, "cuda": 2**28}  # numbers, far more than caches hold
GIGA = 1e9


def product(to: torch.device) -> tuple[Callable[[], object], float]:
    """A matrix product in the precision of training, and its operations."""
    n, dtype = SIDE[to.type], torch.bfloat16 if to.type == "cuda" else torch.float32
    a, b = (torch.randn(n, n, device=to, dtype=dtype) for _ in range(2))
    return lambda: a @ b, 2.0 * n**3


def copy(to: torch.device) -> tuple[Callable[[], object], float]:
    """A copy between two tensors, and the bytes read and written."""
    a = torch.randn(COPIED[to.type], device=to)
    b = torch.empty_like(a)
    return lambda: b.copy_(a), 2.0 * a.numel() * a.element_size()


def measure(recipe: str = "demo", overrides: list[str] | None = None, rounds: int = 15) -> Table:
    """Rates, the step's operations and time, and the share of the matrix rate that it reaches."""
    to = device()
    run = open_recipe(recipe, overrides)
    state, batches = run.state, run.batches
    train_step(state, next(batches))
    with FlopCounterMode(display=False) as counter:
        train_step(state, next(batches))
    operations = float(counter.get_total_flops())
    (multiply, per_product), (move, moved) = product(to), copy(to)
    timings = alternate(
        {"product": multiply, "copy": move, "step": lambda: train_step(state, next(batches))},
        rounds,
    )
    rate, speed = best(per_product, timings["product"]), best(moved, timings["copy"])
    reached = operations / timings["step"].median
    images = state.config.train.batch_size_per_gpu
    rows: list[list[object]] = [
        ["matrix product, GFLOP/s (best round)", rate / GIGA],
        ["copy, GB/s (best round)", speed / GIGA],
        ["operations of a step, GFLOP", operations / GIGA],
        ["operations a picture, GFLOP", operations / GIGA / images],
        ["step with data, ms (median)", 1e3 * timings["step"].median],
        ["reached, GFLOP/s", reached / GIGA],
        ["share of the matrix rate, %", 100 * reached / rate],
        ["break-even, operations a byte", rate / speed],
    ]
    note = "operations: products and attention, forward and backward, as FlopCounterMode counts"
    sizes = sizes_of(run, recipe, overrides)
    return Table(table_name("roofline", recipe), sizes, ["what", "value"], rows, note)


def best(amount: float, timing: Timing) -> float:
    """The highest rate of any round: what the machine can do."""
    return amount / min(timing.seconds)


def main(
    recipe: Recipe = "demo",
    overrides: Overrides = None,
    rounds: int = 15,
) -> None:
    print_table(measure(recipe, overrides, rounds))


if __name__ == "__main__":
    start(main)
