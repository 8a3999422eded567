"""How the cost of a step grows: with tokens, batch, prototypes and processes. One thing at a time
is doubled, the rest stays.

    python -m benchmarks.scaling [--rounds 7]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.record import Table, print_table, start
from benchmarks.runs import open_recipe
from benchmarks.timing import alternate
from dinolite.train.train import train_step

# what, value of the setting that is doubled, overrides of the recipe `demo`
TOKENS = [
    (f"{(side // 4) ** 2} tokens in a global crop", side, [f"crops.global_crops_size={side}"])
    for side in (24, 32, 48, 64)
]
BATCHES = [(f"batch {n}", n, [f"train.batch_size_per_gpu={n}"]) for n in (16, 32, 64, 128)]
PROTOTYPES = [
    (
        f"{k} prototypes in each head",
        k,
        [f"dino.head_n_prototypes={k}", f"ibot.head_n_prototypes={k}"],
    )
    for k in (128, 1024, 8192, 65536)
]
PROCESSES = (1, 2)
PROCESS_STEPS = 12


def stepper(overrides: list[str]) -> tuple[Callable[[], object], int]:
    """A function that takes one whole step, data included; and the batch."""
    state, _, batches = open_recipe("demo", overrides)
    return lambda: train_step(state, next(batches)), state.config.train.batch_size_per_gpu


def doubled(rounds: int) -> list[list[object]]:
    """Rows for tokens, batch and prototypes."""
    rows: list[list[object]] = []
    for group in (TOKENS, BATCHES, PROTOTYPES):
        made = {what: stepper(overrides) for what, _, overrides in group}
        timings = alternate({what: step for what, (step, _) in made.items()}, rounds)
        first: float | None = None
        for what, timing in timings.items():
            ms = 1e3 * timing.median / made[what][1]
            first = first or ms
            rows.append([what, ms, ms / first])
    return rows


def with_processes() -> list[list[object]]:
    """Rows for processes: pictures of all processes together, each process with one thread."""
    rows: list[list[object]] = []
    cores, first = os.cpu_count() or 1, None
    for n in PROCESSES:
        if n > cores:
            continue
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={n}",
            "-m",
            "benchmarks.scaling_worker",
        ]
        out = subprocess.run(
            [*command, str(PROCESS_STEPS)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        ms = float(out.stdout.split()[-1])
        first = first or ms
        rows.append([f"{n} process{'es' * (n > 1)}, batch 32 each", ms, ms / first])
    return rows


def measure(rounds: int = 7) -> Table:
    """Milliseconds a picture and its ratio to the first line of the group."""
    rows = doubled(rounds)
    if not torch.cuda.is_available():
        rows += with_processes()
    columns = ["changed", "ms a picture", "ratio to the first of its group"]
    return Table(
        "scaling",
        "recipe demo, one setting changed at a time; whole steps with data",
        columns,
        rows,
    )


def seconds_of_steps(steps: int) -> float:
    """Median time of a step in this process, for the worker."""
    step, _ = stepper([])
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return median(times[2:])


def main(rounds: int = 7) -> None:
    print_table(measure(rounds))


if __name__ == "__main__":
    start(main)
