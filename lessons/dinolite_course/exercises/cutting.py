"""Exercises 01.3 and 01.4, a picture cut into patches and put together again: the answers, ways to
get the order wrong, and the pictures they are tried on.
"""

import torch
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor

CUT = "b c (h p) (w q) -> b (h w) (p q c)"
PASTE = "b (h w) (p q c) -> b c (h p) (w q)"
SHAPES = (2, 3, 4, 6), (2, 1, 6, 4)


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


def sunset(height: int, width: int) -> Tensor:
    """A picture one can recognise, [1, 3, height, width]: a disc over a ramp."""
    y = torch.linspace(0, 1, height)[:, None].expand(height, width)
    x = torch.linspace(0, 1, width)[None, :].expand(height, width)
    disc = (((x - 0.3) * width) ** 2 + ((y - 0.35) * height) ** 2 < (height / 5) ** 2).float()
    return torch.stack([1 - 0.5 * y, 0.4 + 0.5 * disc, y * (0.3 + 0.7 * x)])[None]


def some_pictures() -> list[tuple[Tensor, int]]:
    """Wider than high in colour, higher than wide in grey."""
    generator = torch.Generator().manual_seed(0)
    colour, grey_ones = (torch.rand(*shape, generator=generator) for shape in SHAPES)
    return [(sunset(32, 48), 8), (colour, 2), (grey_ones, 2)]


def some_sequences() -> list[tuple[Tensor, int, int, int]]:
    return [(cut(x, p), x.shape[2] // p, x.shape[3] // p, p) for x, p in some_pictures()]


def expected_beside_actual(expected: Tensor, actual: Tensor) -> Figure:
    from dinolite_course.figures.rows import compare_figure

    both = {"expected": expected[0], "yours": actual[0]}
    return compare_figure({name: x.expand(3, -1, -1) for name, x in both.items()}, width=6.0)
