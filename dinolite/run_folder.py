"""The folder of a run: `config.toml`, `metrics.jsonl`, `ckpt/`, and at the end the published
backbone, `teacher.safetensors`, and with its heads, for a run that starts where this one ended,
`teacher_checkpoint.safetensors`. One run at a time may write there, with the settings it began
with, and every record says where it comes from: settings, seed, versions, commit.

Same settings, seed, versions and number of threads give the same bits on the same kind of CPU;
another version, a GPU or another CPU need not. Official: only `config.yaml`, without checks.
"""

import json
import os
import platform
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.optim import Optimizer

from dinolite import __version__
from dinolite.checkpointer import (
    META,
    CheckpointError,
    MisfitError,
    checkpoints,
    damage,
    read_meta,
    remove_leftovers,
    resume,
    save_checkpoint,
    write_text,
)
from dinolite.config import CheckpointingConfig, Config, load_config, to_toml
from dinolite.data.datasets import FilePictures, PictureDataset
from dinolite.data.decoding import Packed, show_path
from dinolite.models.pretrained import HANDOVER, TEACHER, save_backbone, write_safetensors
from dinolite.parallel import barrier, global_batch_size, is_main

CONFIG, SKIPPED = "config.toml", "skipped.txt"
LOCK = ".lock"
PATIENCE = 10  # seconds; a killed run's data-loader workers may hold its lock for about 5
BATCH, PICTURES = "global_batch_size", "pictures"  # in a checkpoint's `meta.json`
MAY_CHANGE = {
    *(f"train.{name}" for name in ("device", "num_workers", "compile", "output_dir", "log_every")),
    *("train.parallel", "train.checkpointing", "train.checkpointing_full"),
    "train.batch_size_per_gpu",  # of all processes together it must stay
    *(f"checkpointing.{name}" for name in CheckpointingConfig.model_fields),
    "evaluation.eval_period_iterations",
}
"""Settings that do not change what is learnt."""
OF_THE_MODEL = {"student", "dino", "ibot", "gram", "teacher"}
"""Sections on which depends what a checkpoint holds."""


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
        CheckpointError: it holds a run with other settings.
    """
    changed = {} if allow_changes else changes_since(folder, config)
    if changed:
        words = [f"{name} was {a}, is {b}" for name, (a, b) in changed.items()]
        raise CheckpointError(
            f"{folder} holds a run with other settings ({'; '.join(words[:5])}): choose "
            "another --out, use the same settings, or add --allow-changes"
        )
    remove_leftovers(folder)


def record(folder: Path, config: Config) -> None:
    """Write the settings into `config.toml`: when a run begins, and with each checkpoint, so that a
    run that does not get so far with other settings leaves the old ones."""
    if is_main():
        lines = "".join(f"# {name} {value}\n" for name, value in provenance().items())
        write_text(folder / CONFIG, f"{lines}\n{to_toml(config)}")
    barrier()


def changes_since(folder: Path, config: Config) -> dict[str, tuple[Any, Any]]:
    """{setting: (was, is)}, where a run differs from the one whose checkpoints lie in the folder,
    but for those that may change."""
    readable = (read_meta(p) for p in reversed(checkpoints(folder)) if not damage(p, only=META))
    newest: dict[str, Any] = next(readable, {})
    try:
        if "settings" in newest:
            old = Config.model_validate(newest["settings"])
        elif checkpoints(folder) and (folder / CONFIG).exists():
            old = load_config(folder / CONFIG)
        else:
            return {}
    except ValueError:
        raise CheckpointError(
            f"{folder} holds a run with settings that dinolite {__version__} does not know: go on "
            f"with the version that {CONFIG} names, or choose another --out"
        ) from None
    before, after = ({f"{s}.{k}": v for s, part in c for k, v in part} for c in (old, config))
    changed = {
        name: (value, after[name])
        for name, value in before.items()
        if value != after[name] and name not in MAY_CHANGE
    }
    was, now = newest.get(BATCH, old.train.batch_size_per_gpu), global_batch_size(config)
    if was != now:
        changed["the batch of all processes"] = was, now
    return changed


def resume_run(folder: Path, config: Config, model: nn.Module, optimizer: Optimizer) -> int:
    """`resume`, for settings that may have changed; returns the iterations that were done.

    Raises:
        CheckpointError: all checkpoints are damaged, do not fit these settings, or leave nothing to
            be done with them.
    """
    changed = changes_since(folder, config)
    way_out = "use the same settings, or choose another --out"
    try:
        done = resume(folder, model, optimizer)
    except MisfitError as error:
        told = [f"{k} = {a}" for k, (a, _) in changed.items() if k.split(".")[0] in OF_THE_MODEL]
        begun = f"this run was begun with {', '.join(told)}; " if told else ""
        raise CheckpointError(f"{error}: {begun}{way_out}") from None
    if done > config.train.iterations or (changed and done == config.train.iterations):
        raise CheckpointError(
            f"{folder} holds a run of {done} iterations: train.iterations = "
            f"{config.train.iterations} leaves nothing to be trained with other settings; {way_out}"
        )
    return done


def data_settings(config: Config) -> dict[str, Any]:
    """Arguments of `load_pictures` for the training data."""
    d = config.data
    place = {"spec": d.dataset, "root": d.root, "download": d.download}
    return {**place, "image_size": d.image_size, "value_range": d.value_range}


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
            (folder / SKIPPED).write_text("\n".join([*dict.fromkeys(lines), ""]), "utf8")
        tell_skipped(folder, len(known))


def skipped_lines(folder: Path) -> list[str]:
    """What stands in `skipped.txt`."""
    path = folder / SKIPPED
    text = path.read_text("utf8") if path.is_file() else ""
    return list(dict.fromkeys(text.splitlines()))  # two processes may have found the same


def tell_skipped(folder: Path, known: int) -> None:
    """How many lines `skipped.txt` has behind the first `known` ones, and the first of them."""
    lines = skipped_lines(folder)[known:]
    words = (
        (False, "file or folder was left out", "files or folders were left out"),
        (True, "picture is nearly flat", "pictures are nearly flat"),
    )
    for flat, one, many in words:
        found = [line for line in lines if (": kept, " in line) == flat]
        if found and is_main():
            what = one if len(found) == 1 else many
            said = f"{len(found)} {what}, see {folder / SKIPPED}; the first: {found[0]}"
            print(said, file=sys.stderr)


def fingerprint(data: PictureDataset) -> list[int]:
    """How many pictures, and a checksum of them in their order, which does not depend on where they
    lie: of the pixels in memory, or else of names and sizes of the files, or the size of their
    archive, which takes no reading."""
    total = 0
    if isinstance(data, FilePictures):
        top = len(os.path.commonpath([os.path.dirname(path) for path in data.paths]))
        for path in data.paths:
            name = unicodedata.normalize("NFC", show_path(path[top:])).replace(os.sep, "/")
            file = path.archive if isinstance(path, Packed) else path
            size = os.path.getsize(file) if os.path.isfile(file) else -1
            total = zlib.crc32(f"{name.strip('/')} {size}\n".encode(), total)
    else:
        for picture in (data[i] for i in range(len(data))):
            total = zlib.crc32(f"{list(picture.shape)}".encode(), total)
            total = zlib.crc32(picture.contiguous().numpy().data, total)
    return [len(data), total]


def note_pictures(
    data: PictureDataset, folder: Path, config: Config, done: int, why_no_knn: str
) -> list[int]:
    """Say, on stderr, what one should know about the pictures before training: that a run goes on
    with others, that they are few, that there is no k-NN. Returns their `fingerprint`."""
    now, batch, said = fingerprint(data), global_batch_size(config), []
    place = folder / "ckpt" / f"{done:07d}"
    was = (read_meta(place).get(PICTURES) if done else None) or now
    if was != now:
        what = f"{was[0]} then, {now[0]} now"
        what = what if was[0] != now[0] else f"still {now[0]}, others or in another order"
        said.append(
            f"the pictures have changed since iteration {done} ({what}): the run goes on, but not "
            "to the weights of an uninterrupted one"
        )
    if batch > len(data):
        said.append(
            f"a batch of {batch} is more than the data set has ({len(data)}): pictures are in it "
            "several times; a smaller train.batch_size_per_gpu avoids that"
        )
    if why_no_knn:
        said.append(f"no k-NN: {why_no_knn}")
    if done < config.train.iterations:
        print("".join(f"{sentence}\n" for sentence in said), end="", file=sys.stderr)
    return now


def save(
    folder: Path,
    config: Config,
    iteration: int,
    model: nn.Module,
    optimizer: Optimizer,
    pictures: list[int] | None = None,
) -> None:
    """Write a checkpoint with its origin, and what must stay: the batch of all processes and, by
    their `fingerprint`, the pictures. Then the settings are those of the run."""
    c = config.checkpointing
    meta = {BATCH: global_batch_size(config), PICTURES: pictures, **origin(config)}
    save_checkpoint(folder, iteration, model, optimizer, c.max_to_keep, c.keep_every, **meta)
    record(folder, config)


def publish(folder: Path, config: Config, iteration: int, teacher: Mapping[str, Tensor]) -> None:
    """Write the teacher with its settings: the backbone alone, for everyone to read, and before it
    backbone and heads under the official names, to begin another run with."""
    metadata = {"iterations": str(iteration), "dataset": config.data.dataset}
    metadata |= {name: json.dumps(value) for name, value in origin(config).items()}
    student = config.student.model_copy(update={"resume_from_teacher_chkpt": None})
    header = {"format": "pt", **metadata, "config": student.model_dump_json()}
    write_safetensors({k: x.contiguous() for k, x in teacher.items()}, folder / HANDOVER, header)
    start = "backbone."
    backbone = {k.removeprefix(start): x for k, x in teacher.items() if k.startswith(start)}
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
