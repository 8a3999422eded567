"""Cut boxes out of many pictures and scale them to one size, all at once: scaling along an axis is
a matrix, so a crop is (rows' matrix) x picture x (columns' matrix), with the smoothing that scaling
down needs.

The matrices hold the antialiased bicubic kernel of Pillow and torchvision; official
`data/augmentations.py` uses `RandomResizedCrop(..., interpolation=BICUBIC, antialias=True)`.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor

from dinolite.data.samplers import rand

ASPECT = (3 / 4, 4 / 3)
TRIES = 10


def random_boxes(
    sizes: Int64[Tensor, "B 2"],
    n_crops: int,
    scale: tuple[float, float],
    generator: Generator | None = None,
) -> Int64[Tensor, "B n 4"]:
    """Random boxes (top, left, height, width), as torchvision's RandomResizedCrop draws them.

    Args:
        sizes: height and width of each picture in pixels.
        scale: range of the box's area as a share of the picture's; its aspect is log-uniform in
            [3/4, 4/3]. Of ten draws the first that fits is taken, else the largest central box.
    """
    B = len(sizes)
    height, width = sizes[:, None, None, 0].double(), sizes[:, None, None, 1].double()
    u = rand(4, B, n_crops, TRIES, generator=generator, dim=1, dtype=torch.float64)
    area = height * width * (scale[0] + u[0] * (scale[1] - scale[0]))
    low, high = (math.log(a) for a in ASPECT)
    aspect = torch.exp(low + u[1] * (high - low))  # width / height
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w >= 1) & (h >= 1) & (w <= width) & (h <= height)
    top = (u[2] * (height - h + 1)).floor()
    left = (u[3] * (width - w + 1)).floor()
    first = fits.int().argmax(dim=-1, keepdim=True)  # [B, n, 1]
    boxes = torch.stack([top, left, h, w], dim=-1)  # [B, n, tries, 4]
    drawn = boxes.take_along_dim(first[..., None], dim=2)[:, :, 0]
    return torch.where(fits.any(-1, keepdim=True), drawn, central_boxes(sizes)[:, None]).long()


def central_boxes(sizes: Int64[Tensor, "B 2"]) -> Float[Tensor, "B 4"]:
    """The largest central box of allowed aspect, in each picture."""
    h, w = sizes.double().unbind(1)
    box_h = torch.minimum(h, (w / ASPECT[0]).round())
    box_w = torch.minimum(w, (h * ASPECT[1]).round())
    top, left = ((h - box_h) / 2).floor(), ((w - box_w) / 2).floor()
    return torch.stack([top, left, box_h.clamp(min=1), box_w.clamp(min=1)], dim=1)


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2, zero from 2 on."""
    x = x.abs().clamp_(max=2)
    # (1.5 x - 2.5) x^2 + 1 below 1, ((-0.5 x + 2.5) x - 4) x + 2 above, 0 at 2; in place, because
    # these matrices are the largest thing that making a batch of small crops has to compute
    near = (1.5 * x).sub_(2.5).mul_(x).mul_(x).add_(1)
    far = (-0.5 * x).add_(2.5).mul_(x).sub_(4).mul_(x).add_(2)
    return torch.where(x < 1, near, far)


def resize_matrix(
    start: Int64[Tensor, "*n"], length: Int64[Tensor, "*n"], size_in: int, size_out: int
) -> Float[Tensor, "*n size_out size_in"]:
    """Matrices that scale pixels [start, start + length) of an axis to `size_out` pixels.

    Only pixels inside the interval count, as if it had been cut out first.
    """
    pixels = torch.arange(size_in, device=start.device) + 0.5  # [size_in]
    outputs = torch.arange(size_out, device=start.device) + 0.5  # [size_out]
    start, length = start[..., None, None], length[..., None, None]
    scale = length / size_out
    centres = start + outputs[:, None] * scale  # [*n, size_out, 1]
    weights = cubic((pixels - centres) / scale.clamp(min=1))
    weights.mul_((pixels > start) & (pixels < start + length))
    return weights.div_(weights.sum(-1, keepdim=True))


def crop_and_resize(
    canvas: UInt8[Tensor, "B C S1 S2"],
    boxes: Int64[Tensor, "B n 4"],
    flips: Bool[Tensor, "B n"],
    size: int,
) -> Float[Tensor, "nB C size size"]:
    """Cut every picture's n boxes, scale them to size x size, mirror where `flips`.

    Returns:
        crops in [0, 1], crop-major: box 0 of all pictures first.
    """
    B, C, S1, S2 = canvas.shape
    n = boxes.shape[1]
    top, left, h, w = boxes.unbind(-1)  # [B, n] each
    rows = resize_matrix(top, h, S1, size)  # [B, n, size, S1]
    cols = resize_matrix(left, w, S2, size)  # [B, n, size, S2]
    cols = torch.where(flips[:, :, None, None], cols.flip(-2), cols)
    pixels = canvas.permute(0, 2, 1, 3).flatten(2).float() / 255  # [B, S1, C S2]
    x = rows.flatten(1, 2) @ pixels  # [B, n size, C S2]
    x = x.view(B, n, size * C, S2) @ cols.transpose(-1, -2)  # [B, n, size C, size]
    x = x.view(B, n, size, C, size).permute(1, 0, 3, 2, 4)  # [n, B, C, size, size]
    return x.clamp(0, 1).flatten(0, 1)
