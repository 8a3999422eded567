"""Exercises of lesson 09, heads: shapes, an answer, parameters, a step, unit prototypes."""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises import prototypes
from dinolite_course.figures.matrices import matrix_figure

Shape = tuple[int, int]


def shapes(B: int, L: int, M: int, K: int, K2: int) -> tuple[Shape, Shape]:
    return ((2 + L) * B, K), (M, K2)


def answer(x: Tensor, W: Tensor, temp: float) -> Tensor:
    return (F.normalize(x, dim=-1) @ W.T / temp).softmax(dim=-1)


def parameters(D: int, hidden: int, narrow: int, K: int) -> int:
    return D * hidden + hidden * hidden + hidden * narrow + 2 * hidden + narrow + narrow * K


def features() -> list[tuple[Tensor, Tensor, float]]:
    """Ordinary temperatures, then one at which exp alone would overflow."""
    draw = torch.Generator().manual_seed(2)
    x, W = torch.randn(4, 5, generator=draw), torch.randn(6, 5, generator=draw)
    return [(x, W, 0.5), (7 * x, W, 0.9), (x, 20 * W, 0.1)]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    return matrix_figure({"expected": expected, "yours": actual})


EXERCISES = (
    Exercise(
        "09.1",
        "the shapes of the student's scores",
        shapes,
        lambda: [(8, 6, 40, 1024, 512), (3, 8, 17, 65_536, 98_304)],
        (
            (
                "that is the teacher, who sees the 2 B global crops; the student sees all crops",
                lambda B, L, M, K, K2: ((2 * B, K), (M, K2)),
            ),
            (
                "L local crops of *each* picture: B times L",
                lambda B, L, M, K, K2: ((2 * B + L, K), (M, K2)),
            ),
            (
                "M is counted over the whole batch already",
                lambda B, L, M, K, K2: (((2 + L) * B, K), (B * M, K2)),
            ),
            (
                "each head has its own number of prototypes",
                lambda B, L, M, K, K2: (((2 + L) * B, K), (M, K)),
            ),
        ),
    ),
    Exercise(
        "09.2",
        "an answer",
        answer,
        features,
        (
            (
                "the features are still as long as they were: put them on the sphere first",
                lambda x, W, temp: (x @ W.T / temp).softmax(-1),
            ),
            (
                "prototypes keep their length; only the features are normalised",
                lambda x, W, temp: answer(x, F.normalize(W, dim=1), temp),
            ),
            (
                "dim=0 normalises over the batch: every row of x should have length 1",
                lambda x, W, temp: (F.normalize(x, dim=0) @ W.T / temp).softmax(-1),
            ),
            (
                "divide by the temperature: a low one makes the answer surer",
                lambda x, W, temp: answer(x, W, 1 / temp),
            ),
            (
                "softmax over the batch; the shares of each picture sum to 1",
                lambda x, W, temp: (F.normalize(x, dim=1) @ W.T / temp).softmax(0),
            ),
            (
                "the temperature is missing, or went with the length",
                lambda x, W, t: answer(x, W, 1),
            ),
            (
                "that is the length of all of x together; every row has its own",
                lambda x, W, temp: (x / x.norm() @ W.T / temp).softmax(-1),
            ),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "09.3",
        "parameters of a head",
        parameters,
        lambda: [(384, 2048, 256, 65_536), (64, 72, 24, 96)],
        (
            (
                "the prototypes have no bias: K too many",
                lambda D, h, narrow, K: parameters(D, h, narrow, K) + K,
            ),
            (
                "those are the weights; the three layers of the MLP have biases",
                lambda D, h, narrow, K: parameters(D, h, narrow, K) - 2 * h - narrow,
            ),
            (
                "three linear layers: one from hidden to hidden is missing",
                lambda D, h, narrow, K: parameters(D, h, narrow, K) - h * h - h,
            ),
            (
                "the prototypes are as wide as the bottleneck, not as `hidden`",
                lambda D, h, narrow, K: parameters(D, h, narrow, K) + (h - narrow) * K,
            ),
            (
                "the last of the three layers has biases, too",
                lambda D, h, narrow, K: parameters(D, h, narrow, K) - narrow,
            ),
        ),
        tolerance=0,
    ),
    Exercise(
        "09.4",
        "one step of the prototypes",
        prototypes.step,
        prototypes.one_step,
        (
            (
                "the wrong way: a prototype that should have got more moves towards z",
                lambda z, W, p, temp, lr: 2 * W - prototypes.step(z, W, p, temp, lr),
            ),
            (
                "1 / temperature is missing in front: the inner derivative",
                lambda z, W, p, temp, lr: W + temp * (prototypes.step(z, W, p, temp, lr) - W),
            ),
            (
                "a sum over the batch; the loss is a mean: divide by B",
                lambda z, W, p, temp, lr: W + len(z) * (prototypes.step(z, W, p, temp, lr) - W),
            ),
            (
                "that only pulls; what the student says already, q, pushes back",
                prototypes.without_student,
            ),
            ("q needs the temperature too, inside its softmax", prototypes.no_temperature_inside),
            (
                "that is the change alone; add it to W",
                lambda z, W, p, temp, lr: prototypes.step(z, W, p, temp, lr) - W,
            ),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "09.5",
        "prototypes of length 1",
        prototypes.unit_design,
        prototypes.equal_rows,
        (
            (
                "rows are right, the answers became softer or sharper: mind the temperature",
                lambda W, temp: (F.normalize(W, dim=1), temp),
            ),
            (
                "the other way round: shorter prototypes need a lower temperature, longer ones a "
                "higher one; you went from length to 1",
                lambda W, temp: (F.normalize(W, dim=1), temp * W[0].norm().item()),
            ),
            (
                "the length of the whole matrix; each row has its own",
                lambda W, temp: (W / W.norm(), temp / W.norm().item()),
            ),
            (
                "those are the columns: a prototype is a row",
                lambda W, temp: (F.normalize(W, dim=0), temp / W[:, 0].norm().item()),
            ),
        ),
        run=keeping,
    ),
)
