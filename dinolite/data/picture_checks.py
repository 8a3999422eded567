"""What every function here takes for pictures: uint8, or numbers whose black and white are said;
first the batch, then three colours, then rows and columns. Anything else is refused in one sentence
that says how to make pictures of it, because guessing goes wrong silently.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Range = tuple[float, float] | None  # the numbers that are black and white; None = uint8, 0 and 255

# Sizes of the axes (? = any), what has them, and how to make it a batch, or one picture; the first
# that fits is told.
TO_BATCH = {
    "???3": ("channels last", "{}.permute(0, 3, 1, 2)"),
    "?1??": ("grey", "{}.expand(-1, 3, -1, -1)"),
    "?[24]??": ("transparent", "{}[:, :3] leaves that out"),
    "3??": ("one picture", "{}[None]"),
    "??3": ("one picture, channels last", "{}.permute(2, 0, 1)[None]"),
    "???": ("grey, without a channel", "{}[:, None].expand(-1, 3, -1, -1)"),
}
TO_PICTURE = {
    "??3": ("channels last", "{}.permute(2, 0, 1)"),
    "1??": ("grey", "{}.expand(3, -1, -1)"),
    "[24]??": ("transparent", "{}[:3] leaves that out"),
    "??": ("grey, without a channel", "{}.expand(3, -1, -1)"),
    "????": ("a batch", "{}[0]"),
}


def check_layout(images: Any, name: str = "images", one: bool = False) -> None:
    """Is it a tensor [n, 3, H, W], or [3, H, W] where `one` picture is wanted?

    Raises:
        ValueError: it is not; the sentence says how to make it one.
    """
    allowed = "uint8 [3, H, W]" if one else "uint8 [n, 3, H, W]"
    if not isinstance(images, Tensor):
        raise ValueError(
            f"{name} is a {type(images).__name__}; allowed: {allowed}; torch.from_numpy makes an "
            "array a tensor, dinolite.data.decoding.to_tensor a PIL picture"
        )
    axes = "".join(str(min(n, 9)) for n in images.shape)
    if fnmatchcase(axes, "3??" if one else "?3??"):
        return
    ways = (TO_PICTURE if one else TO_BATCH).items()
    kind, way = next((told for key, told in ways if fnmatchcase(axes, key)), ("", ""))
    way = f" ({kind}: {way.format(name)})" if kind else ""
    raise ValueError(f"{name} is {images.dtype} {list(images.shape)}{way}; allowed: {allowed}")


def as_pictures(
    images: Tensor | Sequence[Tensor], value_range: Range = None, name: str = "images"
) -> UInt8[Tensor, "n 3 H W"] | Float[Tensor, "n 3 H W"]:
    """uint8 pictures as they are; others, whose range is said, as float32 from 0 to 255.

    Args:
        images: a tensor, or a list of pictures [3, H, W] of one size.
        value_range: the numbers that are black and white, such as (0, 1); None for uint8.
        name: stands in messages.

    Raises:
        ValueError: another layout or type, no range, or values outside it (NaN, too).
    """
    if isinstance(images, list | tuple):
        for i, picture in enumerate(images):
            check_layout(picture, f"{name}[{i}]", one=True)
        if len({(x.shape, x.dtype) for x in images}) != 1:
            raise ValueError(f"{name} is a list of {len(images)} pictures; allowed: one size, type")
        images = torch.stack(list(images))
    check_layout(images, name)
    assert isinstance(images, Tensor)
    if value_range is None:
        if images.dtype == torch.uint8:
            return images
        raise ValueError(
            f"{name} is {images.dtype} {list(images.shape)}; allowed: uint8 [n, 3, H, W], or other "
            "numbers with value_range=(black, white), such as value_range=(0, 1)"
        )
    return stretched(images, value_range, name)


def one_picture(
    picture: Tensor, value_range: Range = None, name: str = "picture"
) -> UInt8[Tensor, "1 3 h w"] | Float[Tensor, "1 3 h w"]:
    """`as_pictures` for one picture [3, h, w]."""
    check_layout(picture, name, one=True)
    return as_pictures(picture[None], value_range, name)


def stretched(
    images: Tensor, value_range: tuple[float, float], name: str
) -> Float[Tensor, "n 3 H W"]:
    """From (black, white) to (0, 255), float32; ValueError for values outside."""
    low, high = value_range
    if not -torch.inf < low < high < torch.inf or images.is_complex():
        raise ValueError(
            f"value_range = {value_range} for {name} of {images.dtype}; allowed: (black, white), "
            "two numbers, the lower first"
        )
    x = images.float()
    if x.numel() and not (x.amin() >= low and x.amax() <= high):
        found = "NaN" if x.isnan().any() else f"values from {x.amin():.4g} to {x.amax():.4g}"
        raise ValueError(
            f"{name} has {found}, outside value_range = {value_range}: say the right one, before "
            "any normalisation; .clamp(black, white) where a resize overshot"
        )
    return (x - low) * (255 / (high - low))
