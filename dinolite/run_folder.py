"""What lies in the folder of a run: `config.toml`, `metrics.jsonl`, `ckpt/`, and at the end
`teacher.safetensors`, the published backbone. Who may write there, and what every record says of
its origin: the settings, the versions and the commit of the code. Same settings, seed, versions and
number of threads give the same bits on the same kind of CPU; another version, a GPU or another CPU
need not.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn
from torch.optim import Optimizer

from dinolite import __version__, parallel
from dinolite.checkpointer import (
    META,
    CheckpointError,
    checkpoints,
    damage,
    read_meta,
    remove_leftovers,
    remove_unfinished,
    save_checkpoint,
    write_text,
)
from dinolite.config import Config, load_config, to_toml
from dinolite.data.datasets import PictureDataset
from dinolite.models.pretrained import save_backbone
from dinolite.parallel import global_batch_size

CONFIG, TEACHER, SKIPPED = "config.toml", "teacher.safetensors", "skipped.txt"
LOCK = ".lock"
PATIENCE = 10  # seconds; a killed run's data-loader workers may hold its lock for about 5
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
    return {"spec": d.dataset, "image_size": d.image_size, "root": d.root, "download": d.download}


def open_run(folder: Path, config: Config, allow_changes: bool) -> None:
    """Check that the folder is empty or belongs to a run with the same settings, and clean it up.

    Raises:
        CheckpointError: it holds a run with other settings, or cannot be written.
    """
    try:
        if (folder / CONFIG).exists() and not allow_changes and (places := checkpoints(folder)):
            old, now = load_config(folder / CONFIG), global_batch_size(config)
            changed = differences(old, config)
            was = stored_batch(places, old.train.batch_size_per_gpu)
            if was != now:
                changed.append(f"the batch of all processes was {was}, is {now}")
            if changed:
                raise CheckpointError(
                    f"{folder} holds a run with other settings ({'; '.join(changed[:5])}): choose "
                    "another --out, use the same settings, or add --allow-changes"
                )
        remove_unfinished(folder)
        if parallel.is_main():
            remove_leftovers(folder)
            write_text(folder / CONFIG, written_by() + to_toml(config))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    parallel.barrier()


def written_by() -> str:
    """The first lines of `config.toml`: which code took up the run last."""
    return "".join(f"# {name} {value}\n" for name, value in provenance().items()) + "\n"


def stored_batch(places: list[Path], otherwise: int) -> int:
    """The batch of all processes that the newest readable checkpoint tells of."""
    for place in reversed(places):
        if not damage(place, only=META):
            return int(read_meta(place)[BATCH])
    return otherwise


def note_skipped(data: PictureDataset, folder: Path) -> None:
    """Name the files that were left out: all of them in `skipped.txt`, the first on stderr."""
    if data.skipped and parallel.is_main():
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


def save(
    folder: Path, config: Config, iteration: int, model: nn.Module, optimizer: Optimizer
) -> None:
    """Write a checkpoint, and beside it settings, versions, and the one number of the processes
    that must stay."""
    keep, batch = config.checkpointing.max_to_keep, global_batch_size(config)
    save_checkpoint(folder, iteration, model, optimizer, keep, **{BATCH: batch}, **origin(config))


def origin(config: Config) -> dict[str, Any]:
    """What every record of a run carries: all settings, the seed among them, versions, commit."""
    return {"settings": config.model_dump(mode="json"), "provenance": provenance()}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder of a run and keep other runs out of it; the lock ends with the process.

    Raises:
        CheckpointError: another run is there, or the folder cannot be written.
    """
    if not parallel.is_main():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=PATIENCE)
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"another process trains in {folder}: wait for its end, or choose another --out"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()


def publish(folder: Path, config: Config, iteration: int, backbone: nn.Module) -> None:
    """Write the teacher's backbone with its settings, for everyone to read."""
    metadata = {"iterations": str(iteration), "dataset": config.data.dataset}
    metadata |= {name: json.dumps(value) for name, value in origin(config).items()}
    save_backbone(backbone, config.student, folder / TEACHER, metadata)


HERE = Path(__file__).resolve().parent


def provenance() -> dict[str, str]:
    """Versions and commit; never a host name, a user or a path."""
    return {
        "dinolite": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "processor": platform.machine(),
    }


@cache
def commit(also: tuple[str, ...] = ()) -> str:
    """The commit of a clone, "+changes" where the package (or `also`) differs from it; "unknown"
    for an installed package. Asked once: what was imported does not change with the files."""
    git = ["git", "-C", str(HERE.parent)]
    try:
        top = subprocess.run([*git, "rev-parse", "HEAD:dinolite"], capture_output=True, text=True)
        if top.returncode:
            return "unknown"
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "dinolite", *also], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return name.stdout.strip() + ("+changes" if changed.stdout.strip() else "")
