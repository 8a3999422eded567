"""What the teacher and the student get to see of each photo: large crops, the same with holes,
and small crops.

DINO Sec. 3.1 "multi-crop"; iBOT Fig. 2 (masks). Not in the official code.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.config import CropsConfig
from dinolite.data.masking import SSLBatch
from dinolite.viz.style import panels, show_image


def restore(x: Float[Tensor, "n 3 H W"], crops: CropsConfig) -> Float[Tensor, "n 3 H W"]:
    """Back from what a net reads to [0, 1]."""
    mean, std = x.new_tensor(crops.rgb_mean), x.new_tensor(crops.rgb_std)
    return (x * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


def hide(images: Float[Tensor, "n 3 H W"], masks: Bool[Tensor, "n N"]) -> Float[Tensor, "n 3 H W"]:
    """Black squares where a patch is hidden (True) in square images."""
    side = round(masks.shape[1] ** 0.5)
    holes = masks.float().unflatten(1, (1, side, side))  # [n, 1, h, w]
    return images * (1 - F.interpolate(holes, size=images.shape[-2:], mode="nearest"))


def batch_figure(batch: SSLBatch, crops: CropsConfig, pictures: int = 4) -> Figure:
    """One row per photo: 2 global crops for the teacher, 2 masked ones and L local ones for the
    student."""
    L = crops.local_crops_number
    whole = restore(batch.global_crops, crops)
    masked = hide(whole, batch.masks).unflatten(0, (2, -1))  # [2, B, 3, g, g]
    whole, local = whole.unflatten(0, (2, -1)), restore(batch.local_crops, crops)
    local = local.unflatten(0, (L, -1))  # [L, B, 3, l, l]
    figure, axes = panels(pictures, 4 + L)
    titles = ["teacher 1", "teacher 2", "student 1", "student 2"]
    titles += [f"local {i + 1}" for i in range(L)]
    for b, row in enumerate(axes):
        shown = [*whole[:, b], *masked[:, b], *local[:, b]]
        for ax, image, title in zip(row, shown, titles, strict=True):
            show_image(ax, image, title if b == 0 else "")
    return figure
