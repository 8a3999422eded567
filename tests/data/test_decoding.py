"""Odd picture files: each kind that can be read is read rightly, each broken one is named."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dinolite.data import decoding
from dinolite.data.decoding import UnreadablePicture, picture_bytes, read_many, read_picture

# Two by three pixels: upper left red, upper right green, the rest blue.
PIXELS = np.zeros((3, 2, 3), dtype=np.uint8)
PIXELS[:, :, 2] = 255
PIXELS[0] = [[255, 0, 0], [0, 255, 0]]
# An orientation tag (274 = 0x0112) that holds text (type 2) where a number belongs.
ORIENTATION_UP = (
    b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02\x00\x00\x00\x03up\x00\x00" + bytes(4)
)
PICTURE = torch.from_numpy(PIXELS).permute(2, 0, 1)


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "TIFF", "ppm"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(path)
    read = read_picture(path)
    assert read.dtype == torch.uint8 and read.is_contiguous() and torch.equal(read, PICTURE)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_come_back_nearly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (20, 10), (200, 40, 90)).save(path, quality=95)
    read = read_picture(path)
    assert read.shape == (3, 10, 20)
    assert (read.float().mean((1, 2)) - torch.tensor([200.0, 40, 90])).abs().max() < 6


@pytest.mark.parametrize(
    ("mode", "value", "rgb"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),  # fully transparent: the white behind it
        ("LA", (0, 51), (204, 204, 204)),  # black, a fifth opaque: 255 * 4 / 5
    ],
)
def test_modes_become_rgb(
    tmp_path: Path, mode: str, value: int | tuple[int, ...], rgb: tuple[int, int, int]
) -> None:
    path = tmp_path / "a.png"
    Image.new(mode, (2, 2), value).save(path)
    assert read_picture(path)[:, 1, 1].tolist() == list(rgb)


def test_cmyk(tmp_path: Path) -> None:
    for suffix in ("tif", "jpg"):
        path = tmp_path / f"a.{suffix}"
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=95)  # magenta and yellow
        red, green, blue = read_picture(path).float().mean((1, 2)).tolist()
        assert red > 245 and green < 10 and blue < 10


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([250, 0, 0, 0, 240, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "clear.png", transparency=0)
    assert read_picture(tmp_path / "plain.png")[:, 0].T.tolist() == [[250, 0, 0], [0, 240, 0]]
    assert read_picture(tmp_path / "clear.png")[:, 0].T.tolist() == [[255] * 3, [0, 240, 0]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_is_scaled_not_cut_off(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    for levels in ([0, 1, 100, 255], [1, 100]):  # a dark picture stays dark
        wide = np.array([levels], dtype=np.uint16) * 257  # 65535 / 255
        Image.fromarray(wide).save(path)
        assert read_picture(path)[0, 0].tolist() == levels


def test_16_bit_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 25700, 65535))
    assert read_picture(path)[0, 0].tolist() == [0, 100, 255]


def test_floats_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)).save(path)
    assert read_picture(path)[0, 0].tolist() == [0, 128, 255]  # 127.5 rounded up
    Image.fromarray(np.full((2, 2), 3.5, dtype=np.float32)).save(path)
    assert read_picture(path).unique().tolist() == [0]


# EXIF 274 says which way the sensor lay; "shown" is where red and green end up, as (row, column).
@pytest.mark.parametrize(
    ("orientation", "shape", "red", "green"),
    [
        (1, (3, 2), (0, 0), (0, 1)),
        (2, (3, 2), (0, 1), (0, 0)),
        (3, (3, 2), (2, 1), (2, 0)),
        (4, (3, 2), (2, 0), (2, 1)),
        (5, (2, 3), (0, 0), (1, 0)),
        (6, (2, 3), (0, 2), (1, 2)),
        (7, (2, 3), (1, 2), (0, 2)),
        (8, (2, 3), (1, 0), (0, 0)),
    ],
)
def test_exif_orientation(
    tmp_path: Path,
    orientation: int,
    shape: tuple[int, int],
    red: tuple[int, int],
    green: tuple[int, int],
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path, exif=exif)
    read = read_picture(path)
    assert read.shape[1:] == shape
    assert read[:, red[0], red[1]].tolist() == [255, 0, 0]
    assert read[:, green[0], green[1]].tolist() == [0, 255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_size", [None, 20])
def test_every_format_is_turned_once(
    tmp_path: Path, orientation: int, image_size: int | None
) -> None:
    """TIFF, which Pillow turns when it decodes it, WebP and transparent pictures, as the PNG."""
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png", exif=exif)
    expected = read_picture(tmp_path / "a.png", image_size)
    picture.save(tmp_path / "a.tif", exif=exif)
    picture.save(tmp_path / "packed.tif", exif=exif, compression="tiff_lzw")
    picture.save(tmp_path / "a.webp", exif=exif, lossless=True)
    picture.convert("RGBA").save(tmp_path / "alpha.png", exif=exif)
    for name in ("a.tif", "packed.tif", "a.webp", "alpha.png"):
        assert torch.equal(read_picture(tmp_path / name, image_size), expected), name


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "tags", [b"MM\x00*\x00\x00\xff\xff", b"neither order of bytes", ORIENTATION_UP]
)
def test_broken_exif_does_not_lose_the_picture(tmp_path: Path, tags: bytes) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8), (90, 90, 90)).save(path, exif=b"Exif\x00\x00" + tags)
    assert read_picture(path).shape == (3, 8, 8)


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for name in ("a.gif", "a.webp"):
        save = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **save)
        assert read_picture(tmp_path / name)[:, 2, 2].tolist() == [255, 0, 0]


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", image_size=64).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("size", "image_size", "shape"),
    [
        ((100, 50), 20, (10, 20)),
        ((50, 100), 20, (20, 10)),
        ((100, 50), 100, (50, 100)),
        ((30, 10), 64, (10, 30)),  # never enlarged
        ((1000, 1), 10, (1, 10)),  # never below one pixel
    ],
)
def test_long_side_is_limited(
    tmp_path: Path, size: tuple[int, int], image_size: int, shape: tuple[int, int]
) -> None:
    for name in ("a.png", "a.jpg"):
        path = tmp_path / name
        Image.new("RGB", size, (10, 200, 30)).save(path)
        read = read_picture(path, image_size)
        assert read.shape[1:] == shape
        assert picture_bytes(path, image_size) == read.numel()
        assert (read[1].float() - 200).abs().max() < 6


def test_shrinking_takes_the_mean_of_what_it_covers(tmp_path: Path) -> None:
    """A chequerboard of single pixels must become even grey, not one of its two colours."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png", 8).float() - 127.5).abs().max() < 8


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size, whatever follows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


@pytest.mark.parametrize(
    "edge", [10_000, 15_000, 60_000]
)  # Pillow stays quiet, or only warns, or raises
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_enormous_pictures_are_refused_unread(tmp_path: Path, edge: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(edge, edge) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    with pytest.raises(UnreadablePicture, match=r"bomb\.png: (refused|skipped).*pixels"):
        read_picture(path)


def test_pictures_up_to_the_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    assert read_picture(tmp_path / "a.png").shape == (3, 10, 10)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 99)
    with pytest.raises(UnreadablePicture, match="10 x 10"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["nothing", "text", "half", "beginning", "postscript", "folder"])
def test_broken_files_say_so_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.jpg"
    Image.effect_noise((64, 64), 80).save(path)
    whole = path.read_bytes()
    if kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        contents = {
            "nothing": b"",
            "text": b"not a picture",
            "half": whole[: len(whole) // 2],
            "beginning": whole[:20],
            "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        }
        path.write_bytes(contents[kind])
    with pytest.raises(UnreadablePicture) as error:
        read_picture(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_only_the_named_formats_are_tried(tmp_path: Path) -> None:
    """Pillow knows PCX; a file named .png that is one goes to no decoder that nobody asked for."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png", format="PCX")
    with pytest.raises(UnreadablePicture, match=r"a\.png"):
        read_picture(tmp_path / "a.png")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match=r"gone\.png"):
        read_picture(tmp_path / "gone.png")
    assert picture_bytes(tmp_path / "gone.png") == 0


def test_many_keep_their_order_and_their_failures(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for i, path in enumerate(paths):
        Image.new("L", (3, 3), i).save(path)
    paths[7].write_bytes(b"")
    read = read_many(paths)
    assert isinstance(read[7], UnreadablePicture) and "7.png" in str(read[7])
    assert [int(x[0, 0, 0]) for i, x in enumerate(read) if i != 7] == [*range(7), *range(8, 30)]  # type: ignore[index]
    assert read_many([]) == []


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = str(tmp_path).encode() + b"/\xff.png"
    with open(path, "wb"):
        pass
    with pytest.raises(UnreadablePicture) as error:
        read_picture(os.fsdecode(path))
    str(error.value).encode()  # can be printed
