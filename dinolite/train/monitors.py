"""Numbers that tell early whether a run is well: how spread the features and how sharp the targets
are.

DINO Sec. 5.3 "Avoiding collapse" (entropy of the targets). They are not losses and carry no
gradient.
"""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinolite.config import Config, height_width


def entropy(probs: Float[Tensor, "n K"]) -> Float[Tensor, ""]:
    """Mean entropy of the rows in nats: 0 = one prototype, ln K = all alike; also 0 without rows,
    as where none of a process's crops is masked."""
    return -(probs * probs.clamp(min=1e-12).log()).sum() / max(len(probs), 1)


def entropy_floor(n_prototypes: int, n_samples: float) -> float:
    """ln(K / n), or 0 where that is negative: n samples that share K prototypes evenly must spread
    over K / n of them each, so neither the targets' entropy nor the loss gets far below it."""
    return max(math.log(n_prototypes / max(n_samples, 1)), 0.0)


def entropy_floors(config: Config, n_processes: int = 1) -> dict[str, float]:
    """The floors of both targets for the batch of all processes."""
    crops = 2 * config.train.batch_size_per_gpu * n_processes
    h, w = height_width(config.crops.global_crops_size)
    patches = h * w // config.student.patch_size**2
    hidden = sum(config.ibot.mask_ratio_min_max) / 2 * config.ibot.mask_sample_probability
    shares = {"dino": crops, "ibot": crops * patches * hidden}
    return {
        f"{name}_entropy_floor": entropy_floor(getattr(config, name).head_n_prototypes, n)
        for name, n in shares.items()
    }


def spread(features: Float[Tensor, "n D"]) -> Float[Tensor, ""]:
    """1 - |mean of the unit vectors|^2: 0 = all features the same, near 1 = in all directions."""
    return 1 - F.normalize(features.float(), dim=-1).mean(dim=0).square().sum()
