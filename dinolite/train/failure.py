"""When a number becomes NaN or infinite: what is needed to see it happen again is kept, in
`failed/` beside the checkpoints: the weights before the step, settings, seed, iteration, versions.
"""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from dinolite import distributed
from dinolite.checkpointer import CheckpointError, save_checkpoint
from dinolite.files import write_text
from dinolite.train.guard import NonFiniteError
from dinolite.train.run_folder import origin
from dinolite.train.state import TrainState

FAILED, REPORT = "failed", "report.json"


def not_finite(module: nn.Module) -> list[str]:
    """Names of the parameters that hold NaN or infinity."""
    return [n for n, p in module.named_parameters() if not bool(p.detach().isfinite().all())]


def keep_failure(state: TrainState, folder: Path, error: NonFiniteError) -> NonFiniteError:
    """Write `failed/`; returns the error with what was found and where it lies.

    On a GPU the teacher has moved on by up to `log_every` steps, while student and optimiser stand
    where they stood before the bad step.
    """
    spoiled = not_finite(state.model)
    place = folder / FAILED
    iteration = int(state.guard.iteration)
    try:
        save_checkpoint(place, iteration, state.model, state.optimizer, 1, **origin(state.config))
        if distributed.is_main():
            report = {
                "iteration": iteration,
                "not_finite": state.guard.named(),
                "weights_not_finite": spoiled,
                "processes": distributed.world_size(),
                **origin(state.config),
            }
            write_text(place / REPORT, json.dumps(report, indent=1))
    except (OSError, CheckpointError) as problem:
        return NonFiniteError(f"{error}. It could not be kept: {problem}")
    where = f"{', '.join(spoiled[:3])} held numbers that are not finite"
    where = where if spoiled else "all weights were finite"
    return NonFiniteError(
        f"{error}. Before that step {where}; {place} holds what is needed to see it again: "
        "dinolite.train.replay.replay(run)"
    )
