"""Exercises of lesson 01, patches: count them, find them, cut and paste, kernels for grey."""

import torch
from einops import rearrange

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.rows import compare_figure


@exercise("01.1", "how many patches and pairs", cases=[(224, 224, 16), (64, 96, 8), (512, 256, 16)])
def patches_and_pairs(H, W, p):
    N = (H // p) * (W // p)
    return N, N * N


patches_and_pairs.slips = [
    ("those are pixels, not patches", "(H // p) * (W // p)", "H * W"),
    ("a patch is p pixels high and p pixels wide: divide by p twice", "(W // p)", "W"),
    ("a picture has rows and columns of patches: multiply the two", " * (W // p)", ""),
    ("the picture need not be square: rows come from H, columns from W", "W //", "H //"),
    ("the patches are right; a patch is compared with itself, too", "N * N", "N * (N - 1)"),
    ("patches first, then pairs", "N, N * N", "N * N, N"),
    (
        "the patches are right; attention compares each with each, itself too, both ways",
        "N * N",
        "N * (N - 1) // 2",
    ),
]


@exercise(
    "01.2",
    "where patch n begins",
    cases=[(13, 192, 32), (5, 48, 16), (100, 224, 16), (7, 24, 8), (0, 64, 8)],
)
def corner(n, width, p):
    row, column = divmod(n, width // p)
    return row * p, column * p


corner.slips = [
    ("top and left have changed places", "row, column", "column, row"),
    (
        "that is the place on the grid of patches; wanted is the place in pixels",
        "row * p, column * p",
        "row, column",
    ),
    ("a row has width // p patches, not width", "width // p", "width"),
    ("left is right; going down one row of patches is a step of p pixels", "row * p", "row"),
    ("patches count from 0", "(n, width // p)", "(n - 1, width // p)"),
]


def sunset(height, width):
    """A picture one can recognise, [1, 3, height, width]: a disc over a ramp."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None, :].expand(height, width)
    disc = (((x - 0.3) * width) ** 2 + ((y - 0.35) * height) ** 2 < (height / 5) ** 2).float()
    return torch.stack([1 - 0.5 * y, 0.4 + 0.5 * disc, y * (0.3 + 0.7 * x)])[None]


def pictures():
    """Wider than high in colour, higher than wide in grey."""
    draw = torch.Generator().manual_seed(0)
    colour, grey = (torch.rand(*shape, generator=draw) for shape in ((2, 3, 4, 6), (2, 1, 6, 4)))
    return [(sunset(32, 48), 8), (colour, 2), (grey, 2)]


@exercise("01.3", "cut a picture into patches", cases=pictures)
def to_patches(x, p):
    return rearrange(x, "b c (h p) (w q) -> b (h w) (p q c)", p=p, q=p)


to_patches.slips = [
    (
        "the patches are numbered down the columns; rows should be outside, columns inside",
        "(h w)",
        "(w h)",
    ),
    (
        "the numbers never moved: a reshape alone cuts the flat list, so permute in between",
        lambda x, p: x.reshape(len(x), -1, x.shape[1] * p * p),
    ),
    (
        "inside a patch the channels come first, as in a kernel; here they should come last",
        "(p q c)",
        "(c p q)",
    ),
    (
        "each patch is mirrored: inside a patch, rows should be outside, columns inside",
        "(p q c)",
        "(q p c)",
    ),
]


def sequences():
    return [(to_patches(x, p), x.shape[2] // p, x.shape[3] // p, p) for x, p in pictures()]


def side_by_side(expected, actual):
    both = {"expected": expected[0], "yours": actual[0]}
    return compare_figure({name: x.expand(3, -1, -1) for name, x in both.items()}, width=6.0)


@exercise("01.4", "put patches together", cases=sequences, picture=side_by_side)
def to_picture(patches, h, w, p):
    return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=h, w=w, p=p, q=p)


to_picture.slips = [
    ("the patches are laid down column by column; they come row by row", "(h w)", "(w h)"),
    (
        "the numbers never moved: permute between the two reshapes",
        lambda patches, h, w, p: patches.reshape(len(patches), -1, h * p, w * p),
    ),
    ("each patch is mirrored: its two p have changed places", "(p q c)", "(q p c)"),
    ("inside a patch the channels are innermost, not first", "(p q c)", "(c p q)"),
]


def weights():
    draw = torch.Generator().manual_seed(0)
    return [(torch.randn(D, 3, p, p, generator=draw),) for D, p in ((4, 2), (8, 4))]


@exercise("01.5", "kernels for grey pictures", cases=weights, run=keeping)
def grey_kernels(weight):
    # w_r g + w_g g + w_b g = (w_r + w_g + w_b) g. What differs in hue alone, say a red
    # and a green of the same brightness, is one and the same grey to the new network.
    return weight.sum(dim=1, keepdim=True)


grey_kernels.slips = [
    ("with the mean every token is too small: three channels used to add up", "sum", "mean"),
    ("that is the red channel alone; green and blue said something too", ".sum", "[:, :1].sum"),
    (
        "the numbers are right; a kernel needs its dimension of channels, [D, 1, p, p]",
        ", keepdim=True",
        "",
    ),
    (
        "those parts turn colours into grey; here the picture is grey already",
        "weight.sum",
        "(weight * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum",
    ),
]
