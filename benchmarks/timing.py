"""Timing that is fair on a machine that is not quiet: candidates take turns within a round, the
order changes from round to round, and medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass
class Timing:
    """Seconds of each round of one candidate."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the rounds was faster than the first, a quarter slower than the second."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return low, high


def alternate(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Call every candidate once a round, `rounds` times; on CUDA until the device is done.

    `clock` gives seconds; time.process_time leaves out what other processes take.

    Raises ValueError for fewer than 2 rounds: quartiles need two.
    """
    if rounds < 2:
        raise ValueError(f"rounds = {rounds}; allowed: 2 and up")
    names, seconds = list(candidates), {name: list[float]() for name in candidates}
    for _ in range(warm_up):
        for name in names:
            candidates[name]()
    for i in range(rounds):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            synchronize()
            start = clock()
            candidates[name]()
            synchronize()
            seconds[name].append(clock() - start)
    return {name: Timing(times) for name, times in seconds.items()}


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratios(timings: Mapping[str, Timing], reference: str) -> dict[str, float]:
    """Median of each candidate over the median of `reference`; below 1 = faster than it."""
    return {name: t.median / timings[reference].median for name, t in timings.items()}
