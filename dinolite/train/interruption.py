"""Ctrl-C and SIGTERM are requests: the step under way is finished, a checkpoint is written, then
the run ends. The second signal of the same kind acts at once, as it would have without us.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch

from dinolite import distributed


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
        if distributed.world_size() == 1:
            return self.number
        if not meeting:
            return 0
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return int(distributed.all_reduce(torch.tensor(self.number, device=device), "max"))
