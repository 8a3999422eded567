"""The Gram teacher: from which weights it starts, at which iterations it becomes a copy of the
teacher, and how its patches, from larger crops, are brought to the student's grid.

DINOv3 Sec. 4.2, 4.3, App. C; official `SSLMetaArch` (its "load the EMA teacher at iteration N"
raises).
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from dinolite.config import GramConfig


def load_backbone(backbone: Any, name_or_path: str) -> None:
    """Fill a backbone from released or own weights; if they do not fit, an error names the settings
    to change."""
    from dinolite.models.pretrained import start_from

    start_from(backbone, name_or_path)


def loads_teacher(gram: GramConfig, iteration: int) -> bool:
    """Does the gram teacher become a copy of the teacher right before this iteration?"""
    return gram.use_loss and not gram.ema_teacher and iteration == gram.it_load_ema_teacher


def renews_teacher(gram: GramConfig, iteration: int) -> bool:
    """Does it become one right after this iteration? A function of the iteration alone, so that a
    resumed run needs no counter."""
    if not gram.use_loss or gram.ema_teacher or not gram.rep_update:
        return False
    done, every = iteration + 1, gram.update_frequency
    first = max(-(-gram.it_first_update // every), 1)  # number of the first multiple that counts
    number = done // every - first  # updates before this one
    due = done % every == 0 and number >= 0
    return due and (gram.max_updates is None or number < gram.max_updates)


def has_teacher(gram: GramConfig, iteration: int) -> bool:
    """Has the gram teacher seen any training yet? Before, its loss would pull towards noise."""
    return gram.ema_teacher or gram.ckpt is not None or iteration >= gram.it_load_ema_teacher


def resize_patches(
    patches: Float[Tensor, "n N1 D"], size: tuple[int, int], gram: GramConfig
) -> Float[Tensor, "n N2 D"]:
    """Features of a grid of patches, interpolated to another grid of the same aspect."""
    h, w = size
    if patches.shape[1] == h * w:
        return patches
    scale = (patches.shape[1] / (h * w)) ** 0.5
    grid = patches.transpose(1, 2).unflatten(2, (round(scale * h), round(scale * w))).float()
    grid = F.interpolate(
        grid,  # [n, D, H, W]
        size=size,
        mode=gram.global_teacher_resize_method,
        align_corners=False,
        antialias=gram.global_teacher_resize_antialias,
    )
    return grid.flatten(2).transpose(1, 2)


def compared_patches(
    patches: Float[Tensor, "n N D"], masks: Bool[Tensor, "n N"], tokens_used: str
) -> Tensor:
    """What the Gram loss compares: all patches [n, N, D], or of all images together the masked or
    the unmasked ones [m, D]; masks: True = hidden."""
    if tokens_used == "all":
        return patches
    return patches[masks if tokens_used == "masked" else ~masks]
