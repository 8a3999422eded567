"""Pictures of which the class of every pixel is known: scenes, drawn by a few lines of arithmetic,
where a class is a pair of shape and texture and all else is random; and mosaics of windows of the
photographs, since patches need pictures that hold several things. No official counterpart.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from dinolite.data.demo_pictures.photographs import make_windows

# Every shape is a star: corners at radius 1, and halfway between them points at the inner radius.
_SHAPES = (("disc", 32, 1.0), ("triangle", 3, 0.5), ("square", 4, 0.7071), ("star", 5, 0.42))
_TEXTURES = ("striped", "checked", "dotted", "zigzag")
# Each shape has two textures and each texture two shapes, so that neither alone settles the class.
_PAIRS = tuple((i, (i + shift) % 4) for i in range(4) for shift in (0, 1))
SCENE_CLASSES: tuple[str, ...] = tuple(f"{_TEXTURES[t]} {_SHAPES[s][0]}" for s, t in _PAIRS)
# split -> number of scenes, seed
SCENE_COUNT_AND_SEED = MappingProxyType({"train": (8000, 1), "test": (1000, 1_000_002)})

MAX_DISTRACTORS = 3
_MAIN_RADIUS = (0.19, 0.29)  # of a disc of the same area, in picture sides
_DISTRACTOR_RADIUS = (0.09, 0.13)
_PERIOD = (0.075, 0.15)  # of the textures, in picture sides
_SCENES_AT_ONCE = 64  # scenes drawn at once: their canvases stay in the processor's cache


class Scenes(NamedTuple):
    """n pictures; the class of each one's main object, an index into `SCENE_CLASSES`; and the class
    of each pixel, 0 = background, c + 1 = on an object of class c.
    """

    images: UInt8[Tensor, "n 3 H W"]
    labels: Int64[Tensor, " n"]
    masks: Int64[Tensor, "n H W"]


def make_scenes(n: int, seed: int, size: int = 64) -> Scenes:
    """Draw n scenes of `size` x `size` pixels: a large object, and behind it 0 to 3 small ones of
    other classes. Same arguments, same scenes.

    Raises ValueError for n < 1, or for size < 32, where the textures would be lost.
    """
    if n < 1:
        raise ValueError(f"n={n} scenes asked for; allowed: 1 and up")
    if size < 32:
        raise ValueError(f"size={size} is too small for a scene; allowed: 32 and up (pixels)")
    generator = torch.Generator().manual_seed(seed)
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    labels = torch.empty(n, dtype=torch.int64)
    masks = torch.empty(n, size, size, dtype=torch.int64)
    for rows in torch.randperm(n, generator=generator).split(_SCENES_AT_ONCE):
        images[rows], labels[rows], masks[rows] = _draw(len(rows), size, generator)
    return Scenes(images, labels, masks)


def _draw(b: int, size: int, generator: torch.Generator) -> Scenes:
    """b scenes, those with the most distractors first, so that each slot's scenes are one slice."""
    canvas = _background(b, size, generator)  # [b, 3, H, W], about 0..1
    masks = torch.zeros(b, size, size, dtype=torch.int64)
    order = torch.rand(b, len(SCENE_CLASSES), generator=generator).argsort(
        1
    )  # the classes, shuffled
    count = torch.randint(MAX_DISTRACTORS + 1, (b,), generator=generator)
    for slot in range(MAX_DISTRACTORS, -1, -1):  # the main object, slot 0, last: it hides others
        k = int((count >= slot).sum())
        classes = order[:k, slot]
        radius = _DISTRACTOR_RADIUS if slot else _MAIN_RADIUS
        alpha, colour = _objects(classes, radius, size, generator)
        canvas[:k].lerp_(colour, alpha[:, None])
        masks[:k].copy_(torch.where(alpha > 0.5, classes[:, None, None] + 1, masks[:k]))
    return Scenes(_expose(canvas, generator), order[:, 0], masks)


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _background(b: int, size: int, generator: torch.Generator) -> Tensor:
    """Random colours with noise of several octaves, coarse patches to fine grain: [b, 3, H, W]."""
    noise = torch.zeros(b, 3, 1, 1)
    for octave in (16, 8, 4, 2):
        side = max(2, size // octave)
        noise = interpolate(noise, size=(side, side), mode="bilinear")
        grey = torch.randn(b, 1, side, side, generator=generator)
        tint = torch.randn(b, 3, side, side, generator=generator)
        noise = noise * 0.8 + grey + 0.5 * tint
    noise = interpolate(noise, size=(size, size), mode="bilinear")
    strength = _uniform(0.04, 0.13, (b, 1, 1, 1), generator)
    return _uniform(0.25, 0.75, (b, 3, 1, 1), generator) + strength * noise


def _objects(
    classes: Tensor, radius: tuple[float, float], size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """An object of each class: its cover of each pixel [b, H, W] and its colours [b, 3, H, W]."""
    b = len(classes)
    shape, texture = torch.tensor(_PAIRS)[classes].unbind(1)
    r = _uniform(*radius, (b, 1, 1), generator) * size
    place = r + (size - 2 * r) * torch.rand(b, 1, 2, generator=generator)
    axis = torch.arange(size) + 0.5
    dx, dy = axis - place[:, :, :1], axis[:, None] - place[:, :, 1:]  # [b, 1, size], [b, size, 1]
    alpha = _cover(shape, dx, dy, r, generator)
    period = (_uniform(*_PERIOD, (b, 1, 1), generator) * size).clamp_min(4)
    pattern = _pattern(texture, dx, dy, period, generator)
    dark = _uniform(0.1, 0.6, (b, 3, 1, 1), generator)
    light = dark + _uniform(0.25, 0.5, (b, 1, 1, 1), generator)
    light = light + _uniform(-0.1, 0.1, (b, 3, 1, 1), generator)
    return alpha, torch.lerp(dark, light, pattern[:, None])


def _cover(shape: Tensor, dx: Tensor, dy: Tensor, r: Tensor, generator: torch.Generator) -> Tensor:
    """1 inside the shape, 0 outside, between on the edge; of a disc's area, turned at random."""
    corners = torch.tensor([s[1] for s in _SHAPES])[shape][:, None, None]
    inner = torch.tensor([s[2] for s in _SHAPES])[shape][:, None, None]
    beta = math.pi / corners  # angle between a corner and the next inner point
    outer = r * (math.pi / (corners * inner * beta.sin())).sqrt()  # makes the areas equal
    turn = _uniform(0, 2 * math.pi, r.shape, generator)
    angle = (torch.atan2(dy, dx) + turn).remainder(2 * beta)
    angle = torch.minimum(angle, 2 * beta - angle)  # from the nearest corner, 0..beta
    # Where the ray at this angle meets the straight edge from the corner to the inner point.
    edge = outer * inner * beta.sin() / (angle.sin() + inner * (beta - angle).sin())
    distance = (dx**2 + dy**2).sqrt()
    return (edge - distance + 0.5).clamp_(0, 1)


def _pattern(
    texture: Tensor, dx: Tensor, dy: Tensor, period: Tensor, generator: torch.Generator
) -> Tensor:
    """The textures, 0..1 [b, H, W]: turned and shifted at random, half of them light on dark."""
    turn = _uniform(0, 2 * math.pi, period.shape, generator)
    shift = _uniform(0, 2 * math.pi, (2, *period.shape), generator)
    frequency = 2 * math.pi / period
    cos, sin = frequency * turn.cos(), frequency * turn.sin()
    u = cos * dx + sin * dy + shift[0]
    v = cos * dy - sin * dx + shift[1]
    wave = torch.empty_like(u)
    for kind, name in enumerate(_TEXTURES):
        rows = torch.nonzero(texture == kind)[:, 0]
        wave[rows] = _wave(name, u[rows], v[rows])
    swap = torch.randint(2, period.shape, generator=generator) * 2 - 1
    return (swap * wave * period / 3).add_(0.5).clamp_(0, 1)


def _wave(texture: str, u: Tensor, v: Tensor) -> Tensor:
    """A wave in -1..1 whose positive parts are the light parts of the texture; u, v in radians."""
    if texture == "striped":
        return u.sin()
    if texture == "checked":
        return u.sin() * v.sin()
    if texture == "dotted":
        return (u.cos() + v.cos()) / 2 - 0.3
    return (u + 2 * ((v / 2).remainder(2 * math.pi) - math.pi).abs()).sin()


def _expose(canvas: Tensor, generator: torch.Generator) -> Tensor:
    """Light from one side, contrast, brightness and a little sensor noise; 0..1 -> uint8."""
    b, _, size, _ = canvas.shape
    axis = torch.linspace(-1, 1, size)
    slope = _uniform(-0.12, 0.12, (2, b, 1, 1, 1), generator)
    light = slope[0] * axis + slope[1] * axis[:, None]
    contrast = _uniform(0.6, 1.1, (b, 1, 1, 1), generator)
    brightness = _uniform(0.4, 0.6, (b, 1, 1, 1), generator)
    grain = torch.randn(b, 1, size, size, generator=generator) * 0.02
    x = canvas.add_(light + (grain - 0.5)).mul_(contrast * 255).add_(brightness * 255)
    return x.round_().clamp_(0, 255).to(torch.uint8)


# split -> number of mosaics, seed
MOSAIC_COUNT_AND_SEED = MappingProxyType({"train": (8000, 3), "test": (1000, 1_000_004)})
SIDE = (72, 119)  # of the windows, in pixels of a photograph whose short side has 384
MAX_REGIONS = 6
_MOSAICS_AT_ONCE = 500  # mosaics made at once; each needs twice as many windows


def make_mosaics(n: int, split: str, seed: int, size: int = 96) -> Scenes:
    """n mosaics of `size` x `size` pixels: 1 to 6 regions, each from another window of that split.

    A region is what lies nearest to one of as many random points. Labels: the photograph that
    covers most; masks: the photograph of each pixel (index into `photographs.CLASSES`) + 1, as in
    scenes, but no pixel is background. Same arguments, same mosaics.

    Raises:
        ValueError: n < 1, an unknown split, size < 4.
    """
    if n < 1:
        raise ValueError(f"n={n} mosaics asked for; allowed: 1 and up")
    generator = torch.Generator().manual_seed(seed)
    images, masks = [], []
    for start in range(0, n, _MOSAICS_AT_ONCE):
        count = min(_MOSAICS_AT_ONCE, n - start)
        windows, labels = make_windows(2 * count, split, seed + start, size, SIDE)
        chosen = torch.randint(len(windows), (count, MAX_REGIONS), generator=generator)
        region = _regions(count, size, generator)  # [count, size, size]
        image, mask = windows[chosen[:, 0]], torch.zeros_like(region)
        for i in range(MAX_REGIONS):
            here = region == i
            image = torch.where(here[:, None], windows[chosen[:, i]], image)
            mask = torch.where(here, labels[chosen[:, i], None, None] + 1, mask)
        images.append(image)
        masks.append(mask)
    all_masks = torch.cat(masks)
    return Scenes(torch.cat(images), all_masks.flatten(1).mode(1).values - 1, all_masks)


def _regions(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, "n size size"]:
    """The number of the nearest of 1 to 6 random points, for every pixel."""
    count = torch.randint(1, MAX_REGIONS + 1, (n, 1), generator=generator)
    points = torch.rand(n, MAX_REGIONS, 2, generator=generator) * size
    points[torch.arange(MAX_REGIONS) >= count] = torch.inf  # there is no such point
    centre = torch.arange(size) + 0.5
    rows = (centre - points[:, :, :1]).square()  # [n, 6, size]
    columns = (centre - points[:, :, 1:]).square()
    return (rows[:, :, :, None] + columns[:, :, None, :]).argmin(1)
