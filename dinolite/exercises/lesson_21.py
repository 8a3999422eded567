"""The exercises of lesson 21, the resolution of pictures. Right answers are counted by hand or
taken from the package, never from lessons/solutions.
"""

from __future__ import annotations

from typing import Any

import torch

from dinolite.exercises.exercise import Exercise
from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.models.vision_transformer import DinoVisionTransformer


def tokens(height: int, width: int, patch: int, registers: int) -> int:
    net = DinoVisionTransformer(
        patch_size=patch, embed_dim=8, depth=1, num_heads=2, n_storage_tokens=registers
    )
    prepared, _ = net.prepare_tokens_with_masks(torch.zeros(1, 3, height, width))
    return int(prepared.shape[1])


def box_factor(n: int, n_train: int) -> float:
    rope = RopePositionEmbedding(8, num_heads=2)

    def step(side: int) -> float:
        rows = rope.coordinates(side, side).view(side, side, 2)[:, 0, 0]
        return float(rows[1] - rows[0])

    return step(n_train) / step(n)


def rounded(pixels: float, patch: int) -> int:
    return max(1, round(pixels / patch)) * patch


def fitting_size(height: int, width: int, short: int, patch: int) -> tuple[int, int]:
    scale = short / min(height, width)
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


def tiled_pairs(side: int, tile: int, patch: int, prefix: int) -> int:
    seen = prefix + (tile // patch) ** 2
    return (side // tile) ** 2 * seen**2


def as_pair(function: Any, *sizes: int) -> tuple[int, ...]:
    """Lists and tuples are both fine."""
    return tuple(function(*sizes))


EXERCISES = (
    Exercise(
        "21.1",
        "tokens of a picture",
        tokens,
        lambda: [(64, 96, 8, 2), (224, 224, 16, 4), (48, 32, 16, 0)],
        (
            (
                "those are the patches; CLS and registers go through the blocks, too",
                lambda height, width, patch, registers: (height // patch) * (width // patch),
            ),
            (
                "CLS is missing",
                lambda height, width, patch, registers: (
                    (height // patch) * (width // patch) + registers
                ),
            ),
            (
                "the registers are missing",
                lambda height, width, patch, registers: (height // patch) * (width // patch) + 1,
            ),
            (
                "divide the area by patch squared: both sides are cut",
                lambda height, width, patch, registers: height * width // patch + 1 + registers,
            ),
        ),
    ),
    Exercise(
        "21.2",
        "the box with the step of training",
        box_factor,
        lambda: [(16, 8), (8, 16), (12, 8), (8, 8)],
        (
            (
                "the other way round: more patches have shorter steps, so the box must grow",
                lambda n, n_train: n_train / n,
            ),
            (
                "patches on a side count, not all patches",
                lambda n, n_train: (n / n_train) ** 2,
            ),
            (
                "that is the step of n patches; by what must it be multiplied?",
                lambda n, n_train: 2 / n,
            ),
            (
                "the first centre is no step; the step is 2 / n",
                lambda n, n_train: (1 - 1 / n) / (1 - 1 / n_train),
            ),
        ),
    ),
    Exercise(
        "21.3",
        "a size that fits",
        fitting_size,
        lambda: [(300, 451, 256, 16), (451, 300, 128, 8), (40, 500, 10, 16), (400, 600, 250, 8)],
        (
            ("height first, then width", exchanged),
            ("that always rounds down: the nearest multiple may lie above", cut_off),
            ("the proportions are lost: scale the longer side as well", made_square),
            ("`short` is wanted for the shorter side, not for the longer", by_long_side),
            ("scaled, but not to multiples of the patch", not_fitted),
            ("those are patches; pixels are wanted", in_patches),
        ),
        run=as_pair,
    ),
    Exercise(
        "21.4",
        "attention in tiles",
        tiled_pairs,
        lambda: [(256, 64, 8, 3), (256, 256, 8, 3), (512, 128, 16, 5)],
        (
            (
                "that is one tile; there are (side / tile) squared of them",
                lambda side, tile, patch, prefix: (prefix + (tile // patch) ** 2) ** 2,
            ),
            (
                "the prefix looks and is looked at, in every tile",
                lambda side, tile, patch, prefix: (side // tile) ** 2 * ((tile // patch) ** 2) ** 2,
            ),
            (
                "that is the whole picture in one pass",
                lambda side, tile, patch, prefix: (prefix + (side // patch) ** 2) ** 2,
            ),
            (
                "those are the tokens; each looks at all tokens of its tile",
                lambda side, tile, patch, prefix: (
                    (side // tile) ** 2 * (prefix + (tile // patch) ** 2)
                ),
            ),
            (
                "tiles lie in rows and columns: side / tile, squared",
                lambda side, tile, patch, prefix: (
                    (side // tile) * (prefix + (tile // patch) ** 2) ** 2
                ),
            ),
        ),
    ),
)
