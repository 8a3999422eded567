"""Checkpoints of a run: save one and remove old ones, resume from the newest that is undamaged. A
checkpoint is written beside its place and moved there when it is complete, old ones go only after
that, and checksums tell whether the files are still as they were written.

Official `checkpointer/checkpointer.py`; stored by torch.distributed.checkpoint, so that a run may
go on with another number of processes.
"""

import hashlib
import json
import os
import pickle
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import EnumType
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dinolite.parallel import barrier, broadcast_object, is_main, rank, world_size

META, SUMS = "meta.json", ".sha256"
CONTENTS = ".metadata"  # of torch.distributed.checkpoint: the names of what a checkpoint holds


class CheckpointError(RuntimeError):
    """The folder of a run, or a checkpoint in it, cannot be used; the message says what to do."""


class MisfitError(CheckpointError):
    """A checkpoint is whole and of another model."""


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first; damaged ones, too."""
    found = [p for p in (run / "ckpt").glob("*") if p.name.isdigit() and (p / META).is_file()]
    return sorted(found, key=lambda p: int(p.name))


def save_checkpoint(
    run: Path,
    iteration: int,
    model: nn.Module,
    optimizer: Optimizer,
    keep: int,
    keep_every: int | None = None,
    **meta: Any,
) -> Path:
    """Write `ckpt/NNNNNNN` with `meta.json` and checksums as of `sha256sum`, then `remove_old`.

    Raises:
        CheckpointError: it could not be written; earlier ones stay, and nothing half-written does.
    """
    import torch.distributed.checkpoint as dcp

    place, temporary = (run / "ckpt" / f"{name}{iteration:07d}" for name in ("", "writing-"))
    try:
        if is_main():
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            meta = {"iteration": iteration, "processes": world_size(), **meta}
            (temporary / META).write_text(json.dumps(meta, indent=1), "utf8")
        barrier()
        with quiet():
            dcp.save(contents(model, optimizer), checkpoint_id=temporary)
        write_sums(temporary)
        barrier()
        if is_main():
            replace_folder(place, temporary)
            remove_old(run, keep, keep_every)
    except (OSError, RuntimeError, dcp.CheckpointException) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(run).free / 2**20
        raise CheckpointError(
            f"checkpoint {place} could not be written: {first_cause(error)}; that disk has "
            f"{free:.0f} MiB free; earlier checkpoints are as they were"
        ) from error
    barrier()
    return place


def remove_old(run: Path, keep: int, keep_every: int | None) -> None:
    """Leave the newest `keep` checkpoints, and those after a multiple of `keep_every` iterations
    (which the official code keeps as copies, `N_keep`)."""
    for old in checkpoints(run)[:-keep]:
        if keep_every is None or int(old.name) % keep_every:
            shutil.rmtree(old)


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
    names += [META, CONTENTS] if is_main() else []
    sums = "".join(f"{sha256(place / name)}  {name}\n" for name in sorted(names))
    (place / f"{rank()}{SUMS}").write_text(sums, "utf8")
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


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Raise whatever goes wrong as a CheckpointError."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        with quiet():
            yield
    except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        reason = first_cause(error)
        raise CheckpointError(f"checkpoint {place} could not be read: {reason}") from error


def resume(folder: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Fill both from the newest undamaged checkpoint, if there is one; damaged ones are named on
    stderr and set aside. Returns the iterations that were done, 0 without a checkpoint.

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
        lines = [line for path in lists for line in path.read_text("utf8").splitlines()]
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
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
    ends = chain([""], (f"-{n}" for n in count(2)))
    names = (place.with_name(f"damaged-{place.name}{end}") for end in ends)
    aside = next(path for path in names if not path.exists())
    os.replace(place, aside)
    return aside


def load_checkpoint(place: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Fill model and optimiser in place; returns what `meta.json` says (iteration, ...). The
    optimiser's groups, their rates and decays stay as they are: they come from the settings. So
    does a Gram teacher that the run did not have when it saved.

    Raises:
        MisfitError: it is of another model.
        CheckpointError: the files could not be read.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state, new = contents(model, optimizer), {}
    groups = state["optimizer"].pop("param_groups")
    if not holds_gram_teacher(place):
        new = {k: v for k, v in state["model"].items() if k.startswith("gram_teacher.")}
        state["model"] = {k: v for k, v in state["model"].items() if k not in new}
    check_fit(place, state["model"])
    with reading(place):
        dcp.load(state, checkpoint_id=place)
        whole, optim = state["model"] | new, state["optimizer"] | {"param_groups": groups}
        set_state_dict(model, optimizer, model_state_dict=whole, optim_state_dict=optim)
        return read_meta(place)


def check_fit(place: Path, model: dict[str, Any]) -> None:
    """Compare names and shapes: what is stored under no name of the model would else be forgotten.

    Raises:
        MisfitError: anything of student or teacher differs, or a center is missing.
    """
    was = {name: entry.size for name, entry in tensors_in(place).items()}
    needed = {f"model.{name}": x.shape for name, x in model.items()}
    both = needed.keys() | {k for k in was if k.startswith(("model.student.", "model.teacher."))}
    both = {k for k in both if not k.startswith("model.gram_teacher.")}
    if wrong := [k for k in sorted(both) if was.get(k) != needed.get(k)]:
        raise MisfitError(f"{place} is of another model, as its {wrong[0][6:]} shows")


def holds_gram_teacher(place: Path) -> bool:
    """Did the run of this checkpoint have a Gram teacher?"""
    return any(name.startswith("model.gram_teacher.") for name in tensors_in(place))


def read_teacher(place: Path, part: str) -> dict[str, Tensor]:
    """The teacher in a checkpoint of ours, or of the official code (also in its sharded evaluation
    files, which hold the teacher alone): the parts that match a regular expression, such as
    "backbone" or ".*_head".

    Raises:
        CheckpointError: the files are damaged, or want to run code.
    """
    import torch.distributed.checkpoint as dcp

    if (place / META).is_file() and (wrong := damage(place)):
        raise CheckpointError(f"checkpoint {place} is damaged: {wrong}")
    tensors = tensors_in(place)
    prefix = "model.teacher." if "model.teacher.backbone.cls_token" in tensors else "model."
    wanted = re.compile(rf"{re.escape(prefix)}({part})\.")
    found = {name: entry for name, entry in tensors.items() if wanted.match(name)}
    state = {k: torch.empty(e.size, dtype=e.properties.dtype) for k, e in found.items()}
    with reading(place):
        dcp.load(state, checkpoint_id=place)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


class PlainUnpickler(pickle.Unpickler):
    """Reads `.metadata`, a pickle, without running code: of all that a pickle may call, only what
    describes tensors and files."""

    ALLOWED = re.compile(
        r"torch\.(Size|[a-z]+\d+\w*|bool)|torch\.serialization\._get_layout|"
        r"pathlib\.(_local\.)?\w*Path|"
        r"torch\.distributed\.checkpoint\.(metadata\.[A-Z_]\w+|filesystem\._StorageInfo)"
    )

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" == "builtins.getattr":  # how Python 3.11.2 names a member of an enum
            return enum_member
        if self.ALLOWED.fullmatch(f"{module}.{name}"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which was refused")


def enum_member(kind: Any, name: str) -> Any:
    """The member of that name; UnpicklingError for what is no enum."""
    if isinstance(kind, EnumType) and name in kind.__members__:
        return kind[name]
    raise pickle.UnpicklingError(f"it asks for {name} of {kind!r}, which was refused")


def tensors_in(place: Path) -> dict[str, Any]:
    """Size and type of each tensor in a checkpoint, by its name."""
    try:
        with open(place / CONTENTS, "rb") as file:
            entries = PlainUnpickler(file).load().state_dict_metadata
    except (pickle.UnpicklingError, EOFError, OSError, AttributeError, ImportError) as error:
        raise CheckpointError(f"checkpoint {place} could not be read: {error}") from None
    return {name: entry for name, entry in entries.items() if hasattr(entry, "size")}


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
    """A text file in UTF-8, written atomically. Raises CheckpointError if it cannot be."""
    try:
        with write_atomically(path) as temporary:
            temporary.write_text(text, "utf8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


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
