"""Exercises of lesson 21, the resolution of pictures: tokens, the box of positions, a size that
fits, attention in tiles.
"""

from dinolite_course.exercises import exercise


@exercise("21.1", "tokens of a picture", cases=[(64, 96, 8, 2), (224, 224, 16, 4), (48, 32, 16, 0)])
def tokens(height, width, patch, registers):
    return 1 + registers + (height // patch) * (width // patch)


tokens.slips = [
    ("those are the patches; CLS and registers go through the blocks, too", "1 + registers + ", ""),
    ("CLS is missing", "1 + ", ""),
    ("the registers are missing", " + registers", ""),
    (
        "a picture need not be square: rows come from the height, columns from the width",
        "width //",
        "height //",
    ),
    (
        "divide the area by patch squared: both sides are cut",
        "(height // patch) * (width // patch)",
        "height * width // patch",
    ),
]


@exercise("21.2", "the box with the step of training", cases=[(16, 8), (8, 16), (12, 8), (8, 8)])
def box_factor(n, n_train):
    # A step is 2 / n long, so times n / n_train it is 2 / n_train. A rescale of
    # 2 draws factors from 1/2 to 2: with 16 x 16 trained, the steps of grids from
    # 8 x 8 to 32 x 32.
    return n / n_train


FACTOR = "n / n_train\n"  # of the last line
box_factor.slips = [
    (
        "the other way round: more patches have shorter steps, so the box must grow",
        FACTOR,
        "n_train / n",
    ),
    ("patches on a side count, not all patches", FACTOR, "(n / n_train) ** 2"),
    ("that is the step of n patches; by what must it be multiplied?", FACTOR, "2 / n"),
    (
        "the box ends half a step beyond the outer centres: n patches make n steps",
        FACTOR,
        "(n - 1) / (n_train - 1)",
    ),
    ("a box of fewer patches must shrink: the factor can be a fraction", FACTOR, "n // n_train"),
    ("the first centre is no step; the step is 2 / n", FACTOR, "(1 - 1 / n) / (1 - 1 / n_train)"),
]


def sizes_to_fit():
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


@exercise("21.3", "a size that fits", cases=sizes_to_fit)
def fitting_size(height, width, short, patch):
    scale = short / min(height, width)
    return tuple(max(1, round(side * scale / patch)) * patch for side in (height, width))


fitting_size.slips = [
    ("height first, then width", "in (height, width)", "in (width, height)"),
    ("that always rounds down: the nearest multiple may lie above", "round", "int"),
    ("the proportions are lost: scale the longer side as well", "side * scale", "short"),
    ("`short` is wanted for the shorter side, not for the longer", "min(", "max("),
    ("scaled, but not to multiples of the patch", "scale = short", "patch, scale = 1, short"),
    ("those are patches; pixels are wanted", " * patch", ""),
    ("a thin side comes out as 0; one patch is the least", "max(1", "max(0"),
    ("the least is one patch, not one pixel", ")) * patch", ") * patch)"),
    (
        "rounded to whole pixels on the way; round once, at the end",
        "side * scale",
        "round(side * scale)",
    ),
    (
        "the factor is short / the shorter side, before any rounding",
        "scale = short",
        "scale = max(1, round(short / patch)) * patch",
    ),
    (
        "that always rounds up: the nearest multiple may lie below",
        "round(side * scale / patch)",
        "-int(-side * scale // patch)",
    ),
    ("the shorter side is not always the height", "min(height, width)", "height"),
]


@exercise(
    "21.4",
    "attention in tiles",
    cases=[(256, 64, 8, 3), (256, 256, 8, 3), (512, 128, 16, 5)],
    tolerance=0,  # pairs are counted
)
def tiled_pairs(side, tile, patch, prefix):
    # The cost now grows with the area, not with its square. But a tile sees
    # nothing of its neighbours, and its patches lie in a box of its own: the
    # left edge of every tile is at -1.
    seen = prefix + (tile // patch) ** 2
    return (side // tile) ** 2 * seen**2


tiled_pairs.slips = [
    ("that is one tile; there are (side / tile) squared of them", "(side // tile) ** 2 * ", ""),
    ("the prefix looks and is looked at, in every tile", "prefix + ", ""),
    ("that is the whole picture in one pass", "    seen", "    tile = side\n    seen"),
    ("a token looks at itself, too", "seen**2", "seen * (seen - 1)"),
    (
        "no tile sees another: square the tokens of one tile, then count the tiles",
        "(side // tile) ** 2 * seen**2",
        "((side // tile) ** 2 * seen) ** 2",
    ),
    ("those are the tokens; each looks at all tokens of its tile", "seen**2", "seen"),
    ("tiles lie in rows and columns: side / tile, squared", "(side // tile) ** 2", "side // tile"),
]
