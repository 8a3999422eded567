"""Solutions of lesson 12. Try first: `check` in the lesson tells you what kind of wrong it is."""

import math

import torch


def start(counts, K):
    masked = sum(c > 0 for c in counts)
    return masked / len(counts) * math.log(K)


def gather(features, indices):
    return features.flatten(0, 1)[indices]


def loss_of(scores, targets, masks, temp):
    crop = masks.nonzero()[:, 0]  # [M], the crop of each hidden patch
    weight = 1 / masks.sum(dim=1)[crop]
    log_q = (scores / temp).log_softmax(dim=-1)  # [M, K]
    cost = -(targets * log_q).sum(dim=-1)  # [M]
    return (cost * weight).sum() / len(masks)


def slope(scores, targets, weight, n_images, temp):
    q = (scores / temp).softmax(dim=-1)  # [M, K]
    return weight[:, None] * (q - targets) / temp / n_images


def equal_say(masks):
    # Crops with many holes now pull harder, and these are the hardest ones.
    # The value starts at ln K and no longer depends on the share of masked
    # crops.
    M = int(masks.sum())
    return torch.full((M,), len(masks) / M)
