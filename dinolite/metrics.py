"""What a run says of itself: means kept on the device until they are written, then one JSON line,
TensorBoard and the progress bar.

Official `logging/helpers.py::MetricLogger`, which reads every number back at every step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from dinolite.checkpointer import write_text
from dinolite.parallel import all_reduce, is_main, world_size


class RunningMeans:
    """Means of named numbers over the steps since the last `flush`; nothing is read back before."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def update(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's 0-dimensional tensors."""
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
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


class RunLog:
    """Writes `metrics.jsonl` and TensorBoard files in a run's folder and moves the progress bar.

    A resumed run cuts off the lines after its start: they are written again. Only the main
    process writes.
    """

    def __init__(self, folder: Path, start: int, total: int, *, progress: bool = True) -> None:
        self.path, self.start, self.total = folder / "metrics.jsonl", start, total
        self.progress = progress and is_main()
        self.main = is_main()

    def __enter__(self) -> RunLog:
        if self.main:
            from torch.utils.tensorboard import SummaryWriter

            # From 0 the run begins anew, and the line of iteration 0 is written again, too.
            keep_lines_until(self.path, self.start or -1)
            self.file = open(self.path, "a", encoding="utf8")
            self.board = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=self.start)
        if self.progress:
            self.bar = progress_bar()
            self.task = self.bar.add_task("train", total=self.total, completed=self.start, info="")
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.progress:
            self.bar.stop()
        if self.main:
            self.file.close()
            self.board.close()

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        """One line for what is known after so many iterations."""
        if not self.main:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.file.write(json.dumps({"iteration": iteration, **rounded}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, iteration)
        if self.progress:
            shown = {"total_loss": "loss", "knn": "k-NN"}
            info = "  ".join(f"{word} {values[n]:.2f}" for n, word in shown.items() if n in values)
            self.bar.update(self.task, completed=iteration, info=info)


def progress_bar() -> Any:
    """rich's bar with the time gone and the time to go."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
    )


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
