"""Exercises of lesson 01, patches: count them, find them, cut and paste, kernels for grey."""

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises.cutting import (
    channels_first_back,
    columns_back,
    cut,
    expected_beside_actual,
    paste,
    some_pictures,
    some_sequences,
    turned_back,
    unmoved,
    unmoved_back,
)


def count(H: int, W: int, p: int) -> tuple[int, int]:
    N = (H // p) * (W // p)
    return N, N * N


def corner(n: int, width: int, p: int) -> tuple[int, int]:
    row, column = divmod(n, width // p)
    return row * p, column * p


def grey(weight: Tensor) -> Tensor:
    return weight.sum(dim=1, keepdim=True)


def brightness(weight: Tensor) -> Tensor:
    parts = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (parts * weight).sum(dim=1, keepdim=True)


def two_weights() -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(D, 3, p, p, generator=generator),) for D, p in ((4, 2), (8, 4))]


COUNTING = Exercise(
    "01.1",
    "how many patches and pairs",
    count,
    lambda: [(224, 224, 16), (64, 96, 8), (512, 256, 16)],
    (
        ("those are pixels, not patches", lambda H, W, p: (H * W, (H * W) ** 2)),
        (
            "a patch is p pixels high and p pixels wide: divide by p twice",
            lambda H, W, p: (H * W // p, (H * W // p) ** 2),
        ),
        (
            "a picture has rows and columns of patches: multiply the two",
            lambda H, W, p: (H // p, (H // p) ** 2),
        ),
        (
            "the picture need not be square: rows come from H, columns from W",
            lambda H, W, p: ((H // p) ** 2, (H // p) ** 4),
        ),
        (
            "the patches are right; a patch is compared with itself, too",
            lambda H, W, p: (count(H, W, p)[0], count(H, W, p)[0] * (count(H, W, p)[0] - 1)),
        ),
        ("patches first, then pairs", lambda H, W, p: count(H, W, p)[::-1]),
        (
            "the patches are right; attention compares each with each, itself too, both ways",
            lambda H, W, p: (count(H, W, p)[0], count(H, W, p)[0] * (count(H, W, p)[0] - 1) // 2),
        ),
    ),
)
FINDING = Exercise(
    "01.2",
    "where patch n begins",
    corner,
    lambda: [(13, 192, 32), (5, 48, 16), (100, 224, 16), (7, 24, 8), (0, 64, 8)],
    (
        ("top and left have changed places", lambda n, width, p: corner(n, width, p)[::-1]),
        (
            "that is the place on the grid of patches; wanted is the place in pixels",
            lambda n, width, p: divmod(n, width // p),
        ),
        (
            "a row has width // p patches, not width",
            lambda n, width, p: (n // width * p, n % width * p),
        ),
        (
            "left is right; going down one row of patches is a step of p pixels",
            lambda n, width, p: divmod(n * p, width),
        ),
        ("patches count from 0", lambda n, width, p: corner(n - 1, width, p)),
    ),
)
CUTTING = Exercise(
    "01.3",
    "cut a picture into patches",
    cut,
    some_pictures,
    (
        (
            "the patches are numbered down the columns; rows should be outside, columns inside",
            lambda x, p: cut(x, p, "b c (h p) (w q) -> b (w h) (p q c)"),
        ),
        (
            "the numbers never moved: a reshape alone cuts the flat list, so permute in between",
            unmoved,
        ),
        (
            "inside a patch the channels come first, as in a kernel; here they should come last",
            lambda x, p: cut(x, p, "b c (h p) (w q) -> b (h w) (c p q)"),
        ),
        (
            "each patch is mirrored: inside a patch, rows should be outside, columns inside",
            lambda x, p: cut(x, p, "b c (h p) (w q) -> b (h w) (q p c)"),
        ),
    ),
)
PASTING = Exercise(
    "01.4",
    "put patches together",
    paste,
    some_sequences,
    (
        ("the patches are laid down column by column; they come row by row", columns_back),
        ("the numbers never moved: permute between the two reshapes", unmoved_back),
        ("each patch is mirrored: its two p have changed places", turned_back),
        ("inside a patch the channels are innermost, not first", channels_first_back),
    ),
    picture=expected_beside_actual,
)
GREY = Exercise(
    "01.5",
    "kernels for grey pictures",
    grey,
    two_weights,
    (
        (
            "with the mean every token is too small: three channels used to add up",
            lambda weight: weight.mean(dim=1, keepdim=True),
        ),
        (
            "that is the red channel alone; green and blue said something too",
            lambda weight: weight[:, :1],
        ),
        (
            "the numbers are right; a kernel needs its dimension of channels, [D, 1, p, p]",
            lambda weight: weight.sum(dim=1),
        ),
        ("those parts turn colours into grey; here the picture is grey already", brightness),
    ),
    keeping,
)

EXERCISES = (COUNTING, FINDING, CUTTING, PASTING, GREY)
