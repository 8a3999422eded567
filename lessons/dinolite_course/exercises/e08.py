"""Exercises of lesson 08, masking: shapes, the ladder of ratios, positions and back, how exposed a
hidden patch is.
"""

import torch
import torch.nn.functional as F

from dinolite.data.masking import MaskingGenerator
from dinolite_course.checking import as_bools, as_ints
from dinolite_course.exercises import exercise


@exercise(
    "08.1",
    "the shapes of masks, positions and weights",
    cases=[(2, 16, [0, 2, 4, 0]), (3, 36, [18, 0, 0, 8, 13, 0])],
)
def shapes(B, N, counts):
    return (2 * B, N), (sum(counts),), (sum(counts),)


PER_CROP = "the list has one entry per hidden patch, not one per masked crop"
shapes.slips = [
    ("masks has one row per crop, and every photograph has two global crops", "2 * B", "B"),
    (PER_CROP, "return", "counts = [n > 0 for n in counts]; return"),
    (
        "masks_weight has one entry per hidden patch, not one per crop: it stands beside "
        "the list of positions",
        "(sum(counts),)\n",
        "(2 * B,)\n",
    ),
]


@exercise(
    "08.2",
    "the ladder of ratios",
    cases=[(8, 49, 0.5, 0.1, 0.5), (11, 121, 0.35, 0.15, 0.75), (2, 81, 0.5, 0.1, 0.5)],
    run=as_ints,
)
def ladder_of(n_crops, N, share, low, high):
    n = int(n_crops * share)
    return [int(N * (low + (high - low) * (i + 1) / n)) for i in range(n)]


ladder_of.slips = [
    ("that begins with low: take the end of each step", "(i + 1)", "i"),
    (
        "those are n points with both ends, low among them; cut the way into n steps and "
        "take the end of each",
        "(i + 1) / n",
        "i / max(n - 1, 1)",
    ),
    ("rounded to the nearest; round down: int(...)", "[int(", "[round("),
    ("those are all crops; only int(n_crops * share) of them are masked", " * share", ""),
    ("int(n_crops * share) crops are masked: round that down, too", "= int(", "= round("),
]


def positions():
    one = torch.tensor([21, 22, 42, 43, 46, 47])
    return [(one, 4, 16), (torch.tensor([0, 5, 7, 17]), 3, 6)]


@exercise("08.3", "from positions back to masks", cases=positions, run=as_bools)
def masks_from(indices, n_crops, N):
    masks = torch.zeros(n_crops * N, dtype=torch.bool)
    masks[indices] = True
    return masks.view(n_crops, N)


UPSIDE_DOWN = "upside down: True means hidden, and the positions are those of hidden patches"
ALL_HOLES = "every crop got the holes of all: position // N says whose it is"
BY_CROPS = "position = crop times N plus patch: divide by N, not by n_crops"
masks_from.slips = [
    (UPSIDE_DOWN, "return masks", "return ~masks"),
    (ALL_HOLES, "masks[indices]", "masks.view(n_crops, N)[:, indices % N]"),
    (BY_CROPS, "view(n_crops, N)", "view(N, n_crops).T"),
]


@exercise(
    "08.4",
    "who is at this position?",
    cases=[(57, 2, 4, 4), (17, 3, 2, 5), (100, 4, 4, 6), (191, 4, 4, 6)],
)
def who(position, B, h, w):
    entry, patch = divmod(position, h * w)
    return entry % B, entry // B, patch // w, patch % w


who.slips = [
    (
        "that is photograph-major; crop 0 of all photographs comes first, so entry i is "
        "photograph i % B, crop i // B",
        "entry % B, entry // B",
        "entry // 2, entry % 2",
    ),
    ("row and column are the wrong way round: row = patch // w", "// w, patch %", "% w, patch //"),
    ("a row has w patches, not h", "patch // w, patch % w", "patch // h, patch % h"),
    ("crop and photograph are the wrong way round in the answer", "% B, entry //", "// B, entry %"),
]


def some_masks():
    """Blocks that touch the edge, one by hand and two drawn."""
    corner = torch.zeros(5, 6, dtype=torch.bool)
    corner[:3, :3] = True
    corner[4, 5] = True
    draw = torch.Generator().manual_seed(0)
    drawn = MaskingGenerator((8, 8))(torch.tensor([20, 32]), draw)
    return [(corner,), *((mask,) for mask in drawn)]


@exercise("08.5", "how exposed are hidden patches?", cases=some_masks)
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


AROUND_THE_EDGE = "neighbours go around the edge: roll brings the last column first"
BEYOND = "you count what lies beyond the edge as visible; there is nothing to see"
DIAGONALS = "diagonals count in yours; only above, below, left and right do"
VISIBLE_ONES = "that is the share of visible patches with a hidden neighbour: True = hidden"
exposed.slips = [
    (AROUND_THE_EDGE, (".float()", ".float()[None]"), ("1)).bool()", "1), 'circular')[0].bool()")),
    (BEYOND, "1))", "1), value=1)"),
    (DIAGONALS, "near = p", "near = F.max_pool2d(p.float()[None], 3, 1)[0].bool() | p"),
    ("divided by all patches; the share is one of the hidden ones", "/ mask.sum", "/ mask.numel"),
    (VISIBLE_ONES, "p = F", "mask = ~mask; p = F"),
]
