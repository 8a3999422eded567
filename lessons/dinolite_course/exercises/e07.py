"""Exercises of lesson 07, crops: shapes, the size of a box, contrast, who meets whom, overlap."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.checking import Exercise, as_bools, keeping
from dinolite_course.exercises import boxes
from dinolite_course.figures.rows import compare_figure


def shapes(B: int, L: int, g: int, s: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (2 * B, 3, g, g), (L * B, 3, s, s)


def luma(x: Tensor) -> Tensor:
    return x.mul(x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def middle(x: Tensor) -> Tensor:
    return luma(x).mean(dim=(1, 2, 3), keepdim=True)


def stretch(x: Tensor, middle: Tensor, factor: Tensor) -> Tensor:
    return middle + factor[:, None, None, None] * (x - middle)


def by_colour(x: Tensor, factor: Tensor) -> Tensor:
    """The three factors at the axis of the channels."""
    return (middle(x) + factor[:, None, None] * (x - middle(x))).clamp(0, 1)


def unclamped(x: Tensor, factor: Tensor) -> Tensor:
    return stretch(x, middle(x), factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return unclamped(x, factor).clamp(0, 1)


def counted(G: int, L: int) -> Tensor:
    pairs = torch.ones(G, G + L, dtype=torch.bool)
    pairs[range(G), range(G)] = False
    return pairs


def pictures() -> list[tuple[Tensor, Tensor]]:
    """Three pictures of different brightness, each with its own factor; then one alone."""
    draw = torch.Generator().manual_seed(7)
    x = torch.rand(3, 3, 6, 8, generator=draw) * torch.tensor([1.0, 0.6, 0.9])[:, None, None, None]
    x[2, 0] = 1.0  # reddish: its three channels have different means
    return [(x, torch.tensor([1.4, 0.6, 1.2])), (x[:1].clone(), torch.tensor([1.4]))]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    """The first picture."""
    return compare_figure({"expected": expected[0], "yours": actual[0]}, width=5)


EXERCISES = (
    Exercise(
        "07.1",
        "the shapes of a batch",
        shapes,
        lambda: [(4, 8, 224, 96), (3, 5, 24, 12)],
        (
            (
                "crops lie behind each other in the first axis: 2 B and L B of them, no axis more",
                lambda B, L, g, s: ((2, B, 3, g, g), (L, B, 3, s, s)),
            ),
            (
                "those are the crops of one photograph; there are B of them",
                lambda B, L, g, s: ((2, 3, g, g), (L, 3, s, s)),
            ),
            ("local crops are smaller", lambda B, L, g, s: ((2 * B, 3, g, g), (L * B, 3, g, g))),
        ),
    ),
    Exercise(
        "07.2",
        "the size of a box",
        boxes.box_size,
        boxes.sizes,
        (
            (
                "height and width have changed places: aspect is width / height",
                lambda h, w, share, aspect: boxes.box_size(h, w, share, 1 / aspect),
            ),
            ("the share is one of the area; that of a side is its square root", boxes.without_root),
            (
                "the aspect, too, needs its root: height times width must remain the area",
                boxes.whole_aspect,
            ),
            ("the aspect is that of the box, whatever the photograph's own is", boxes.photo_shape),
            ("cut off, not rounded: int(...) drops what round(...) looks at", boxes.cut_off),
            ("a box has whole pixels: round both", boxes.fractions),
        ),
    ),
    Exercise(
        "07.3",
        "contrast, an own factor for each picture",
        contrast,
        pictures,
        (
            (
                "that is the mean of the whole batch; each picture moves towards its own",
                lambda x, f: stretch(x, luma(x).mean(), f).clamp(0, 1),
            ),
            (
                "that is a mean per channel, which shifts the colours; take the mean of the grey",
                lambda x, f: stretch(x, x.mean(dim=(2, 3), keepdim=True), f).clamp(0, 1),
            ),
            (
                "grey is no plain mean of red, green and blue: 0.299, 0.587, 0.114",
                lambda x, f: stretch(x, x.mean(dim=(1, 2, 3), keepdim=True), f).clamp(0, 1),
            ),
            (
                "every pixel moves towards its own grey, which is saturation; contrast has one "
                "grey for the whole picture",
                lambda x, f: stretch(x, luma(x), f).clamp(0, 1),
            ),
            ("each factor went to a colour and not to a picture: [n, 1, 1, 1]", by_colour),
            (
                "that is brightness: away from black; contrast moves away from the mean grey",
                lambda x, f: stretch(x, torch.zeros(()), f).clamp(0, 1),
            ),
            ("some values leave the range from 0 to 1: clamp", unclamped),
            ("factor 1 changes nothing, 0 gives grey; swapped", lambda x, f: contrast(x, 1 - f)),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "07.4",
        "who meets whom",
        counted,
        lambda: [(2, 8), (2, 1), (3, 4)],
        (
            ("the diagonal does not count", lambda G, L: torch.ones(G, G + L, dtype=torch.bool)),
            ("rows are the teacher's views, columns the student's", lambda G, L: counted(G, L).mT),
            (
                "the teacher never sees local crops: it has only G rows",
                lambda G, L: ~torch.eye(G + L, dtype=torch.bool),
            ),
            ("True and False have changed places", lambda G, L: ~counted(G, L)),
            (
                "global crops meet the others of their kind, too",
                lambda G, L: (torch.arange(G + L) >= G).expand(G, -1),
            ),
        ),
        run=as_bools,
    ),
    Exercise(
        "07.5",
        "how much of a box lies in another",
        boxes.overlap,
        boxes.pairs,
        (
            (
                "two boxes that are apart share nothing; two negative edges have a positive "
                "product, so clamp the edges at 0",
                lambda a, b: boxes.edges(a, b).prod(dim=-1) / boxes.area(a),
            ),
            (
                "clamp both edges, not their product: two negative ones have a positive product",
                boxes.product_clamped,
            ),
            (
                "divide by the area of a, also where b is smaller",
                lambda a, b: boxes.shared(a, b) / torch.minimum(boxes.area(a), boxes.area(b)),
            ),
            (
                "divide by the area of a alone; you divided by that of both together",
                lambda a, b: (
                    boxes.shared(a, b) / (boxes.area(a) + boxes.area(b) - boxes.shared(a, b))
                ),
            ),
            (
                "that is the share of b; a comes first",
                lambda a, b: boxes.shared(a, b) / boxes.area(b),
            ),
            (
                "a box is (top, left, height, width); yours ends in bottom and right",
                boxes.as_corners,
            ),
            ("that is the shared area; divide by the area of a", boxes.shared),
        ),
    ),
)
