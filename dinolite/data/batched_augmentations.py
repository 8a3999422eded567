"""The fast form of the augmentation: all crops of a batch in a few tensor operations, on any
device. Scaling along an axis is a matrix with the antialiased bicubic kernel of Pillow and
torchvision; colours, blur and solarising have torchvision's definitions and each picture its own
random amounts, and only the order of the four colour changes is drawn for a batch.

Official `data/augmentations.py`, of which `augmentations.py` here has the official form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor

from dinolite.config import CropsConfig, Size, height_width
from dinolite.data.augmentations import ASPECT, Crops, cuts_of, normalize, resize, window_places

TRIES = 10  # draws of a box that fits
JITTER = ("brightness", "contrast", "saturation", "hue")
BLUR_KERNEL = 9
SOLARIZE_THRESHOLD = 128 / 255


class BatchedAugmentation:
    """All crops of a batch of pictures in a few tensor operations.

    Args:
        patch_size: see `DataAugmentationDINO`.
    """

    def __init__(self, crops: CropsConfig, patch_size: int = 16) -> None:
        self.crops, self.cuts, self.patch_size = crops, cuts_of(crops), patch_size

    def __call__(
        self,
        canvas: UInt8[Tensor, "B 3 S1 S2"],
        sizes: Int64[Tensor, "B 2"],
        generator: Generator | None = None,
    ) -> Crops:
        """Crops of pictures that lie in the upper left of the canvas.

        Args:
            canvas: the pictures, on the device where the work is to be done.
            sizes: height and width of each, on the CPU.
            generator: a CPU generator; the same draws on every device.
        """

        def cut(name: str) -> Tensor:
            n, scale, size = self.cuts[name]
            boxes = random_boxes(sizes, n, scale, generator, self.cuts[name].aspect)
            flips = rand(len(sizes), n, generator=generator) < 0.5
            return crop_and_resize(canvas, boxes, flips & self.crops.horizontal_flips, size)

        return self.distort(cut, len(canvas), generator)

    def distort(
        self, cut: Callable[[str], Tensor], n_pictures: int, generator: Generator | None = None
    ) -> Crops:
        """From cuts to crops: colours, blur, solarising, normalisation, other sizes.

        Args:
            cut: gives the boxes that `cuts_of` names, in [0, 1], crop-major; called in its order.
        """
        c, shared = self.crops, None
        if c.share_color_jitter:
            shared = ColorChange.draw(n_pictures, c, generator)
        large = cut("global_crops")
        out = self.global_crops(large, shared, generator)
        if not c.localcrops_subset_of_globalcrops:
            return out | {"local_crops": self.local_crops(cut("local_crops"), shared, generator)}
        half = c.local_crops_number // 2
        whole = torch.cat([crop.repeat(half, 1, 1, 1) for crop in large.chunk(2)])
        whole = self.local_crops(whole, shared, generator)
        return out | {"local_crops": self.windows(whole, generator)}

    def global_crops(
        self, cuts: Tensor, shared: ColorChange | None, generator: Generator | None
    ) -> Crops:
        """The two large views, and the same two at another size for the gram teacher."""
        c, gram_size = self.crops, self.crops.gram_teacher_crops_size
        x = resize(cuts, c.global_crops_size).clamp(0, 1) if c.gram_teacher_no_distortions else cuts
        first, second = self.recolor(x, shared, generator).chunk(2)
        first = random_blur(first, c.blur_prob[0], c.blur_sigma, generator)
        second = random_blur(second, c.blur_prob[1], c.blur_sigma, generator)
        second = random_solarize(second, c.solarize_prob, generator)
        large = normalize(torch.cat([first, second]), c.rgb_mean, c.rgb_std)
        out = {"global_crops": resize(large, c.global_crops_size)}
        if gram_size:
            if c.gram_teacher_no_distortions:
                large = normalize(resize(cuts, gram_size).clamp(0, 1), c.rgb_mean, c.rgb_std)
            out["gram_teacher_crops"] = resize(large, gram_size)
        return out

    def local_crops(
        self, cuts: Tensor, shared: ColorChange | None, generator: Generator | None
    ) -> Float[Tensor, "LB 3 l l2"]:
        """The small views."""
        c = self.crops
        x = self.recolor(cuts, shared, generator)
        x = random_blur(x, c.blur_prob[2], c.blur_sigma, generator)
        return normalize(x, c.rgb_mean, c.rgb_std)

    def windows(
        self, x: Float[Tensor, "LB 3 H W"], generator: Generator | None
    ) -> Float[Tensor, "LB 3 l l2"]:
        """A random part of each, of the size of a local crop."""
        places = torch.tensor(window_places(self.crops, self.patch_size))
        u = rand(len(x), 2, generator=generator)
        start = (u * places).floor().long() * self.patch_size
        start = start.to(x.device, non_blocking=True)
        h, w = height_width(self.crops.local_crops_size)
        rows = start[:, :1] + torch.arange(h, device=x.device)  # [L B, h]
        cols = start[:, 1:] + torch.arange(w, device=x.device)  # [L B, w]
        x = x.take_along_dim(rows[:, None, :, None], dim=2)
        return x.take_along_dim(cols[:, None, None, :], dim=3)

    def recolor(
        self, x: Tensor, shared: ColorChange | None, generator: Generator | None
    ) -> Float[Tensor, "n 3 H W"]:
        """Jitter and grey, drawn for each crop, or once for all crops of a picture."""
        if shared is not None:
            return shared.repeated(len(x) // len(shared.gray))(x)
        return ColorChange.draw(len(x), self.crops, generator)(x)


# --- where: boxes and scaling ---


def random_boxes(
    sizes: Int64[Tensor, "B 2"],
    n_crops: int,
    scale: tuple[float, float],
    generator: Generator | None = None,
    aspect: tuple[float, float] = ASPECT,
) -> Int64[Tensor, "B n 4"]:
    """Random boxes (top, left, height, width), as torchvision's RandomResizedCrop draws them.

    Args:
        sizes: height and width of each picture in pixels.
        scale: range of the box's area as a share of the picture's. Of ten draws the first that
            fits is taken, else the largest central box.
        aspect: range of width / height, drawn log-uniformly.
    """
    B = len(sizes)
    height, width = sizes[:, None, None, 0].double(), sizes[:, None, None, 1].double()
    u = rand(4, B, n_crops, TRIES, generator=generator, dim=1, dtype=torch.float64)
    area = height * width * (scale[0] + u[0] * (scale[1] - scale[0]))
    low, high = (math.log(a) for a in aspect)
    ratio = torch.exp(low + u[1] * (high - low))
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w >= 1) & (h >= 1) & (w <= width) & (h <= height)
    top = (u[2] * (height - h + 1)).floor()
    left = (u[3] * (width - w + 1)).floor()
    first = fits.int().argmax(dim=-1, keepdim=True)  # [B, n, 1]
    boxes = torch.stack([top, left, h, w], dim=-1)  # [B, n, tries, 4]
    drawn = boxes.take_along_dim(first[..., None], dim=2)[:, :, 0]
    central = central_boxes(sizes, aspect)[:, None]
    return torch.where(fits.any(-1, keepdim=True), drawn, central).long()


def central_boxes(sizes: Int64[Tensor, "B 2"], aspect: tuple[float, float]) -> Float[Tensor, "B 4"]:
    """The largest central box of allowed aspect, in each picture."""
    h, w = sizes.double().unbind(1)
    box_h = torch.minimum(h, (w / aspect[0]).round())
    box_w = torch.minimum(w, (h * aspect[1]).round())
    top, left = ((h - box_h) / 2).floor(), ((w - box_w) / 2).floor()
    return torch.stack([top, left, box_h.clamp(min=1), box_w.clamp(min=1)], dim=1)


def crop_and_resize(
    canvas: UInt8[Tensor, "B C S1 S2"],
    boxes: Int64[Tensor, "B n 4"],
    flips: Bool[Tensor, "B n"],
    size: Size,
) -> Float[Tensor, "nB C h w"]:
    """Cut every picture's n boxes, scale them to `size`, mirror where `flips`.

    Returns:
        crops in [0, 1], crop-major: box 0 of all pictures first.
    """
    B, C, S1, S2 = canvas.shape
    n, (out_h, out_w) = boxes.shape[1], height_width(size)
    boxes, flips = (x.to(canvas.device, non_blocking=True) for x in (boxes, flips))
    top, left, h, w = boxes.unbind(-1)  # [B, n] each
    rows = resize_matrix(top, h, S1, out_h)  # [B, n, out_h, S1]
    cols = resize_matrix(left, w, S2, out_w)  # [B, n, out_w, S2]
    cols = torch.where(flips[:, :, None, None], cols.flip(-2), cols)
    pixels = canvas.permute(0, 2, 1, 3).flatten(2).float() / 255  # [B, S1, C S2]
    x = rows.flatten(1, 2) @ pixels  # [B, n out_h, C S2]
    x = x.view(B, n, out_h * C, S2) @ cols.transpose(-1, -2)  # [B, n, out_h C, out_w]
    x = x.view(B, n, out_h, C, out_w).permute(1, 0, 3, 2, 4)  # [n, B, C, out_h, out_w]
    return x.clamp(0, 1).flatten(0, 1)


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


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2, zero from 2 on."""
    x = x.abs().clamp_(max=2)
    # (1.5 x - 2.5) x^2 + 1 below 1, ((-0.5 x + 2.5) x - 4) x + 2 above, 0 at 2; in place, because
    # these matrices are the largest thing that making a batch of small crops has to compute
    near = (1.5 * x).sub_(2.5).mul_(x).mul_(x).add_(1)
    far = (-0.5 * x).add_(2.5).mul_(x).sub_(4).mul_(x).add_(2)
    return torch.where(x < 1, near, far)


# --- colours ---


@dataclass
class ColorChange:
    """Drawn amounts of `ColorJitter` and `RandomGrayscale` for n pictures."""

    order: list[int]
    """Positions in `JITTER`."""
    factors: dict[str, Float[Tensor, "n"]]
    gray: Bool[Tensor, "n"]

    @classmethod
    def draw(cls, n: int, crops: CropsConfig, generator: Generator | None) -> ColorChange:
        """Amounts from the ranges of the settings; pictures without jitter get neutral ones."""
        apply = rand(n, generator=generator) < crops.color_jitter_prob
        factors = {}
        for name in JITTER:
            reach = getattr(crops, name)
            neutral = 0.0 if name == "hue" else 1.0
            low = -reach if name == "hue" else max(0.0, 1 - reach)
            high = reach if name == "hue" else 1 + reach
            drawn = low + rand(n, generator=generator) * (high - low)
            if reach:
                factors[name] = torch.where(apply, drawn, neutral)
        order = torch.randperm(4, generator=generator).tolist()
        gray = rand(n, generator=generator) < crops.grayscale_prob
        return cls(order, factors, gray)

    def repeated(self, times: int) -> ColorChange:
        """The same amounts for `times` crops of every picture, crop-major."""
        factors = {name: f.repeat(times) for name, f in self.factors.items()}
        return ColorChange(self.order, factors, self.gray.repeat(times))

    def __call__(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 H W"]:
        changes = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
        for i in self.order:
            if (factor := self.factors.get(JITTER[i])) is not None:
                x = changes[i](x, factor.to(x.device, non_blocking=True)[:, None, None, None])
        if self.gray.any():
            gray = self.gray.to(x.device, non_blocking=True)[:, None, None, None]
            x = torch.where(gray, grayscale(x), x)
        return x


def grayscale(x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 1 H W"]:
    """Luma: 0.299 R + 0.587 G + 0.114 B."""
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def adjust_brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Towards black (0), unchanged (1), brighter (above)."""
    return (x * factor).clamp(0, 1)


def adjust_contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Towards the picture's mean grey (0), unchanged (1)."""
    mean = grayscale(x).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, factor).clamp(0, 1)


def adjust_saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Towards grey (0), unchanged (1)."""
    return torch.lerp(grayscale(x).expand_as(x), x, factor).clamp(0, 1)


def adjust_hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a share of the full circle, -0.5 to 0.5; saturation and value stay."""
    value, channel = x.max(dim=1, keepdim=True)
    chroma = value - x.amin(dim=1, keepdim=True)
    r, g, b = x.split(1, dim=1)
    safe = torch.where(chroma == 0, 1, chroma)
    sixths = torch.stack(
        [(g - b) / safe, 2 + (b - r) / safe, 4 + (r - g) / safe]
    )  # [3, n, 1, H, W]
    hue = sixths.gather(0, channel[None])[0] + 6 * turn  # in sixths of the circle
    k = (hue + torch.arange(5, 0, -2, device=x.device).view(1, 3, 1, 1)) % 6  # [n, 3, H, W]
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


# --- blur and solarising ---


def random_blur(
    x: Float[Tensor, "n C H W"],
    probability: float,
    sigma: tuple[float, float],
    generator: Generator | None,
) -> Float[Tensor, "n C H W"]:
    """Blur some of the pictures, sigma uniform in the range."""
    chosen = (rand(len(x), generator=generator) < probability).nonzero().flatten()
    sigmas = sigma[0] + rand(len(x), generator=generator)[chosen] * (sigma[1] - sigma[0])
    if not len(chosen):
        return x
    chosen, sigmas = (y.to(x.device, non_blocking=True) for y in (chosen, sigmas))
    return x.index_copy(0, chosen, gaussian_blur(x[chosen], sigmas))


def gaussian_blur(
    x: Float[Tensor, "n C H W"], sigma: Float[Tensor, "n"]
) -> Float[Tensor, "n C H W"]:
    """Blur each picture with its own sigma in pixels, 9 taps per axis, mirrored edges."""
    H, W = x.shape[2:]
    reach = min(BLUR_KERNEL // 2, H - 1, W - 1)
    x = F.pad(x, [reach] * 4, mode="reflect")
    rows, columns = (blur_matrix(sigma, side, reach) for side in (H, W))
    return rows.mT @ x @ columns  # as matrix products: several times faster than grouped conv2d


def blur_matrix(
    sigma: Float[Tensor, "n"], side: int, reach: int
) -> Float[Tensor, "n 1 padded side"]:
    """A column for each blurred pixel: the weights of the padded axis, zero beyond `reach`."""
    padded = torch.arange(side + 2 * reach, device=sigma.device)[:, None]
    distance = padded - reach - torch.arange(side, device=sigma.device)  # [padded, side]
    weights = torch.exp(-0.5 * (distance / sigma[:, None, None, None]) ** 2)
    weights = weights * (distance.abs() <= reach)
    return weights / weights.sum(2, keepdim=True)


def random_solarize(
    x: Float[Tensor, "n C H W"], probability: float, generator: Generator | None
) -> Float[Tensor, "n C H W"]:
    """Invert the pixels at or above half brightness, in some of the pictures."""
    chosen = rand(len(x), generator=generator) < probability
    chosen = chosen.to(x.device, non_blocking=True)
    invert = chosen[:, None, None, None] & (x >= SOLARIZE_THRESHOLD)
    return torch.where(invert, 1 - x, x)


# --- draws that do not depend on the number of processes ---


class SharedGenerator(Generator):
    """One generator that all processes seed alike: each draws for the batch of all, and keeps what
    is its own. So what happens to a picture does not depend on the number of processes.

    Args:
        seed: the same on every process.
        batch_size: pictures of this process; it has every world_size-th of all, from `rank` on.
    """

    def __new__(cls, *_: int) -> SharedGenerator:
        return super().__new__(cls)

    def __init__(self, seed: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.manual_seed(seed)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def own(self, x: Tensor, dim: int = 0) -> Tensor:
        """This process's entries along an axis of pictures, or of their crops, crop-major."""
        crops = x.unflatten(dim, (-1, self.batch_size * self.world_size))
        mine = torch.arange(self.rank, crops.shape[dim + 1], self.world_size)
        return crops.index_select(dim + 1, mine).flatten(dim, dim + 1)


def rand(
    *shape: int, generator: Generator | None, dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """torch.rand where `shape[dim]` counts pictures or crops: see `SharedGenerator`."""
    if not isinstance(generator, SharedGenerator):
        return torch.rand(*shape, generator=generator, dtype=dtype)
    n = shape[dim] * generator.world_size
    everyones = (*shape[:dim], n, *shape[dim + 1 :])
    return generator.own(torch.rand(*everyones, generator=generator, dtype=dtype), dim)
