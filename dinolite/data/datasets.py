"""Data sets: one word names one ("windows", "scenes", "folder:~/photos", "cifar10"), and all are
used alike: pictures with labels, in one tensor (fastest), in a list of tensors of different sizes,
or as files that are decoded on each access. Nothing is downloaded unless that is asked for.

Official counterpart: the strings of `data/loaders.py`, `data/datasets/`.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from dinolite.config import did_you_mean
from dinolite.data.decoding import (
    PicturePath,
    UnreadablePicture,
    nearly_flat,
    picture_bytes,
    read_many,
    read_picture,
    show_path,
    shrunk,
    suffixes,
)
from dinolite.data.demo_pictures import photographs, scenes
from dinolite.data.demo_pictures.photographs import CLASSES
from dinolite.data.folders import EVERY, Contents, listed, read_folder
from dinolite.data.picture_checks import Range, as_pictures, one_picture

MADE, FETCHED = ("windows", "scenes", "mosaics"), ("cifar10", "cifar100", "stl10", "imagenette")
SPECS = (*MADE, "photos", "folder:PATH", *FETCHED, "imagenet")
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
    value_range: Range = None,
) -> PictureDataset:
    """The data set named `spec` (one of `SPECS`), its "train" or "test" pictures.

    `image_size` (pixels): the side of "windows" (default 32), "scenes" (64) and "mosaics" (96);
    for all others the longest side allowed, larger pictures being shrunk with their aspect kept.
    "photos" are the sixteen photographs, the same for both splits; "a+b" joins folders, or sets of
    one picture size, without labels. `root`: where downloaded sets lie, default `data`; "imagenet"
    needs it (with `train`, `val` inside). Up to `cache_bytes` are kept in memory.
    `value_range` (of files): see `decoding.read_picture`.
    Raises ValueError for an unknown spec or split, or data that is not there.
    """
    _check(split, image_size)
    specs = parts_of(spec)
    if all(part.startswith("folder:") for part in specs):
        folders = [Path(part.removeprefix("folder:")).expanduser() for part in specs]
        return load_folders(folders, split, image_size, cache_bytes, value_range)
    if len(specs) > 1:
        parts = [
            load_pictures(x, split, image_size, root, download, 2**31, value_range) for x in specs
        ]
        return _joined(spec, parts)
    if spec in MADE:
        return _made(spec, split, image_size)
    if spec == "photos":
        paths = [photographs.photograph_path(name) for name in CLASSES]
        return load_files(paths, torch.arange(len(paths)), CLASSES, [], image_size, cache_bytes)
    if spec == "imagenet":
        return _imagenet(split, image_size, root, cache_bytes)
    if spec in FETCHED:
        return _fetched(spec, split, image_size, Path(root or "data"), download, cache_bytes)
    raise _unknown(spec)


def _check(split: str, image_size: int | None) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"split={split!r} is unknown; allowed: 'train', 'test'")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size={image_size} is not possible; allowed: 1 and up, or None")


def _unknown(spec: str) -> ValueError:
    hint = did_you_mean(spec.lower(), SPECS)
    if Path(spec).expanduser().is_dir():
        hint = f"; this is a folder, did you mean 'folder:{spec}'?"
    return ValueError(f"spec={spec!r} is no known data set; allowed: {', '.join(SPECS)}{hint}")


def parts_of(spec: str) -> list[str]:
    """The data sets that "a+b" joins; a "+" may be part of a folder's name, too."""
    if spec == "folder:":
        raise ValueError(
            "spec='folder:' names no folder; allowed: folder:PATH, folder:. for this one"
        )
    if spec.startswith("folder:") and Path(spec.removeprefix("folder:")).expanduser().exists():
        return [spec]
    if not spec.startswith("folder:") and "+folder:" not in spec:
        return spec.split("+")
    names = "|".join([*(s for s in SPECS if ":" not in s), "folder:.*"])
    return re.split(rf"\+(?=(?:{names})(?:\+|$))", spec)


def _joined(spec: str, parts: Sequence[PictureDataset]) -> TensorPictures:
    """ "a+b": the pictures of both, mixed when training because batches are drawn at random."""
    tensors = [p for p in parts if isinstance(p, TensorPictures)]
    if len(tensors) < len(parts) or len({p.images.shape[1:] for p in tensors}) > 1:
        raise ValueError(
            f"spec={spec!r} joins pictures of different sizes; allowed: folders alone "
            "(folder:A+folder:B), or sets of one size, such as windows, scenes and mosaics with "
            "image_size given"
        )
    images = torch.cat([p.images for p in tensors])
    skipped = [sentence for p in parts for sentence in p.skipped]
    joined = TensorPictures(images, torch.full((len(images),), -1), (), skipped)
    joined.notes = [sentence for p in parts for sentence in p.notes]
    return joined


def _made(spec: str, split: str, size: int | None) -> TensorPictures:
    if spec == "windows":
        n, seed = photographs.WINDOW_COUNT_AND_SEED[split]
        return TensorPictures(*photographs.make_windows(n, split, seed, size or 32), CLASSES)
    if spec == "scenes":
        n, seed = scenes.SCENE_COUNT_AND_SEED[split]
        made, classes = scenes.make_scenes(n, seed, size or 64), scenes.SCENE_CLASSES
    else:
        n, seed = scenes.MOSAIC_COUNT_AND_SEED[split]
        made, classes = scenes.make_mosaics(n, split, seed, size or 96), CLASSES
    pictures = ScenePictures(made.images, made.labels, classes)
    pictures.masks = made.masks
    return pictures


def _fetched(
    spec: str, split: str, image_size: int | None, root: Path, download: bool, cache_bytes: int
) -> PictureDataset:
    """The sets of torchvision: arrays, where STL-10's train split has the unlabelled part too; and
    Imagenette in the smallest of its three published sizes that is not below `image_size`."""
    from torchvision import datasets

    train = split == "train"
    short = next((s for s in (160, 320) if image_size is not None and image_size <= s), None)
    sources: dict[str, tuple[str, dict[str, Any]]] = {
        "cifar10": ("CIFAR10", {"train": train}),
        "cifar100": ("CIFAR100", {"train": train}),
        "stl10": ("STL10", {"split": "train+unlabeled" if train else "test"}),
        "imagenette": (
            "Imagenette",
            {"split": "train" if train else "val", "size": f"{short}px" if short else "full"},
        ),
    }
    kind, which = sources[spec]
    made = _found_or_downloaded(spec, getattr(datasets, kind), which, root, download)
    if spec == "imagenette":
        folder = root / (f"imagenette2-{short}" if short else "imagenette2")
        pictures = load_folders([folder], split, image_size, cache_bytes)
        names = {wnid: words[0] for wnid, words in zip(made.wnids, made.classes, strict=True)}
        pictures.classes = tuple(names[wnid] for wnid in pictures.classes)
        return pictures
    images = torch.from_numpy(made.data)
    if spec != "stl10":
        images = images.permute(0, 3, 1, 2)  # channels last -> [n, 3, H, W]
    labels = torch.as_tensor(made.labels if spec == "stl10" else made.targets).long()
    return TensorPictures(_shrink(images, image_size), labels, made.classes)


def _imagenet(
    split: str, image_size: int | None, root: str | Path | None, cache_bytes: int
) -> PictureDataset:
    folder = Path(root or "")
    if root is None or not ((folder / "train").is_dir() and (folder / "val").is_dir()):
        raise ValueError(
            f"spec='imagenet' needs root with the sub-folders train and val, one folder a class in "
            f"each; root={root} is not that. It is never downloaded: see image-net.org"
        )
    return load_folders([folder], split, image_size, cache_bytes)


def _found_or_downloaded(
    spec: str, kind: Any, which: dict[str, Any], root: Path, download: bool
) -> Any:
    try:
        return kind(str(root), download=False, **which)
    except (RuntimeError, FileNotFoundError):
        if not download:
            raise ValueError(
                f"data set {spec!r} is not in {root.resolve()}; "
                f"download=True allows fetching it there, root=... looks elsewhere"
            ) from None
    root.mkdir(parents=True, exist_ok=True)
    try:
        return kind(str(root), download=True, **which)
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


def load_folders(
    folders: Sequence[Path],
    split: str,
    image_size: int | None = None,
    cache_bytes: int = 2**31,
    value_range: Range = None,
) -> PictureDataset:
    """The "train" or "test" pictures of a folder, a zip or a tar, as `folders.read_folder` finds
    them, with labels by the sorted names of the classes of both parts, -1 = none; or of several
    such, without labels.

    Raises ValueError if one is missing, or if there is no readable picture for this split.
    """
    contents = [read_folder(folder) for folder in folders]
    classes = contents[0].classes() if len(folders) == 1 else []
    index = {name: i for i, name in enumerate(classes)}
    parts = [content.part(split) for content in contents]
    paths = [path for part in parts for path in part[0]]
    labels = torch.tensor([index.get(name, -1) for part in parts for name in part[1]]).long()
    skipped = [sentence for content in contents for sentence in content.skipped]
    with contextlib.suppress(UnreadablePicture):
        if paths:
            how = image_size, cache_bytes, value_range
            pictures = load_files(paths, labels, classes, skipped, *how)
            _explain(pictures, contents, labels, split)
            return pictures
    shown = "+folder:".join(show_path(folder) for folder in folders)
    reason = f" ({len(skipped)} files skipped; the first: {skipped[0]})" if skipped else ""
    if split == "test":
        raise NoTestPart(
            f"folder:{shown} has no readable picture to test on{reason if paths else ''}; allowed: "
            f"sub-folders train and test, or at least {EVERY} pictures, of which every tenth is it"
        )
    raise ValueError(
        f"folder:{shown} has no readable picture for split={split!r}{reason}; allowed: "
        f"{' '.join(suffixes())} files"
    )


def _explain(
    pictures: PictureDataset, contents: list[Contents], labels: Tensor, split: str
) -> None:
    """Say what was understood, and name the classes of which no picture could be read."""
    gone = {*labels.tolist()} - {*pictures.labels.tolist()}
    lost = [pictures.classes[i] for i in sorted(gone) if i >= 0]
    pictures.skipped += [
        f"class {show_path(name)}: skipped, none of its {split} pictures can be read"
        for name in lost
    ]
    lines = [c.words(lost) for c in contents]
    if n_broken := len(labels) - len(pictures):
        lines[-1] += f"; {n_broken:,} of the {split} pictures cannot be read"
    pictures.understood = " + ".join(lines)
    if len(lines) > 1:
        pictures.understood += "; joined, without labels"


class NoTestPart(ValueError):
    """A folder has no picture to test on; there may be some to train on."""


def load_files(
    paths: Sequence[PicturePath],
    labels: Int64[Tensor, " n"],
    classes: Sequence[str],
    skipped: list[str],
    image_size: int | None = None,
    cache_bytes: int = 2**31,
    value_range: Range = None,
) -> PictureDataset:
    """Decode the files into memory if they fit into `cache_bytes`, else leave them for later.

    Adds a sentence to `skipped` for each unreadable file. Raises UnreadablePicture if there is no
    readable one.
    """
    probe = paths[:: max(1, len(paths) // _PROBE)]
    expected = sum(picture_bytes(path, image_size) for path in probe) / len(probe) * len(paths)
    if expected > cache_bytes:
        return FilePictures(paths, labels, classes, skipped, image_size, value_range)
    images: list[Tensor] = []
    kept: list[int] = []
    held, how = 0, (image_size, value_range)
    read = partial(read_picture, image_size=image_size, value_range=value_range)
    for start in range(0, len(paths), _CHUNK):
        for i, picture in enumerate(read_many(paths[start : start + _CHUNK], read), start):
            if isinstance(picture, UnreadablePicture):
                skipped.append(str(picture))
            else:
                images.append(picture)
                kept.append(i)
                held += picture.numel()
        if held > cache_bytes:  # the probe was not typical
            kept += range(min(start + _CHUNK, len(paths)), len(paths))
            rest = [paths[i] for i in kept]
            return FilePictures(rest, labels[kept], classes, skipped, *how)
    if not images:
        raise UnreadablePicture(f"none of {len(paths)} picture files is readable: {skipped[-1]}")
    kind = TensorPictures if len({x.shape for x in images}) == 1 else ListPictures
    pictures = kind(images, labels[kept], classes, skipped)
    pictures.notes += filter(None, map(nearly_flat, images, (paths[i] for i in kept)))
    return pictures


class PictureDataset(Dataset[Tensor]):
    """n uint8 pictures [3, h, w] with `classes` (names), `labels` int64 [n] (index into `classes`;
    -1 = no label), `skipped`, one sentence for each file that was left out, and `notes`, one for
    each that was kept and is nearly flat. `understood`: one line on what was found where.
    """

    # Attributes with n entries.
    PER_PICTURE = frozenset({"labels", "images", "masks", "places", "paths"})

    def __init__(
        self, labels: Int64[Tensor, " n"], classes: Sequence[str], skipped: Sequence[str] = ()
    ) -> None:
        self.labels = labels
        self.classes = tuple(classes)
        self.skipped = list(skipped)
        self.notes: list[str] = []
        self.record: Path | None = None
        """File to which is added what is found only when pictures are read."""
        names = [self.classes[i] for i in labels.unique().tolist() if 0 <= i < len(self.classes)]
        known = listed(names, "class", "classes") if names else "no labels"
        self.understood = f"{len(labels):,} train, {known}"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        raise NotImplementedError

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """The pictures at `indices`, each at its own size."""
        return [self[i] for i in indices]

    def subset(self: Some, indices: Sequence[int] | Tensor) -> Some:
        """The same kind of data set with only the pictures at `indices`, in that order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        part = copy.copy(self)
        part.skipped, part.notes = list(self.skipped), list(self.notes)
        for name in self.PER_PICTURE & vars(self).keys():
            values = getattr(self, name)
            one_tensor = isinstance(values, Tensor)
            setattr(part, name, values[rows] if one_tensor else [values[i] for i in rows.tolist()])
        return part


class TensorPictures(PictureDataset):
    """Pictures of one size in one uint8 tensor [n, 3, H, W]."""

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 H W"] | Sequence[UInt8[Tensor, "3 H W"]],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
    ) -> None:
        self.images = as_pictures(images)
        if labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels has shape {list(labels.shape)}; allowed: [{len(self.images)}]"
            )
        super().__init__(labels, classes, skipped)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 H W"]:
        return self.images[index]


class ScenePictures(TensorPictures):
    """Pictures of one size with the class of each pixel: 0 = background, c + 1 = class c."""

    masks: Int64[Tensor, "n H W"]


class ListPictures(PictureDataset):
    """Pictures of different sizes, decoded once and kept in memory: in one tensor, because of
    thousands each would need an open file in every worker that is spawned."""

    def __init__(
        self,
        images: Sequence[UInt8[Tensor, "3 _ _"]],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
    ) -> None:
        super().__init__(labels, classes, skipped)
        self.places: list[tuple[int, torch.Size]] = []
        start = 0
        for i, picture in enumerate(images):
            one_picture(picture, name=f"images[{i}]")
            self.places.append((start, picture.shape))
            start += picture.numel()
        empty = torch.zeros(0, dtype=torch.uint8)
        self.pixels = torch.cat([empty, *(picture.flatten() for picture in images)])

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        start, shape = self.places[index]
        return self.pixels[start : start + shape.numel()].view(shape)


class FilePictures(PictureDataset):
    """Picture files decoded on each access, long side at most `image_size`.

    A file that turns out to be unreadable gives the next readable picture instead, and that one's
    label; it is added to `skipped` once, and by whichever process finds it to the file `record`.
    """

    def __init__(
        self,
        paths: Sequence[PicturePath],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
        image_size: int | None = None,
        value_range: Range = None,
    ) -> None:
        super().__init__(labels.clone(), classes, skipped)
        self.paths = [str(path) if isinstance(path, Path) else path for path in paths]
        self.read = partial(read_picture, image_size=image_size, value_range=value_range)
        self._unreadable: set[int] = set()

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index={index} is out of range for {n} pictures")
        for i in ((index + step) % n for step in range(n)):
            if i in self._unreadable:
                continue
            try:
                picture = self.read(self.paths[i])
            except UnreadablePicture as error:
                self._unreadable.add(i)
                self._tell(str(error), self.skipped)
                continue
            self.labels[index] = self.labels[i]
            self._look_at(picture, i)
            return picture
        raise ValueError(f"none of {n} picture files is readable; the first: {self.skipped[-1]}")

    def pictures(self, indices: Sequence[int]) -> list[Tensor]:
        """The pictures at `indices`, decoded on a few threads."""
        read = read_many([self.paths[i] for i in indices], self.read)
        pictures = []
        for i, picture in zip(indices, read, strict=True):
            if isinstance(picture, UnreadablePicture):
                picture = self[i]
            else:
                self._look_at(picture, i)
            pictures.append(picture)
        return pictures

    def subset(self, indices: Sequence[int] | Tensor) -> FilePictures:
        """Only the pictures at `indices`, in that order."""
        part = super().subset(indices)
        part._unreadable = set()  # positions have changed
        return part

    def _look_at(self, picture: Tensor, i: int) -> None:
        if sentence := nearly_flat(picture, self.paths[i]):
            self._tell(sentence, self.notes)

    def _tell(self, sentence: str, told: list[str]) -> None:
        if sentence in told:
            return
        told.append(sentence)
        if self.record is not None:
            with open(self.record, "a+", encoding="utf8") as file:  # each write goes to the end
                file.seek(0)
                if sentence not in file.read().splitlines():
                    file.write(sentence + "\n")
