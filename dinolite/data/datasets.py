"""One word names a data set: "windows", "scenes", "folder:~/photos", "cifar10". Nothing is
downloaded unless that is asked for. Official counterpart: the strings of dinov3/data/loaders.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dinolite.data import mosaics, scenes, windows
from dinolite.data.decoding import shrunk
from dinolite.data.folders import load_files, load_folder
from dinolite.data.photographs import CLASSES, photograph_path
from dinolite.data.pictures import PictureDataset, ScenePictures, TensorPictures

__all__ = ["SPECS", "PictureDataset", "ScenePictures", "TensorPictures", "load_pictures"]

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
_CHUNK = 1024


def load_pictures(
    spec: str,
    split: str = "train",
    image_size: int | None = None,
    root: Path | None = None,
    download: bool = False,
    cache_bytes: int = 2**31,
) -> PictureDataset:
    """The data set named `spec` (one of `SPECS`), its "train" or "test" pictures.

    `image_size` (pixels): the side of "windows" (default 32), "scenes" (64) and "mosaics" (96);
    for all others the longest side allowed, larger pictures being shrunk with their aspect kept.
    "photos" are the sixteen bundled photographs, whole and the same for both splits. "a+b" joins
    sets of pictures of one size, without labels. `root`: where downloaded data sets lie, default
    `data`; "imagenet" needs it (with `train` and `val` inside) and is never downloaded. Up to
    `cache_bytes` are decoded once and kept in memory.
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
        paths = [photograph_path(name) for name in CLASSES]
        return load_files(paths, torch.arange(len(paths)), CLASSES, [], image_size, cache_bytes)
    if spec == "imagenet":
        return _imagenet(split, image_size, root, cache_bytes)
    where = Path("data") if root is None else Path(root)
    if spec == "imagenette":
        return _imagenette(split, image_size, where, download, cache_bytes)
    if spec in ("cifar10", "cifar100", "stl10"):
        return _arrays(spec, split, image_size, where, download)
    raise _unknown(spec)


def _joined(
    spec: str, split: str, size: int | None, root: Path | None, download: bool
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
        n, seed = windows.DEFAULT_COUNT_AND_SEED[split]
        return TensorPictures(*windows.make_windows(n, split, seed, size or 32), CLASSES)
    if spec == "scenes":
        n, seed = scenes.DEFAULT_COUNT_AND_SEED[split]
        made, classes = scenes.make_scenes(n, seed, size or 64), scenes.CLASSES
    else:
        n, seed = mosaics.DEFAULT_COUNT_AND_SEED[split]
        made, classes = mosaics.make_mosaics(n, split, seed, size or 96), CLASSES
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
    split: str, image_size: int | None, root: Path | None, cache_bytes: int
) -> PictureDataset:
    if root is None or not all((Path(root) / part).is_dir() for part in ("train", "val")):
        raise ValueError(
            f"spec='imagenet' needs root with the sub-folders train and val, one folder a class in "
            f"each; root={root} is not that. It is never downloaded: see image-net.org"
        )
    return load_folder(Path(root), split, image_size, cache_bytes)


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


def _unknown(spec: str) -> ValueError:
    if Path(spec).expanduser().is_dir():
        return ValueError(f"spec={spec!r} is a folder; did you mean 'folder:{spec}'?")
    near = difflib.get_close_matches(spec.lower(), SPECS, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return ValueError(f"spec={spec!r} is no known data set;{hint} allowed: {', '.join(SPECS)}")
