"""The log of a run: means kept on the device until they are written, seconds and memory of a step,
and where they go: `metrics.jsonl`, TensorBoard, a progress bar or lines of text.

Official `logging/helpers.py::MetricLogger`, which reads every number back at every step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dinolite.checkpointer import write_text
from dinolite.parallel import all_reduce, is_main, world_size

Show = Literal["bar", "lines"] | None  # a progress bar, lines of text, or nothing
MACHINE = "machine/"
"""Begins the names of what a machine needed for the steps; all else is the same in equal runs."""


class RunningMeans:
    """Means of named numbers over the steps since the last `flush`; nothing is read back before."""

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's 0-dimensional tensors."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float()
            self.counts[name] = self.counts.get(name, 0) + 1

    def flush(self) -> dict[str, float]:
        """The means over steps and processes, read back in one go; then start anew."""
        if not self.sums:
            return {}
        means = torch.stack([self.sums[name] / self.counts[name] for name in self.sums])
        means = all_reduce(means) / world_size()
        out = dict(zip(self.sums, means.tolist(), strict=True))
        self.sums, self.counts = {}, {}
        return out


class StepClock:
    """Seconds that the steps since the last `flush` took: waiting for data, and computing.

    Only the host's clock is read, nothing waits for a GPU. A GPU works on while the host goes on,
    so the means are right if the last lap before a `flush` comes after a synchronisation.

    Args:
        pictures: pictures of all processes in a step.
    """

    def __init__(self, pictures: int, device: torch.device) -> None:
        self.pictures, self.device = pictures, device
        self.laps: dict[str, list[float]] = {}
        self.start()

    def start(self) -> None:
        """What comes next counts; what came since the last lap (evaluation, saving) does not."""
        self.since = time.perf_counter()

    def lap(self, part: Literal["data", "compute"]) -> None:
        """The time since the last lap or `start` went into this part of a step."""
        before, self.since = self.since, time.perf_counter()
        self.laps.setdefault(part, []).append(self.since - before)

    def flush(self) -> dict[str, float]:
        """Means over the steps, and the most memory so far; then start anew."""
        parts = {f"{part}_s": sum(laps) / len(laps) for part, laps in self.laps.items()}
        self.laps = {}
        step = sum(parts.values())
        numbers = {"pictures_per_s": self.pictures / step, "step_s": step, **parts}
        numbers |= peak_memory(self.device)
        return {MACHINE + name: value for name, value in numbers.items()}


def peak_memory(device: torch.device) -> dict[str, float]:
    """MiB that tensors took on the GPU, or else that this process took (Windows does not say)."""
    if device.type == "cuda":
        return {"memory_mib": torch.cuda.max_memory_allocated(device) / 2**20}
    if sys.platform == "win32":
        return {}
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on a Mac
    return {"memory_mib": peak / (2**20 if sys.platform == "darwin" else 2**10)}


TEXT = {
    "knn": "k-NN {:.2f} %",
    "lr": "lr {:.2e}",
    f"{MACHINE}pictures_per_s": "{:.1f} pictures/s",
    f"{MACHINE}step_s": "{:.3f} s/step",
    f"{MACHINE}data_s": "data {:.3f} s",
    f"{MACHINE}memory_mib": "{:.0f} MiB",
}


class RunLog:
    """Writes `metrics.jsonl` and TensorBoard files in a run's folder, and shows how far it is.

    A resumed run cuts off the lines after its start: they are written again. Only the main
    process writes and shows; `last` has the last value of every number written (`knn` is written on
    the main process only).

    Args:
        show: "bar" moves a progress bar, "lines" prints a line for each line of the file.
    """

    def __init__(self, folder: Path, start: int, total: int, show: Show = None) -> None:
        self.path, self.start, self.total = folder / "metrics.jsonl", start, total
        self.main, self.show = is_main(), show if is_main() else None
        self.last: dict[str, float] = {}

    def __enter__(self) -> RunLog:
        if self.main:
            from torch.utils.tensorboard import SummaryWriter

            # From 0 the run begins anew, and the line of iteration 0 is written again, too.
            keep_lines_until(self.path, self.start or -1)
            self.file = open(self.path, "a", encoding="utf8")
            self.board = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=self.start)
        if self.show == "bar":
            self.bar = progress_bar()
            self.task = self.bar.add_task("train", total=self.total, completed=self.start, info="")
            self.bar.start()
        self.began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        if self.show == "bar":
            self.bar.stop()
        if self.main:
            self.file.close()
            self.board.close()

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        """One line for what is known after so many iterations."""
        self.last.update(values)
        if not self.main or not values:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.file.write(json.dumps({"iteration": iteration, **rounded}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, iteration)
        if self.show == "bar":
            shown = {"total_loss": "loss", "knn": "k-NN"}
            info = "  ".join(f"{word} {values[n]:.2f}" for n, word in shown.items() if n in values)
            self.bar.update(self.task, completed=iteration, info=info)
        elif self.show == "lines":
            print(self.text(iteration, values), flush=True)

    def text(self, iteration: int, values: Mapping[str, float]) -> str:
        """A dense line: iterations, losses, k-NN, lr, pictures/s, seconds a step, memory, time
        left."""
        words = [f"{iteration:>{len(str(self.total))}}/{self.total}"]
        for name, value in values.items():
            if name.endswith("_loss"):
                words.append(f"{name.removesuffix('_loss').removesuffix('_crops')} {value:.3f}")
        words += [form.format(values[name]) for name, form in TEXT.items() if name in values]
        if iteration == self.start:
            self.began = time.perf_counter()  # evaluating the untrained net was no step
        else:
            left = (time.perf_counter() - self.began) / (iteration - self.start)
            words.append(f"{timedelta(seconds=round(left * (self.total - iteration)))} left")
        return "  ".join(words)


def progress_bar() -> Any:
    """rich's bar with the time to go, the steps done, the time gone, and a few numbers."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    more = MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[info]}")
    return Progress(*Progress.get_default_columns(), *more)


def keep_lines_until(path: Path, iteration: int) -> None:
    """Drop lines of later iterations, and a half-written last line, from a JSON lines file."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf8").splitlines():
        try:
            if json.loads(line)["iteration"] <= iteration:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue
    write_text(path, "".join(kept))
