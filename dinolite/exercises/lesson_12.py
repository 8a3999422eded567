"""Exercises of lesson 12, the iBOT loss: its start, gathering, the loss, its gradient, weights."""

import math

import torch
from torch import Tensor

from dinolite.data.collate import mask_positions
from dinolite.exercises.exercise import Exercise
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss


def start(counts: list[int], K: int) -> float:
    return sum(c > 0 for c in counts) / len(counts) * math.log(K)


def by_patches(counts: list[int], K: int) -> float:
    return sum(counts) / (max(counts) * len(counts)) * math.log(K)


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


def slope(scores: Tensor, targets: Tensor, weight: Tensor, n_images: int, temp: float) -> Tensor:
    q = (scores / temp).softmax(dim=-1)
    return weight[:, None] * (q - targets) / temp / n_images


def equal_say(masks: Tensor) -> Tensor:
    M = int(masks.sum())
    return torch.full((M,), len(masks) / M)


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
    return [(scores, targets, masks, 0.1), (scores[:3], targets[:3], masks[:3], 0.2)]


def some_slopes() -> list[tuple[Tensor, Tensor, Tensor, int, float]]:
    return [
        (scores, targets, mask_positions(masks)[1], len(masks), temp)
        for scores, targets, masks, temp in some_batches()
    ]


def some_features() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    features = torch.randn(4, 6, 3, generator=draw)
    return [(features, mask_positions(a_batch()[2])[0]), (features, torch.tensor([1, 7, 23]))]


def some_masks() -> list[tuple[Tensor]]:
    masks = a_batch()[2]
    return [(masks,), (masks[:3],)]


EXERCISES = (
    Exercise(
        "12.1",
        "where the loss begins",
        start,
        lambda: [([9, 0, 19, 0], 16), ([0, 30, 0, 0, 12], 4096), ([5, 7], 64)],
        (
            ("crops without a mask add 0, and count in the mean", lambda c, K: math.log(K)),
            ("count crops, not patches: by its weights each masked crop counts once", by_patches),
            (
                "that is the share of crops without a mask",
                lambda c, K: sum(x == 0 for x in c) / len(c) * math.log(K),
            ),
        ),
    ),
    Exercise(
        "12.2",
        "gather the hidden patches",
        gather,
        some_features,
        (
            ("crop is the first axis, patch the second; flatten in that order", patch_major),
            ("those are all from crop 0; the list numbers the whole batch", first_crop),
            ("those are the visible patches; the list has the hidden ones", seen),
            ("those are crops: flatten crops and patches first", lambda x, i: x[i % len(x)]),
        ),
    ),
    Exercise(
        "12.3",
        "the loss from hidden patches",
        ibot,
        some_batches,
        (
            (
                "a plain mean over all hidden patches: a crop with many holes has more say",
                lambda z, p, m, t: unweighted(z, p, m, t, len(z)),
            ),
            (
                "divided by the masked crops; divide by all of them",
                lambda z, p, m, t: ibot(z, p, m, t, n=int(m.any(dim=1).sum())),
            ),
            (
                "the weights are missing: each crop gives its sum, and should give its mean",
                lambda z, p, m, t: unweighted(z, p, m, t, len(m)),
            ),
            ("the temperature is missing", lambda z, p, m, t: ibot(z, p, m, 1.0)),
            ("the sign is wrong: a cost is not below 0", lambda z, p, m, t: -ibot(z, p, m, t)),
            ("teacher and student are swapped: the log belongs to the student", swapped),
        ),
    ),
    Exercise(
        "12.4",
        "the gradient at the scores",
        slope,
        some_slopes,
        (
            (
                "the weights are missing: the cost of a patch is multiplied by its weight",
                lambda z, p, w, n, t: slope(z, p, torch.ones_like(w), n, t),
            ),
            (
                "the outer temperature is missing: scores / temp has a derivative of 1 / temp",
                lambda z, p, w, n, t: slope(z, p, w, n, t) * t,
            ),
            ("the number of images is missing", lambda z, p, w, n, t: slope(z, p, w, 1, t)),
            ("downhill; the gradient points uphill", lambda z, p, w, n, t: -slope(z, p, w, n, t)),
            (
                "the student's softmax needs the temperature, too",
                lambda z, p, w, n, t: slope(z * t, p, w, n, t),
            ),
        ),
    ),
    Exercise(
        "12.5",
        "the same say for every patch",
        equal_say,
        some_masks,
        (
            ("forward_masked divides by n_images: make up for it", lambda m: equal_say(m) / len(m)),
            (
                "that is masks_weight: the same say for every crop, not for every patch",
                lambda m: mask_positions(m)[1],
            ),
            (
                "that gives the sum over the patches divided by n_images, not their mean",
                lambda m: torch.ones_like(equal_say(m)),
            ),
            (
                "forward_masked divides by all images, also those without a mask",
                lambda m: equal_say(m) * m.any(dim=1).float().mean(),
            ),
        ),
    ),
)
