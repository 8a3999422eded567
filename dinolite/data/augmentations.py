"""The game that student and teacher play: two large and several small views of each picture, cut,
mirrored, recoloured and blurred at random. What stays the same in all of them is what can be
learnt.

DINO Sec. 3.1 "multi-crop" (after SwAV Sec. 3.2); DINOv3 App. C; official `data/augmentations.py`.
Two forms with the same settings: `BatchedAugmentation` on tensors, any device, used by default; and
`DataAugmentationDINO`, torchvision's transforms picture by picture, as in the official code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor

from dinolite.data.colors import ColorChange, random_blur, random_solarize
from dinolite.data.resample import crop_and_resize, random_boxes
from dinolite.data.samplers import rand
from dinolite.settings import CropsConfig

Crops = dict[str, Tensor]
"""global_crops [2B, 3, g, g], local_crops [LB, 3, l, l], maybe gram_teacher_crops [2B, 3, G, G]."""


def normalize(x: Float[Tensor, "n 3 H W"], crops: CropsConfig) -> Float[Tensor, "n 3 H W"]:
    """From [0, 1] to zero mean and unit spread on natural pictures."""
    mean, std = x.new_tensor(crops.rgb_mean), x.new_tensor(crops.rgb_std)
    return (x - mean[:, None, None]) / std[:, None, None]


class BatchedAugmentation:
    """All crops of a batch of pictures in a few tensor operations."""

    def __init__(self, crops: CropsConfig) -> None:
        self.crops = crops

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
        c, B = self.crops, len(canvas)
        shared = ColorChange.draw(B, c, generator) if c.share_color_jitter else None
        gram_size = c.gram_teacher_crops_size
        size = c.global_crops_size
        if gram_size and not c.gram_teacher_no_distortions:
            size = max(gram_size, size)
        boxes = random_boxes(sizes, 2, c.global_crops_scale, generator)
        flips = self.draw_flips(B, 2, generator)
        cut = self.cut(canvas, boxes, flips, size)
        first, second = self.recolor(cut, shared, generator).chunk(2)
        first = random_blur(first, c.blur_prob[0], c.blur_sigma, generator)
        second = random_blur(second, c.blur_prob[1], c.blur_sigma, generator)
        second = random_solarize(second, c.solarize_prob, generator)
        large = normalize(torch.cat([first, second]), c)
        out = {"global_crops": resize(large, c.global_crops_size)}
        if gram_size and c.gram_teacher_no_distortions:
            out["gram_teacher_crops"] = normalize(self.cut(canvas, boxes, flips, gram_size), c)
        elif gram_size:
            out["gram_teacher_crops"] = resize(large, gram_size)
        out["local_crops"] = self.local_crops(canvas, sizes, shared, generator)
        return out

    def local_crops(
        self,
        canvas: Tensor,
        sizes: Tensor,
        shared: ColorChange | None,
        generator: Generator | None,
    ) -> Float[Tensor, "LB 3 l l"]:
        """The small views."""
        c, L = self.crops, self.crops.local_crops_number
        boxes = random_boxes(sizes, L, c.local_crops_scale, generator)
        flips = self.draw_flips(len(canvas), L, generator)
        x = self.recolor(self.cut(canvas, boxes, flips, c.local_crops_size), shared, generator)
        return normalize(random_blur(x, c.blur_prob[2], c.blur_sigma, generator), c)

    def draw_flips(self, B: int, n: int, generator: Generator | None) -> Tensor:
        coin = rand(B, n, generator=generator) < 0.5
        return coin & self.crops.horizontal_flips

    def cut(self, canvas: Tensor, boxes: Tensor, flips: Tensor, size: int) -> Tensor:
        where = canvas.device
        boxes, flips = boxes.to(where, non_blocking=True), flips.to(where, non_blocking=True)
        return crop_and_resize(canvas, boxes, flips, size)

    def recolor(
        self, x: Tensor, shared: ColorChange | None, generator: Generator | None
    ) -> Float[Tensor, "n 3 H W"]:
        if shared is not None:
            return shared.repeated(len(x) // len(shared.gray))(x)
        return ColorChange.draw(len(x), self.crops, generator)(x)


def resize(x: Float[Tensor, "n 3 H W"], size: int) -> Float[Tensor, "n 3 size size"]:
    """Square crops to another size, bicubic, smoothed where that shrinks."""
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, size=(size, size), mode="bicubic", antialias=True, align_corners=False)


class DataAugmentationDINO:
    """The official pipeline for one picture, built from torchvision's v2 transforms."""

    def __init__(self, crops: CropsConfig) -> None:
        from torchvision.transforms import InterpolationMode, v2

        c, self.crops = crops, crops
        self.v2 = v2
        jitter = v2.ColorJitter(c.brightness, c.contrast, c.saturation, c.hue)
        recolor = v2.Compose(
            [v2.RandomApply([jitter], p=c.color_jitter_prob), v2.RandomGrayscale(c.grayscale_prob)]
        )
        self.shared = recolor if c.share_color_jitter else v2.Identity()
        self.recolor = v2.Identity() if c.share_color_jitter else recolor
        self.size = max(c.global_crops_size, c.gram_teacher_crops_size or 0)

        def geometric(size: int, scale: tuple[float, float]) -> Any:
            cut = v2.RandomResizedCrop(
                size, scale, interpolation=InterpolationMode.BICUBIC, antialias=True
            )
            return v2.Compose([cut, v2.RandomHorizontalFlip(0.5 * c.horizontal_flips)])

        self.shrink = v2.Resize([c.global_crops_size] * 2, InterpolationMode.BICUBIC)
        self.cut_global = geometric(self.size, c.global_crops_scale)
        self.cut_local = geometric(c.local_crops_size, c.local_crops_scale)
        blur = v2.GaussianBlur(9, c.blur_sigma)
        self.blur = [v2.RandomApply([blur], p=p) for p in c.blur_prob]
        self.solarize = v2.RandomSolarize(128, p=c.solarize_prob)
        self.to_float = v2.ToDtype(torch.float32, scale=True)
        self.normalize = v2.Normalize(c.rgb_mean, c.rgb_std)

    def __call__(self, picture: UInt8[Tensor, "3 H W"]) -> Crops:
        """Crops of one picture: global_crops [2, ...], local_crops [L, ...], gram_teacher_crops."""
        c = self.crops
        picture = self.shared(picture)
        cuts = [self.cut_global(picture) for _ in range(2)]
        clean = [self.finish(cut) for cut in cuts]
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
            source = torch.stack(clean) if c.gram_teacher_no_distortions else large
            out["gram_teacher_crops"] = resize(source, c.gram_teacher_crops_size)
        return out

    def finish(self, x: Tensor) -> Tensor:
        return self.normalize(self.to_float(x))
