"""Exercises of lesson 19, seeing features: attention on its grid, likeness of patches, rollout,
mutual neighbours, and a foreground on both sides of its background.
"""

import torch
import torch.nn.functional as F

from dinolite_course.exercises import exercise


def attention_cases():
    draw = torch.Generator().manual_seed(19)
    shapes = ((2, 15, 3, 4), (3, 11, 2, 4))
    return [(torch.randn(h, T, T, generator=draw).softmax(dim=-1), r, c) for h, T, r, c in shapes]


@exercise("19.1", "attention of CLS on its grid", cases=attention_cases)
def cls_maps(attention, rows, columns):
    row = attention[:, 0, -rows * columns :]  # [h, N]
    return row.view(-1, rows, columns)


cls_maps.slips = [
    (
        "registers stand between CLS and patches; count patches from the end",
        "-rows * columns :",
        "1 : 1 + rows * columns",
    ),
    ("rows ask: that is who looks at CLS", "attention[", "attention.mT["),
    ("patches lie row by row", "view(-1, rows, columns)", "view(-1, columns, rows).mT"),
    ("keep the heads apart", "view(-1, ", "mean(dim=0).view("),
]


def patch_cases():
    draw = torch.Generator().manual_seed(19)
    return [(torch.randn(9, 5, generator=draw) + 1, k) for k in (0, 4)]


@exercise("19.2", "likeness of patches", cases=patch_cases)
def likeness(patches, k):
    x = F.normalize(patches - patches.mean(dim=0), dim=1)
    return x @ x[k]


likeness.slips = [
    ("the mean patch is still in: subtract it first", " - patches.mean(dim=0)", ""),
    ("those are dot products; a cosine has both at length 1", ("F.normalize", ""), (", dim=1", "")),
    ("the mean is over patches, dimension 0; that is each patch's own mean", "dim=0", "1, True"),
]


def layer_cases():
    draw = torch.Generator().manual_seed(19)
    sizes = ((3, 2, 4), (4, 3, 6))
    many = [[2 * torch.randn(h, T, T, generator=draw) for _ in range(n)] for n, h, T in sizes]
    return [([m.softmax(dim=-1) for m in maps],) for maps in many]


@exercise("19.3", "rollout of CLS from behind", cases=layer_cases)
def cls_rollout(maps):
    # A row times a matrix is a row: T x T multiplications per layer, where the
    # whole product needs T x T x T.
    row = torch.eye(maps[0].shape[-1])[0]
    for attention in reversed(maps):
        row = (row @ attention.mean(dim=0) + row) / 2
    return row


cls_rollout.slips = [
    ("begin with the last layer, not the first", "reversed(maps)", "maps"),
    ("the residual path is missing: add I, then halve", " + row) / 2", ")"),
    ("halve each matrix, or the sum is not 1", " / 2", ""),
    ("that is the last layer alone; go on", "reversed(maps)", "maps[-1:]"),
]


def similarity_cases():
    draw = torch.Generator().manual_seed(19)
    return [(torch.randn(n, m, generator=draw),) for n, m in ((12, 12), (10, 14))]


@exercise("19.4", "mutual neighbours", cases=similarity_cases)
def mutual_pairs(similarity):
    there = similarity.argmax(dim=1)  # [N]
    back = similarity.argmax(dim=0)  # [M]
    i = torch.arange(len(similarity))
    keep = back[there] == i
    return torch.stack([i[keep], there[keep]], dim=1)


mutual_pairs.slips = [
    ("those are all choices; keep the ones that are returned", "back[there] == i", "i == i"),
    ("a pair is (patch of a, patch of b), in this order", "], dim=1)", "], dim=1).flip(1)"),
    ("ask what the chosen patch of b chooses: columns[rows[i]] == i", "there] == i", "i] == there"),
]


def component_cases():
    """Grey with noise, a bright and a dark object on it, off zero."""
    draw = torch.Generator().manual_seed(19)
    cases = []
    for sign in (1.0, -1.0):
        z = 0.6 + 0.1 * torch.randn(9, 11, generator=draw)
        z[2:5, 2:5] += 2
        z[5:8, 6:10] -= 1.5
        cases.append((sign * z, 4.0))
    return cases + [(z, times) for z in ramps() for times in (1.5, 2.5)]


def ramps():
    """A border whose median, mean and deviation depend on each of its parts, and inside all that
    lies near the two cuts.
    """
    draw = torch.Generator().manual_seed(19)
    z = 0.1 * torch.randn(10, 14, generator=draw).exp()  # few are far above the median
    z[:, [0, -1]] *= 1.5  # columns differ from rows
    z[::9, ::13] = torch.tensor([[1.0, -0.3], [0.8, 0.9]])  # and corners from both
    # From -1.11 to 1.84 no place lies between two cuts that are both right: with the deviation of
    # a sample or of a population, from the lower middle value or the mean of both.
    z[1:-1, 1:-1] = torch.linspace(-1.11, 1.84, 96).view(8, 12)
    return [z + 0.5, -z]


@exercise("19.5", "foreground on both sides", cases=component_cases)
def both_sides(z, times):
    # One cut has two sides, and background lies on one of them, together with
    # everything beyond it. Grey between dark and bright needs two cuts.
    inner = z[1:-1]
    border = torch.cat([z[0], z[-1], inner[:, 0], inner[:, -1]])
    return (z - border.median()).abs() > times * border.std()


both_sides.slips = [
    ("a dark object lies on the other side: take the absolute distance", ".abs()", ""),
    (
        "median and deviation are those of the border alone",
        ("border.median", "z.median"),
        ("border.std", "z.std"),
    ),
    ("the deviation is that of the border; so must the median be", "border.median", "z.median"),
    ("that is the mean of the border; a few odd patches move it, not the median", "median", "mean"),
    ("the corners count twice: each patch of the border once", "z[1:-1]", "z"),
    ("the border has a first and a last column, too", ", inner[:, 0], inner[:, -1]", ""),
    ("the border has a first and a last row, too", ("z[0], z[-1], ", ""), ("z[1:-1]", "z")),
    ("the cut is `times` deviations away, not always 4", "times *", "4 *"),
    (
        "that is the mean distance from the median; the standard deviation is asked for",
        "border.std()",
        "(border - border.median()).abs().mean()",
    ),
    ("the distance is from the median of the border, not from 0", " - border.median()", ""),
    ("True is foreground; yours is the background", "> times", "<= times"),
]
