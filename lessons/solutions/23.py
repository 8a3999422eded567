"""Solutions of lesson 23. Try first: `check` in the lesson tells you what kind of wrong it is."""

import math

import torch


def held_bytes(trained, frozen, gpus):
    # Weight, gradient, two moments: 4 bytes each. A frozen weight is 4 bytes.
    return (16 * trained + 4 * frozen) / gpus


def gap_of(x):
    return 2.0 ** (x.abs().log2().floor() - 7)


def whole_gradient(gradients, counts):
    total = 0
    for g, n in zip(gradients, counts, strict=True):
        total = total + n * g
    return total / sum(counts)


def columns(parts):
    own = torch.stack([part.logsumexp(dim=0) for part in parts])
    return own.logsumexp(dim=0)


def gpus_for(floor, K, pictures):
    # ln(K / crops) <= floor, so crops >= K / e^floor.
    # More GPUs lower the floor; a smaller K does it for nothing.
    crops = K / math.exp(floor)
    return max(math.ceil(crops / (2 * pictures)), 1)
