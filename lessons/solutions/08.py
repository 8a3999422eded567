"""Solutions of lesson 08. Try first: `check` in the lesson tells you what kind of wrong it is."""

import torch
import torch.nn.functional as F


def shapes(B, N, counts):
    return (2 * B, N), (sum(counts),), (sum(counts),)


def ladder_of(n_crops, N, share, low, high):
    n = int(n_crops * share)
    return [int(N * (low + (high - low) * (i + 1) / n)) for i in range(n)]


def masks_from(indices, n_crops, N):
    masks = torch.zeros(n_crops * N, dtype=torch.bool)
    masks[indices] = True
    return masks.view(n_crops, N)


def who(position, B, h, w):
    entry, patch = divmod(position, h * w)
    return entry % B, entry // B, patch // w, patch % w


def exposed(mask):
    # With 76 of 256 patches hidden, nearly all singles touch something visible,
    # and so do nine in ten patches of blocks with aspect 10: neighbours give
    # them away. Of ordinary blocks about half do not; those need knowledge. A
    # single huge block would hide still more, but then whole objects are gone
    # and nothing is left to guess from: hence several blocks, in the middle
    # between too easy and hopeless.
    p = F.pad((~mask).float(), (1, 1, 1, 1)).bool()  # visible, with a ring
    near = p[:-2, 1:-1] | p[2:, 1:-1] | p[1:-1, :-2] | p[1:-1, 2:]
    return float((mask & near).sum() / mask.sum())
