"""One picture file -> one uint8 RGB tensor, whatever odd kind of picture it is. A file that cannot
be read says so in one sentence, so that a folder with a few broken ones can be used all the same.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from dinolite.data.picture_checks import Range

# Only these are tried: a file named .jpg that is PostScript would otherwise start another program.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "HEIF")
# Kinds of pictures that are met and not read; Pillow itself has names for many more.
_OTHER_SUFFIXES = {
    "HEIC": ".heic .heif .hif",
    "AVIF": ".avif",
    "JPEG 2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "DICOM": ".dcm .dicom",
    "JPEG XL": ".jxl",
    "OpenEXR": ".exr",
    "SVG": ".svg",
    "NIfTI": ".nii .nii.gz",
    "a camera's raw file": ".cr2 .cr3 .nef .arw .dng .raf .orf .rw2",
}
_BEGINNINGS = (  # kind, position of the bytes that tell it, these bytes
    ("AVIF", 4, rb"ftypavi[fs]"),
    ("HEIC", 4, rb"ftyp(hei|hev|mif|msf)"),
    ("JPEG 2000", 4, rb"jP  |\xffQ"),
    ("JPEG XL", 0, rb"\xff\n|\0\0\0\x0cJXL "),
    ("DICOM", 128, rb"DICM"),
)
MAX_PIXELS = 89_478_485  # a quarter of a gigabyte as RGB, Pillow's own warning level


class UnreadablePicture(ValueError):
    """A picture file that cannot be decoded; the message is one sentence with its path."""


class Packed(str):
    """The path of a file inside a zip or an uncompressed tar: "photos.zip/cats/1.jpg"."""

    archive: str
    name: str

    @classmethod
    def at(cls, archive: Path, name: str) -> Packed:
        """The file of that name."""
        path = cls(archive / name)
        path.archive, path.name = str(archive), name
        return path

    def read(self) -> bytes:
        """Its bytes. Raises whatever a damaged archive does."""
        # After a fork two processes would move one and the same position in the file.
        archive, lock = open_archive(self.archive, os.getpid())
        with lock:
            if isinstance(archive, zipfile.ZipFile):
                return archive.read(self.name)
            member = archive.extractfile(self.name)
            return member.read() if member else b""


@cache
def open_archive(path: str, process: int) -> tuple[zipfile.ZipFile | tarfile.TarFile, Lock]:
    """A zip or tar whose contents are read once, and a lock, since threads share its position.

    Raises ValueError if it is neither, or a tar that is compressed as a whole.
    """
    archive = None
    try:
        if zipfile.is_zipfile(path):
            return zipfile.ZipFile(path), Lock()
        archive = tarfile.open(path, "r:")  # noqa: SIM115
        archive.getmembers()  # one cut short is found here, or, between two pictures, by its end
        with open(path, "rb") as file:
            file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
            if any(file.read()):
                raise tarfile.ReadError("its end is missing")
        return archive, Lock()
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        with contextlib.suppress(OSError, tarfile.TarError, EOFError):
            if archive is None:  # not even its beginning
                tarfile.open(path).close()
                raise ValueError(
                    f"{show_path(path)} is compressed as a whole, so that no picture in it can be "
                    "read alone; allowed: a zip, a tar without compression, or the folder it "
                    "unpacks to"
                ) from None
        raise ValueError(
            f"{show_path(path)} is no whole zip or tar ({error}); allowed: a folder with pictures, "
            "a zip, a tar without compression"
        ) from None


CUT_OFF = (
    "of 16-bit colour only the upper 8 bits are read here, so data.value_range = {} cannot be "
    "applied; convert it to 8 bits"
)
PicturePath = str | Path | Packed


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of what is read: HEIF where the package pillow-heif is installed."""
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def suffixes() -> tuple[str, ...]:
    """The endings of the names of picture files, in small letters: those that Pillow gives to what
    `read_picture` opens."""
    known = formats()
    return tuple(sorted(s for s, kind in Image.registered_extensions().items() if kind in known))


def not_read(name: str, beginning: bytes = b"") -> str:
    """Why a file is no picture here, by its first bytes, or else by its name."""
    kind = next((k for k, at, b in _BEGINNINGS if re.match(b, beginning[at:])), None)
    lower = name.lower()
    if kind is None and not lower.endswith(suffixes()):
        others = (
            k for k, endings in _OTHER_SUFFIXES.items() if lower.endswith((*endings.split(),))
        )
        kind = next(others, Image.registered_extensions().get(os.path.splitext(lower)[1]))
    return f"{kind} is not read here; convert it to PNG or JPEG" if kind else "not a picture file"


def read_picture(
    path: PicturePath | io.BytesIO,
    image_size: int | None = None,
    name: str | None = None,
    value_range: Range = None,
) -> UInt8[Tensor, "3 h w"]:
    """Decode a picture file to RGB, upright, its long side at most `image_size` pixels.

    The EXIF orientation is applied. Smaller pictures keep their size. Animations give their first
    frame; transparent pixels show white behind them. Grey of more than 8 bits is mapped to 0..255
    from `value_range`, or else: unsigned 16 bits from all that the file can hold (0..65535, or
    0..4095 where it says 12 bits); signed, 32-bit and floating-point grey from the picture's own
    finite minimum and maximum, NaN becoming black. `name` stands in messages instead of the path.
    Raises UnreadablePicture for anything broken, truncated, or of more than `MAX_PIXELS` pixels.
    """
    if name is None:
        name = "the picture" if isinstance(path, io.BytesIO) else show_path(path)
    source = path
    try:
        if isinstance(path, Packed):
            source = io.BytesIO(path.read())
        with _opened(source, name) as picture:
            if image_size is not None:  # lets the JPEG decoder leave fine detail out: far quicker
                picture.draft(None, (image_size, image_size))
            if value_range and _is_cut_off(picture):
                raise UnreadablePicture(f"{name}: skipped, {CUT_OFF.format([*value_range])}")
            _turn_upright(picture)
            rgb = _to_rgb(picture, value_range)
            w, h = shrunk(*rgb.size, image_size)
            if (w, h) != rgb.size:
                rgb = rgb.resize((w, h), Image.Resampling.BICUBIC)
            return to_tensor(rgb)
    except UnreadablePicture:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise UnreadablePicture(f"{name}: skipped, {_reason(error, source, name)}") from error


def _reason(error: Exception, source: PicturePath | io.BytesIO, name: str) -> str:
    """Why a file could not be decoded: it is of another kind, or what the decoder said."""
    if isinstance(error, UnidentifiedImageError):
        if isinstance(source, io.BytesIO):
            beginning = source.getvalue()[:132]
        else:
            with open(source, "rb") as file:
                beginning = file.read(132)
        if "not read here" in (reason := not_read(name, beginning)):
            return reason
    reason = str(error).split("\n")[0].replace(repr(str(source)), "it")
    return f"{type(error).__name__}: {reason.replace(repr(source), 'it')}"


def read_many(
    paths: Sequence[PicturePath], read: Callable[[PicturePath], Tensor] = read_picture
) -> list[Tensor | UnreadablePicture]:
    """Read files on a few threads; a failure stands in its picture's place."""

    def tried(path: PicturePath) -> Tensor | UnreadablePicture:
        try:
            return read(path)
        except UnreadablePicture as error:
            return error

    workers = min(8, os.cpu_count() or 1, len(paths))
    if workers < 2:
        return [tried(path) for path in paths]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(tried, paths))


def nearly_flat(picture: UInt8[Tensor, "3 h w"], path: PicturePath) -> str | None:
    """A sentence if a picture uses less than a tenth of the values that it might."""
    low, high = (int(value) for value in picture.aminmax())
    if high - low >= 25.5:
        return None
    return (
        f"{show_path(path)}: kept, but its values lie in {low} to {high} of 0 to 255; where files "
        "of 16 bits hold fewer, such as 12, say so: data.value_range = [0, 4095]"
    )


def picture_bytes(path: PicturePath, image_size: int | None = None) -> int:
    """The size of what `read_picture` would return, from the header alone; 0 if unreadable."""
    try:
        source = io.BytesIO(path.read()) if isinstance(path, Packed) else path
        with Image.open(source, formats=formats()) as picture:
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


def show_path(path: PicturePath) -> str:
    """A path fit for printing on one line, even when its name is not valid text."""
    return os.fsencode(path).decode("utf-8", "replace").replace("\n", "\\n")


def _opened(path: PicturePath | io.BytesIO, name: str) -> Image.Image:
    """The picture, not decoded yet. A PNG's checksums are compared first: the decoder gives half a
    picture without a word."""
    picture = Image.open(path, formats=formats())
    try:
        if math.prod(picture.size) > MAX_PIXELS:
            raise UnreadablePicture(
                f"{name}: refused, {picture.width} x {picture.height} pixels are more than "
                f"{MAX_PIXELS}, which a small file made to fill the memory would have"
            )
        if picture.format != "PNG":
            picture.filename = ""  # or Pillow maps the file to memory, and scrambles a turned TIFF
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


def _to_rgb(picture: Image.Image, value_range: Range) -> Image.Image:
    signed_bytes = picture.mode == "L" and _tag(picture, "SampleFormat", 1) == 2
    if picture.mode.startswith(("I", "F")) or signed_bytes:
        grey = _to_8_bit(_grey_values(picture), _range_of_file(picture), value_range)
        if not signed_bytes and _tag(picture, "PhotometricInterpretation", 1) == 0:
            grey = 255 - grey  # white is 0; of 8 bits Pillow minds that
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _is_cut_off(picture: Image.Image) -> bool:
    """Has it 16 bits a colour, of which Pillow drops the lower 8? The decoder is told so."""
    how = str(picture.tile) if isinstance(picture, ImageFile.ImageFile) else ""
    return ";16" in how and len(picture.getbands()) > 1


def _tag(picture: Image.Image, name: str, default: int) -> int:
    """A TIFF tag's first value; the default for other formats."""
    if not isinstance(picture, TiffImageFile):
        return default
    value = picture.tag_v2.get(ExifTags.Base[name].value, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _grey_values(picture: Image.Image) -> Shaped[np.ndarray, "h w"]:
    """The values as the file has them: Pillow takes unsigned 32-bit and signed 8-bit integers for
    the other kind."""
    values = np.asarray(picture)
    signed = _tag(picture, "SampleFormat", 1) == 2
    if picture.mode == "I" and _tag(picture, "BitsPerSample", 16) == 32 and not signed:
        return values.view(np.uint32)
    return values.view(np.int8) if picture.mode == "L" else values


def _range_of_file(picture: Image.Image) -> Range:
    """Lowest and highest value of unsigned grey of up to 16 bits; None for all other kinds."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format != "TIFF"):
        return 0, 2 ** _tag(picture, "BitsPerSample", 16) - 1
    return None


def _to_8_bit(
    values: Shaped[np.ndarray, "h w"], range_of_file: Range, value_range: Range
) -> UInt8[np.ndarray, "h w"]:
    """Numbers of any kind -> 0..255. Pillow alone would cut everything above 255 off."""
    if given := value_range or range_of_file:
        low, high = given
    else:
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ValueError("none of its values is finite")
        low, high = float(finite.min()), float(finite.max())
    exact = values.astype(np.float32 if values.itemsize < 4 else np.float64)
    exact = np.nan_to_num(exact, nan=low, posinf=high, neginf=low).clip(low, high) - low
    return (exact * 255 / ((high - low) or 1) + 0.5).astype(np.uint8)
