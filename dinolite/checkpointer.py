"""Checkpoints of a run: save one and remove old ones, resume from the newest that is undamaged. A
checkpoint is written beside its place and moved there when it is complete, old ones go only after
that, and checksums tell whether the files are still as they were written.

Official `checkpointer/checkpointer.py`; stored by torch.distributed.checkpoint, so that a run may
go on with another number of processes.
"""

import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dinolite.parallel import barrier, broadcast_object, is_main, rank, world_size

META, SUMS = "meta.json", ".sha256"


class CheckpointError(RuntimeError):
    """The folder of a run, or a checkpoint in it, cannot be used; the message says what to do."""


class MisfitError(CheckpointError):
    """A checkpoint is whole and of another model."""


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; damaged ones, too."""
    found = [p for p in (run / "ckpt").glob("*") if p.name.isdigit() and (p / META).is_file()]
    return sorted(found, key=lambda p: int(p.name))


def save_checkpoint(
    run: Path, iteration: int, model: nn.Module, optimizer: Optimizer, keep: int, **meta: Any
) -> Path:
    """Write `ckpt/NNNNNNN` after `iteration` steps, then remove all but the newest `keep`.

    Beside the data lie `meta.json` and one list of checksums per process, as `sha256sum` writes
    them.

    Raises:
        CheckpointError: it could not be written (disk full, no permission); earlier ones are
            untouched and nothing half-written stays.
    """
    import torch.distributed.checkpoint as dcp

    place = run / "ckpt" / f"{iteration:07d}"
    temporary = run / "ckpt" / f"writing-{iteration:07d}"
    try:
        if is_main():
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            text = {"iteration": iteration, "processes": world_size(), **meta}
            (temporary / META).write_text(json.dumps(text, indent=1), "utf8")
        barrier()
        with quiet():
            dcp.save(contents(model, optimizer), checkpoint_id=temporary)
        write_sums(temporary)
        barrier()
        if is_main():
            replace_folder(place, temporary)
            for old in checkpoints(run)[:-keep]:
                shutil.rmtree(old)
    except (OSError, RuntimeError, dcp.CheckpointException) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(run).free / 2**20
        raise CheckpointError(
            f"checkpoint {place} could not be written: {first_cause(error)}; that disk has "
            f"{free:.0f} MiB free; earlier checkpoints are as they were"
        ) from error
    barrier()
    return place


def contents(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """What a checkpoint holds of both, under names that hold for any number of processes."""
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optimizer": optimizer_state}


def replace_folder(place: Path, temporary: Path) -> None:
    """Put the temporary folder in its final place, instead of what was there."""
    shutil.rmtree(place, ignore_errors=True)
    os.replace(temporary, place)
    sync(place.parent)


def write_sums(place: Path) -> None:
    """Each process: the checksums of the files it wrote, and all of them on the disk."""
    names = [path.name for path in place.glob(f"__{rank()}_*")]
    names += [META, ".metadata"] if is_main() else []
    lines = [f"{sha256(place / name)}  {name}\n" for name in sorted(names)]
    (place / f"{rank()}{SUMS}").write_text("".join(lines), "utf8")
    for name in [*names, f"{rank()}{SUMS}"]:
        sync(place / name)


def first_cause(error: BaseException) -> str:
    """The sentence that matters of an error that wraps others."""
    if hasattr(error, "failures") and error.failures:  # of torch.distributed.checkpoint
        error = next(iter(error.failures.values()))[0]
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def quiet() -> Iterator[None]:
    """torch.distributed.checkpoint warns that there is one process only; we know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def resume(folder: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Fill both from the newest undamaged checkpoint, if there is one; damaged ones are named on
    stderr and set aside.

    Returns:
        the iterations that were done, 0 without a checkpoint.

    Raises:
        CheckpointError: there are checkpoints, and all are damaged.
        MisfitError: the newest whole one is of another model.
    """
    places = checkpoints(folder)
    for place in reversed(places):
        wrong = broadcast_object(damage(place) if is_main() else "")
        if not wrong:
            return int(load_checkpoint(place, model, optimizer)["iteration"])
        if is_main():
            aside = set_aside(place)
            print(f"checkpoint {place} is damaged: {wrong}; kept as {aside}", file=sys.stderr)
    if damaged := len(list((folder / "ckpt").glob("damaged-*"))):
        raise CheckpointError(
            f"none of the {damaged} checkpoints in {folder / 'ckpt'} is whole, all are damaged: "
            "the run cannot go on. Choose another --out to start anew"
        )
    return 0


def damage(place: Path, only: str = "") -> str:
    """What is wrong with the files of a checkpoint, or with one of them; empty if they are as they
    were written."""
    try:
        lists = sorted(place.glob(f"*{SUMS}"))
        lines = [
            line.split("  ", 1) for path in lists for line in path.read_text("utf8").splitlines()
        ]
        sums = {name: digest for digest, name in lines}
        here = {path.name for path in place.iterdir()} - {path.name for path in lists}
        if strange := sorted(here ^ sums.keys()):
            return f"{strange[0]} is " + ("missing" if strange[0] in sums else "not in the sums")
        for name in [only] if only else sums:
            if sha256(place / name) != sums[name]:
                return f"{name} is not as it was written"
        if len(lists) != read_meta(place)["processes"]:
            return "a list of checksums is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__} while reading it"
    return ""


def set_aside(place: Path) -> Path:
    """Rename a damaged checkpoint, so that it counts no longer and is not lost either."""
    aside, earlier = place.with_name(f"damaged-{place.name}"), 1
    while aside.exists():
        earlier += 1
        aside = place.with_name(f"damaged-{place.name}-{earlier}")
    os.replace(place, aside)
    return aside


def load_checkpoint(place: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Fill model and optimiser in place; returns what `meta.json` says (iteration, ...). The
    optimiser's groups, their rates and decays stay as they are: they come from the settings.

    Raises:
        MisfitError: it is of another model.
        CheckpointError: the files could not be read.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state = contents(model, optimizer)
    groups = state["optimizer"].pop("param_groups")
    try:
        check_fit(place, state["model"])
        with quiet():
            dcp.load(state, checkpoint_id=place)
        state["optimizer"]["param_groups"] = groups
        set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
        )
        return read_meta(place)
    except MisfitError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, dcp.CheckpointException) as error:
        raise CheckpointError(f"{place} could not be read: {first_cause(error)}") from error


def check_fit(place: Path, model: dict[str, Any]) -> None:
    """Compare names and shapes: what is stored under no name of the model would else be forgotten.

    Raises:
        MisfitError: anything of student or teacher differs, or a center is missing.
    """
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    stored = FileSystemReader(place).read_metadata().state_dict_metadata
    was = {k: v.size for k, v in stored.items() if isinstance(v, TensorStorageMetadata)}
    needed = {f"model.{name}": x.shape for name, x in model.items()}
    both = needed.keys() | {k for k in was if k.startswith(("model.student.", "model.teacher."))}
    both = {k for k in both if not k.startswith("model.gram_teacher.")}
    if wrong := [k for k in sorted(both) if was.get(k) != needed.get(k)]:
        raise MisfitError(f"{place} is of another model, as its {wrong[0][6:]} shows")


def read_meta(place: Path) -> dict[str, Any]:
    """What was written beside a checkpoint: iteration, ..."""
    return json.loads((place / META).read_text("utf8"))


def remove_leftovers(run: Path) -> None:
    """Remove what killed processes left half-written in the folder of a run."""
    if is_main():
        for folder in (run / "ckpt").glob("writing-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in run.glob(".*.tmp"):
            file.unlink(missing_ok=True)
    barrier()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Where to write: a file beside `path`, which takes its place at the end of the block. After an
    error, or a crash, `path` is as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as of all new files; safetensors writes one of its own
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, written atomically."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, "utf8")


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder (Windows cannot do the latter)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The checksum of a file, 64 hexadecimal digits, as `sha256sum` gives it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
