"""Exercise 21.3, sizes that fit a patch: the answer, its cases and what people get wrong."""

from __future__ import annotations

import math
from typing import Any


def rounded(pixels: float, patch: int) -> int:
    return max(1, round(pixels / patch)) * patch


def fitting_size(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    return rounded(height * scale, patch), rounded(width * scale, patch)


def at_least_nothing(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    return round(height * scale / patch) * patch, round(width * scale / patch) * patch


def at_least_a_pixel(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    high, wide = at_least_nothing(height, width, short, patch)
    return max(1, high), max(1, wide)


def whole_pixels_first(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    return rounded(round(height * scale), patch), rounded(round(width * scale), patch)


def short_side_first(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    return fitting_size(height, width, rounded(short, patch), patch)


def always_up(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    return (
        math.ceil(height * scale / patch) * patch,
        math.ceil(width * scale / patch) * patch,
    )


def by_height(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / height
    return rounded(height * scale, patch), rounded(width * scale, patch)


def exchanged(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    high, wide = fitting_size(height, width, short, patch)
    return wide, high


def cut_off(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    high, wide = int(height * scale), int(width * scale)
    return max(1, high // patch) * patch, max(1, wide // patch) * patch


def made_square(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    return rounded(short, patch), rounded(short, patch)


def by_long_side(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / max(height, width)
    return rounded(height * scale, patch), rounded(width * scale, patch)


def not_fitted(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
    return round(height * scale), round(width * scale)


def in_patches(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    high, wide = fitting_size(height, width, short, patch)
    return high // patch, wide // patch


def sizes_to_fit() -> list[tuple[int, int, int, int]]:
    """The last two hold a side that is less than half a patch, and one of 20.4 pixels, where
    rounding to whole pixels first leads to another multiple of 8."""
    return [
        (300, 451, 256, 16),
        (451, 300, 128, 8),
        (40, 500, 10, 16),
        (400, 600, 250, 8),
        (500, 40, 6, 16),
        (100, 204, 10, 8),
    ]


def as_pair(function: Any, *sizes: int) -> tuple[int, ...]:
    """Lists and tuples are both fine."""
    return tuple(function(*sizes))


MISTAKES = (
    ("height first, then width", exchanged),
    ("that always rounds down: the nearest multiple may lie above", cut_off),
    ("the proportions are lost: scale the longer side as well", made_square),
    ("`short` is wanted for the shorter side, not for the longer", by_long_side),
    ("scaled, but not to multiples of the patch", not_fitted),
    ("those are patches; pixels are wanted", in_patches),
    ("a thin side comes out as 0; one patch is the least", at_least_nothing),
    ("the least is one patch, not one pixel", at_least_a_pixel),
    ("rounded to whole pixels on the way; round once, at the end", whole_pixels_first),
    ("the factor is short / the shorter side, before any rounding", short_side_first),
    ("that always rounds up: the nearest multiple may lie below", always_up),
    ("the shorter side is not always the height", by_height),
)
