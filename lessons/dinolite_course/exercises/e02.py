"""Exercises of lesson 02, tokens: how many there are, where a patch stands, hiding, joining."""

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping


def shape(B: int, H: int, W: int, p: int, R: int, D: int) -> tuple[int, int, int]:
    return B, 1 + R + (H // p) * (W // p), D


def place(row: int, column: int, grid: tuple[int, int], R: int) -> int:
    return 1 + R + row * grid[1] + column


def hide(patches: Tensor, mask_token: Tensor, masks: Tensor) -> Tensor:
    return torch.where(masks[:, :, None], mask_token, patches)


def join(cls: Tensor, storage: Tensor, patches: Tensor) -> Tensor:
    B = len(patches)
    return torch.cat([cls.expand(B, -1, -1), storage.expand(B, -1, -1), patches], dim=1)


def registers_last(values: Tensor, R: int, grid: tuple[int, int]) -> Tensor:
    return values[1 : len(values) - R].unflatten(0, grid)


def some_patches() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Two pictures; then three, of which one is hidden and one is not."""
    random = torch.Generator().manual_seed(2)
    masks = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]]).bool()
    more = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    return [
        (torch.randn(*m.shape, D, generator=random), torch.randn(1, D, generator=random), m)
        for m, D in ((masks, 3), (more, 2))
    ]


def some_tokens() -> list[tuple[Tensor, Tensor, Tensor]]:
    random = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(1, 1, 3, generator=random),
            torch.randn(1, R, 3, generator=random),
            torch.randn(B, 4, 3, generator=random),
        )
        for R, B in ((2, 2), (4, 3), (0, 1))
    ]


def joined(parts: list[Tensor]) -> Tensor:
    B = max(map(len, parts))
    return torch.cat([part.expand(B, -1, -1) for part in parts], dim=1)


def values_of_tokens() -> list[tuple[Tensor, int, tuple[int, int]]]:
    random = torch.Generator().manual_seed(4)
    return [
        (torch.randn(1 + h * w + R, generator=random), R, (h, w))
        for R, (h, w) in ((4, (3, 5)), (1, (3, 2)), (0, (2, 4)))
    ]


EXERCISES = (
    Exercise(
        "02.1",
        "the shape of the sequence",
        shape,
        lambda: [(2, 64, 96, 16, 4, 32), (8, 224, 224, 16, 4, 384), (1, 8, 12, 4, 0, 16)],
        (
            (
                "the CLS token is missing",
                lambda B, H, W, p, R, D: (B, R + (H // p) * (W // p), D),
            ),
            (
                "the registers are missing",
                lambda B, H, W, p, R, D: (B, 1 + (H // p) * (W // p), D),
            ),
            (
                "the picture need not be square: multiply H / p rows by W / p columns",
                lambda B, H, W, p, R, D: (B, 1 + R + (H // p) ** 2, D),
            ),
            (
                "add the registers once for each picture, not once for the whole batch: the "
                "number of tokens does not depend on B",
                lambda B, H, W, p, R, D: (B, 1 + R + B * (H // p) * (W // p), D),
            ),
            (
                "those are pixels; a token is a patch of p x p of them",
                lambda B, H, W, p, R, D: (B, 1 + R + H * W, D),
            ),
            (
                "one row per token: the width D comes last",
                lambda B, H, W, p, R, D: (B, D, 1 + R + (H // p) * (W // p)),
            ),
        ),
    ),
    Exercise(
        "02.2",
        "which token is the patch in that row and column",
        place,
        lambda: [(0, 0, (4, 6), 4), (2, 5, (4, 6), 4), (3, 1, (8, 5), 0), (1, 3, (2, 7), 2)],
        (
            (
                "that is the number of the patch among the patches; CLS and registers stand "
                "before them in the sequence",
                lambda r, c, grid, R: r * grid[1] + c,
            ),
            ("one too few: CLS stands there too", lambda r, c, grid, R: R + r * grid[1] + c),
            (
                "the registers are forgotten: this is right only for R = 0",
                lambda r, c, grid, R: 1 + r * grid[1] + c,
            ),
            (
                "row and column have changed places: a whole row of patches comes before the next",
                lambda r, c, grid, R: 1 + R + c * grid[0] + r,
            ),
            (
                "a row has grid[1] patches; grid[0] is the number of rows",
                lambda r, c, grid, R: 1 + R + r * grid[0] + c,
            ),
            (
                "the row counts whole rows of patches, the column single ones",
                lambda r, c, grid, R: 1 + R + c * grid[1] + r,
            ),
        ),
    ),
    Exercise(
        "02.3",
        "hide patches",
        hide,
        some_patches,
        (
            (
                "the other way round: True means hidden, and here the hidden ones are shown",
                lambda x, m, masks: torch.where(masks[:, :, None], x, m),
            ),
            (
                "the hidden patches became zeros; the mask token is learnt and takes their place",
                lambda x, m, masks: x * ~masks[:, :, None],
            ),
            (
                "the mask token was added; it must replace, or the patch still shows through",
                lambda x, m, masks: x + masks[:, :, None] * m,
            ),
            (
                "only the first picture's masks were used, for all pictures",
                lambda x, m, masks: torch.where(masks[:1, :, None], m, x),
            ),
        ),
        keeping,
    ),
    Exercise(
        "02.4",
        "join CLS, registers and patches",
        join,
        some_tokens,
        (
            (
                "the registers stand before CLS; readers of token 0 would get a register",
                lambda c, s, x: joined([s, c, x]),
            ),
            (
                "the patches must come last: RoPE turns the last N tokens",
                lambda c, s, x: joined([c, x, s]),
            ),
            ("the registers are missing", lambda c, s, x: joined([c, x])),
            ("only one of the registers came along", lambda c, s, x: joined([c, s[:, :1], x])),
        ),
    ),
    Exercise(
        "02.5",
        "another layout: registers last",
        registers_last,
        values_of_tokens,
        (
            (
                "that is the map of the old layout: these are the last N values, and the last R "
                "of them belong to the registers now",
                lambda v, R, grid: v[1 + R :].unflatten(0, grid),
            ),
            (
                "that map starts with the CLS token",
                lambda v, R, grid: v[: grid[0] * grid[1]].unflatten(0, grid),
            ),
            (
                "the values are the right ones; they fill the grid row by row, not column by "
                "column",
                lambda v, R, grid: v[1 : len(v) - R].view(grid[1], grid[0]).T,
            ),
        ),
    ),
)
