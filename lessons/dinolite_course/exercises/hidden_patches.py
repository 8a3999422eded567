"""Exercises 12.2 to 12.4, hidden patches: gathering them, their loss and its gradient. The answers,
their cases and what people get wrong.
"""

import torch
from torch import Tensor

from dinolite.data.masking import mask_positions
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss


def gather(features: Tensor, indices: Tensor) -> Tensor:
    return features.flatten(0, 1)[indices]


def patch_major(features: Tensor, indices: Tensor) -> Tensor:
    return features.transpose(0, 1).flatten(0, 1)[indices]


def first_crop(features: Tensor, indices: Tensor) -> Tensor:
    return features[0][indices % features.shape[1]]


def seen(features: Tensor, indices: Tensor) -> Tensor:
    flat = features.flatten(0, 1)
    visible = torch.ones(len(flat), dtype=torch.bool)
    visible[indices] = False
    return flat[visible]


def ibot(
    scores: Tensor, targets: Tensor, masks: Tensor, temp: float,
    weight: Tensor | None = None, n: int | None = None,
) -> Tensor:  # fmt: skip
    """`weight` and `n` replace the right weights and the right number of images."""
    weight = mask_positions(masks)[1] if weight is None else weight
    return iBOTPatchLoss(temp).forward_masked(scores, targets, weight, n or len(masks))


def unweighted(scores: Tensor, targets: Tensor, masks: Tensor, temp: float, n: int) -> Tensor:
    return ibot(scores, targets, masks, temp, torch.ones(len(scores)), n)


def swapped(scores: Tensor, targets: Tensor, masks: Tensor, temp: float) -> Tensor:
    q = (scores / temp).softmax(dim=-1)
    cost = -(q * targets.clamp(min=1e-12).log()).sum(dim=-1)  # [M]
    return (cost * mask_positions(masks)[1]).sum() / len(masks)


def log_of_softmax(scores: Tensor, targets: Tensor, masks: Tensor, temp: float) -> Tensor:
    cost = -(targets * (scores / temp).softmax(dim=-1).log()).sum(dim=-1)  # [M]
    return (cost * mask_positions(masks)[1]).sum() / len(masks)


def crop_by_crop(scores: Tensor, targets: Tensor, masks: Tensor, temp: float) -> Tensor:
    """The mean of an empty slice for a crop without a mask."""
    sizes = masks.sum(dim=1).tolist()
    cost = iBOTPatchLoss(temp).cross_entropy(scores, targets)
    return torch.stack([part.mean() for part in cost.split(sizes)]).mean()


def slope(scores: Tensor, targets: Tensor, weight: Tensor, n_images: int, temp: float) -> Tensor:
    q = (scores / temp).softmax(dim=-1)
    return weight[:, None] * (q - targets) / temp / n_images


def a_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Scores and targets [M, K] and masks that hide 2, 0, 1 and 5 of 6 patches."""
    draw = torch.Generator().manual_seed(0)
    masks = torch.zeros(4, 6, dtype=torch.bool)
    masks[0, 2:4] = masks[2, 5] = masks[3, 1:] = True
    M = int(masks.sum())
    scores = 0.2 * torch.randn(M, 5, generator=draw)
    targets = torch.randn(M, 5, generator=draw).softmax(dim=-1)
    return scores, targets, masks


def some_batches() -> list[tuple[Tensor, Tensor, Tensor, float]]:
    scores, targets, masks = a_batch()
    return [
        (scores, targets, masks, 0.1),
        (scores[:3], targets[:3], masks[:3], 0.2),
        (1500 * scores, targets, masks, 1.0),
    ]


def some_slopes() -> list[tuple[Tensor, Tensor, Tensor, int, float]]:
    return [
        (scores, targets, mask_positions(masks)[1], len(masks), temp)
        for scores, targets, masks, temp in some_batches()
    ]


def some_features() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(4, 6, 3, generator=draw)
    wider = torch.randn(2, 9, 5, generator=draw)
    return [
        (features, mask_positions(a_batch()[2])[0]),
        (features, torch.tensor([1, 7, 23])),
        (wider, torch.tensor([0, 2, 8, 9, 10, 15])),
    ]
