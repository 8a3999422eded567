"""Exercises of lesson 12, the iBOT loss: its start, gathering, the loss, its gradient, weights."""

import math

import torch
from torch import Tensor

from dinolite.data.masking import mask_positions
from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises import hidden_patches as hidden


def start(counts: list[int], K: int) -> float:
    return sum(c > 0 for c in counts) / len(counts) * math.log(K)


def by_patches(counts: list[int], K: int) -> float:
    return sum(counts) / (max(counts) * len(counts)) * math.log(K)


def equal_say(masks: Tensor) -> Tensor:
    M = int(masks.sum())
    return torch.full((M,), len(masks) / M)


def some_masks() -> list[tuple[Tensor]]:
    masks = hidden.a_batch()[2]
    return [(masks,), (masks[:3],)]


EXERCISES = (
    Exercise(
        "12.1",
        "where the loss begins",
        start,
        lambda: [([9, 0, 19, 0], 16), ([0, 30, 0, 12, 30], 4096), ([5, 7], 64)],
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
        hidden.gather,
        hidden.some_features,
        (
            ("crop is the first axis, patch the second; flatten in that order", hidden.patch_major),
            ("those are all from crop 0; the list numbers the whole batch", hidden.first_crop),
            ("those are the visible patches; the list has the hidden ones", hidden.seen),
            ("those are crops: flatten crops and patches first", lambda x, i: x[i % len(x)]),
        ),
    ),
    Exercise(
        "12.3",
        "the loss from hidden patches",
        hidden.ibot,
        hidden.some_batches,
        (
            (
                "a plain mean over all hidden patches: a crop with many holes has more say",
                lambda z, p, m, t: hidden.unweighted(z, p, m, t, len(z)),
            ),
            (
                "divided by the masked crops; divide by all of them",
                lambda z, p, m, t: hidden.ibot(z, p, m, t, n=int(m.any(dim=1).sum())),
            ),
            (
                "the weights are missing: each crop gives its sum, and should give its mean",
                lambda z, p, m, t: hidden.unweighted(z, p, m, t, len(m)),
            ),
            ("the temperature is missing", lambda z, p, m, t: hidden.ibot(z, p, m, 1.0)),
            (
                "the sign is wrong: a cost is not below 0",
                lambda z, p, m, t: -hidden.ibot(z, p, m, t),
            ),
            ("teacher and student are swapped: the log belongs to the student", hidden.swapped),
            ("a crop without a mask adds 0; the mean over none is nan", hidden.crop_by_crop),
            ("far below the largest score softmax is 0, its log not finite", hidden.log_of_softmax),
            (
                "targets are probabilities already: no softmax",
                lambda z, p, m, t: hidden.ibot(z, p.softmax(dim=-1), m, t),
            ),
            (
                "the sum over prototypes became a mean: too small by the factor K",
                lambda z, p, m, t: hidden.ibot(z, p, m, t) / z.shape[1],
            ),
        ),
        run=keeping,
    ),
    Exercise(
        "12.4",
        "the gradient at the scores",
        hidden.slope,
        hidden.some_slopes,
        (
            (
                "the weights are missing: the cost of a patch is multiplied by its weight",
                lambda z, p, w, n, t: hidden.slope(z, p, torch.ones_like(w), n, t),
            ),
            (
                "the outer temperature is missing: scores / temp has a derivative of 1 / temp",
                lambda z, p, w, n, t: hidden.slope(z, p, w, n, t) * t,
            ),
            ("the number of images is missing", lambda z, p, w, n, t: hidden.slope(z, p, w, 1, t)),
            (
                "downhill; the gradient points uphill",
                lambda z, p, w, n, t: -hidden.slope(z, p, w, n, t),
            ),
            (
                "the student's softmax needs the temperature, too",
                lambda z, p, w, n, t: hidden.slope(z * t, p, w, n, t),
            ),
            (
                "divided by the hidden patches; divide by the images",
                lambda z, p, w, n, t: hidden.slope(z, p, w, len(z), t),
            ),
        ),
        run=keeping,
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
