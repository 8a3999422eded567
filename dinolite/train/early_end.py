"""A run that ends before its last iteration, because a number became NaN or infinite, or because
somebody stopped it. In both cases nothing that was learnt is lost.

NaN: the loss terms and gradient norms of every step are looked at, and the optimiser does not take
a step with one that is not finite. A GPU is not waited for: a flag on the device makes the fused
optimiser skip this and all later steps, and is read when the log is written. Then `failed/` keeps
what `train.train.replay` needs to take that step again. (The official code steps anyway and stops
at the third such iteration.)

Ctrl-C and SIGTERM: the step under way is finished, a checkpoint is written, then the run ends. The
second signal of the same kind acts at once.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dinolite.checkpointer import CheckpointError, checkpoints, save_checkpoint, write_text
from dinolite.config import Config
from dinolite.parallel import all_reduce, is_main, world_size
from dinolite.run_folder import origin

FAILED, REPORT = "failed", "report.json"


class NonFiniteError(RuntimeError):
    """A loss term or a gradient norm became NaN or infinite; no step was taken with it."""


class FiniteGuard:
    """Looks at the numbers of each step and blocks the optimiser from the first bad one on; all
    processes stop at the same step, whichever of them met the bad number."""

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self.device = device
        self.stopped = torch.zeros((), device=device)  # 1 from the first bad step on
        self.iteration = torch.tensor(-1, device=device)  # the first bad step
        self.names: list[str] = []
        self.bad = torch.zeros(0, dtype=torch.bool, device=device)  # which names, in that step
        optimizer.found_inf = self.stopped  # type: ignore[attr-defined]  # fused AdamW reads it

    def look(self, iteration: int, values: Mapping[str, Tensor]) -> None:
        """Call after backward and before the optimiser's step; on the CPU it raises at once."""
        if list(values) != self.names:
            if self.names:  # other terms from here on: what was found must not be lost
                self.check()
            self.names = list(values)
            self.bad = torch.zeros(len(values), dtype=torch.bool, device=self.device)
        bad = ~torch.stack([v.detach().float() for v in values.values()]).isfinite()  # [n]
        bad = all_reduce(bad.float(), "max") > 0
        earlier = self.stopped > 0
        self.bad = torch.where(earlier, self.bad, bad)
        self.iteration = torch.where(earlier, self.iteration, iteration)
        self.stopped.copy_(torch.maximum(self.stopped, bad.any().float()))
        if self.device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Raise NonFiniteError, with the first bad iteration, if there was one."""
        if self.stopped.item() == 0:  # CPU-GPU synchronisation
            return
        raise NonFiniteError(
            f"iteration {int(self.iteration)}: {', '.join(self.bad_names())} not finite; the run "
            "stopped before the optimiser's step, and the last checkpoint is good. Try a lower "
            "optim.lr.peak, a longer warm-up or a smaller optim.clip_grad"
        )

    def bad_names(self) -> list[str]:
        """The numbers that were not finite in the first bad step."""
        return [name for name, bad in zip(self.names, self.bad.tolist(), strict=True) if bad]


def keep_failure(
    folder: Path,
    config: Config,
    model: nn.Module,
    optimizer: Optimizer,
    guard: FiniteGuard,
    error: NonFiniteError,
) -> NonFiniteError:
    """Write `failed/`: a checkpoint and `report.json`; returns the error with what was found there.

    On a GPU the teacher has moved on by up to `log_every` steps, while student and optimiser stand
    where they stood before the bad step.
    """
    place, iteration = folder / FAILED, int(guard.iteration)
    spoiled = [n for n, p in model.named_parameters() if not bool(p.detach().isfinite().all())]
    report = {"iteration": iteration, "not_finite": guard.bad_names(), "processes": world_size()}
    report |= {"weights_not_finite": spoiled, **origin(config)}
    try:
        save_checkpoint(place, iteration, model, optimizer, 1, **origin(config))
        if is_main():
            write_text(place / REPORT, json.dumps(report, indent=1))
    except (OSError, CheckpointError) as problem:
        return NonFiniteError(f"{error}. It could not be kept: {problem}")
    where = f"{', '.join(spoiled[:3])} held numbers that are not finite"
    where = where if spoiled else "all weights were finite"
    return NonFiniteError(
        f"{error}. Before that step {where}; {place} holds what is needed to see it again: "
        "dinolite.train.train.replay(run)"
    )


def read_failure(folder: Path) -> tuple[Config, int, Path]:
    """What `keep_failure` wrote: the settings, the iteration that failed, the checkpoint before it.

    Raises:
        CheckpointError: no run failed in this folder.
    """
    places = checkpoints(folder / FAILED)
    if not places:
        raise CheckpointError(f"{folder} has no {FAILED}/ckpt: no run failed there")
    report = json.loads((folder / FAILED / REPORT).read_text("utf8"))
    return Config.model_validate(report["settings"]), report["iteration"], places[-1]


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
        """The signal handler: remember the signal, and let the next one act as it did before."""
        self.number = number
        signal.signal(number, self.before[number])

    def received(self) -> int:
        """The signal that this or another process received, 0 if none did, so that all of them stop
        at the same iteration; all processes must call this."""
        if world_size() == 1:
            return self.number
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return int(all_reduce(torch.tensor(self.number, device=device), "max"))
