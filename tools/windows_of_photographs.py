"""Pictures to train on, cut from a folder of photographs: half of them windows, each with its own
contrast, brightness and colours, half mosaics of two to six such windows, because patches learn
little where a picture shows one thing only (docs/search.md).

    python -m tools.windows_of_photographs PHOTOGRAPHS OUT --number 24000
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from dinolite.data.decoding import UnreadablePicture, read_picture
from dinolite.data.folders import find_pictures

SHORT_SIDE = 384  # pixels of a photograph from which windows are cut
SIDES = (60, 300)  # of a window, before it is scaled
FLAT = 6.0  # grey levels; windows that vary less show nothing
GREY = np.array([0.299, 0.587, 0.114], np.float32)

Pixels = NDArray[np.uint8]


def read_photographs(folder: Path) -> list[Image.Image]:
    """All that are readable, with a short side of 384 pixels. ValueError if there are none."""
    photographs = []
    for path in find_pictures(folder).paths:
        try:
            picture = Image.fromarray(read_picture(path).permute(1, 2, 0).numpy())
        except UnreadablePicture as error:
            print(f"left out: {error}")
            continue
        scale = SHORT_SIDE / min(picture.size)
        w, h = (round(edge * scale) for edge in picture.size)
        photographs.append(picture.resize((w, h), Image.Resampling.BICUBIC))
    if not photographs:
        raise ValueError(f"{folder} has no readable picture")
    return photographs


def draw_window(photographs: list[Image.Image], size: int, draw: Generator) -> Pixels:
    """One window [size, size, 3]: photograph, place and side at random (small sides more often),
    then contrast, brightness, the strength of its colours, a cast, and mirrored or not."""
    while True:
        photograph = photographs[draw.integers(len(photographs))]
        side = int(SIDES[0] * (SIDES[1] / SIDES[0]) ** draw.random())
        x = int(draw.integers(0, photograph.width - side + 1))
        y = int(draw.integers(0, photograph.height - side + 1))
        how = Image.Resampling.BOX if side > size else Image.Resampling.BILINEAR
        box = (x, y, x + side, y + side)
        window = np.asarray(photograph.resize((size, size), how, box=box), np.float32)
        grey = window @ GREY
        if grey.std() >= FLAT:
            break
    contrast = (30 + 35 * draw.random()) / (grey.std() + 4)
    brightness = 95 + 65 * draw.random()
    colours = window - grey[..., None]
    colours -= colours.mean((0, 1)) * draw.random()  # a part of its own cast goes
    cast = draw.normal(0, 8, 3)
    strength = draw.choice([0.0, 1.0], p=[0.2, 0.8]) * draw.uniform(0.5, 1.3)
    colours = strength * (colours * min(contrast, 1.3) + cast - cast.mean())
    pixels = ((grey - grey.mean()) * contrast + brightness)[..., None] + colours
    picture = np.clip(pixels.round(), 0, 255).astype(np.uint8)
    return picture[:, ::-1] if draw.random() < 0.5 else picture


def mosaic(windows: Pixels, draw: Generator) -> Pixels:
    """Two to six of the windows [n, size, size, 3] in one picture: every pixel belongs to the
    nearest of as many random points."""
    size, count = windows.shape[1], draw.integers(2, 7)
    points = draw.random((count, 2)) * size
    rows, columns = np.mgrid[:size, :size] + 0.5
    to_point = (rows - points[:, 0, None, None]) ** 2 + (columns - points[:, 1, None, None]) ** 2
    chosen = windows[draw.integers(0, len(windows), count)]
    return chosen[to_point.argmin(0), np.arange(size)[:, None], np.arange(size)[None]]


def write_pictures(folder: Path, out: Path, number: int, size: int = 96, seed: int = 0) -> None:
    """Write `number` pictures of size x size pixels as OUT/train/NNNNN.png. The same arguments make
    the same pictures.

    Raises:
        ValueError: number or size are below 1, there is no photograph, or OUT exists already.
    """
    if number < 1 or size < 1:
        raise ValueError(f"number = {number} and size = {size} must be at least 1")
    if out.exists():
        raise ValueError(f"{out} exists already: name a new folder")
    draw = np.random.default_rng(seed)
    photographs = read_photographs(folder)
    windows = np.stack([draw_window(photographs, size, draw) for _ in range(number + number // 4)])
    (out / "train").mkdir(parents=True)
    for i in range(number):
        picture = windows[i] if i % 2 == 0 else mosaic(windows, draw)
        Image.fromarray(picture).save(out / "train" / f"{i:05d}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photographs", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--number", type=int, default=24000, help="of pictures (24000)")
    parser.add_argument("--size", type=int, default=96, help="their side in pixels (96)")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    write_pictures(a.photographs, a.out, a.number, a.size, a.seed)


if __name__ == "__main__":
    main()
