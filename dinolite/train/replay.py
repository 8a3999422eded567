"""See a failure again: the step after which a run stopped, from what it kept in `failed/`."""

from __future__ import annotations

import json
from pathlib import Path

from dinolite.checkpointer import CheckpointError, checkpoints, load_checkpoint
from dinolite.config import Config
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.train.failure import FAILED, REPORT
from dinolite.train.run_folder import data_settings
from dinolite.train.state import make_state
from dinolite.train.train import train_step


def replay(run: str | Path) -> dict[str, float]:
    """Take the step that failed once more, on one process, and return its numbers by name.

    Raises:
        NonFiniteError: it failed again.
        CheckpointError: `run` holds no failure.
    """
    places = checkpoints(Path(run) / FAILED)
    if not places:
        raise CheckpointError(f"{run} has no {FAILED}/ckpt: no run failed there")
    report = json.loads((Path(run) / FAILED / REPORT).read_text("utf8"))
    config = Config.model_validate(report["settings"])
    state = make_state(config)
    load_checkpoint(places[-1], state.model, state.optimizer)
    state.iteration = report["iteration"]
    data = load_pictures(split="train", **data_settings(config))
    batches = ssl_batches(data, config, state.device, start=state.iteration)
    values = train_step(state, next(iter(batches)))
    state.guard.check()
    return {name: float(value) for name, value in values.items()}
