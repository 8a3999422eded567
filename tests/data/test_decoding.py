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
from dinolite.data.decoding import (
    UnreadablePicture,
    not_read,
    picture_bytes,
    read_many,
    read_picture,
    suffixes,
)

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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 3])
def test_values_that_are_not_finite_do_not_darken_the_others(
    tmp_path: Path, odd: float, at: int
) -> None:
    row = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]], dtype=np.float32)
    row[0, at] = odd
    finite = row[np.isfinite(row)]
    Image.fromarray(row).save(tmp_path / "a.tif")
    expected = np.floor((row[0] - finite.min()) / (finite.max() - finite.min()) * 255 + 0.5)
    expected[at] = 255 if odd == np.inf else 0
    assert read_picture(tmp_path / "a.tif")[0, 0].tolist() == expected.tolist()


def test_nothing_finite_is_unreadable(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadablePicture, match=r"a\.tif: skipped.*none of its values is finite"):
        read_picture(tmp_path / "a.tif")


def tiff(path: Path, row: np.ndarray, **tags: int) -> None:
    """A TIFF of one row as its numbers lie in memory; `sample` 1 unsigned, 2 signed, 3 float."""
    bits = tags.get("bits", row.itemsize * 8)
    entries = {256: tags.get("width", row.size), 257: 1, 258: bits, 259: 1}
    entries |= {262: tags.get("photometric", 1), 273: 150, 277: 1, 278: 1, 279: row.nbytes}
    entries |= {339: tags["sample"]} if "sample" in tags else {}
    directory = b"".join(struct.pack("<HHII", k, 4, 1, v) for k, v in entries.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    path.write_bytes(head.ljust(150, b"\0") + row.tobytes())


@pytest.mark.parametrize(
    ("row", "tags", "expected"),
    [
        (np.array([0, 2048, 4095], np.uint16), {}, [0, 8, 16]),  # all that 16 bits hold
        (np.array([0, 2048, 4095], np.uint16), {"photometric": 0}, [255, 247, 239]),
        (np.array([0, 2048, 4095], np.uint32), {}, [0, 128, 255]),  # stretched
        (np.array([3_000_000_000, 3_000_000_050], np.uint32), {"sample": 1}, [0, 255]),
        (np.array([0, 2**31, 2**32 - 1], np.uint32), {"sample": 1}, [0, 128, 255]),
        (np.array([-1000, 0, 1000], np.int32), {"sample": 2}, [0, 128, 255]),
        (np.array([-1000, 0, 3000], np.int16), {"sample": 2}, [0, 64, 255]),
        (np.array([100, 200, 300], np.int16), {"sample": 2}, [0, 128, 255]),
        (np.array([-100, 0, 100], np.int8), {"sample": 2}, [0, 128, 255]),
        (np.array([0x12, 0x3F, 0xFF], np.uint8), {"bits": 12, "width": 2}, [18, 255]),
    ],
)
def test_depth_comes_from_the_file(
    tmp_path: Path, row: np.ndarray, tags: dict[str, int], expected: list[int]
) -> None:
    tiff(tmp_path / "a.tif", row, **tags)
    assert read_picture(tmp_path / "a.tif")[0, 0].tolist() == expected


@pytest.mark.parametrize("most", [4095, 65535, 300])
def test_pgm_says_its_largest_value(tmp_path: Path, most: int) -> None:
    data = struct.pack(">3H", 0, most // 3, most)
    (tmp_path / "a.pgm").write_bytes(f"P5 3 1 {most}\n".encode() + data)
    assert read_picture(tmp_path / "a.pgm")[0, 0].tolist() == [0, 85, 255]


def test_a_range_that_is_given(tmp_path: Path) -> None:
    """12 bits in a file of 16, Hounsfield units, and a window into floats."""
    Image.fromarray(np.array([[0, 2048, 4095, 9999]], np.uint16)).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png", value_range=(0, 4095))
    assert read[0, 0].tolist() == [0, 128, 255, 255]
    Image.fromarray(np.array([[-2000, -1000, 0, 1000]], np.int32)).save(tmp_path / "a.tif")
    read = read_picture(tmp_path / "a.tif", value_range=(-1000, 1000))
    assert read[0, 0].tolist() == [0, 0, 128, 255]
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "8.png")
    assert read_picture(tmp_path / "8.png", value_range=(0, 4095))[0, 0].tolist() == [0, 128, 255]


def test_a_range_cannot_be_applied_to_what_was_cut_off(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = b"\0" + struct.pack(">3H", 0, 2048, 4095)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixel)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert read_picture(tmp_path / "a.png").flatten().tolist() == [0, 8, 15]
    with pytest.raises(UnreadablePicture, match=r"16-bit colour.*data\.value_range = \[0, 4095\]"):
        read_picture(tmp_path / "a.png", value_range=(0, 4095))


# --- which files ---


def test_every_suffix_is_of_a_kind_that_is_read(tmp_path: Path) -> None:
    """And every kind that Pillow can write here is read back under each of its suffixes."""
    assert {".jpg", ".jfif", ".png", ".webp", ".tif", ".pgm", ".pbm", ".pfm"} <= {*suffixes()}
    assert not {".jp2", ".eps", ".pdf", ".psd", ".heic"} & {*suffixes()}
    for suffix in suffixes():
        mode = {".pgm": "L", ".pbm": "1", ".pfm": "F"}.get(suffix, "RGB")
        Image.new(mode, (16, 8), 0).save(tmp_path / f"a{suffix}")
        assert read_picture(tmp_path / f"a{suffix}").shape == (3, 8, 16)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        ("renamed.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        ("a.JP2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("renamed.png", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("scan.dcm", bytes(128) + b"DICM", "DICOM"),
        ("scan.tif", bytes(128) + b"DICM", "DICOM"),
        ("a.tga", b"anything", "TGA"),
        ("a.nii.gz", b"anything", "NIfTI"),
        ("IMG_1.CR2", b"anything", "a camera's raw file"),
    ],
)
def test_kinds_that_are_not_read_are_named(
    tmp_path: Path, name: str, data: bytes, kind: str
) -> None:
    """By their names in a folder, by their bytes where the name says something else."""
    (tmp_path / name).write_bytes(data)
    said = f"{kind} is not read here; convert it to PNG or JPEG"
    with pytest.raises(UnreadablePicture, match=rf"{name}: skipped, {said}"):
        read_picture(tmp_path / name)
    assert name.startswith(("renamed", "scan.tif")) or not_read(name) == said


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
    """TIFF, which Pillow turns when it decodes it, and all others, as the PNG."""
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png", exif=exif)
    expected = read_picture(tmp_path / "a.png", image_size)
    picture.save(tmp_path / "a.tif", exif=exif)
    picture.save(tmp_path / "packed.tif", exif=exif, compression="tiff_lzw")
    picture.save(tmp_path / "big.tif", exif=exif, big_tiff=True)
    picture.save(tmp_path / "a.webp", exif=exif, lossless=True)
    picture.convert("RGBA").save(tmp_path / "alpha.png", exif=exif)
    for name in ("a.tif", "packed.tif", "big.tif", "a.webp", "alpha.png"):
        assert torch.equal(read_picture(tmp_path / name, image_size), expected), name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_lossy_and_odd_kinds_are_turned_once(tmp_path: Path, orientation: int) -> None:
    """Four quarters of different grey, so that every way to lie differs from every other."""
    exif = f"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0{chr(orientation)}\0\0".encode()
    exif += bytes(4)
    quarters = np.kron(np.array([[0, 80], [160, 240]]), np.ones((24, 16))).astype(np.uint8)
    Image.fromarray(quarters).save(tmp_path / "a.png", exif=exif)
    expected = read_picture(tmp_path / "a.png").float()
    for name in ("a.jpg", "a.avif", "lossy.webp", "jpeg.tif"):
        how = {"compression": "jpeg"} if name == "jpeg.tif" else {}
        Image.fromarray(quarters).convert("RGB").save(tmp_path / name, exif=exif, quality=95, **how)
        read = read_picture(tmp_path / name).float()
        assert read.shape == expected.shape and (read - expected).abs().mean() < 4, name
    for mode in ("L", "P", "RGBA", "CMYK"):  # Pillow maps such files, not compressed, to memory
        Image.fromarray(quarters).convert(mode).save(tmp_path / "a.tif", exif=exif)
        assert torch.equal(read_picture(tmp_path / "a.tif").float(), expected), mode
    wide = quarters.astype(np.uint16) * 257, quarters.astype(np.int32), quarters.astype(np.float32)
    for pixels in wide:
        Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif)
        read = read_picture(tmp_path / "a.tif", value_range=(0, float(pixels.max()) * 255 / 240))
        assert torch.equal(read.float(), expected), pixels.dtype


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
