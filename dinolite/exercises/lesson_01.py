"""Exercises of lesson 01, patches: count them, find them, cut and paste, kernels for grey."""

import torch
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.exercises.exercise import Exercise

CUT = "b c (h p) (w q) -> b (h w) (p q c)"
PASTE = "b (h w) (p q c) -> b c (h p) (w q)"


def count(H: int, W: int, p: int) -> tuple[int, int]:
    N = (H // p) * (W // p)
    return N, N * N


def corner(n: int, width: int, p: int) -> tuple[int, int]:
    row, column = divmod(n, width // p)
    return row * p, column * p


def cut(x: Tensor, p: int, pattern: str = CUT) -> Tensor:
    return rearrange(x, pattern, p=p, q=p)


def paste(patches: Tensor, h: int, w: int, p: int, pattern: str = PASTE) -> Tensor:
    return rearrange(patches, pattern, h=h, w=w, p=p, q=p)


def columns_back(patches: Tensor, h: int, w: int, p: int) -> Tensor:
    return paste(patches, h, w, p, "b (w h) (p q c) -> b c (h p) (w q)")


def turned_back(patches: Tensor, h: int, w: int, p: int) -> Tensor:
    return paste(patches, h, w, p, "b (h w) (q p c) -> b c (h p) (w q)")


def channels_first_back(patches: Tensor, h: int, w: int, p: int) -> Tensor:
    return paste(patches, h, w, p, "b (h w) (c p q) -> b c (h p) (w q)")


def unmoved_back(patches: Tensor, h: int, w: int, p: int) -> Tensor:
    return patches.reshape(len(patches), -1, h * p, w * p)


def unmoved(x: Tensor, p: int) -> Tensor:
    B, C, H, W = x.shape
    return x.reshape(B, (H // p) * (W // p), C * p * p)


def grey(weight: Tensor) -> Tensor:
    return weight.sum(dim=1, keepdim=True)


def brightness(weight: Tensor) -> Tensor:
    parts = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (parts * weight).sum(dim=1, keepdim=True)


def sunset(height: int, width: int) -> Tensor:
    """A picture one can recognise, [1, 3, height, width]: a disc over a ramp."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None, :].expand(height, width)
    disc = (((x - 0.3) * width) ** 2 + ((y - 0.35) * height) ** 2 < (height / 5) ** 2).float()
    return torch.stack([1 - 0.5 * y, 0.4 + 0.5 * disc, y * (0.3 + 0.7 * x)])[None]


def two_pictures() -> list[tuple[Tensor, int]]:
    generator = torch.Generator().manual_seed(0)
    return [(sunset(32, 48), 8), (torch.rand(2, 3, 4, 6, generator=generator), 2)]


def two_sequences() -> list[tuple[Tensor, int, int, int]]:
    return [(cut(x, p), x.shape[2] // p, x.shape[3] // p, p) for x, p in two_pictures()]


def two_weights() -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(D, 3, p, p, generator=generator),) for D, p in ((4, 2), (8, 4))]


def expected_beside_actual(expected: Tensor, actual: Tensor) -> Figure:
    from dinolite.viz.compare import compare_figure

    return compare_figure({"expected": expected[0], "yours": actual[0]}, width=6.0)


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
            "the patches are right; attention compares each with each, itself too, both ways",
            lambda H, W, p: (count(H, W, p)[0], count(H, W, p)[0] * (count(H, W, p)[0] - 1) // 2),
        ),
    ),
)
FINDING = Exercise(
    "01.2",
    "where patch n begins",
    corner,
    lambda: [(13, 192, 32), (5, 48, 16), (100, 224, 16)],
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
    ),
)
CUTTING = Exercise(
    "01.3",
    "cut a picture into patches",
    cut,
    two_pictures,
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
    two_sequences,
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
)

EXERCISES = (COUNTING, FINDING, CUTTING, PASTING, GREY)
