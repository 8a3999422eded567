"""The exercises of lesson 21, the resolution of pictures. Right answers are counted by hand or
taken from the package, never from lessons/solutions.
"""

from __future__ import annotations

import torch

from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite_course.checking import Exercise
from dinolite_course.exercises import fitting


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


def tiled_pairs(side: int, tile: int, patch: int, prefix: int) -> int:
    seen = prefix + (tile // patch) ** 2
    return (side // tile) ** 2 * seen**2


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
                "a picture need not be square: rows come from the height, columns from the width",
                lambda height, width, patch, registers: (height // patch) ** 2 + 1 + registers,
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
                "the box ends half a step beyond the outer centres: n patches make n steps",
                lambda n, n_train: (n - 1) / (n_train - 1),
            ),
            (
                "a box of fewer patches must shrink: the factor can be a fraction",
                lambda n, n_train: n // n_train,
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
        fitting.fitting_size,
        fitting.sizes_to_fit,
        fitting.MISTAKES,
        run=fitting.as_pair,
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
                "a token looks at itself, too",
                lambda side, tile, patch, prefix: (
                    (side // tile) ** 2
                    * (prefix + (tile // patch) ** 2)
                    * (prefix + (tile // patch) ** 2 - 1)
                ),
            ),
            (
                "no tile sees another: square the tokens of one tile, then count the tiles",
                lambda side, tile, patch, prefix: (
                    ((side // tile) ** 2 * (prefix + (tile // patch) ** 2)) ** 2
                ),
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
        tolerance=0,  # pairs are counted
    ),
)
