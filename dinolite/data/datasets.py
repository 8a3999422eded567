"""Data sets: one word names one ("windows", "scenes", "folder:~/photos", "cifar10"), and all are
used alike: pictures with labels, in one tensor (fastest), in a list of tensors of different sizes,
or as files that are decoded on each access. Nothing is downloaded unless that is asked for.

Official counterpart: the strings of `data/loaders.py`, `data/datasets/`.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from dinolite.config import did_you_mean
from dinolite.data import photographs, scenes
from dinolite.data.decoding import (
    SUFFIXES,
    UnreadablePicture,
    picture_bytes,
    read_many,
    read_picture,
    show_path,
    shrunk,
)
from dinolite.data.photographs import CLASSES
from dinolite.data.pictures import as_pictures, one_picture

SPECS = (
    "windows",
    "scenes",
    "mosaics",
    "photos",
    "folder:PATH",
    "cifar10",
    "cifar100",
    "stl10",
    "imagenette",
    "imagenet",
)
EVERY = 10  # in a folder without sub-folders for the splits, every tenth picture is a test picture
_PROBE = 64  # headers read to estimate the memory needed
_CHUNK = 1024  # pictures decoded or scaled at once

Some = TypeVar("Some", bound="PictureDataset")


def load_pictures(
    spec: str,
    split: str = "train",
    image_size: int | None = None,
    root: str | Path | None = None,
    download: bool = False,
    cache_bytes: int = 2**31,
) -> PictureDataset:
    """The data set named `spec` (one of `SPECS`), its "train" or "test" pictures.

    `image_size` (pixels): the side of "windows" (default 32), "scenes" (64) and "mosaics" (96);
    for all others the longest side allowed, larger pictures being shrunk with their aspect kept.
    "photos" are the sixteen photographs, the same for both splits; "a+b" joins sets of one picture
    size, without labels. `root`: where downloaded sets lie, default `data`; "imagenet" needs it
    (with `train`, `val` inside). Up to `cache_bytes` are kept in memory.
    Raises ValueError for an unknown spec or split, or data that is not there.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split={split!r} is unknown; allowed: 'train', 'test'")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size={image_size} is not possible; allowed: 1 and up, or None")
    if spec.startswith("folder:"):
        folder = Path(spec.removeprefix("folder:")).expanduser()
        return load_folder(folder, split, image_size, cache_bytes)
    if "+" in spec:
        return _joined(spec, split, image_size, root, download)
    if spec in ("windows", "scenes", "mosaics"):
        return _made(spec, split, image_size)
    if spec == "photos":
        paths = [photographs.photograph_path(name) for name in CLASSES]
        return load_files(paths, torch.arange(len(paths)), CLASSES, [], image_size, cache_bytes)
    if spec == "imagenet":
        return _imagenet(split, image_size, root, cache_bytes)
    where = Path(root or "data")
    if spec == "imagenette":
        return _imagenette(split, image_size, where, download, cache_bytes)
    if spec in ("cifar10", "cifar100", "stl10"):
        return _arrays(spec, split, image_size, where, download)
    raise _unknown(spec)


def _unknown(spec: str) -> ValueError:
    hint = did_you_mean(spec.lower(), SPECS)
    if Path(spec).expanduser().is_dir():
        hint = f"; this is a folder, did you mean 'folder:{spec}'?"
    return ValueError(f"spec={spec!r} is no known data set; allowed: {', '.join(SPECS)}{hint}")


def _joined(
    spec: str, split: str, size: int | None, root: str | Path | None, download: bool
) -> TensorPictures:
    """ "a+b": the pictures of both, mixed when training because batches are drawn at random."""
    parts = [load_pictures(part, split, size, root, download) for part in spec.split("+")]
    tensors = [p for p in parts if isinstance(p, TensorPictures)]
    if len(tensors) < len(parts) or len({p.images.shape[1:] for p in tensors}) > 1:
        raise ValueError(
            f"spec={spec!r} joins pictures of different sizes; all must come from sets of one "
            "size, such as windows, scenes and mosaics with image_size given"
        )
    images = torch.cat([p.images for p in tensors])
    return TensorPictures(images, torch.full((len(images),), -1), ())


def _made(spec: str, split: str, size: int | None) -> TensorPictures:
    if spec == "windows":
        n, seed = photographs.WINDOW_COUNT_AND_SEED[split]
        return TensorPictures(*photographs.make_windows(n, split, seed, size or 32), CLASSES)
    if spec == "scenes":
        n, seed = scenes.SCENE_COUNT_AND_SEED[split]
        made, classes = scenes.make_scenes(n, seed, size or 64), scenes.CLASSES
    else:
        n, seed = scenes.MOSAIC_COUNT_AND_SEED[split]
        made, classes = scenes.make_mosaics(n, split, seed, size or 96), CLASSES
    return ScenePictures(made.images, made.labels, classes, made.masks)


def _arrays(
    spec: str, split: str, image_size: int | None, root: Path, download: bool
) -> TensorPictures:
    """The sets torchvision keeps as one array; STL-10's train split has the unlabelled part too."""
    from torchvision import datasets

    def make(download: bool) -> Any:
        if spec == "stl10":
            part = "train+unlabeled" if split == "train" else "test"
            return datasets.STL10(str(root), split=part, download=download)
        kind = datasets.CIFAR10 if spec == "cifar10" else datasets.CIFAR100
        return kind(str(root), train=split == "train", download=download)

    made = _found_or_downloaded(spec, make, root, download)
    images = torch.from_numpy(made.data)
    if spec != "stl10":
        images = images.permute(0, 3, 1, 2)  # channels last -> [n, 3, H, W]
    labels = torch.as_tensor(made.labels if spec == "stl10" else made.targets).long()
    return TensorPictures(_shrink(images, image_size), labels, made.classes)


def _imagenette(
    split: str, image_size: int | None, root: Path, download: bool, cache_bytes: int
) -> PictureDataset:
    """Imagenette in the smallest of its three published sizes that is not below `image_size`."""
    from torchvision import datasets

    short = next((s for s in (160, 320) if image_size is not None and image_size <= s), None)

    def make(download: bool) -> Any:
        size = f"{short}px" if short else "full"
        part = "train" if split == "train" else "val"
        return datasets.Imagenette(str(root), split=part, size=size, download=download)

    made = _found_or_downloaded("imagenette", make, root, download)
    folder = root / (f"imagenette2-{short}" if short else "imagenette2")
    pictures = load_folder(folder, split, image_size, cache_bytes)
    names = {wnid: words[0] for wnid, words in zip(made.wnids, made.classes, strict=True)}
    pictures.classes = tuple(names[wnid] for wnid in pictures.classes)
    return pictures


def _imagenet(
    split: str, image_size: int | None, root: str | Path | None, cache_bytes: int
) -> PictureDataset:
    folder = Path(root or "")
    if root is None or not ((folder / "train").is_dir() and (folder / "val").is_dir()):
        raise ValueError(
            f"spec='imagenet' needs root with the sub-folders train and val, one folder a class in "
            f"each; root={root} is not that. It is never downloaded: see image-net.org"
        )
    return load_folder(folder, split, image_size, cache_bytes)


def _found_or_downloaded(spec: str, make: Callable[[bool], Any], root: Path, download: bool) -> Any:
    try:
        return make(False)
    except (RuntimeError, FileNotFoundError):
        if not download:
            raise ValueError(
                f"data set {spec!r} is not in {root.resolve()}; "
                f"download=True allows fetching it there, root=... looks elsewhere"
            ) from None
    root.mkdir(parents=True, exist_ok=True)
    try:
        return make(True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(f"data set {spec!r} could not be downloaded: {error}") from error


def _shrink(images: Tensor, image_size: int | None) -> Tensor:
    h, w = images.shape[2:]
    new_w, new_h = shrunk(w, h, image_size)
    if (new_w, new_h) == (w, h):
        return images.contiguous()
    parts = [
        interpolate(part.contiguous(), size=(new_h, new_w), mode="bilinear", antialias=True)
        for part in images.split(_CHUNK)
    ]
    return torch.cat(parts)


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
        both = {"train": find_pictures(folder / "train"), "test": find_pictures(folder / held_out)}
        found = both[split]
        classes = sorted({name for half in both.values() for name in half.names if name})
    else:
        found = find_pictures(folder)
        classes = sorted({name for name in found.names if name})
        wanted = [(i % EVERY == EVERY - 1) == (split == "test") for i in range(len(found.paths))]
        paths, names = (list(compress(column, wanted)) for column in found[:2])
        found = FoundPictures(paths, names, found.skipped)
    index = {name: i for i, name in enumerate(classes)} | {"": -1}
    labels = torch.tensor([index[name] for name in found.names], dtype=torch.int64)
    skipped = found.skipped
    with contextlib.suppress(UnreadablePicture):
        if found.paths:
            return load_files(found.paths, labels, classes, skipped, image_size, cache_bytes)
    reason = f" ({len(skipped)} files skipped; the first: {skipped[0]})" if skipped else ""
    raise ValueError(
        f"folder:{show_path(folder)} has no readable picture for split={split!r}{reason}; allowed: "
        f"{' '.join(SUFFIXES)} files, at least {EVERY} of them where a test split is to be cut off"
    )


class FoundPictures(NamedTuple):
    """What lies under a folder, in sorted order."""

    paths: list[str]
    names: list[str]  # first sub-folder each picture lies in; "" if it lies in none
    skipped: list[str]


def find_pictures(root: Path) -> FoundPictures:
    """Every picture file under `root`; each real folder once, so that circles of links end. Hidden
    folders and files of other kinds are skipped, with a sentence each."""
    found = FoundPictures([], [], [])
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        found.skipped.append(f"{show_path(error.filename)}: skipped, {error.strerror}")

    for folder, subfolders, files in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        for name in sorted(name for name in subfolders if name.startswith(".")):
            found.skipped.append(f"{show_path(folder)}/{name}: skipped, a hidden folder")
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        relative = Path(folder).relative_to(root).parts
        for file in sorted(files):
            path = os.path.join(folder, file)
            if file.startswith("."):
                found.skipped.append(f"{show_path(path)}: skipped, a hidden file")
            elif not file.lower().endswith(SUFFIXES):
                found.skipped.append(f"{show_path(path)}: skipped, not a picture file")
            elif not os.path.isfile(path):
                found.skipped.append(f"{show_path(path)}: skipped, not a regular file")
            else:
                found.paths.append(path)
                found.names.append(relative[0] if relative else "")
    return found


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


class PictureDataset(Dataset[Tensor]):
    """n uint8 pictures [3, h, w] with `classes` (names), `labels` int64 [n] (index into `classes`;
    -1 = no label) and `skipped`, one sentence for each file that was left out.
    """

    PER_PICTURE = frozenset({"labels", "images", "masks", "paths"})  # attributes with n entries

    def __init__(
        self, labels: Int64[Tensor, " n"], classes: Sequence[str], skipped: Sequence[str] = ()
    ) -> None:
        self.labels = labels
        self.classes = tuple(classes)
        self.skipped = list(skipped)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        raise NotImplementedError

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """The pictures at `indices`, each at its own size."""
        return [self[i] for i in indices]

    def batch(
        self, indices: Sequence[int] | Tensor
    ) -> tuple[UInt8[Tensor, "B 3 S S2"], Int64[Tensor, "B 2"]]:
        """The pictures at `indices` (0..n-1) on one canvas, and the valid height and width of each.

        Every picture lies at the upper left of its canvas, which is as high and as wide as the
        batch needs; the rest is 0.
        """
        pictures = self.pictures([int(i) for i in indices])
        sizes = torch.tensor([p.shape[1:] for p in pictures], dtype=torch.int64).view(-1, 2)
        height, width = sizes.amax(0).tolist() if pictures else (0, 0)
        canvas = torch.zeros(len(pictures), 3, height, width, dtype=torch.uint8)
        for slot, picture in zip(canvas, pictures, strict=True):
            slot[:, : picture.shape[1], : picture.shape[2]] = picture
        return canvas, sizes

    def subset(self: Some, indices: Sequence[int] | Tensor) -> Some:
        """The same kind of data set with only the pictures at `indices`, in that order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        part = copy.copy(self)
        part.skipped = list(self.skipped)
        for name in self.PER_PICTURE & vars(self).keys():
            values = getattr(self, name)
            one_tensor = isinstance(values, Tensor)
            setattr(part, name, values[rows] if one_tensor else [values[i] for i in rows.tolist()])
        return part


class TensorPictures(PictureDataset):
    """Pictures of one size in one uint8 tensor [n, 3, H, W]: a batch is one indexing operation."""

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 H W"],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
    ) -> None:
        images = as_pictures(images)
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels has shape {list(labels.shape)}; allowed: [{len(images)}]")
        super().__init__(labels, classes, skipped)
        self.images = images

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 H W"]:
        return self.images[index]

    def batch(
        self, indices: Sequence[int] | Tensor
    ) -> tuple[UInt8[Tensor, "B 3 H W"], Int64[Tensor, "B 2"]]:
        """`images[indices]`, indices 0..n-1, and their height and width, repeated B times."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        images = self.images.index_select(0, rows)  # copies rows whole, 15 times as fast as [rows]
        return images, torch.tensor(images.shape[2:]).expand(len(images), 2)


class ScenePictures(TensorPictures):
    """Pictures of one size with `masks` int64 [n, H, W]: 0 = background, c + 1 = class c."""

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 H W"],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        masks: Int64[Tensor, "n H W"],
    ) -> None:
        super().__init__(images, labels, classes)
        self.masks = masks


class ListPictures(PictureDataset):
    """Pictures of different sizes, decoded once and kept in memory."""

    def __init__(
        self,
        images: Sequence[UInt8[Tensor, "3 _ _"]],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
    ) -> None:
        super().__init__(labels, classes, skipped)
        for i, picture in enumerate(images):
            one_picture(picture, name=f"images[{i}]")
        self.images = list(images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        return self.images[index]


class FilePictures(PictureDataset):
    """Picture files decoded on each access, long side at most `image_size`.

    A file that turns out to be unreadable gives the next readable picture instead, and that one's
    label; it is added to `skipped` once.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
        image_size: int | None = None,
    ) -> None:
        super().__init__(labels.clone(), classes, skipped)
        self.paths = [str(path) for path in paths]
        self.image_size = image_size
        self._unreadable: set[int] = set()

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index={index} is out of range for {n} pictures")
        for i in ((index + step) % n for step in range(n)):
            if i in self._unreadable:
                continue
            try:
                picture = read_picture(self.paths[i], self.image_size)
            except UnreadablePicture as error:
                self._unreadable.add(i)
                self.skipped.append(str(error))
                continue
            self.labels[index] = self.labels[i]
            return picture
        raise ValueError(f"none of {n} picture files is readable; the first: {self.skipped[-1]}")

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """The pictures at `indices`, decoded on a few threads."""
        read = read_many([self.paths[i] for i in indices], self.image_size)
        return [
            self[i] if isinstance(picture, UnreadablePicture) else picture
            for i, picture in zip(indices, read, strict=True)
        ]

    def subset(self, indices: Sequence[int] | Tensor) -> FilePictures:
        """Only the pictures at `indices`, in that order."""
        part = super().subset(indices)
        part._unreadable = set()  # positions have changed
        return part
