"""One picture file -> one uint8 RGB tensor, whatever odd kind of picture it is. A file that cannot
be read says so in one sentence, so that a folder with a few broken ones can be used all the same.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# Only these are tried: a file named .jpg that is PostScript would otherwise start another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 89_478_485  # a quarter of a gigabyte as RGB, Pillow's own warning level


class UnreadablePicture(ValueError):
    """A picture file that cannot be decoded; the message is one sentence with its path."""


def read_picture(
    path: str | Path | io.BytesIO, image_size: int | None = None, name: str | None = None
) -> UInt8[Tensor, "3 h w"]:
    """Decode a picture file to RGB, upright, its long side at most `image_size` pixels.

    The EXIF orientation is applied. Smaller pictures keep their size. Animations give their first
    frame; transparent pixels show white behind them; 16-bit grey 0..65535 is mapped to 0..255;
    32-bit grey is stretched from its own minimum and maximum. `name` stands in messages instead of
    the path.
    Raises UnreadablePicture for anything broken, truncated, or of more than `MAX_PIXELS` pixels.
    """
    if name is None:
        name = "the picture" if isinstance(path, io.BytesIO) else show_path(path)
    try:
        with _opened(path, name) as picture:
            if image_size is not None:  # lets the JPEG decoder leave fine detail out: far quicker
                picture.draft(None, (image_size, image_size))
            _turn_upright(picture)
            rgb = _to_rgb(picture)
            w, h = shrunk(*rgb.size, image_size)
            if (w, h) != rgb.size:
                rgb = rgb.resize((w, h), Image.Resampling.BICUBIC)
            return to_tensor(rgb)
    except UnreadablePicture:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        reason = str(error).split("\n")[0].replace(repr(str(path)), "it")
        reason = reason.replace(repr(path), "it")  # an open file's name in memory
        raise UnreadablePicture(f"{name}: skipped, {type(error).__name__}: {reason}") from error


def read_many(
    paths: Sequence[str | Path], image_size: int | None = None
) -> list[Tensor | UnreadablePicture]:
    """`read_picture` for many files, on a few threads; a failure stands in its picture's place."""

    def read(path: str | Path) -> Tensor | UnreadablePicture:
        try:
            return read_picture(path, image_size)
        except UnreadablePicture as error:
            return error

    workers = min(8, os.cpu_count() or 1, len(paths))
    if workers < 2:
        return [read(path) for path in paths]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(read, paths))


def picture_bytes(path: str | Path, image_size: int | None = None) -> int:
    """The size of what `read_picture` would return, from the header alone; 0 if unreadable."""
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            w, h = shrunk(*picture.size, image_size)
            return 3 * w * h
    except Exception:  # read_picture will say what is wrong with it
        return 0


def shrunk(w: int, h: int, image_size: int | None) -> tuple[int, int]:
    """Width and height, the long side brought down to `image_size`; never enlarged."""
    if image_size is None or max(w, h) <= image_size:
        return w, h
    scale = image_size / max(w, h)
    return max(1, round(w * scale)), max(1, round(h * scale))


def to_tensor(picture: Image.Image) -> UInt8[Tensor, "c h w"]:
    """An 8-bit PIL picture as a tensor, channels first."""
    pixels = torch.from_numpy(np.array(picture))  # [h, w] or [h, w, c]
    return pixels.view(*pixels.shape[:2], -1).permute(2, 0, 1).contiguous()


def show_path(path: str | Path) -> str:
    """A path fit for printing, even when its name is not valid text."""
    return os.fsencode(path).decode("utf-8", "replace")


def _opened(path: str | Path | io.BytesIO, name: str) -> Image.Image:
    """The picture, not decoded yet. A PNG's checksums are compared first: the decoder gives half a
    picture without a word."""
    picture = Image.open(path, formats=_FORMATS)
    try:
        if math.prod(picture.size) > MAX_PIXELS:
            raise UnreadablePicture(
                f"{name}: refused, {picture.width} x {picture.height} pixels are more than "
                f"{MAX_PIXELS}, which a small file made to fill the memory would have"
            )
        if picture.format != "PNG":
            return picture
        picture.verify()  # after which it can only be closed
    except Exception:
        picture.close()
        raise
    if isinstance(path, io.BytesIO):
        path.seek(0)
    return Image.open(path, formats=("PNG",))


def _turn_upright(picture: Image.Image) -> None:
    """Decode it and apply its EXIF orientation; a damaged tag is no reason to lose the picture."""
    picture.load()  # may fail; and Pillow turns a TIFF here already
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(picture, in_place=True)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        picture = picture.convert("I")
    if picture.mode in ("I", "F"):
        return _to_8_bit(picture).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """32-bit integers or floats -> 8-bit grey. Pillow alone would cut everything above 255 off."""
    wide = picture.mode
    extrema: Any = picture.getextrema()
    low, high = extrema
    if wide == "I" and low >= 0 and high <= 65535:
        low, high = 0, 65535
    scale = 255 / (high - low) if high > low else 0.0
    offset = 0.5 - low * scale
    return picture.convert("F").point(lambda value: value * scale + offset).convert("L")
