"""Exercises of lesson 03, RoPE: tables, turns, the other layout of pairs, other boxes, video."""

import math

import torch

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises.coordinates import (
    centres,
    column_first,
    columns_slowest,
    frame_by_column,
    mixed_pairs,
    same_step,
    video_angles,
)
from dinolite_course.exercises.neighbours import (
    halves,
    repeated,
    some_pairs,
    turn_half,
    turn_interleaved,
    turned_twice,
)


def table_shape(height: int, width: int, patch: int, embed_dim: int, heads: int) -> tuple[int, int]:
    return (height // patch) * (width // patch), embed_dim // heads


def turns(i: int, base: float, head_dim: int) -> float:
    return 2 / base ** (4 * i / head_dim)


EXERCISES = (
    Exercise(
        "03.1",
        "the shape of the table",
        table_shape,
        lambda: [(224, 224, 16, 384, 6), (128, 192, 16, 32, 2), (48, 64, 8, 96, 3)],
        (
            (
                "CLS and storage tokens have no place, so they have no row in the table",
                lambda H, W, p, D, h: (1 + (H // p) * (W // p), D // h),
            ),
            (
                "that is the width of all heads together; they share one table as wide as a head",
                lambda H, W, p, D, h: ((H // p) * (W // p), D),
            ),
            (
                "there are that many pairs; the table repeats itself and has one column per number",
                lambda H, W, p, D, h: ((H // p) * (W // p), D // h // 2),
            ),
            (
                "rows and columns have changed places: one row per patch",
                lambda H, W, p, D, h: (D // h, (H // p) * (W // p)),
            ),
            (
                "that is the number of periods; the table has a column per number of a head",
                lambda H, W, p, D, h: ((H // p) * (W // p), D // h // 4),
            ),
            (
                "the picture need not be square: rows come from the height, columns from the width",
                lambda H, W, p, D, h: ((H // p) ** 2, D // h),
            ),
        ),
    ),
    Exercise(
        "03.2",
        "how often a pair turns on its way across the picture",
        turns,
        lambda: [(0, 100.0, 64), (15, 100.0, 64), (2, 50.0, 16)],
        (
            (
                "the box is 2 long, from -1 to 1, and not 1",
                lambda i, base, d: 1 / base ** (4 * i / d),
            ),
            (
                "that is the period, the distance for one turn; how many fit into the box?",
                lambda i, base, d: base ** (4 * i / d),
            ),
            (
                "a longer period means fewer turns: divide by it",
                lambda i, base, d: 2 * base ** (4 * i / d),
            ),
            (
                "the exponent is 4 i / head_dim: an axis has a quarter of head_dim as periods",
                lambda i, base, d: 2 / base ** (2 * i / d),
            ),
            (
                "those are radians; a full turn counts 1 here",
                lambda i, base, d: 4 * math.pi / base ** (4 * i / d),
            ),
            ("the base is an argument, not always 100", lambda i, base, d: turns(i, 100.0, d)),
            (
                "with a base, the slowest period stays below it",
                lambda i, base, d: 2 / base ** (i / (d / 4 - 1)),
            ),
        ),
    ),
    Exercise(
        "03.3",
        "turn neighbouring numbers",
        turn_interleaved,
        some_pairs,
        (
            (
                "that is rotate half, the official layout; here 0 goes with 1, 2 with 3, ...",
                turn_half,
            ),
            (
                "the other way round: (1, 0) turned by a quarter must be (0, 1)",
                lambda x, angle: turn_interleaved(x, angle, -1.0),
            ),
            (
                "the pairs are right, but they are written back in halves: put a and b next to "
                "each other again",
                halves,
            ),
            (
                "sin and cos have changed places: angle 0 must leave x as it is",
                lambda x, angle: turn_interleaved(x, math.pi / 2 - angle),
            ),
            ("the angles are laid out for halves; neighbours share one angle", repeated),
            ("the first numbers have changed before the second ones used them", turned_twice),
        ),
        keeping,
    ),
    Exercise(
        "03.4",
        "a box that grows with the grid",
        same_step,
        lambda: [(14, 14), (28, 14), (7, 14), (12, 8), (5, 9)],
        (
            (
                "that is the box of DINOv3: with twice the patches the step is half as long",
                lambda n, n_train: centres(n),
            ),
            (
                "the step is right, but the middle of the picture is not at 0",
                lambda n, n_train: 2 * (torch.arange(n) + 0.5) / n_train - 1,
            ),
            (
                "those are the patches' corners; their centres are half a patch further",
                lambda n, n_train: 2 * (torch.arange(n) - n / 2) / n_train,
            ),
            (
                "the step is half as long as in training: the box is 2 long",
                lambda n, n_train: same_step(n, n_train) / 2,
            ),
            (
                "the other way round: more patches need a longer box",
                lambda n, n_train: centres(n) * n_train / n,
            ),
            (
                "those begin and end on the edges of the box; centres lie half a patch inside",
                lambda n, n_train: torch.linspace(-n / n_train, n / n_train, n),
            ),
        ),
    ),
    Exercise(
        "03.5",
        "angles for video",
        video_angles,
        lambda: [(2, 3, 4, torch.tensor([1.0, 3.0])), (3, 2, 2, torch.tensor([2.0]))],
        (
            ("the order of the axes in each row of the result is frame, row, column", column_first),
            (
                "axes and periods are mixed: first all angles of the frame, then all of the row",
                mixed_pairs,
            ),
            (
                "the tokens stand in another order: frame by frame, in each row by row",
                columns_slowest,
            ),
            ("those run over the rows first, then over the frames", frame_by_column),
            (
                "2 pi is missing: a distance of one period is a full turn",
                lambda t, h, w, periods: video_angles(t, h, w, periods) / (2 * math.pi),
            ),
            (
                "divide by the period: a long period turns slowly",
                lambda t, h, w, periods: video_angles(t, h, w, 1 / periods),
            ),
        ),
    ),
)
