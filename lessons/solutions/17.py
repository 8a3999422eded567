"""Solutions of lesson 17. Try first: `check` in the lesson tells you what kind of wrong it is."""

import math

import torch


def informations(K):
    # A mean of equal answers is that answer, so both entropies are the same.
    # With K sure and different answers the mean is even: ln K - 0.
    return 0.0, 0.0, math.log(K)


def in_use(p):
    mean = p.mean(dim=0)  # [K]
    return (-(mean * mean.clamp(min=1e-12).log()).sum()).exp()


def alarm(values, every, least, patience):
    low = 0
    for i, value in enumerate(values):
        low = low + 1 if value < least else 0
        if low == patience:
            return i * every
    return None


def hidden(n):
    # Column 0 is high for everyone, and softmax hears nothing else. Sinkhorn
    # divides each column by its sum: what all have in common goes, and each
    # picture's own prototype, far below, comes to light.
    scores = 20 * torch.eye(n)
    scores[:, 0] += 100
    return scores
