"""A run that ends before its last iteration: a number became NaN or infinite, or somebody stopped
it.

A loss or a gradient that is not finite stops the run before a step that would spoil the weights.
The check costs no waiting on a GPU: a flag on the device makes the optimiser skip this and all
later steps, and is read when the log is written. What is needed to see the failure again is kept in
`failed/`. (The official code steps anyway and stops at the third such iteration.)

Ctrl-C and SIGTERM are requests: the step under way is finished, a checkpoint is written, then the
run ends. The second signal of the same kind acts at once.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dinolite import parallel
from dinolite.checkpointer import CheckpointError, save_checkpoint, write_text
from dinolite.config import Config
from dinolite.run_folder import origin


class NonFiniteError(RuntimeError):
    """A loss term or a gradient norm became NaN or infinite; no step was taken with it."""


class FiniteGuard:
    """Looks at the numbers of each step and blocks the optimiser from the first bad one on.

    `everywhere` makes the flags of all processes their maximum, so that all stop or none.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        device: torch.device,
        everywhere: Callable[[Tensor], Tensor] = lambda flags: flags,
    ) -> None:
        self.device, self.everywhere = device, everywhere
        self.stopped = torch.zeros((), device=device)  # 1 from the first bad step on
        self.iteration = torch.tensor(-1, device=device)
        self.names: list[str] = []
        self.bad = torch.zeros(0, dtype=torch.bool, device=device)
        optimizer.found_inf = self.stopped  # type: ignore[attr-defined]  # fused AdamW reads it

    def look(self, iteration: int, values: Mapping[str, Tensor]) -> None:
        """Call after backward and before the optimiser's step; on the CPU it raises at once."""
        if list(values) != self.names:
            self.check()
            self.names = list(values)
            self.bad = torch.zeros(len(values), dtype=torch.bool, device=self.device)
        bad = ~torch.stack([v.detach().float() for v in values.values()]).isfinite()  # [n]
        bad = self.everywhere(bad.float()) > 0
        earlier = self.stopped > 0
        self.bad = torch.where(earlier, self.bad, bad)
        self.iteration = torch.where(earlier, self.iteration, iteration)
        self.stopped.copy_(torch.maximum(self.stopped, bad.any().float()))
        if self.device.type == "cpu":
            self.check()

    def named(self) -> list[str]:
        """The numbers that were bad in the first bad step."""
        return [name for name, bad in zip(self.names, self.bad.tolist(), strict=True) if bad]

    def check(self) -> None:
        """Raise NonFiniteError, with the first bad iteration, if there was one."""
        if self.stopped.item() == 0:
            return
        raise NonFiniteError(
            f"iteration {int(self.iteration)}: {', '.join(self.named())} not finite; the run "
            "stopped before the optimiser's step, and the last checkpoint is good. Try a lower "
            "optim.lr.peak, a longer warm-up or a smaller optim.clip_grad"
        )


FAILED, REPORT = "failed", "report.json"


def not_finite(module: nn.Module) -> list[str]:
    """Names of the parameters that hold NaN or infinity."""
    return [n for n, p in module.named_parameters() if not bool(p.detach().isfinite().all())]


def keep_failure(
    folder: Path,
    config: Config,
    model: nn.Module,
    optimizer: Optimizer,
    guard: FiniteGuard,
    error: NonFiniteError,
) -> NonFiniteError:
    """Write `failed/`; returns the error with what was found and where it lies.

    On a GPU the teacher has moved on by up to `log_every` steps, while student and optimiser stand
    where they stood before the bad step.
    """
    spoiled = not_finite(model)
    place = folder / FAILED
    iteration = int(guard.iteration)
    try:
        save_checkpoint(place, iteration, model, optimizer, 1, **origin(config))
        if parallel.is_main():
            report = {
                "iteration": iteration,
                "not_finite": guard.named(),
                "weights_not_finite": spoiled,
                "processes": parallel.world_size(),
                **origin(config),
            }
            write_text(place / REPORT, json.dumps(report, indent=1))
    except (OSError, CheckpointError) as problem:
        return NonFiniteError(f"{error}. It could not be kept: {problem}")
    where = f"{', '.join(spoiled[:3])} held numbers that are not finite"
    where = where if spoiled else "all weights were finite"
    return NonFiniteError(
        f"{error}. Before that step {where}; {place} holds what is needed to see it again: "
        "dinolite.train.train.replay(run)"
    )


class RunStopped(Exception):
    """A run was asked to stop, and has saved. `signal` is 2 for Ctrl-C, 15 for SIGTERM."""

    def __init__(self, iteration: int, number: int) -> None:
        self.iteration, self.signal = iteration, number
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"stopped by {name} after {iteration} iterations, saved")


class StopRequests:
    """Within `with`: notes SIGINT and SIGTERM. Only Python's main thread can; elsewhere nothing."""

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self.note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        self.number = number
        signal.signal(number, self.before[number])

    def asked(self, meeting: bool) -> int:
        """The signal that came, 0 if none did. Several processes must stop at the same iteration,
        so they ask each other, and only where they wait for each other anyway: at a `meeting`."""
        if parallel.world_size() == 1:
            return self.number
        if not meeting:
            return 0
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return int(parallel.all_reduce(torch.tensor(self.number, device=device), "max"))
