"""Sets of pictures with labels, all used alike: in one tensor (fastest), in a list of tensors of
different sizes, or as files decoded on each access when they do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from dinolite.data.decoding import UnreadablePicture, read_many, read_picture


class PictureDataset(Dataset[Tensor]):
    """n uint8 pictures [3, h, w] with `classes` (names), `labels` int64 [n] (index into `classes`;
    -1 = no label) and `skipped`, one sentence for each file that was left out.
    """

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

    def subset(self, indices: Sequence[int] | Tensor) -> PictureDataset:
        """The same kind of data set with only the pictures at `indices`, in that order."""
        raise NotImplementedError


class TensorPictures(PictureDataset):
    """Pictures of one size in one uint8 tensor [n, 3, H, W]: a batch is one indexing operation."""

    def __init__(
        self,
        images: UInt8[Tensor, "n 3 H W"],
        labels: Int64[Tensor, " n"],
        classes: Sequence[str],
        skipped: Sequence[str] = (),
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images is {images.dtype} {list(images.shape)}; allowed: uint8 [n, 3, H, W]"
            )
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

    def subset(self, indices: Sequence[int] | Tensor) -> TensorPictures:
        """Only the pictures at `indices`, in that order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return TensorPictures(self.images[rows], self.labels[rows], self.classes, self.skipped)


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

    def subset(self, indices: Sequence[int] | Tensor) -> ScenePictures:
        """Only the scenes at `indices`, in that order, with their masks."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return ScenePictures(self.images[rows], self.labels[rows], self.classes, self.masks[rows])


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
        self.images = list(images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 h w"]:
        return self.images[index]

    def subset(self, indices: Sequence[int] | Tensor) -> ListPictures:
        """Only the pictures at `indices`, in that order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        images = [self.images[i] for i in rows.tolist()]
        return ListPictures(images, self.labels[rows], self.classes, self.skipped)


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
        rows = torch.as_tensor(indices, dtype=torch.int64)
        paths = [self.paths[i] for i in rows.tolist()]
        return FilePictures(paths, self.labels[rows], self.classes, self.skipped, self.image_size)
