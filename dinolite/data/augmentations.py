"""The crops that student and teacher see of a picture: two large and several small ones, cut,
mirrored, recoloured and blurred at random; what stays the same in all of them can be learnt. This
is the official form, picture by picture; the default is the fast one of `batched_augmentations.py`.

DINO Sec. 3.1 "multi-crop" (after SwAV Sec. 3.2); DINOv3 App. C; official `data/augmentations.py`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dinolite.config import CropsConfig, Rgb

Crops = dict[str, Tensor]
"""global_crops [2B, 3, g, g], local_crops [LB, 3, l, l], maybe gram_teacher_crops [2B, 3, G, G]."""


class DataAugmentationDINO:
    """The official pipeline for one picture, built from torchvision's v2 transforms."""

    def __init__(self, crops: CropsConfig) -> None:
        from torchvision.transforms import InterpolationMode, v2

        c, self.crops = crops, crops
        jitter = v2.ColorJitter(c.brightness, c.contrast, c.saturation, c.hue)
        recolor = v2.Compose(
            [v2.RandomApply([jitter], p=c.color_jitter_prob), v2.RandomGrayscale(c.grayscale_prob)]
        )
        self.shared = recolor if c.share_color_jitter else v2.Identity()
        self.recolor = v2.Identity() if c.share_color_jitter else recolor

        def random_crop(size: int, scale: tuple[float, float]) -> Any:
            cut = v2.RandomResizedCrop(
                size, scale, interpolation=InterpolationMode.BICUBIC, antialias=True
            )
            return v2.Compose([cut, v2.RandomHorizontalFlip(0.5 * c.horizontal_flips)])

        larger = max(c.global_crops_size, c.gram_teacher_crops_size or 0)
        self.cut_global = random_crop(larger, c.global_crops_scale)
        self.shrink = v2.Resize([c.global_crops_size] * 2, InterpolationMode.BICUBIC)
        self.cut_local = random_crop(c.local_crops_size, c.local_crops_scale)
        sides = (c.global_crops_size, c.global_crops_size, c.local_crops_size)
        blurs = [v2.GaussianBlur(min(9, 2 * side - 1), c.blur_sigma) for side in sides]
        self.blur = [v2.RandomApply([x], p=p) for x, p in zip(blurs, c.blur_prob, strict=True)]
        self.solarize = v2.RandomSolarize(128, p=c.solarize_prob)
        self.finish = v2.Compose(
            [v2.ToDtype(torch.float32, scale=True), v2.Normalize(c.rgb_mean, c.rgb_std)]
        )

    def __call__(self, picture: UInt8[Tensor, "3 H W"]) -> Crops:
        """Crops of one picture: global_crops [2, ...], local_crops [L, ...], gram_teacher_crops."""
        c = self.crops
        picture = self.shared(picture)
        cuts = undistorted = [self.cut_global(picture) for _ in range(2)]
        if c.gram_teacher_no_distortions:
            cuts = [self.shrink(cut) for cut in cuts]
        first = self.finish(self.blur[0](self.recolor(cuts[0])))
        second = self.finish(self.solarize(self.blur[1](self.recolor(cuts[1]))))
        local = [
            self.finish(self.blur[2](self.recolor(self.cut_local(picture))))
            for _ in range(c.local_crops_number)
        ]
        large = torch.stack([first, second])
        out = {
            "global_crops": resize(large, c.global_crops_size),
            "local_crops": torch.stack(local),
        }
        if c.gram_teacher_crops_size:
            if c.gram_teacher_no_distortions:
                large = torch.stack([self.finish(cut) for cut in undistorted])
            out["gram_teacher_crops"] = resize(large, c.gram_teacher_crops_size)
        return out


def normalize(x: Float[Tensor, "n 3 H W"], mean: Rgb, std: Rgb) -> Float[Tensor, "n 3 H W"]:
    """From [0, 1] to zero mean and unit spread on natural pictures, per colour channel."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]


def resize(x: Float[Tensor, "n 3 H W"], size: int) -> Float[Tensor, "n 3 size size"]:
    """Square crops to another size, bicubic, smoothed where that shrinks."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
