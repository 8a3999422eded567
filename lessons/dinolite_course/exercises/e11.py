"""Exercises of lesson 11, Sinkhorn-Knopp: sums, centring, log space, the floor, a queue."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite_course.checking import Exercise, keeping
from dinolite_course.exercises import rounds
from dinolite_course.figures.matrices import matrix_figure


def sums(n: int, K: int) -> tuple[float, ...]:
    return n, K, 1, n / K


def centred(logits: Tensor, center: Tensor, temp: float) -> Tensor:
    return ((logits - center) / temp).softmax(dim=-1)


def floor(K: int, pictures: int, processes: int) -> float:
    return max(math.log(K / (2 * pictures * processes)), 0.0)


def with_queue(logits: Tensor, queue: Tensor, temp: float) -> Tensor:
    return sinkhorn_knopp(torch.cat([logits, queue]), temp)[: len(logits)]


def scores_and_center() -> list[tuple[Tensor, Tensor, float]]:
    draw = torch.Generator().manual_seed(1)
    return [
        (torch.randn(6, 4, generator=draw), torch.randn(1, 4, generator=draw), temp)
        for temp in (0.5, 0.2)
    ]


def batch_and_queue() -> list[tuple[Tensor, Tensor, float]]:
    """A long queue, a short one, and none yet."""
    draw = torch.Generator().manual_seed(3)
    logits, queue = (
        0.3 * torch.randn(4, 8, generator=draw),
        0.3 * torch.randn(12, 8, generator=draw),
    )
    return [
        (logits, queue, 0.1),
        (logits[:2], queue[:7], 0.07),
        (logits, queue[:2], 0.2),
        (logits, queue[:0], 0.1),
    ]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    return matrix_figure({"expected": expected, "yours": actual})


EXERCISES = (
    Exercise(
        "11.1",
        "shape and sums of the targets",
        sums,
        lambda: [(12, 4), (64, 256), (8, 32)],
        (
            ("one row per crop: n rows and K columns", lambda n, K: (K, n, 1, n / K)),
            ("n units go to K prototypes: n / K each, not K / n", lambda n, K: (n, K, 1, K / n)),
            ("a prototype gets 1 / K of the mass, which is n", lambda n, K: (n, K, 1, 1 / K)),
            ("only crops have one unit each; prototypes share them", lambda n, K: (n, K, 1, 1)),
        ),
    ),
    Exercise(
        "11.2",
        "centred and sharpened targets",
        centred,
        scores_and_center,
        (
            ("the centre is added; subtract it", lambda z, c, t: centred(z, -c, t)),
            (
                "the centre is a mean of scores: subtract it before you divide by the temperature",
                lambda z, c, t: (z / t - c).softmax(dim=-1),
            ),
            ("the temperature is missing: no sharpening", lambda z, c, t: centred(z, c, 1.0)),
            ("the centre is missing: no centring", lambda z, c, t: (z / t).softmax(dim=-1)),
            (
                "that is the mean of this batch; subtract the centre that is given",
                lambda z, c, t: centred(z, z.mean(dim=0), t),
            ),
            ("multiplied by the temperature; divide", lambda z, c, t: centred(z, c, 1 / t)),
            (
                "softmax runs over the crops; each crop chooses among the prototypes",
                lambda z, c, t: ((z - c) / t).softmax(dim=0),
            ),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "11.3",
        "Sinkhorn-Knopp in log space",
        rounds.sinkhorn,
        rounds.ordinary_and_large,
        (
            (
                "each round ends with the crops, or their targets do not sum to 1",
                rounds.crops_first,
            ),
            ("one softmax per crop: no prototype is even", lambda z, t, r: (z / t).softmax(dim=1)),
            ("there was one round; repeat it", lambda z, t, r: sinkhorn_knopp(z, t, 1)),
            ("right for small scores, nan for large ones: stay in log space", rounds.exp_form),
            (
                "the maximum of each crop was subtracted: crops weigh differently",
                rounds.own_maximum,
            ),
            ("the temperature is missing", lambda z, t, r: sinkhorn_knopp(z, 1.0, r)),
            ("those are logarithms still: exp at the very end", rounds.still_logs),
            ("always three: rounds is an argument", lambda z, t, r: sinkhorn_knopp(z, t, 3)),
            ("always two: rounds is an argument", lambda z, t, r: sinkhorn_knopp(z, t, 2)),
            ("one round too many", lambda z, t, r: sinkhorn_knopp(z, t, r + 1)),
            (
                "float64, or a maximum subtracted first, moves the limit; there is one still: stay "
                "in log space",
                lambda z, t, r: rounds.exp_form(z.double(), t, r),
            ),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "11.4",
        "the entropy floor of a run",
        floor,
        lambda: [(65536, 64, 1), (65536, 64, 8), (64, 128, 1), (4096, 256, 4), (1000, 24, 3)],
        (
            (
                "every picture has two global crops, and both are in the batch of the teacher",
                lambda K, B, P: max(math.log(K / (B * P)), 0.0),
            ),
            (
                "the column sums run over all processes, so their crops count too",
                lambda K, B, P: max(math.log(K / (2 * B)), 0.0),
            ),
            (
                "with more crops than prototypes the logarithm is negative; an entropy is not",
                lambda K, B, P: math.log(K / (2 * B * P)),
            ),
            (
                "K / crops: more crops, lower floor",
                lambda K, B, P: max(math.log(2 * B * P / K), 0.0),
            ),
            (
                "that counts in bits; our entropies are in nats, so take the natural logarithm",
                lambda K, B, P: max(math.log2(K / (2 * B * P)), 0.0),
            ),
            (
                "K / crops is no whole number: / and not //",
                lambda K, B, P: math.log(max(K // (2 * B * P), 1)),
            ),
        ),
    ),
    Exercise(
        "11.5",
        "a queue of earlier scores",
        with_queue,
        batch_and_queue,
        (
            ("the queue had no say: the same floor", lambda z, q, t: sinkhorn_knopp(z, t)),
            (
                "the targets of the queue are in the result; the loss needs those of the batch",
                lambda z, q, t: sinkhorn_knopp(torch.cat([z, q]), t),
            ),
            (
                "those are targets of the queue; your crops stand at the other end",
                lambda z, q, t: sinkhorn_knopp(torch.cat([q, z]), t)[: len(z)],
            ),
            (
                "those are targets of the end of the queue; your crops stand at the beginning",
                lambda z, q, t: sinkhorn_knopp(torch.cat([z, q]), t)[-len(z) :],
            ),
            (
                "right with a queue; before the first batch it is empty, and [:-0] keeps nothing",
                lambda z, q, t: sinkhorn_knopp(torch.cat([z, q]), t)[: -len(q)],
            ),
        ),
    ),
)
