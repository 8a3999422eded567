"""The crops that student and teacher see of a picture: two large and several small ones, cut,
mirrored, recoloured and blurred at random; what stays the same in all of them can be learnt. This
is the official form, picture by picture; the default is the fast one of `batched_augmentations.py`.

DINO Sec. 3.1 "multi-crop" (after SwAV Sec. 3.2); DINOv3 App. C; official `data/augmentations.py`.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dinolite.config import CropsConfig, Rgb, Size, height_width

Crops = dict[str, Tensor]
"""global_crops [2B, 3, g, g], local_crops [LB, 3, l, l], maybe gram_teacher_crops [2B, 3, G, G];
with settings such as [64, 96] not squares."""

ASPECT = (3 / 4, 4 / 3)  # width / height of a box, beside that of the crop it becomes


class Cut(NamedTuple):
    """What is cut out of a picture: so many boxes, their share of its area, (height, width)."""

    number: int
    scale: tuple[float, float]
    size: tuple[int, int]

    @property
    def aspect(self) -> tuple[float, float]:
        """Least and greatest width / height of a box."""
        h, w = self.size
        return ASPECT[0] * (w / h), ASPECT[1] * (w / h)


def cuts_of(c: CropsConfig) -> dict[str, Cut]:
    """By the crops they become. Global and Gram crops are one cut of the larger of their sizes;
    local ones may be windows of it."""
    sizes = [height_width(s) for s in (c.global_crops_size, c.gram_teacher_crops_size) if s]
    cuts = {"global_crops": Cut(2, c.global_crops_scale, max(sizes))}
    if not c.localcrops_subset_of_globalcrops:
        size = height_width(c.local_crops_size)
        cuts["local_crops"] = Cut(c.local_crops_number, c.local_crops_scale, size)
    return cuts


class Enlarged(NamedTuple):
    """A picture at least `side` pixels thick. In a thinner one no box has the aspect of a crop that
    is `side` times as long as wide, and torchvision would take an empty one."""

    side: int

    def __call__(self, picture: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "3 H2 W2"]:
        times = -(-self.side // min(picture.shape[1:]))
        if times == 1:
            return picture
        return picture.repeat_interleave(times, 1).repeat_interleave(times, 2)


def window_places(c: CropsConfig, patch_size: int) -> tuple[int, int]:
    """How many rows and columns a window of a global crop may begin at, `patch_size` apart. The
    last is left out, and windows lie in the upper left of a cut that is larger than the crop: both
    as in the official code."""
    large, small = height_width(c.global_crops_size), height_width(c.local_crops_size)
    return (large[0] - small[0]) // patch_size, (large[1] - small[1]) // patch_size


class DataAugmentationDINO:
    """The official pipeline for one picture, built from torchvision's v2 transforms.

    Args:
        patch_size: windows of `localcrops_subset_of_globalcrops` begin at its multiples; the
            official code leaves it at 16 whatever the student's.
    """

    def __init__(self, crops: CropsConfig, patch_size: int = 16) -> None:
        from torchvision.transforms import InterpolationMode, v2

        c, self.crops, self.patch_size = crops, crops, patch_size
        jitter = v2.ColorJitter(c.brightness, c.contrast, c.saturation, c.hue)
        recolor = v2.Compose(
            [v2.RandomApply([jitter], p=c.color_jitter_prob), v2.RandomGrayscale(c.grayscale_prob)]
        )
        self.shared = recolor if c.share_color_jitter else v2.Identity()
        self.recolor = v2.Identity() if c.share_color_jitter else recolor
        bicubic = InterpolationMode.BICUBIC

        def random_crop(cut: Cut) -> Any:
            box = v2.RandomResizedCrop(cut.size, cut.scale, cut.aspect, bicubic, antialias=True)
            flip = v2.RandomHorizontalFlip(0.5 * c.horizontal_flips)
            return v2.Compose([Enlarged(math.ceil(max(cut.size) / min(cut.size))), box, flip])

        self.cuts = {name: (cut.number, random_crop(cut)) for name, cut in cuts_of(c).items()}
        gram_size = c.gram_teacher_crops_size or c.global_crops_size
        self.shrink = v2.Resize(height_width(c.global_crops_size), bicubic)
        self.shrink_gram = v2.Resize(height_width(gram_size), bicubic)
        sizes = (c.global_crops_size, c.global_crops_size, c.local_crops_size)
        widest = [2 * min(height_width(size)) - 1 for size in sizes]  # what a crop can reflect
        blurs = [v2.GaussianBlur(min(9, most), c.blur_sigma) for most in widest]
        self.blur = [v2.RandomApply([x], p=p) for x, p in zip(blurs, c.blur_prob, strict=True)]
        self.solarize = v2.RandomSolarize(128, p=c.solarize_prob)
        self.finish = v2.Compose(
            [v2.ToDtype(torch.float32, scale=True), v2.Normalize(c.rgb_mean, c.rgb_std)]
        )

    def __call__(self, picture: UInt8[Tensor, "3 H W"]) -> Crops:
        """Crops of one picture: global_crops [2, ...], local_crops [L, ...], gram_teacher_crops."""
        picture = self.shared(picture)
        cuts = self.cut(picture, "global_crops")
        out = self.global_crops(cuts)
        if self.crops.localcrops_subset_of_globalcrops:
            half = self.crops.local_crops_number // 2
            local = [self.window(self.local_crop(cut)) for cut in cuts for _ in range(half)]
        else:
            n, cut = self.cuts["local_crops"]
            local = [self.local_crop(cut(picture)) for _ in range(n)]
        return out | {"local_crops": torch.stack(local)}

    def cut(self, picture: UInt8[Tensor, "3 H W"], name: str) -> list[Tensor]:
        """Random boxes, scaled and maybe mirrored, still as they are coloured."""
        n, cut = self.cuts[name]
        return [cut(picture) for _ in range(n)]

    def global_crops(self, cuts: list[Tensor]) -> Crops:
        """The two large views, and the same two at another size for the gram teacher."""
        c, undistorted = self.crops, cuts
        if c.gram_teacher_no_distortions:
            cuts = [self.shrink(cut) for cut in cuts]
        first = self.finish(self.blur[0](self.recolor(cuts[0])))
        second = self.finish(self.solarize(self.blur[1](self.recolor(cuts[1]))))
        large = torch.stack([first, second])
        out = {"global_crops": resize(large, c.global_crops_size)}
        if c.gram_teacher_crops_size:
            if c.gram_teacher_no_distortions:
                large = torch.stack([self.finish(self.shrink_gram(cut)) for cut in undistorted])
            out["gram_teacher_crops"] = resize(large, c.gram_teacher_crops_size)
        return out

    def local_crop(self, cut: Tensor) -> Tensor:
        """A small view, or all of a global crop of which a window becomes one."""
        return self.finish(self.blur[2](self.recolor(cut)))

    def window(self, crop: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 l l2"]:
        """A random part of the size of a local crop."""
        p, (h, w) = self.patch_size, height_width(self.crops.local_crops_size)
        places = window_places(self.crops, p)
        top, left = (int(torch.randint(n, ())) * p for n in places)
        return crop[:, top : top + h, left : left + w]


def normalize(x: Float[Tensor, "n 3 H W"], mean: Rgb, std: Rgb) -> Float[Tensor, "n 3 H W"]:
    """From [0, 1] to zero mean and unit spread on natural pictures, per colour channel."""
    colours = torch.tensor([mean, std], dtype=x.dtype)[:, :, None, None]  # [2, 3, 1, 1]
    offset, scale = colours.to(x.device, non_blocking=True)  # without waiting for a GPU
    return (x - offset) / scale


def resize(x: Float[Tensor, "n 3 H W"], size: Size) -> Float[Tensor, "n 3 h w"]:
    """Crops to another size, bicubic, smoothed where that shrinks."""
    if x.shape[-2:] == height_width(size):
        return x
    size = height_width(size)
    return F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)
