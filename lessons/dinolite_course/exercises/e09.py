"""Exercises of lesson 09, heads: shapes, an answer, parameters, a step, unit prototypes."""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.matrices import matrix_figure


@exercise(
    "09.1",
    "the shapes of the student's scores",
    cases=[(8, 6, 40, 1024, 512), (3, 8, 17, 65_536, 98_304)],
)
def shapes(B, L, M, K, K2):
    return ((2 + L) * B, K), (M, K2)


TEACHER = "that is the teacher, who sees the 2 B global crops; the student sees all crops"
shapes.slips = [
    (TEACHER, "(2 + L) * B", "2 * B"),
    ("L local crops of *each* picture: B times L", "(2 + L) * B", "2 * B + L"),
    ("M is counted over the whole batch already", "(M, K2)", "(B * M, K2)"),
    ("each head has its own number of prototypes", "(M, K2)", "(M, K)"),
]


def features():
    """Ordinary temperatures, then one at which exp alone would overflow."""
    draw = torch.Generator().manual_seed(2)
    x, W = torch.randn(4, 5, generator=draw), torch.randn(6, 5, generator=draw)
    return [(x, W, 0.5), (7 * x, W, 0.9), (x, 20 * W, 0.1)]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    return matrix_figure({"expected": expected, "yours": actual})


@exercise("09.2", "an answer", cases=features, run=keeping, picture=side_by_side)
def answer(x, W, temp):
    z = F.normalize(x, dim=-1)  # [B, d], length 1
    return (z @ W.T / temp).softmax(dim=-1)  # [B, K]


ONE_LENGTH = "that is the length of all of x together; every row has its own"
answer.slips = [
    ("the features are still as long as they were: put them on the sphere first", "z @", "x @"),
    ("prototypes keep their length; only the features are normalised", "W.T", "F.normalize(W).T"),
    ("dim=0 normalises over the batch: every row of x should have length 1", ", dim=-1", ", dim=0"),
    ("divide by the temperature: a low one makes the answer surer", "/ temp", "* temp"),
    ("softmax over the batch; the shares of each picture sum to 1", "x(dim=-1)", "x(dim=0)"),
    ("the temperature is missing, or went with the length", " / temp", ""),
    (ONE_LENGTH, "F.normalize(x, dim=-1)", "x / x.norm()"),
]


@exercise(
    "09.3", "parameters of a head", cases=[(384, 2048, 256, 65_536), (64, 72, 24, 96)], tolerance=0
)
def parameters(D, hidden, narrow, K):
    mlp = (D + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * narrow
    return mlp + narrow * K  # the prototypes have no bias


parameters.slips = [
    ("the prototypes have no bias: K too many", "narrow * K", "(narrow + 1) * K"),
    (
        "those are the weights; the three layers of the MLP have biases",
        "(D + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * narrow",
        "D * hidden + hidden * hidden + hidden * narrow",
    ),
    ("three linear layers: one from hidden to hidden is missing", " + (hidden + 1) * hidden", ""),
    ("the prototypes are as wide as the bottleneck, not as `hidden`", "narrow * K", "hidden * K"),
    ("the last of the three layers has biases, too", "(hidden + 1) * narrow", "hidden * narrow"),
]


def one_step():
    draw = torch.Generator().manual_seed(4)
    z = F.normalize(torch.randn(3, 5, generator=draw), dim=1)
    W = torch.randn(4, 5, generator=draw)
    p = torch.randn(3, 4, generator=draw).softmax(dim=1)
    return [(z, W, p, 0.5, 0.2), (z[:2], W, p[:2], 0.1, 0.01)]


@exercise("09.4", "one step of the prototypes", cases=one_step, run=keeping, picture=side_by_side)
def step(z, W, p, temp, lr):
    q = (z @ W.T / temp).softmax(dim=-1)  # [B, K]
    gradient = (q - p).T @ z / temp / len(z)  # [K, d]
    return W - lr * gradient


step.slips = [
    ("the wrong way: a prototype that should have got more moves towards z", "W - lr", "W + lr"),
    ("1 / temperature is missing in front: the inner derivative", " / temp / len", " / len"),
    ("a sum over the batch; the loss is a mean: divide by B", " / len(z)", ""),
    ("that only pulls; what the student says already, q, pushes back", "q - p", "-p"),
    ("q needs the temperature too, inside its softmax", " / temp)", ")"),
    ("that is the change alone; add it to W", "W - lr", "-lr"),
]


def equal_rows():
    draw = torch.Generator().manual_seed(5)
    W = F.normalize(torch.randn(6, 4, generator=draw), dim=1)
    return [(2.5 * W, 0.1), (0.32 * W, 0.04)]


@exercise("09.5", "prototypes of length 1", cases=equal_rows, run=keeping)
def unit_design(W, temp):
    # What the rows lose with their length: they cannot make the whole net surer
    # or less sure (a temperature of its own), and no prototype can have more
    # weight than the others.
    length = W[0].norm().item()
    return F.normalize(W, dim=1), temp / length


WHOLE_LENGTH = "the length of the whole matrix; each row has its own"
unit_design.slips = [
    ("rows are right, the answers became softer or sharper: mind the temperature", " / length", ""),
    (
        "the other way round: shorter prototypes need a lower temperature, longer ones a "
        "higher one; you went from length to 1",
        "temp / length",
        "temp * length",
    ),
    (WHOLE_LENGTH, ("W[0]", "W"), ("F.normalize(W, dim=1)", "W / length")),
    ("those are the columns: a prototype is a row", ("W[0]", "W[:, 0]"), ("dim=1", "dim=0")),
]
