"""Exercises of lesson 12, the iBOT loss: its start, gathering, the loss, its gradient, weights."""

import math

import torch

from dinolite.data.masking import mask_positions
from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "12.1",
    "where the loss begins",
    cases=[([9, 0, 19, 0], 16), ([0, 30, 0, 12, 30], 4096), ([5, 7], 64)],
)
def start(counts, K):
    masked = sum(c > 0 for c in counts)
    return masked / len(counts) * math.log(K)


BY_PATCHES = "count crops, not patches: by its weights each masked crop counts once"
start.slips = [
    ("crops without a mask add 0, and count in the mean", "masked / len(counts) * ", ""),
    (BY_PATCHES, "sum(c > 0 for c in counts)", "sum(counts) / max(counts)"),
    ("that is the share of crops without a mask", "c > 0", "c == 0"),
]


def a_batch():
    """Scores and targets [M, K] and masks that hide 2, 0, 1 and 5 of 6 patches."""
    draw = torch.Generator().manual_seed(0)
    masks = torch.zeros(4, 6, dtype=torch.bool)
    masks[0, 2:4] = masks[2, 5] = masks[3, 1:] = True
    M = int(masks.sum())
    scores = 0.2 * torch.randn(M, 5, generator=draw)
    targets = torch.randn(M, 5, generator=draw).softmax(dim=-1)
    return scores, targets, masks


def features():
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(4, 6, 3, generator=draw)
    wider = torch.randn(2, 9, 5, generator=draw)
    hidden, few = mask_positions(a_batch()[2])[0], torch.tensor([1, 7, 23])
    return [(x, hidden), (x, few), (wider, torch.tensor([0, 2, 8, 9, 10, 15]))]


@exercise("12.2", "gather the hidden patches", cases=features)
def gather(features, indices):
    return features.flatten(0, 1)[indices]


PATCHES_FIRST = "crop is the first axis, patch the second; flatten in that order"
CROP_0 = "those are all from crop 0; the list numbers the whole batch"
VISIBLE_ONES = "those are the visible patches; the list has the hidden ones"
NOT_FLAT = "those are crops: flatten crops and patches first"
gather.slips = [
    (PATCHES_FIRST, "flatten(0, 1)", "transpose(0, 1).flatten(0, 1)"),
    (CROP_0, "[indices]", "[indices % features.shape[1]]"),
    (VISIBLE_ONES, "[indices]", "[~torch.isin(torch.arange(features[..., 0].numel()), indices)]"),
    (NOT_FLAT, ".flatten(0, 1)[indices]", "[indices % len(features)]"),
]


def batches():
    scores, targets, masks = a_batch()
    return [
        (scores, targets, masks, 0.1),
        (scores[:3], targets[:3], masks[:3], 0.2),
        (1500 * scores, targets, masks, 1.0),
    ]


@exercise("12.3", "the loss from hidden patches", cases=batches, run=keeping)
def loss_of(scores, targets, masks, temp):
    crop = masks.nonzero()[:, 0]  # [M], the crop of each hidden patch
    weight = 1 / masks.sum(dim=1)[crop]
    log_q = (scores / temp).log_softmax(dim=-1)  # [M, K]
    cost = -(targets * log_q).sum(dim=-1)  # [M]
    return (cost * weight).sum() / len(masks)


PLAIN_MEAN = "a plain mean over all hidden patches: a crop with many holes has more say"
SWAPPED = "teacher and student are swapped: the log belongs to the student"
NAN_MEAN = "a crop without a mask adds 0; the mean over none is nan"
LOG_OF_0 = "far below the largest score softmax is 0, its log not finite"
loss_of.slips = [
    (PLAIN_MEAN, "(cost * weight).sum() / len(masks)", "cost.mean()"),
    ("divided by the masked crops; divide by all of them", "len(masks)", "masks.any(dim=1).sum()"),
    ("the weights are missing: each crop gives its sum, and should give its mean", " * weight", ""),
    ("the temperature is missing", " / temp", ""),
    ("the sign is wrong: a cost is not below 0", "-(targets", "(targets"),
    (SWAPPED, "targets * log_q", "log_q.exp() * targets.clamp(min=1e-12).log()"),
    (NAN_MEAN, "(cost * weight).sum()", "sum(cost[crop == i].mean() for i in range(len(masks)))"),
    (LOG_OF_0, "log_softmax(dim=-1)", "softmax(dim=-1).log()"),
    ("targets are probabilities already: no softmax", "(targets", "(targets.softmax(dim=-1)"),
    ("the sum over prototypes became a mean: too small by the factor K", "sum(dim=-", "mean(dim=-"),
]


def slopes():
    return [
        (scores, targets, mask_positions(masks)[1], len(masks), temp)
        for scores, targets, masks, temp in batches()
    ]


@exercise("12.4", "the gradient at the scores", cases=slopes, run=keeping)
def slope(scores, targets, weight, n_images, temp):
    q = (scores / temp).softmax(dim=-1)  # [M, K]
    return weight[:, None] * (q - targets) / temp / n_images


NO_WEIGHTS = "the weights are missing: the cost of a patch is multiplied by its weight"
NO_OUTER_TEMP = "the outer temperature is missing: scores / temp has a derivative of 1 / temp"
slope.slips = [
    (NO_WEIGHTS, "weight[:, None] * ", ""),
    (NO_OUTER_TEMP, " / temp /", " /"),
    ("the number of images is missing", " / n_images", ""),
    ("downhill; the gradient points uphill", "q - targets", "targets - q"),
    ("the student's softmax needs the temperature, too", "(scores / temp)", "scores"),
    ("divided by the hidden patches; divide by the images", "/ n_images", "/ len(scores)"),
]


def only_masks():
    masks = a_batch()[2]
    return [(masks,), (masks[:3],)]


@exercise("12.5", "the same say for every patch", cases=only_masks)
def equal_say(masks):
    # Crops with many holes now pull harder, and these are the hardest ones.
    # The value starts at ln K and no longer depends on the share of masked
    # crops.
    M = int(masks.sum())
    return torch.full((M,), len(masks) / M)


PER_CROP = "that is masks_weight: the same say for every crop, not for every patch"
ALL_IMAGES = "forward_masked divides by all images, also those without a mask"
equal_say.slips = [
    ("forward_masked divides by n_images: make up for it", "len(masks) / M", "1 / M"),
    (PER_CROP, "torch.full((M,), len(masks) / M)", "1 / masks.sum(dim=1)[masks.nonzero()[:, 0]]"),
    ("that gives the sum over the patches divided by n_images, not their mean", "len(masks)", "M"),
    (ALL_IMAGES, "len(masks)", "int(masks.any(dim=1).sum())"),
]
