"""Exercises of lesson 16, training: a peak from the batch size, what is left of the start, a
schedule, the rates of a parameter, momentum for another batch size."""

import math

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises import parameters


def effective_lr(lr: float, batch: int) -> float:
    return lr * 4 * math.sqrt(batch / 1024)


def share_of_start(momentum: Tensor) -> float:
    return momentum.prod().item()


def schedule(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = start + (peak - start) * torch.arange(warmup) / max(warmup, 1)
    return torch.cat([line, end + (peak - end) * wave(total - warmup)])


def wave(n: int) -> Tensor:
    return (1 + torch.linspace(0, torch.pi, n).cos()) / 2


def peak_twice(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = torch.linspace(start, peak, warmup)
    return torch.cat([line, end + (peak - end) * wave(total - warmup)])


def never_ends(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = schedule(start, peak, end, warmup, total)[:warmup]
    return torch.cat([line, end + (peak - end) * wave(total - warmup + 1)[:-1]])


def straight(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = schedule(start, peak, end, warmup, total)[:warmup]
    return torch.cat([line, torch.linspace(peak, end, total - warmup)])


def to_zero(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = schedule(start, peak, end, warmup, total)[:warmup]
    return torch.cat([line, peak * wave(total - warmup)])


def from_zero(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    return schedule(0.0, peak, end, warmup, total)


def one_ahead(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = start + (peak - start) * torch.arange(1, warmup + 1) / warmup
    return torch.cat([line, schedule(start, peak, end, warmup, total)[warmup:]])


def quarter(start: float, peak: float, end: float, warmup: int, total: int) -> Tensor:
    line = schedule(start, peak, end, warmup, total)[:warmup]
    fall = torch.linspace(0, torch.pi / 2, total - warmup).cos()
    return torch.cat([line, end + (peak - end) * fall])


def momentum_for(momentum: float, factor: float) -> float:
    return momentum**factor


def momenta() -> list[tuple[Tensor]]:
    return [
        (torch.full((10,), 0.9),),
        (torch.tensor([0.5, 0.8, 1.0]),),
        (torch.full((200,), 0.98),),
    ]


EXERCISES = (
    Exercise(
        "16.1",
        "the peak for a batch size",
        effective_lr,
        lambda: [(1e-3, 1024), (1e-3, 2048), (5e-5, 4096), (2e-3, 96), (4e-4, 1500)],
        (
            ("the factor 4 is missing: the rule is 4 times the root",
             lambda lr, batch: lr * math.sqrt(batch / 1024)),
            ("without the root that is a linear rule: four times the batch would give four times "
             "the rate, wanted is twice", lambda lr, batch: lr * 4 * batch / 1024),
            ("turned round: a larger batch wants a larger rate",
             lambda lr, batch: lr * 4 * math.sqrt(1024 / batch)),
            ("batches need not be multiples of 1024: // cuts the rest off",
             lambda lr, batch: lr * 4 * math.sqrt(batch // 1024)),
            ("a batch below 1024 wants a smaller rate",
             lambda lr, batch: effective_lr(lr, max(batch, 1024))),
            ("half of it: does your root hold the 4, too?",
             lambda lr, batch: effective_lr(lr, batch) / 2),
        ),
        tolerance=1e-7,
    ),
    Exercise(
        "16.2",
        "what is left of the random start",
        share_of_start,
        momenta,
        (
            ("that is what came from the student; the start is the rest",
             lambda momentum: 1 - momentum.prod().item()),
            ("momentum may change: multiply all of its values, not a power of the last one",
             lambda momentum: (momentum[-1] ** len(momentum)).item()),
            ("every step keeps a share of what is there: shares multiply, they do not average",
             lambda momentum: momentum.mean().item()),
            ("momentum may change: multiply all of its values, not a power of their mean",
             lambda momentum: momentum.mean().item() ** len(momentum)),
            ("shares multiply; taking 1 - m away at every step ends below 0",
             lambda momentum: (1 - (1 - momentum).sum()).item()),
            ("the first step is missing", lambda momentum: momentum[1:].prod().item()),
            ("the last step is missing", lambda momentum: momentum[:-1].prod().item()),
        ),
        run=keeping,
    ),
    Exercise(
        "16.3",
        "warm-up and cosine, v2",
        schedule,
        lambda: [(0.0, 1.0, 0.2, 2, 6), (0.04, 0.07, 0.07, 3, 5), (0.1, 2.0, 0.5, 4, 12),
                 (0.3, 0.9, 1.0, 1, 4)],
        (
            ("that line reaches the peak, which then comes twice, as in v1; in v2 the line stops "
             "one step before", peak_twice),
            ("the end is never reached: in v2 the cosine includes both of its ends", never_ends),
            ("after the warm-up you draw a straight line; a half cosine is wanted", straight),
            ("the cosine ends at 0, not at `end`", to_zero),
            ("the warm-up begins at `start`, yours at 0", from_zero),
            ("the line begins at `start` itself; yours is one step ahead", one_ahead),
            ("a quarter of a wave; the cosine runs from 0 to pi, half of one", quarter),
        ),
    ),
    Exercise(
        "16.4",
        "the rates of a parameter",
        parameters.rates,
        parameters.cases,
        parameters.MISTAKES,
    ),
    Exercise(
        "16.5",
        "momentum for another batch size",
        momentum_for,
        lambda: [(0.98, 2.0), (0.9, 4.0), (0.996, 0.5)],
        (
            ("with that the teacher remembers as many steps as before, and so more pictures",
             lambda momentum, factor: momentum),
            ("that goes the wrong way: fewer steps, so each must forget more",
             lambda momentum, factor: momentum ** (1 / factor)),
            ("that goes the wrong way: fewer steps, so each must forget more, not less",
             lambda momentum, factor: 1 - (1 - momentum) / factor),
            ("close, for momentum near 1; but shares multiply: think of `factor` old steps in one "
             "new step", lambda momentum, factor: 1 - factor * (1 - momentum)),
            ("momentum divided by the factor forgets nearly all in a few steps; shares multiply",
             lambda momentum, factor: momentum / factor),
        ),
    ),
)  # fmt: skip
