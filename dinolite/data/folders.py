"""A folder of picture files -> a data set: found in sorted order, classes and splits read off the
sub-folders, decoded once into memory if they fit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from dinolite.data.decoding import SUFFIXES, UnreadablePicture, picture_bytes, read_many, show_path
from dinolite.data.pictures import FilePictures, ListPictures, PictureDataset, TensorPictures

EVERY = 10  # without sub-folders for the splits, every tenth picture is a test picture
_CHUNK = 1024
_PROBE = 64  # headers read to estimate the memory needed


class _Found(NamedTuple):
    paths: list[str]
    names: list[str]  # first sub-folder each picture lies in; "" if it lies in none
    skipped: list[str]


def load_folder(
    folder: Path, split: str, image_size: int | None = None, cache_bytes: int = 2**31
) -> PictureDataset:
    """The "train" or "test" pictures under `folder`.

    Layouts: `folder/class/...` (labels by the sorted names of the sub-folders), or pictures
    directly in `folder` (label -1). With sub-folders `train` and `test` (or `val`), each holding
    one of these layouts, `split` chooses between them; otherwise every tenth picture in sorted
    order is "test" and the others are "train".
    Raises ValueError if the folder is missing or gives no readable picture for this split.
    """
    if not folder.is_dir():
        raise ValueError(f"folder:{show_path(folder)} is not a folder; allowed: one with pictures")
    held_out = next((name for name in ("test", "val") if (folder / name).is_dir()), None)
    if held_out and (folder / "train").is_dir():
        both = {"train": _find(folder / "train"), "test": _find(folder / held_out)}
        found = both[split]
        classes = sorted({name for half in both.values() for name in half.names if name})
    else:
        found = _find(folder)
        classes = sorted({name for name in found.names if name})
        wanted = [(i % EVERY == EVERY - 1) == (split == "test") for i in range(len(found.paths))]
        found = _Found(
            [path for path, keep in zip(found.paths, wanted, strict=True) if keep],
            [name for name, keep in zip(found.names, wanted, strict=True) if keep],
            found.skipped,
        )
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    labels = torch.tensor([index[name] for name in found.names], dtype=torch.int64)
    if not found.paths:
        raise _nothing_readable(folder, split, found.skipped)
    try:
        return load_files(found.paths, labels, classes, found.skipped, image_size, cache_bytes)
    except UnreadablePicture:
        raise _nothing_readable(folder, split, found.skipped) from None


def load_files(
    paths: Sequence[str | Path],
    labels: Int64[Tensor, " n"],
    classes: Sequence[str],
    skipped: list[str],
    image_size: int | None = None,
    cache_bytes: int = 2**31,
) -> PictureDataset:
    """Decode the files into memory if they fit into `cache_bytes`, else leave them for later.

    Adds a sentence to `skipped` for each unreadable file. Raises UnreadablePicture if there is no
    readable one.
    """
    probe = paths[:: max(1, len(paths) // _PROBE)]
    expected = sum(picture_bytes(path, image_size) for path in probe) / len(probe) * len(paths)
    if expected > cache_bytes:
        return FilePictures(paths, labels, classes, skipped, image_size)
    images: list[Tensor] = []
    kept: list[int] = []
    held = 0
    for start in range(0, len(paths), _CHUNK):
        for i, picture in enumerate(read_many(paths[start : start + _CHUNK], image_size), start):
            if isinstance(picture, UnreadablePicture):
                skipped.append(str(picture))
            else:
                images.append(picture)
                kept.append(i)
                held += picture.numel()
        if held > cache_bytes:  # the probe was not typical
            kept += range(min(start + _CHUNK, len(paths)), len(paths))
            rest = [paths[i] for i in kept]
            return FilePictures(rest, labels[kept], classes, skipped, image_size)
    if not images:
        raise UnreadablePicture(f"none of {len(paths)} picture files is readable: {skipped[-1]}")
    if all(picture.shape == images[0].shape for picture in images):
        return TensorPictures(torch.stack(images), labels[kept], classes, skipped)
    return ListPictures(images, labels[kept], classes, skipped)


def _find(root: Path) -> _Found:
    """Every picture file under `root`; each real folder once, so that circles of links end."""
    found = _Found([], [], [])
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        found.skipped.append(f"{show_path(error.filename)}: skipped, {error.strerror}")

    for folder, subfolders, files in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        hidden = sorted(name for name in subfolders if name.startswith("."))
        for name in hidden:
            found.skipped.append(f"{show_path(folder)}/{name}: skipped, a hidden folder")
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = Path(folder).relative_to(root).parts
        for file in sorted(files):
            path = os.path.join(folder, file)
            if not file.lower().endswith(SUFFIXES):
                found.skipped.append(f"{show_path(path)}: skipped, not a picture file")
            elif not os.path.isfile(path):
                found.skipped.append(f"{show_path(path)}: skipped, not a regular file")
            else:
                found.paths.append(path)
                found.names.append(relative[0] if relative else "")
    return found


def _nothing_readable(folder: Path, split: str, skipped: list[str]) -> ValueError:
    reason = f" ({len(skipped)} files skipped; the first: {skipped[0]})" if skipped else ""
    return ValueError(
        f"folder:{show_path(folder)} has no readable picture for split={split!r}{reason}; allowed: "
        f"{' '.join(SUFFIXES)} files, at least {EVERY} of them where a test split is to be cut off"
    )
