"""Change colours and sharpness of many pictures at once, each by its own random amounts.

The definitions are torchvision's (`ColorJitter`, `RandomGrayscale`, `GaussianBlur`,
`RandomSolarize`), which the official `data/augmentations.py` uses. One thing differs: the order of
the four colour changes is drawn for a batch, not for every picture. All pictures are float in [0,
1], [n, 3, H, W].
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from dinolite.data.samplers import rand
from dinolite.settings import CropsConfig

BLUR_KERNEL = 9
SOLARIZE_THRESHOLD = 128 / 255


@dataclass
class ColorChange:
    """Drawn amounts of `ColorJitter` and `RandomGrayscale` for n pictures."""

    order: list[int]
    factors: dict[str, Float[Tensor, "n"]]
    gray: Bool[Tensor, "n"]

    @classmethod
    def draw(cls, n: int, crops: CropsConfig, generator: Generator | None) -> "ColorChange":
        apply = rand(n, generator=generator) < crops.color_jitter_prob
        factors = {}
        for name in ("brightness", "contrast", "saturation", "hue"):
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

    def repeated(self, times: int) -> "ColorChange":
        """The same amounts for `times` crops of every picture, crop-major."""
        factors = {name: f.repeat(times) for name, f in self.factors.items()}
        return ColorChange(self.order, factors, self.gray.repeat(times))

    def __call__(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 H W"]:
        changes = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
        for i in self.order:
            factor = self.factors.get(changes[i].__name__.removeprefix("adjust_"))
            if factor is not None:
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
    k = (hue + hue.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)) % 6  # [n, 3, H, W]
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


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
    chosen, sigmas = chosen.to(x.device), sigmas.to(x.device)
    return x.index_copy(0, chosen, gaussian_blur(x[chosen], sigmas))


def random_solarize(
    x: Float[Tensor, "n C H W"], probability: float, generator: Generator | None
) -> Float[Tensor, "n C H W"]:
    """Invert the pixels at or above half brightness, in some of the pictures."""
    chosen = (rand(len(x), generator=generator) < probability).to(x.device)
    invert = chosen[:, None, None, None] & (x >= SOLARIZE_THRESHOLD)
    return torch.where(invert, 1 - x, x)
