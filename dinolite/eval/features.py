"""What a frozen backbone says of pictures: one CLS vector and the mean of the patch vectors, or the
whole map of patch vectors. Raw pixels stand beside them, as the features to beat.

DINOv3 App. D (evaluation protocols); official `eval/utils.py::extract_features`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dinolite.config import IMAGENET_MEAN, IMAGENET_STD, Rgb
from dinolite.data.augmentations import normalize
from dinolite.data.datasets import PictureDataset, TensorPictures
from dinolite.data.picture_checks import Range, as_pictures, check_layout, one_picture

SCALED_AT_ONCE = 16  # pictures; scaling needs floats, four times the bytes of the pictures
Pictures = Tensor | PictureDataset | Sequence[Tensor]
"""uint8 [n, 3, H, W], or other numbers whose `value_range` is said; a list of pictures [3, h, w]; a
data set."""


class Features(NamedTuple):
    """One vector per picture, after the final norm: the CLS token and the mean of the patches."""

    cls: Float[Tensor, "n D"]
    patch_mean: Float[Tensor, "n D"]

    def joined(self) -> Float[Tensor, "n D2"]:
        """CLS and mean patch side by side [n, 2D], the input of the official linear probe."""
        return torch.cat(self, dim=1)


def preprocess(
    images: UInt8[Tensor, "B 3 H W"] | Float[Tensor, "B 3 H W"],
    mean: Rgb = IMAGENET_MEAN,
    std: Rgb = IMAGENET_STD,
    value_range: Range = None,
) -> Float[Tensor, "B 3 H W"]:
    """From 0..255 to what a backbone reads: [0, 1], minus `mean`, over `std`, per channel.

    `value_range` and errors as in `data.pictures.as_pictures`.
    """
    return normalize(as_pictures(images, value_range).float() / 255, mean, std)


@torch.no_grad()
def extract_features(
    backbone: nn.Module,
    images: Pictures,
    batch_size: int = 256,
    size: int | None = None,
    mean: Rgb | None = None,
    std: Rgb | None = None,
    value_range: Range = None,
) -> Features:
    """CLS and mean patch of every picture, float32, on the backbone's device.

    Args:
        backbone: any with the interface of `DinoVisionTransformer`; run in eval mode, left as it
            was found.
        images: uint8 [n, 3, H, W]; or a list or a data set, whose pictures may differ in size if
            `size` is given.
        batch_size: pictures in one pass.
        size: pixels; every picture is scaled to size x size (aspect not kept, as in the official
            README), a multiple of the patch size. None = as they are.
        mean, std: of the colour channels, those the backbone was trained with. None = what came
            with it (`pixel_mean`, `pixel_std`), else ImageNet's.
        value_range: (black, white) of pictures that are not uint8, such as (0, 1).

    Raises:
        ValueError: no pictures, another layout, floats without a range, pictures of several sizes
            without `size`, or a size that the patches do not divide.
    """
    with evaluating(backbone):
        parts = [
            (out["x_norm_clstoken"].float(), out["x_norm_patchtokens"].float().mean(dim=1))
            for out, _ in outputs(backbone, images, batch_size, size, mean, std, value_range)
        ]
    return Features(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def extract_patches(
    backbone: nn.Module,
    images: Pictures,
    batch_size: int = 256,
    size: int | None = None,
    mean: Rgb | None = None,
    std: Rgb | None = None,
    value_range: Range = None,
) -> Float[Tensor, "n D h w"]:
    """The patch vectors after the final norm, where they lie in the picture: one at every patch.

    Arguments and errors as in `extract_features`. All n maps are kept in memory.
    """
    with evaluating(backbone):
        parts = [
            out["x_norm_patchtokens"].float().mT.unflatten(2, grid)  # [B, D, h, w]
            for out, grid in outputs(backbone, images, batch_size, size, mean, std, value_range)
        ]
    return torch.cat(parts)


def outputs(
    backbone: nn.Module,
    images: Pictures,
    batch_size: int,
    size: int | None,
    mean: Rgb | None,
    std: Rgb | None,
    value_range: Range,
) -> Iterator[tuple[dict[str, Any], tuple[int, int]]]:
    """What the backbone says of each batch, and rows and columns of its patches."""
    p: Any = backbone.patch_size
    if size is not None and (size < 1 or size % p != 0):
        raise ValueError(f"size = {size} is not a multiple of the backbone's patch_size = {p}")
    device = next(backbone.parameters()).device
    own: Any = IMAGENET_MEAN, IMAGENET_STD
    if hasattr(backbone, "pixel_mean"):
        own = backbone.pixel_mean, backbone.pixel_std
    for batch in picture_batches(images, batch_size, size, value_range):
        x = normalize(batch.to(device).float() / 255, mean or own[0], std or own[1])
        yield backbone(x, is_training=True), (x.shape[2] // p, x.shape[3] // p)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode (positions are not jittered, no block is dropped), then every module
    as it was before."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def pixel_features(
    images: Pictures, side: int | None = None, value_range: Range = None
) -> Float[Tensor, "n d"]:
    """Every picture as the list of its pixels in [0, 1]: d = 3 side side.

    Args:
        side: pixels; pictures are scaled to side x side. None = as they are.
        value_range: as in `extract_features`.
    """
    batches = picture_batches(images, 256, side, value_range)
    return torch.cat([b.flatten(1).float() / 255 for b in batches])


def picture_batches(
    images: Pictures, batch_size: int, size: int | None = None, value_range: Range = None
) -> Iterator[UInt8[Tensor, "B 3 H2 W2"] | Float[Tensor, "B 3 H2 W2"]]:
    """The pictures in order, `batch_size` at a time, scaled to size x size; None = as they are.
    From 0 to 255: uint8, or float32 where a `value_range` was said.

    Raises:
        ValueError: there are none, they are none, or they differ in size and `size` is None, or a
            number is below 1.
    """
    if batch_size < 1 or (size is not None and size < 1):
        raise ValueError(f"batch_size = {batch_size} and size = {size} must be at least 1")
    if isinstance(images, TensorPictures):
        images = images.images
    if not isinstance(images, PictureDataset | list | tuple):
        check_layout(images)
    if len(images) == 0:
        raise ValueError("images holds no picture; at least one is needed")
    first: torch.Size | None = None
    for start in range(0, len(images), batch_size):
        stop = min(start + batch_size, len(images))
        if isinstance(images, Tensor):
            groups = list(as_pictures(images[start:stop], value_range).split(SCALED_AT_ONCE))
        else:
            if isinstance(images, PictureDataset):
                some: Sequence[Tensor] = images.pictures(range(start, stop))
            else:
                some = images[start:stop]
            groups = [
                one_picture(p, value_range, f"images[{i}]") for i, p in enumerate(some, start)
            ]
        if size is not None:
            groups = [resized(group, size) for group in groups]
        first = groups[0].shape[1:] if first is None else first
        if other := next((g.shape[1:] for g in groups if g.shape[1:] != first), None):
            raise ValueError(
                f"images holds pictures of {list(first[1:])} and of {list(other[1:])} pixels; give "
                "size, to which all are scaled"
            )
        yield torch.cat(groups)


def scaled(pictures: UInt8[Tensor, "B 3 H W"], size: int) -> UInt8[Tensor, "B 3 size size"]:
    """Scaled to size x size pixels, bicubic with antialiasing; ValueError for other layouts and
    types."""
    return resized(as_pictures(pictures, name="pictures"), size)


def resized(x: Tensor, size: int) -> Tensor:
    """`scaled` for what `as_pictures` gave, of which floats stay floats."""
    if x.shape[2:] == (size, size):
        return x
    y = interpolate(x.float(), size=(size, size), mode="bicubic", antialias=True)
    return y.clamp(0, 255) if x.is_floating_point() else y.round().clamp(0, 255).to(torch.uint8)


def square(picture: UInt8[Tensor, "3 h w"], side: int) -> UInt8[Tensor, "1 3 side side"]:
    """The middle of a picture, scaled; ValueError for other layouts and types."""
    one = one_picture(picture)
    short = min(picture.shape[1:])
    top, left = ((length - short) // 2 for length in picture.shape[1:])
    return resized(one[:, :, top : top + short, left : left + short], side)


def as_grey(pictures: UInt8[Tensor, "B 3 H W"]) -> UInt8[Tensor, "B 3 H W"]:
    """The mean of the three channels in each of them, rounded; ValueError as in `scaled`."""
    mean = as_pictures(pictures, name="pictures").float().mean(1, keepdim=True).round()
    return mean.to(torch.uint8).expand(-1, 3, -1, -1)
