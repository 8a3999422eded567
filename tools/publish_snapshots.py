"""The teacher of a run at earlier moments, from its checkpoints, as small files in data/weights:
the course's film strip, and its early Gram teachers.

    dinolite train tiny --out runs/film checkpointing.period=100 \
        checkpointing.max_to_keep=100
    python -m tools.publish_snapshots runs/film dinolite_tiny 100 500 1000 2000 6000
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from dinolite.checkpointer import CheckpointError, load_checkpoint
from dinolite.config import load_config
from dinolite.models.pretrained import OWN_WEIGHTS, read_metadata, save_backbone
from dinolite.run_folder import CONFIG, commit
from dinolite.train.train import make_state


def main(folder: str, name: str, *iterations: str) -> None:
    """Write NAME_stepNNNNN.safetensors for each iteration; NAME is published weights of the recipe.

    Raises:
        CheckpointError: there is no checkpoint after so many iterations.
    """
    config = load_config(Path(folder) / CONFIG)
    last = read_metadata(OWN_WEIGHTS / f"{name}.safetensors")
    kept = {key: last[key] for key in ("rgb_mean", "rgb_std", "recipe", "hardware")}
    state = make_state(config)
    for i in map(int, iterations):
        place = Path(folder) / "ckpt" / f"{i:07d}"
        if not place.is_dir():
            raise CheckpointError(f"{folder} has no checkpoint after {i} iterations")
        load_checkpoint(place, state.model, state.optimizer)
        words = {**kept, "iterations": json.dumps(i), "commit": commit()}
        path = OWN_WEIGHTS / f"{name}_step{i:05d}.safetensors"
        backbone = state.model.teacher["backbone"]
        save_backbone(backbone, config.student, path, words, dtype=torch.float16)


if __name__ == "__main__":
    main(*sys.argv[1:])
