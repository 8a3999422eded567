"""Picture files that are broken, and picture files that are odd and must be read all the same."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

Make = Callable[[], bytes]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def claims(width: int, height: int) -> bytes:
    """A PNG whose head claims a size that its few bytes do not have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        total = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + total

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (20, 20), (40 * i, 0, 0)) for i in range(5)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def rotated(orientation: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(photo(mode), kind, exif=exif)


def floats(first: float) -> bytes:
    """A TIFF whose values are 0..1199, but for the first."""
    values = np.arange(1200, dtype=np.float32).reshape(30, 40)
    values[0, 0] = first
    return encoded(Image.fromarray(values), "TIFF")


JPEG, PNG = encoded(photo(), "JPEG"), encoded(photo(), "PNG")
GIF, TIFF, BMP = (encoded(photo(), kind) for kind in ("GIF", "TIFF", "BMP"))
WEBP = encoded(photo(), "WEBP", lossless=True)

BROKEN: dict[str, bytes] = {
    "zero bytes.jpg": b"",
    "one byte.png": b"\x89",
    "words.jpg": b"this is a letter, not a picture",
    "zeros.png": b"\0" * 500,
    "page.jpg": b"<!DOCTYPE html><html><body>404 not found</body></html>",
    "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "document.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    "archive.png": b"PK\x03\x04" + b"\0" * 60,
    "program.jpg": b"\x7fELF" + b"\0" * 60,
    "bomb wide.png": claims(2_000_000_000, 1),
    "bomb square.png": claims(60_000, 60_000),
    "bomb at the limit.png": claims(9_460, 9_460),
    "no pixels.png": claims(0, 10),
    "half.jpg": JPEG[:-200][: len(JPEG) // 3],
    "half.png": PNG[: len(PNG) // 2],
    "half.gif": GIF[: len(GIF) // 3],
    "half.tif": TIFF[: len(TIFF) // 3],
    "half.bmp": BMP[: len(BMP) // 3],
    "half.webp": WEBP[: len(WEBP) // 3],
    "head only.jpg": JPEG[:20],
    "head only.png": PNG[:33],
    "head only.gif": GIF[:13],
    "head only.tif": TIFF[:8],
    "head only.bmp": BMP[:54],
    "head only.webp": WEBP[:16],
    "spoiled middle.png": PNG[:60] + b"\xff" * 40 + PNG[100:],
    "spoiled check.png": PNG[:29] + b"\0\0\0\0" + PNG[33:],
    "lying tiff.tif": b"II*\0" + struct.pack("<I", 2**31 - 1),
    "circle.tif": b"II*\0\x08\0\0\0" + b"\0\0" + struct.pack("<I", 8),
    "empty gif.gif": b"GIF89a" + b"\0" * 7,
    "net pbm.ppm": b"P6\n99999999 99999999\n255\n",
    "bad ppm.ppm": b"P6\nwide high\n255\n" + b"\0" * 30,
    "sound.webp": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 30,
    "icon.bmp": b"\0\0\1\0" + b"\0" * 40,
}

ODD: dict[str, Make] = {
    "cmyk.jpg": lambda: encoded(photo("CMYK"), "JPEG"),
    "grey.png": lambda: encoded(photo("L"), "PNG"),
    "grey with alpha.png": lambda: encoded(photo("LA"), "PNG"),
    "black and white.png": lambda: encoded(photo("1"), "PNG"),
    "sixteen bits.png": lambda: encoded(
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"
    ),
    "sixteen bits.tif": lambda: encoded(
        Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "TIFF"
    ),
    "floats.tif": lambda: encoded(
        Image.fromarray(np.linspace(-3, 9, 1200, dtype=np.float32).reshape(30, 40)), "TIFF"
    ),
    "palette.png": lambda: encoded(photo("P"), "PNG"),
    "palette with a hole.gif": lambda: encoded(photo("P"), "GIF", transparency=0),
    "with alpha.png": lambda: encoded(photo("RGBA"), "PNG"),
    "lab.tif": lambda: encoded(photo("LAB"), "TIFF"),
    "animated.gif": lambda: animated("GIF"),
    "animated.webp": lambda: animated("WEBP"),
    "animated.png": lambda: animated("PNG"),
    "many pages.tif": lambda: animated("TIFF"),
    **{f"turned {i}.jpg": (lambda i=i: rotated(i)) for i in range(1, 9)},
    **{f"turned {i}.tif": (lambda i=i: rotated(i, "TIFF", "L")) for i in range(1, 9)},
    "turned 99.jpg": lambda: rotated(99),
    "not a number.tif": lambda: floats(np.nan),
    "infinite.tif": lambda: floats(np.inf),
    "less than all.tif": lambda: floats(-np.inf),
    "32 bits.tif": lambda: encoded(
        Image.fromarray(np.arange(1200, dtype=np.int32).reshape(30, 40) * 3), "TIFF"
    ),
    "grey.pgm": lambda: encoded(photo("L"), "PPM"),
    "new.avif": lambda: encoded(photo(), "AVIF"),
    "one pixel.png": lambda: encoded(photo(size=(1, 1)), "PNG"),
    "a line.png": lambda: encoded(photo(size=(3000, 1)), "PNG"),
    "wrong suffix.jpg": lambda: PNG,
    "wrong suffix.png": lambda: JPEG,
    "CAPITALS.JPEG": lambda: JPEG,
    "words after the end.jpg": lambda: JPEG + b"and so on" * 100,
    "with spaces  and-dashes.png": lambda: PNG,
    "고양이 Blümchen ñ.png": lambda: PNG,
    "two.dots.png": lambda: PNG,
    "-dash.png": lambda: PNG,
    "$(touch x);`touch y`.png": lambda: PNG,
    "new\nline.png": lambda: PNG,
    "progressive.jpg": lambda: encoded(photo(), "JPEG", progressive=True),
    "interlaced.gif": lambda: encoded(photo("P"), "GIF", interlace=True),
    "big tiff.tif": lambda: encoded(photo(), "TIFF", compression="tiff_lzw"),
    "ascii.ppm": lambda: b"P3\n2 1\n255\n255 0 0  0 255 0\n",
}
