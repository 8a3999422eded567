"""All numbers that are scheduled over a run, written out as arrays with one element an iteration:
learning rate (warm-up, decay, last layer frozen at first), weight decay, the teacher's temperature
and momentum, weights of losses. What an iteration uses is `Schedules(config).at(iteration)`.

DINOv2 Table 16 (cosine), DINOv3 Sec. 3.2 "Optimization" (warm-up, then constant); official
`train/cosine_lr_scheduler.py`: `CosineScheduler` and `linear_warmup_cosine_decay`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dinolite.config import Config, Schedule
from dinolite.parallel import global_batch_size
from dinolite.train.gram import has_teacher

Values = NDArray[np.float64]


def cosine_schedule(
    base_value: float,
    final_value: float,
    total_iters: int,
    warmup_iters: int = 0,
    start_warmup_value: float = 0.0,
) -> Values:
    """A line up that includes both ends, then half a cosine down, which comes near `final_value`
    and would reach it one iteration after the last (official v1).

    Returns:
        `total_iters` values.
    """
    n = total_iters - warmup_iters
    if min(warmup_iters, n) < 0:
        raise ValueError(f"{warmup_iters = } must be at least 0 and at most {total_iters = }")
    warmup = np.linspace(start_warmup_value, base_value, warmup_iters)
    share = (1 + np.cos(np.pi * np.arange(n) / max(n, 1))) / 2
    return np.concatenate([warmup, final_value + (base_value - final_value) * share])


def linear_warmup_cosine_decay(
    start: float,
    peak: float,
    end: float,
    warmup_iterations: int,
    total_iterations: int,
    cosine_iterations: int | None = None,
) -> Values:
    """A line up that stops before the peak, a cosine that includes peak and end, then the end
    (official v2). peak = end gives the constant schedules of DINOv3.

    Returns:
        `total_iterations` values.
    """
    left = total_iterations - warmup_iterations
    n = left if cosine_iterations is None else cosine_iterations
    if not 0 <= n <= left:
        raise ValueError(
            f"warmup_iterations = {warmup_iterations} and cosine_iterations = {n} do not fit into "
            f"total_iterations = {total_iterations}"
        )
    warmup = np.linspace(start, peak, warmup_iterations, endpoint=False)
    cosine = end + (peak - end) * (1 + np.cos(np.linspace(0, np.pi, n))) / 2
    return np.concatenate([warmup, cosine, np.full(left - n, end)])


def schedule_values(s: Schedule, iterations: int) -> Values:
    """The array that a `Schedule` of the settings describes."""
    end = s.peak if s.end is None else s.end
    if s.kind == "cosine":
        return cosine_schedule(s.peak, end, iterations, s.warmup, s.start)
    return linear_warmup_cosine_decay(s.start, s.peak, end, s.warmup, iterations, s.cosine)


class ScheduledValues(NamedTuple):
    """What one iteration uses."""

    lr: float
    last_layer_lr: float
    weight_decay: float
    teacher_temp: float
    momentum: float
    local_loss_weight: float
    gram_loss_weight: float


class Schedules:
    """All schedules of a run as arrays."""

    def __init__(self, config: Config) -> None:
        self.config, n, o = config, config.train.iterations, config.optim
        batch = global_batch_size(config)
        scales = {"sqrt_wrt_1024": 4 * (batch / 1024) ** 0.5, "linear_wrt_256": batch / 256}
        scale = scales.get(o.scaling_rule, 1.0)
        scaled = {"peak": o.lr.peak * scale}
        if o.lr.kind == "warmup_cosine" and o.lr.end is not None:
            scaled["end"] = o.lr.end * scale  # the official v1 schedule leaves its end unscaled
        self.lr = schedule_values(o.lr.model_copy(update=scaled), n)
        self.last_layer_lr = self.lr.copy()
        self.last_layer_lr[: o.freeze_last_layer] = 0.0  # prototypes wait for sensible features
        self.weight_decay = schedule_values(o.weight_decay, n)
        self.teacher_temp = schedule_values(config.teacher.temp, n)
        self.momentum = schedule_values(config.teacher.momentum, n)
        self.local = schedule_values(config.dino.local_loss_weight_schedule, n)
        gram = config.gram.loss_weight_schedule
        self.gram = schedule_values(gram, n) if gram is not None else [config.gram.loss_weight] * n

    def at(self, i: int) -> ScheduledValues:
        """The values for iteration i."""
        c = self.config
        with_gram = c.gram.use_loss and has_teacher(c.gram, i)
        return ScheduledValues(
            lr=float(self.lr[i]),
            last_layer_lr=float(self.last_layer_lr[i]),
            weight_decay=float(self.weight_decay[i]),
            teacher_temp=float(self.teacher_temp[i]),
            momentum=float(self.momentum[i]),
            local_loss_weight=float(self.local[i]) if c.dino.reweight_dino_local_loss else 1.0,
            gram_loss_weight=float(self.gram[i]) if with_gram else 0.0,
        )
