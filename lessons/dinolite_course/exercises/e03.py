"""Exercises of lesson 03, RoPE: tables, turns, the other layout of pairs, other boxes, video."""

import torch

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "03.1",
    "the shape of the table",
    cases=[(224, 224, 16, 384, 6), (128, 192, 16, 32, 2), (48, 64, 8, 96, 3)],
)
def table_shape(height, width, patch, embed_dim, heads):
    return (height // patch) * (width // patch), embed_dim // heads


table_shape.slips = [
    (
        "CLS and storage tokens have no place, so they have no row in the table",
        "return",
        "return 1 +",
    ),
    (
        "that is the width of all heads together; they share one table as wide as a head",
        " // heads",
        "",
    ),
    (
        "there are that many pairs; the table repeats itself and has one column per number",
        "// heads",
        "// heads // 2",
    ),
    (
        "rows and columns have changed places: one row per patch",
        ("return", "return embed_dim // heads,"),
        ("), embed_dim // heads", ")"),
    ),
    (
        "that is the number of periods; the table has a column per number of a head",
        "// heads",
        "// heads // 4",
    ),
    (
        "the picture need not be square: rows come from the height, columns from the width",
        "width //",
        "height //",
    ),
]


@exercise(
    "03.2",
    "how often a pair turns on its way across the picture",
    cases=[(0, 100.0, 64), (15, 100.0, 64), (2, 50.0, 16)],
)
def turns(i, base, head_dim):
    return 2 / base ** (4 * i / head_dim)


turns.slips = [
    ("the box is 2 long, from -1 to 1, and not 1", "2 /", "1 /"),
    ("that is the period, the distance for one turn; how many fit into the box?", "2 / ", ""),
    ("a longer period means fewer turns: divide by it", "2 /", "2 *"),
    ("the exponent is 4 i / head_dim: an axis has a quarter of head_dim as periods", "4 *", "2 *"),
    ("those are radians; a full turn counts 1 here", "2 /", "4 * torch.pi /"),
    ("the base is an argument, not always 100", "2 / base", "2 / 100.0"),
    ("with a base, the slowest period stays below it", "4 * i / head_dim", "i / (head_dim/4 - 1)"),
]


def pairs_and_angles():
    draw = torch.Generator().manual_seed(3)
    x, angle = torch.randn(5, 8, generator=draw), 3 * torch.randn(5, 4, generator=draw)
    return [(x, angle), (x[:3, :4], angle[:3, :2])]


@exercise("03.3", "turn neighbouring numbers", cases=pairs_and_angles, run=keeping)
def turn_neighbours(x, angle):
    a, b = x[:, 0::2], x[:, 1::2]
    sin, cos = angle.sin(), angle.cos()
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return turned.flatten(1)


turn_neighbours.slips = [
    (
        "that is rotate half, the official layout; here 0 goes with 1, 2 with 3, ...",
        ("x[:, 0::2], x[:, 1::2]", "x.chunk(2, dim=-1)"),
        ("torch.stack", "torch.cat"),
    ),
    ("the other way round: (1, 0) turned by a quarter must be (0, 1)", "angle.sin", "-angle.sin"),
    (
        "the pairs are right, but they are written back in halves: put a and b next to "
        "each other again",
        "dim=-1",
        "dim=1",
    ),
    ("sin and cos have changed places: angle 0 must leave x as it is", "sin, cos =", "cos, sin ="),
    (
        "the angles are laid out for halves; neighbours share one angle",
        "torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)",
        "x * cos.tile(2) + torch.stack([-b, a], dim=-1).flatten(1) * sin.tile(2)",
    ),
    (
        "the first numbers have changed before the second ones used them",
        "+ a * sin",
        "+ (a * cos - b * sin) * sin",
    ),
]


@exercise(
    "03.4", "a box that grows with the grid", cases=[(14, 14), (28, 14), (7, 14), (12, 8), (5, 9)]
)
def growing_box(n, n_train):
    # One step turns by the same angle on every grid, as in training. The price:
    # a larger grid leaves the box, and its far corners have angles (and
    # distances) that the network has never seen. The box of DINOv3 keeps the
    # places and shortens the steps instead.
    return 2 * (torch.arange(n) + 0.5 - n / 2) / n_train


growing_box.slips = [
    (
        "that is the box of DINOv3: with twice the patches the step is half as long",
        "/ n_train",
        "/ n",
    ),
    ("the step is right, but the middle of the picture is not at 0", "- n / 2", "- n_train / 2"),
    ("those are the patches' corners; their centres are half a patch further", " + 0.5", ""),
    ("the step is half as long as in training: the box is 2 long", "2 * (", "("),
    ("the other way round: more patches need a longer box", "/ n_train", "/ n * n_train / n"),
    (
        "those begin and end on the edges of the box; centres lie half a patch inside",
        lambda n, n_train: torch.linspace(-n / n_train, n / n_train, n),
    ),
]


@exercise(
    "03.5",
    "angles for video",
    cases=lambda: [(2, 3, 4, torch.tensor([1.0, 3.0])), (3, 2, 2, torch.tensor([2.0]))],
)
def video_angles(frames, rows, columns, periods):
    # A head needs 6 numbers per period now: three axes, and pairs.
    def centres(n):
        return 2 * (torch.arange(n) + 0.5) / n - 1

    axes = [centres(frames), centres(rows), centres(columns)]
    grid = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack(grid, dim=-1).flatten(0, 2)  # [T H W, 3]
    angle = 2 * torch.pi * places[:, :, None] / periods  # [T H W, 3, P]
    return angle.flatten(1)


video_angles.slips = [
    (
        "the order of the axes in each row of the result is frame, row, column",
        "places[",
        "places.flip(1)[",
    ),
    (
        "axes and periods are mixed: first all angles of the frame, then all of the row",
        "angle.flatten",
        "angle.mT.flatten",
    ),
    (
        "the tokens stand in another order: frame by frame, in each row by row",
        "dim=-1)",
        "dim=-1).transpose(0, 2)",
    ),
    ("those run over the rows first, then over the frames", "ij", "xy"),
    ("2 pi is missing: a distance of one period is a full turn", "2 * torch.pi * ", ""),
    ("divide by the period: a long period turns slowly", "/ periods", "* periods"),
]
