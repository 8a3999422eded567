"""Exercises of lesson 07, crops: shapes, the size of a box, contrast, who meets whom, overlap."""

import torch

from dinolite_course.checking import as_bools, keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.rows import compare_figure


@exercise("07.1", "the shapes of a batch", cases=[(4, 8, 224, 96), (3, 5, 24, 12)])
def shapes(B, L, g, s):
    return (2 * B, 3, g, g), (L * B, 3, s, s)


shapes.slips = [
    (
        "crops lie behind each other in the first axis: 2 B and L B of them, no axis more",
        ("2 * B", "2, B"),
        ("L * B", "L, B"),
    ),
    ("those are the crops of one photograph; there are B of them", ("2 * B", "2"), ("L * B", "L")),
    ("local crops are smaller", "s, s)", "g, g)"),
]


# (height, width, share, aspect); the last box is wider than its photograph
@exercise(
    "07.2",
    "the size of a box",
    cases=[(60, 80, 0.25, 1.2), (300, 451, 0.1, 0.9), (200, 90, 0.5, 1.3)],
)
def box_size(height, width, share, aspect):
    area = height * width * share
    # width = aspect x height, so area = aspect x height squared.
    return round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)


box_size.slips = [
    (
        "height and width have changed places: aspect is width / height",
        "/ aspect) ** 0.5), round((area *",
        "* aspect) ** 0.5), round((area /",
    ),
    (
        "the share is one of the area; that of a side is its square root",
        ("(area / aspect) ** 0.5", "height * share / aspect**0.5"),
        ("(area * aspect) ** 0.5", "width * share * aspect**0.5"),
    ),
    (
        "the aspect, too, needs its root: height times width must remain the area",
        ("(area / aspect) ** 0.5", "area**0.5 / aspect"),
        ("(area * aspect) ** 0.5", "area**0.5 * aspect"),
    ),
    (
        "the aspect is that of the box, whatever the photograph's own is",
        ("(area / aspect)", "height * (share / aspect)"),
        ("(area * aspect)", "width * (share * aspect)"),
    ),
    (
        "cut off, not rounded: int(...) drops what round(...) looks at",
        ("return round", "return int"),
        ("round", "int"),
    ),
    ("a box has whole pixels: round both", ("return round", "return"), ("round", "")),
]


def pictures_and_factors():
    """Three pictures of different brightness, each with its own factor; then one alone."""
    draw = torch.Generator().manual_seed(7)
    x = torch.rand(3, 3, 6, 8, generator=draw) * torch.tensor([1.0, 0.6, 0.9])[:, None, None, None]
    x[2, 0] = 1.0  # reddish: its three channels have different means
    return [(x, torch.tensor([1.4, 0.6, 1.2])), (x[:1].clone(), torch.tensor([1.4]))]


@exercise(
    "07.3",
    "contrast, an own factor for each picture",
    cases=pictures_and_factors,
    run=keeping,
    picture=lambda right, yours: compare_figure({"expected": right[0], "yours": yours[0]}, width=5),
)
def contrast(x, factor):
    red, green, blue = x.split(1, dim=1)  # each [n, 1, H, W]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    mean = grey.mean(dim=(1, 2, 3), keepdim=True)  # [n, 1, 1, 1]
    return (mean + factor[:, None, None, None] * (x - mean)).clamp(0, 1)


contrast.slips = [
    (
        "that is the mean of the whole batch; each picture moves towards its own",
        "grey.mean(dim=(1, 2, 3), keepdim=True)",
        "grey.mean()",
    ),
    (
        "that is a mean per channel, which shifts the colours; take the mean of the grey",
        "grey.mean(dim=(1, 2, 3)",
        "x.mean(dim=(2, 3)",
    ),
    ("grey is no plain mean of red, green and blue: 0.299, 0.587, 0.114", "grey.mean", "x.mean"),
    (
        "every pixel moves towards its own grey, which is saturation; contrast has one "
        "grey for the whole picture",
        "grey.mean(dim=(1, 2, 3), keepdim=True)",
        "grey",
    ),
    ("each factor went to a colour and not to a picture: [n, 1, 1, 1]", ", None]", "]"),
    (
        "that is brightness: away from black; contrast moves away from the mean grey",
        ("mean + factor", "factor"),
        ("(x - mean)", "x"),
    ),
    ("some values leave the range from 0 to 1: clamp", ".clamp(0, 1)", ""),
    ("factor 1 changes nothing, 0 gives grey; swapped", "factor[", "(1 - factor)["),
]


@exercise("07.4", "who meets whom", cases=[(2, 8), (2, 1), (3, 4)], run=as_bools)
def counted(G, L):
    own = torch.eye(G, G + L, dtype=torch.bool)
    return ~own


counted.slips = [
    ("the diagonal does not count", "~own", "own | ~own"),
    ("rows are the teacher's views, columns the student's", "~own", "~own.mT"),
    ("the teacher never sees local crops: it has only G rows", "eye(G,", "eye(G + L,"),
    ("True and False have changed places", "~own", "own"),
    ("global crops meet the others of their kind, too", "~own", "~own.any(dim=0).expand(G, -1)"),
]


def boxes():
    """Inside, half out at either end, the same; apart in height, in width, in both; a corner in
    common. Then with a and b exchanged, and fewer.
    """
    both = [
        [[10.0, 10, 20, 20], [5, 5, 40, 50]],
        [[0, 0, 10, 20], [5, 10, 30, 40]],
        [[30, 8, 20, 9], [10, 5, 25, 30]],
        [[3, 4, 6, 8], [3, 4, 6, 8]],
        [[0, 0, 5, 5], [20, 2, 10, 10]],
        [[2, 30, 6, 7], [3, 10, 9, 8]],
        [[0, 0, 5, 4], [20, 30, 10, 11]],
        [[8, 9, 10, 16], [12, 2, 20, 12]],
    ]
    a, b = torch.tensor(both).unbind(dim=1)  # [8, 4] each
    return [(a, b), (b, a), (a[5:], b[5:])]


@exercise("07.5", "how much of a box lies in another", cases=boxes)
def overlap(a, b):
    # With larger local boxes, (0.32, 1.0), nearly every one shares something
    # with G1, and the student sees most of what the teacher sees: the game
    # gets easy, and there is less to infer. With (0.01, 0.04) a fifth or so of
    # the boxes shares nothing with G1, and few pixels are left to guess from.
    start = torch.maximum(a[..., :2], b[..., :2])
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = (end - start).clamp(min=0).prod(dim=-1)
    return shared / a[..., 2:].prod(dim=-1)


overlap.slips = [
    (
        "two boxes that are apart share nothing; two negative edges have a positive "
        "product, so clamp the edges at 0",
        ".clamp(min=0)",
        "",
    ),
    (
        "clamp both edges, not their product: two negative ones have a positive product",
        "clamp(min=0).prod(dim=-1)",
        "prod(dim=-1).clamp(min=0)",
    ),
    (
        "divide by the area of a, also where b is smaller",
        "a[..., 2:].prod(dim=-1)",
        "torch.minimum(a[..., 2:].prod(dim=-1), b[..., 2:].prod(dim=-1))",
    ),
    (
        "divide by the area of a alone; you divided by that of both together",
        "a[..., 2:].prod(dim=-1)",
        "(a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - shared)",
    ),
    ("that is the share of b; a comes first", "/ a", "/ b"),
    (
        "a box is (top, left, height, width); yours ends in bottom and right",
        ("a[..., :2] + ", ""),
        ("b[..., :2] + ", ""),
    ),
    ("that is the shared area; divide by the area of a", " / a[..., 2:].prod(dim=-1)", ""),
]
