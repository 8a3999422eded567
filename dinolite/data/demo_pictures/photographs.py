"""Real pictures without a download: the sixteen photographs inside the wheels of scikit-image and
scikit-learn (data/README.md says whose they are), and small grey windows cut from them, the default
data, with the photograph as the class. Windows for testing come from other parts of each photograph
than windows for training. No counterpart in the official code.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from dinolite.data.decoding import to_tensor

# file inside the wheel -> class; the order of the lines is the order of the labels
_FILES = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/text.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/page.png"),
    ("skimage", "data/camera.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/retina.jpg"),
)
CLASSES: tuple[str, ...] = tuple(Path(file).stem for _, file in _FILES)
SHORT_SIDE = 384  # of the grey photographs that windows are cut from
# split -> number of windows, seed
WINDOW_COUNT_AND_SEED = MappingProxyType({"train": (8000, 1), "test": (1000, 1_000_002)})
MARGIN = 8  # pixels between a training window and the nearest test area
MIN_STD = 6.0  # flatter windows (night sky, blank paper) show nothing of their photograph
_MAX_ROUNDS = 500  # of drawing again the windows that are not allowed
_CHUNK = 512  # windows cut at once


def photograph_path(name: str) -> Path:
    """The file of photograph `name` (one of `CLASSES`) in the installed wheel.

    Raises ValueError for an unknown name, FileNotFoundError if the package or the file is missing.
    """
    if name not in CLASSES:
        raise ValueError(f"name={name!r} is no bundled photograph; allowed: {', '.join(CLASSES)}")
    package, file = _FILES[CLASSES.index(name)]
    wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    found = importlib.util.find_spec(package)  # looks the folder up without importing the package
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"photograph {name!r} is part of {wheel}; run: pip install {wheel}")
    path = Path(found.submodule_search_locations[0]) / file
    if not path.is_file():
        raise FileNotFoundError(
            f"photograph {name!r} is missing: the installed {wheel} does not ship {path}; "
            f"dinolite was tested with scikit-image 0.26 and scikit-learn 1.9"
        )
    return path


def photographs() -> dict[str, UInt8[Tensor, "3 _ _"]]:
    """The sixteen photographs whole, RGB, at their own sizes, in the order of `CLASSES`."""
    return {name: to_tensor(Image.open(photograph_path(name)).convert("RGB")) for name in CLASSES}


def grey_photographs() -> list[UInt8[Tensor, "_ _"]]:
    """The photographs as the windows see them: grey, short side 384 px, in order of `CLASSES`."""
    pictures = []
    for name in CLASSES:
        picture = Image.open(photograph_path(name)).convert("L")
        if name == "retina":  # cut the black frame around the round field of view away
            w, h = picture.size
            picture = picture.crop((w // 5, h // 5, w * 4 // 5, h * 4 // 5))
        scale = SHORT_SIDE / min(picture.size)
        w, h = (round(edge * scale) for edge in picture.size)
        how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        pictures.append(to_tensor(picture.resize((w, h), how))[0])
    return pictures


def make_windows(
    n: int, split: str, seed: int, size: int = 32, side: tuple[int, int] = (48, 100)
) -> tuple[UInt8[Tensor, "n 3 size size"], Int64[Tensor, " n"]]:
    """Cut n windows, resize them to `size` x `size`, draw mean, contrast and mirroring of each.

    Returns images (three equal grey channels) and labels, indices into `CLASSES`. `side` is the
    range of window sides in a photograph of short side 384. Raises ValueError for n < 1, an unknown
    split, or sizes out of range.
    """
    _check(n, split, side)
    if size < 4:
        raise ValueError(f"size={size} is too small for a window; allowed: 4 and up (pixels)")
    generator = torch.Generator().manual_seed(seed)
    pictures = grey_photographs()
    boxes = _draw_boxes(n, split, generator, side, pictures)
    x = torch.empty(n, size, size)
    for label, picture in enumerate(pictures):
        mine = torch.nonzero(boxes.labels == label)[:, 0]
        for rows in mine.split(_CHUNK):
            x0, y0, sides = (part[rows] for part in boxes[1:])
            x[rows] = _cut(picture, x0, y0, sides, size, side[1])
    # Were brightness or contrast left as they are, they alone would tell many photographs apart.
    mean, std = x.mean((1, 2), keepdim=True), x.std((1, 2), keepdim=True)
    contrast = 30 + 35 * torch.rand(n, 1, 1, generator=generator)
    brightness = 95 + 65 * torch.rand(n, 1, 1, generator=generator)
    x = ((x - mean) / (std + 4) * contrast + brightness).round_().clamp_(0, 255)
    mirrored = torch.rand(n, 1, 1, generator=generator) < 0.5
    x = torch.where(mirrored, x.flip(2), x).to(torch.uint8)
    return x[:, None].repeat(1, 3, 1, 1), boxes.labels


class WindowBoxes(NamedTuple):
    """Photograph, left edge, upper edge and side of n windows, in pixels of the grey photograph."""

    labels: Int64[Tensor, " n"]
    x0: Int64[Tensor, " n"]
    y0: Int64[Tensor, " n"]
    side: Int64[Tensor, " n"]


def window_boxes(n: int, split: str, seed: int, side: tuple[int, int] = (48, 100)) -> WindowBoxes:
    """Draw n windows: photograph, side (pixels, both ends of `side` included), place: all uniform.

    Each photograph is cut into 3 x 3 equal cells. A "test" window lies inside one of the three
    diagonal cells, a "train" window stays 8 px clear of all three, so the two splits share no
    pixel. Same arguments, same boxes. Errors as in `make_windows`.
    """
    _check(n, split, side)
    return _draw_boxes(n, split, torch.Generator().manual_seed(seed), side, grey_photographs())


def _draw_boxes(
    n: int,
    split: str,
    generator: torch.Generator,
    side_range: tuple[int, int],
    pictures: list[Tensor],
) -> WindowBoxes:
    """Rejection sampling, all pending windows at once: keep what is allowed, redraw the rest."""
    labels = torch.randint(len(pictures), (n,), generator=generator)
    sizes = torch.tensor([p.shape for p in pictures])[labels]  # [n, 2] height, width
    sums = [_integrals(p) for p in pictures]
    x0, y0, side = (torch.zeros(n, dtype=torch.int64) for _ in range(3))
    pending = torch.arange(n)
    for _ in range(_MAX_ROUNDS):
        h, w = sizes[pending].unbind(1)
        s = torch.randint(side_range[0], side_range[1] + 1, (len(pending),), generator=generator)
        u = torch.rand(3, len(pending), generator=generator)
        if split == "test":
            cell = (u[2] * 3).long()
            left, right = -(-cell * w // 3), (cell + 1) * w // 3
            top, bottom = -(-cell * h // 3), (cell + 1) * h // 3
        else:
            left, right, top, bottom = torch.zeros_like(w), w, torch.zeros_like(h), h
        x = left + (u[0] * (right - left - s + 1)).long()
        y = top + (u[1] * (bottom - top - s + 1)).long()
        good = _std(sums, labels[pending], x, y, s) >= MIN_STD
        if split == "train":
            good &= ~_near_diagonal(x, y, s, w, h)
        done = pending[good]
        x0[done], y0[done], side[done] = x[good], y[good], s[good]
        pending = pending[~good]
        if not len(pending):
            return WindowBoxes(labels, x0, y0, side)
    name = CLASSES[int(labels[pending[0]])]
    raise RuntimeError(f"no {split} window of photograph {name!r} in {_MAX_ROUNDS} draws")


def _near_diagonal(x: Tensor, y: Tensor, s: Tensor, w: Tensor, h: Tensor) -> Tensor:
    """True where a window comes closer than `MARGIN` to a diagonal cell."""
    near = torch.zeros_like(x, dtype=torch.bool)
    for cell in range(3):
        in_x = (x + s + MARGIN > cell * w / 3) & (x - MARGIN < (cell + 1) * w / 3)
        in_y = (y + s + MARGIN > cell * h / 3) & (y - MARGIN < (cell + 1) * h / 3)
        near |= in_x & in_y
    return near


def _std(sums: list[Tensor], labels: Tensor, x: Tensor, y: Tensor, s: Tensor) -> Tensor:
    """Standard deviation of the pixels in each box, four look-ups a box however large it is."""
    std = torch.zeros(len(labels), dtype=torch.float64)
    for label, table in enumerate(sums):
        mine = labels == label
        x0, y0, x1, y1 = x[mine], y[mine], (x + s)[mine], (y + s)[mine]
        total = table[:, y1, x1] - table[:, y0, x1] - table[:, y1, x0] + table[:, y0, x0]
        mean, mean_of_squares = total / s[mine] ** 2
        std[mine] = (mean_of_squares - mean**2).clamp_min(0).sqrt()
    return std


def _integrals(picture: Tensor) -> Tensor:
    """[h, w] -> [2, h+1, w+1]: sums of the pixels and their squares above and left of a corner."""
    x = picture.double()
    sums = torch.stack([x, x * x]).cumsum(1).cumsum(2)
    return torch.nn.functional.pad(sums, (1, 0, 1, 0))


def _cut(picture: Tensor, x0: Tensor, y0: Tensor, side: Tensor, size: int, largest: int) -> Tensor:
    """The boxes of one photograph, resized: [b, size, size] float, 0..255."""
    reach = torch.arange(largest)
    rows = (y0[:, None] + reach).clamp_max(picture.shape[0] - 1)  # [b, S]
    columns = (x0[:, None] + reach).clamp_max(picture.shape[1] - 1)  # [b, S]
    pixels = picture[rows[:, :, None], columns[:, None, :]].float()  # [b, S, S]
    weights = _resize_weights(side, size, largest)  # [b, size, S]
    return weights @ pixels @ weights.mT


def _resize_weights(side: Tensor, size: int, largest: int) -> Tensor:
    """Row i says how much of each of `side` pixels goes into output pixel i: the part of it that
    lies in a box around i's centre, one output pixel wide. When enlarging, the box is one input
    pixel wide, which is linear interpolation.
    """
    step = side[:, None, None] / size
    centre = (torch.arange(size)[:, None] + 0.5) * step  # [b, size, 1]
    half = step.clamp_min(1) / 2
    pixel = torch.arange(largest)  # [S]
    right = torch.minimum(centre + half, pixel + 1)
    left = torch.maximum(centre - half, pixel.float())
    inside = pixel < side[:, None, None]  # [b, 1, S]
    weights = (right - left).clamp_min(0) * inside
    return weights / weights.sum(2, keepdim=True)


def _check(n: int, split: str, side: tuple[int, int]) -> None:
    if n < 1:
        raise ValueError(f"n={n} windows asked for; allowed: 1 and up")
    if split not in ("train", "test"):
        raise ValueError(f"split={split!r} is unknown; allowed: 'train', 'test'")
    if not 8 <= side[0] <= side[1] <= SHORT_SIDE // 3 - MARGIN:
        raise ValueError(
            f"side={side} is out of range; allowed: 8 <= smallest <= largest <= "
            f"{SHORT_SIDE // 3 - MARGIN} px, so that a window fits into a cell"
        )
