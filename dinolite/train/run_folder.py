"""What lies in the folder of a run: `config.toml`, `metrics.jsonl`, `ckpt/`, and at the end
`teacher.safetensors`; and how a run that was cut off is taken up again.
"""

import os
import sys
from pathlib import Path
from typing import Any

from torch import nn

from dinolite import distributed
from dinolite.checkpointer import (
    CheckpointError,
    checkpoints,
    load_checkpoint,
    read_meta,
    remove_unfinished,
    save_checkpoint,
)
from dinolite.config import Config, load_config, to_toml
from dinolite.data.pictures import PictureDataset
from dinolite.models.pretrained import save_backbone
from dinolite.train.state import TrainState, global_batch_size

CONFIG, TEACHER, SKIPPED = "config.toml", "teacher.safetensors", "skipped.txt"
MAY_CHANGE = {
    "train": {"device", "num_workers", "compile", "output_dir", "log_every", "parallel"}
    | {"checkpointing_full", "batch_size_per_gpu"},  # of all processes together it must stay
    "checkpointing": {"period", "max_to_keep"},
    "evaluation": {"eval_period_iterations"},
}
"""Settings that do not change what is learnt."""
BATCH = "global_batch_size"  # in a checkpoint's `meta.json`


def data_settings(config: Config) -> dict[str, Any]:
    """Arguments of `load_pictures` for the training data."""
    d = config.data
    root = Path(d.root) if d.root is not None else None
    return {"spec": d.dataset, "image_size": d.image_size, "root": root, "download": d.download}


def open_run(folder: Path, config: Config, allow_changes: bool) -> None:
    """Make the folder, or check that it belongs to a run with the same settings.

    Raises:
        CheckpointError: it holds a run with other settings, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CONFIG).exists() and not allow_changes and (places := checkpoints(folder)):
            old, now = load_config(folder / CONFIG), global_batch_size(config)
            changed = differences(old, config)
            was = read_meta(places[-1]).get(BATCH, old.train.batch_size_per_gpu)
            if was != now:
                changed.append(f"the batch of all processes was {was}, is {now}")
            if changed:
                raise CheckpointError(
                    f"{folder} holds a run with other settings ({'; '.join(changed[:5])}): choose "
                    "another --out, use the same settings, or add --allow-changes"
                )
        remove_unfinished(folder)
        if distributed.is_main():
            temporary = folder / f"{CONFIG}.tmp"
            temporary.write_text(to_toml(config), "utf8")
            os.replace(temporary, folder / CONFIG)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    distributed.barrier()


def note_skipped(data: PictureDataset, folder: Path) -> None:
    """Name the files that were left out: all of them in `skipped.txt`, the first on stderr."""
    if data.skipped and distributed.is_main():
        (folder / SKIPPED).write_text("\n".join(data.skipped) + "\n", "utf8")
        sentence = f"{len(data.skipped)} files were skipped, see {folder / SKIPPED}; the first: "
        print(sentence + data.skipped[0], file=sys.stderr)


def differences(old: Config, new: Config) -> list[str]:
    """The settings in which two runs differ, but for those that do not matter."""
    out = []
    for section in Config.model_fields:
        before, after = getattr(old, section), getattr(new, section)
        for name in type(before).model_fields:
            a, b = getattr(before, name), getattr(after, name)
            if a != b and name not in MAY_CHANGE.get(section, set()):
                out.append(f"{section}.{name} was {a}, is {b}")
    return out


def resume(state: TrainState, folder: Path) -> None:
    """Take up the newest checkpoint, if there is one."""
    if places := checkpoints(folder):
        state.iteration = load_checkpoint(places[-1], state.model, state.optimizer)["iteration"]


def save(state: TrainState, folder: Path) -> None:
    """Write a checkpoint, and beside it the one number of the processes that must stay."""
    keep, batch = state.config.checkpointing.max_to_keep, global_batch_size(state.config)
    now, model, optimizer = state.iteration, state.model, state.optimizer
    save_checkpoint(folder, now, model, optimizer, keep, **{BATCH: batch})


def publish(state: TrainState, backbone: nn.Module, folder: Path) -> None:
    """Write the teacher's backbone with its settings, for everyone to read."""
    save_backbone(
        backbone,
        state.config.student,
        folder / TEACHER,
        {"iterations": str(state.iteration), "dataset": state.config.data.dataset},
    )
