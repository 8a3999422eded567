"""Exercises of lesson 02, tokens: how many there are, where a patch stands, hiding, joining."""

import torch

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "02.1",
    "the shape of the sequence",
    cases=[(2, 64, 96, 16, 4, 32), (8, 224, 224, 16, 4, 384), (1, 8, 12, 4, 0, 16)],
)
def sequence_shape(B, H, W, p, R, D):
    return B, 1 + R + (H // p) * (W // p), D


sequence_shape.slips = [
    ("the CLS token is missing", "1 + R", "R"),
    ("the registers are missing", "1 + R", "1"),
    ("the picture need not be square: multiply H / p rows by W / p columns", "W //", "H //"),
    (
        "add the registers once for each picture, not once for the whole batch: the "
        "number of tokens does not depend on B",
        "(H // p)",
        "B * (H // p)",
    ),
    ("those are pixels; a token is a patch of p x p of them", "(H // p) * (W // p)", "H * W"),
    ("one row per token: the width D comes last", ("return B", "return B, D"), ("), D", ")")),
]


@exercise(
    "02.2",
    "which token is the patch in that row and column",
    cases=[(0, 0, (4, 6), 4), (2, 5, (4, 6), 4), (3, 1, (8, 5), 0), (1, 3, (2, 7), 2)],
)
def token_of_patch(row, column, grid, R):
    _, w = grid
    return 1 + R + row * w + column


token_of_patch.slips = [
    (
        "that is the number of the patch among the patches; CLS and registers stand "
        "before them in the sequence",
        "1 + R + ",
        "",
    ),
    ("one too few: CLS stands there too", "1 + R", "R"),
    ("the registers are forgotten: this is right only for R = 0", "1 + R", "1"),
    (
        "row and column have changed places: a whole row of patches comes before the next",
        "row * w + column",
        "column * grid[0] + row",
    ),
    ("a row has grid[1] patches; grid[0] is the number of rows", "_, w", "w, _"),
    ("the row counts whole rows of patches, the column single ones", "row, column", "column, row"),
]


def patches_to_hide():
    """Two pictures; then three, of which one is hidden and one is not."""
    draw = torch.Generator().manual_seed(2)
    masks = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]]).bool()
    more = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    return [
        (torch.randn(*m.shape, D, generator=draw), torch.randn(1, D, generator=draw), m)
        for m, D in ((masks, 3), (more, 2))
    ]


@exercise("02.3", "hide patches", cases=patches_to_hide, run=keeping)
def hide_patches(patches, mask_token, masks):
    return torch.where(masks[:, :, None], mask_token, patches)


hide_patches.slips = [
    (
        "the other way round: True means hidden, and here the hidden ones are shown",
        "(masks[",
        "(~masks[",
    ),
    (
        "the hidden patches became zeros; the mask token is learnt and takes their place",
        "mask_token, patches)",
        "0.0, patches)",
    ),
    (
        "the mask token was added; it must replace, or the patch still shows through",
        "mask_token, patches)",
        "patches + mask_token, patches)",
    ),
    ("only the first picture's masks were used, for all pictures", "[:, ", "[:1, "),
]


def parts_of_a_sequence():
    draw = torch.Generator().manual_seed(3)

    def rand(*size):
        return torch.randn(*size, 3, generator=draw)

    return [(rand(1, 1), rand(1, R), rand(B, 4)) for R, B in ((2, 2), (4, 3), (0, 1))]


@exercise("02.4", "join CLS, registers and patches", cases=parts_of_a_sequence)
def join_tokens(cls, storage, patches):
    B = len(patches)
    prefix = [cls.expand(B, -1, -1), storage.expand(B, -1, -1)]
    return torch.cat([*prefix, patches], dim=1)


join_tokens.slips = [
    (
        "the registers stand before CLS; readers of token 0 would get a register",
        "*prefix",
        "*prefix[::-1]",
    ),
    (
        "the patches must come last: RoPE turns the last N tokens",
        "*prefix, patches",
        "prefix[0], patches, prefix[1]",
    ),
    ("the registers are missing", ", storage.expand(B, -1, -1)", ""),
    ("only one of the registers came along", "storage.expand", "storage[:, :1].expand"),
]


def values_of_tokens():
    draw = torch.Generator().manual_seed(4)
    sizes = (4, 3, 5), (1, 3, 2), (0, 2, 4)
    return [(torch.randn(1 + h * w + R, generator=draw), R, (h, w)) for R, h, w in sizes]


@exercise("02.5", "another layout: registers last", cases=values_of_tokens)
def map_registers_last(values, R, grid):
    # What breaks: RoPE turns the last N tokens. With the registers at the end
    # it would turn the registers, leave the first R patches where they are,
    # and give the other patches the places of their neighbours.
    return values[1 : len(values) - R].unflatten(0, grid)


map_registers_last.slips = [
    (
        "that is the map of the old layout: these are the last N values, and the last R "
        "of them belong to the registers now",
        "1 : len(values) - R",
        "1 + R :",
    ),
    ("that map starts with the CLS token", "1 : len(values) - R", ": len(values) - R - 1"),
    (
        "the values are the right ones; they fill the grid row by row, not column by column",
        "(0, grid)",
        "(0, grid[::-1]).T",
    ),
]
