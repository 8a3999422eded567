"""The folder of a run: `config.toml`, `metrics.jsonl`, `ckpt/`, and at the end the published
backbone, `teacher.safetensors`. One run at a time may write there, with the settings it began with,
and every record says where it comes from: settings, seed, versions, commit.

Same settings, seed, versions and number of threads give the same bits on the same kind of CPU;
another version, a GPU or another CPU need not. Official: only `config.yaml`, without checks.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn
from torch.optim import Optimizer

from dinolite import __version__
from dinolite.checkpointer import (
    META,
    CheckpointError,
    checkpoints,
    damage,
    read_meta,
    remove_leftovers,
    save_checkpoint,
    write_text,
)
from dinolite.config import Config, load_config, to_toml
from dinolite.data.datasets import PictureDataset
from dinolite.models.pretrained import TEACHER, save_backbone
from dinolite.parallel import barrier, global_batch_size, is_main

CONFIG, SKIPPED = "config.toml", "skipped.txt"
LOCK = ".lock"
PATIENCE = 10  # seconds; a killed run's data-loader workers may hold its lock for about 5
BATCH = "global_batch_size"  # in a checkpoint's `meta.json`
MAY_CHANGE = {
    "train": {"device", "num_workers", "compile", "output_dir", "log_every", "parallel"}
    | {"checkpointing_full", "batch_size_per_gpu"},  # of all processes together it must stay
    "checkpointing": {"period", "max_to_keep"},
    "evaluation": {"eval_period_iterations"},
}
"""Settings that do not change what is learnt."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder of a run and keep other runs out of it; the lock ends with the process.

    Raises:
        CheckpointError: another run is there, or the folder cannot be written.
    """
    if not is_main():
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


def open_run(folder: Path, config: Config, allow_changes: bool) -> None:
    """Check that the folder is empty or belongs to a run with the same settings, and clean it up.

    Raises:
        CheckpointError: it holds a run with other settings, or cannot be written.
    """
    try:
        changed = [] if allow_changes else changes_since(folder, config)
        if changed:
            raise CheckpointError(
                f"{folder} holds a run with other settings ({'; '.join(changed[:5])}): choose "
                "another --out, use the same settings, or add --allow-changes"
            )
        remove_leftovers(folder)
        if is_main():
            head = "".join(f"# {name} {value}\n" for name, value in provenance().items())
            write_text(folder / CONFIG, f"{head}\n{to_toml(config)}")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    barrier()


def changes_since(folder: Path, config: Config) -> list[str]:
    """In words: the settings in which a run differs from the one whose checkpoints lie in the
    folder, but for those that may change."""
    places = checkpoints(folder)
    if not places or not (folder / CONFIG).exists():
        return []
    old, changed = load_config(folder / CONFIG), []
    for section in Config.model_fields:
        before, after = getattr(old, section), getattr(config, section)
        for name in type(before).model_fields:
            a, b = getattr(before, name), getattr(after, name)
            if a != b and name not in MAY_CHANGE.get(section, set()):
                changed.append(f"{section}.{name} was {a}, is {b}")
    readable = (read_meta(p)[BATCH] for p in reversed(places) if not damage(p, only=META))
    was, now = next(readable, old.train.batch_size_per_gpu), global_batch_size(config)
    if was != now:
        changed.append(f"the batch of all processes was {was}, is {now}")
    return changed


def data_settings(config: Config) -> dict[str, Any]:
    """Arguments of `load_pictures` for the training data."""
    d = config.data
    return {
        "spec": d.dataset,
        "image_size": d.image_size,
        "root": d.root,
        "download": d.download,
        "value_range": d.value_range,
    }


def note_skipped(sets: Sequence[PictureDataset], folder: Path, go_on: bool) -> None:
    """Name the files that were left out: all of them in `skipped.txt`, the first on stderr. Files
    that are read while training are added there as they turn out to be broken, by whichever process
    finds them. `go_on`: keep what was found before, and tell only what is new.
    """
    for data in sets:
        data.record = folder / SKIPPED
    if is_main():
        known = skipped_lines(folder) if go_on else []
        lines = [*known, *(s for d in sets for s in d.skipped), *(s for d in sets for s in d.notes)]
        (folder / SKIPPED).unlink(missing_ok=True)
        if lines:
            text = "".join(f"{line}\n" for line in dict.fromkeys(lines))
            (folder / SKIPPED).write_text(text, "utf8")
        tell_skipped(folder, len(known))


def skipped_lines(folder: Path) -> list[str]:
    """What stands in `skipped.txt`."""
    path = folder / SKIPPED
    return path.read_text("utf8").splitlines() if path.is_file() else []


def tell_skipped(folder: Path, known: int) -> None:
    """How many lines `skipped.txt` has behind the first `known` ones, and the first of them."""
    lines = skipped_lines(folder)[known:]
    kept = [line for line in lines if ": kept, " in line]
    left_out = [line for line in lines if ": kept, " not in line]
    for what, found in (("files were skipped", left_out), ("pictures are nearly flat", kept)):
        if found and is_main():
            print(
                f"{len(found)} {what}, see {folder / SKIPPED}; the first: {found[0]}",
                file=sys.stderr,
            )


def save(
    folder: Path, config: Config, iteration: int, model: nn.Module, optimizer: Optimizer
) -> None:
    """Write a checkpoint with its origin, and the batch of all processes, which must stay."""
    keep, batch = config.checkpointing.max_to_keep, global_batch_size(config)
    save_checkpoint(folder, iteration, model, optimizer, keep, **{BATCH: batch}, **origin(config))


def publish(folder: Path, config: Config, iteration: int, backbone: nn.Module) -> None:
    """Write the teacher's backbone with its settings, for everyone to read."""
    metadata = {"iterations": str(iteration), "dataset": config.data.dataset}
    metadata |= {name: json.dumps(value) for name, value in origin(config).items()}
    save_backbone(backbone, config.student, folder / TEACHER, metadata)


def origin(config: Config) -> dict[str, Any]:
    """What every record of a run carries: all settings, the seed among them, versions, commit."""
    return {"settings": config.model_dump(mode="json"), "provenance": provenance()}


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
    found = git("rev-parse", "HEAD", "HEAD:dinolite")
    if not found:
        return "unknown"
    return found[:7] + ("+changes" if git("status", "--porcelain", "--", "dinolite", *also) else "")


def git(*arguments: str) -> str:
    """What git prints in the folder where this package lies; nothing where that fails."""
    command = ["git", "-C", str(Path(__file__).resolve().parents[1]), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
