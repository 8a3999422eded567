"""Exercises of lesson 07, crops: shapes, the size of a box, contrast, who meets whom, overlap."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.exercises.exercise import Exercise
from dinolite.viz.compare import compare_figure


def shapes(B: int, L: int, g: int, s: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (2 * B, 3, g, g), (L * B, 3, s, s)


def box_size(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    area = height * width * share
    return round((area / aspect) ** 0.5), round((area * aspect) ** 0.5)


def without_root(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """The share taken of each side, as if it were a share of the length."""
    return round(height * share / aspect**0.5), round(width * share * aspect**0.5)


def photo_shape(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """The aspect multiplied onto the photograph's own instead of replacing it."""
    return round(height * (share / aspect) ** 0.5), round(width * (share * aspect) ** 0.5)


def cut_off(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    area = height * width * share
    return int((area / aspect) ** 0.5), int((area * aspect) ** 0.5)


def luma(x: Tensor) -> Tensor:
    return x.mul(x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def stretch(x: Tensor, middle: Tensor, factor: Tensor) -> Tensor:
    return middle + factor[:, None, None, None] * (x - middle)


def unclamped(x: Tensor, factor: Tensor) -> Tensor:
    return stretch(x, luma(x).mean(dim=(1, 2, 3), keepdim=True), factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return unclamped(x, factor).clamp(0, 1)


def counted(G: int, L: int) -> Tensor:
    pairs = torch.ones(G, G + L, dtype=torch.bool)
    pairs[range(G), range(G)] = False
    return pairs


def edges(a: Tensor, b: Tensor) -> Tensor:
    """Height and width [..., 2] of what two boxes share; negative where they are apart."""
    start = torch.maximum(a[..., :2], b[..., :2])
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return end - start


def shared(a: Tensor, b: Tensor) -> Tensor:
    return edges(a, b).clamp(min=0).prod(dim=-1)


def area(box: Tensor) -> Tensor:
    return box[..., 2:].prod(dim=-1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    return shared(a, b) / area(a)


def as_corners(a: Tensor, b: Tensor) -> Tensor:
    """(top, left, height, width) read as (top, left, bottom, right)."""
    start, end = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    return (end - start).clamp(min=0).prod(dim=-1) / area(a)


def pictures() -> list[tuple[Tensor, Tensor]]:
    """Three pictures of different brightness, each with its own factor; then one alone."""
    draw = torch.Generator().manual_seed(7)
    x = torch.rand(3, 3, 6, 8, generator=draw) * torch.tensor([1.0, 0.6, 0.9])[:, None, None, None]
    x[2, 0] = 1.0  # reddish: its three channels have different means
    return [(x, torch.tensor([1.4, 0.6, 1.2])), (x[:1], torch.tensor([1.4]))]


def boxes() -> list[tuple[Tensor, Tensor]]:
    """Inside, half out, apart in both directions, the same."""
    a = [[10.0, 10, 20, 20], [0, 0, 10, 20], [0, 0, 5, 5], [3, 4, 6, 8]]
    b = [[5.0, 5, 40, 50], [5, 10, 30, 40], [20, 30, 10, 10], [3, 4, 6, 8]]
    return [(torch.tensor(a), torch.tensor(b))]


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
        box_size,
        lambda: [(60, 80, 0.25, 1.2), (300, 451, 0.1, 0.9), (200, 90, 0.5, 1.3)],
        (
            (
                "height and width have changed places: aspect is width / height",
                lambda h, w, share, aspect: box_size(h, w, share, 1 / aspect),
            ),
            ("the share is one of the area; that of a side is its square root", without_root),
            ("the aspect is that of the box, whatever the photograph's own is", photo_shape),
            ("cut off, not rounded: int(...) drops what round(...) looks at", cut_off),
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
            ("some values leave the range from 0 to 1: clamp", unclamped),
            ("factor 1 changes nothing, 0 gives grey; swapped", lambda x, f: contrast(x, 1 - f)),
        ),
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
        ),
    ),
    Exercise(
        "07.5",
        "how much of a box lies in another",
        overlap,
        boxes,
        (
            (
                "two boxes that are apart share nothing; two negative edges have a positive "
                "product, so clamp the edges at 0",
                lambda a, b: edges(a, b).prod(dim=-1) / area(a),
            ),
            (
                "divide by the area of a alone; you divided by that of both together",
                lambda a, b: shared(a, b) / (area(a) + area(b) - shared(a, b)),
            ),
            ("that is the share of b; a comes first", lambda a, b: shared(a, b) / area(b)),
            ("a box is (top, left, height, width); yours ends in bottom and right", as_corners),
            ("that is the shared area; divide by the area of a", shared),
        ),
    ),
)
