"""Exercises of lesson 10, DINO loss: counting pairs, a cross-entropy, its mean over pairs, its
gradient, and what a curve says.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.checking import Exercise, as_number, keeping
from dinolite_course.exercises import pairings, readings
from dinolite_course.figures.matrices import matrix_figure


def pairs(G: int, L: int) -> int:
    return G * (G - 1) + G * L


def cross_entropy(scores: Tensor, target: Tensor, temp: float) -> Tensor:
    return -(target * (scores / temp).log_softmax(dim=-1)).sum(dim=-1).mean()


def overflowing(scores: Tensor, target: Tensor, temp: float) -> Tensor:
    e = (scores / temp).exp()
    return -(target * (e / e.sum(dim=-1, keepdim=True)).log()).sum(dim=-1).mean()


def swapped(scores: Tensor, target: Tensor, temp: float) -> Tensor:
    """The student's distribution in front of the log of the target."""
    q = (scores / temp).softmax(dim=-1)
    return -(q * target.log()).sum(dim=-1).mean()


def slope(scores: Tensor, target: Tensor, temp: float) -> Tensor:
    return ((scores / temp).softmax(dim=-1) - target) / temp / len(scores)


def scores_and_targets() -> list[tuple[Tensor, Tensor, float]]:
    """Ordinary scores of three pictures, then large ones of two."""
    draw = torch.Generator().manual_seed(0)
    scores, target = torch.randn(2, 3, 5, generator=draw)
    return [(scores, target.softmax(-1), 0.5), (30 * scores[:2], target[:2].softmax(-1), 0.1)]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    """The slopes of the first case."""
    return matrix_figure({"expected": expected, "yours": actual})


EXERCISES = (
    Exercise(
        "10.1",
        "how many pairs count",
        pairs,
        lambda: [(2, 8), (2, 10), (3, 4)],
        (
            ("no crop is asked about itself: G too many", lambda G, L: G * G + G * L),
            (
                "both directions count: student 0 is asked about teacher 1, and 1 about 0",
                lambda G, L: G * (G - 1) // 2 + G * L,
            ),
            ("the teacher sees no local crop: none is asked", lambda G, L: (G + L) * (G + L - 1)),
            ("those are the pairs with local crops; global ones count too", lambda G, L: G * L),
        ),
    ),
    Exercise(
        "10.2",
        "one cross-entropy",
        cross_entropy,
        scores_and_targets,
        (
            ("the scores are not divided by temp", lambda z, p, t: cross_entropy(z, p, 1.0)),
            (
                "right for small scores, inf or nan for large ones: log_softmax does both in one "
                "safe step",
                overflowing,
            ),
            (
                "a softmax that became 0 has the log minus infinity: log_softmax does both in one "
                "safe step",
                lambda z, p, t: -(p * (z / t).softmax(dim=-1).log()).sum(dim=-1).mean(),
            ),
            (
                "the sum over prototypes became a mean: it is too small by the factor K",
                lambda z, p, t: cross_entropy(z, p, t) / z.shape[-1],
            ),
            (
                "the sum over pictures stayed a sum: take the mean over them",
                lambda z, p, t: cross_entropy(z, p, t) * len(z),
            ),
            ("swapped: the target stands in front, the log is the student's", swapped),
            (
                "softmax runs over the photographs; each chooses among the prototypes",
                lambda z, p, t: -(p * (z / t).log_softmax(dim=0)).sum(dim=-1).mean(),
            ),
            (
                "softmax twice: torch's cross_entropy has one inside and wants scores",
                lambda z, p, t: cross_entropy((z / t).softmax(dim=-1), p, 1.0),
            ),
            ("multiplied by temp; divide", lambda z, p, t: cross_entropy(z, p, 1 / t)),
            ("the sign: a cost is not below 0", lambda z, p, t: -cross_entropy(z, p, t)),
            (
                "the entropy of the target was taken off: that is the KL divergence",
                lambda z, p, t: cross_entropy(z, p, t) + (p * p.log()).sum(dim=-1).mean(),
            ),
            (
                "the target has probabilities already: no softmax",
                lambda z, p, t: cross_entropy(z, p.softmax(dim=-1), t),
            ),
        ),
        run=as_number,
    ),
    Exercise(
        "10.3",
        "the mean over pairs of different crops",
        pairings.other_crops,
        pairings.crops,
        (
            ("the pairs of the same crop are in it", pairings.all_crops),
            (
                "the same crops are still counted: divide by the pairs that count",
                pairings.too_many_counted,
            ),
            ("divide by B, too", lambda s, t, temp: pairings.other_crops(s, t, temp) * s.shape[1]),
            (
                "that is the sum over pairs: divide by their number",
                pairings.summed,
            ),
            ("the temperature is missing", lambda s, t, temp: pairings.other_crops(s, t, 1.0)),
            (
                "the teacher has probabilities already: no softmax",
                lambda s, t, temp: pairings.other_crops(s, t.softmax(dim=-1), temp),
            ),
        ),
        run=as_number,
    ),
    Exercise(
        "10.4",
        "the gradient without autograd",
        slope,
        scores_and_targets,
        (
            ("the 1 / temp of the inner derivative is missing", lambda z, p, t: slope(z, p, t) * t),
            (
                "the loss is a mean over B pictures, so each gets 1 / B of the gradient",
                lambda z, p, t: slope(z, p, t) * len(z),
            ),
            ("the sign: student minus target", lambda z, p, t: -slope(z, p, t)),
            ("the softmax needs the temperature", lambda z, p, t: (z.softmax(-1) - p) / t / len(z)),
        ),
        run=keeping,
        picture=side_by_side,
    ),
    Exercise(
        "10.5",
        "what a curve says",
        readings.diagnose,
        readings.readings,
        (
            (
                "the loss alone cannot tell: ln K with a flat target means that nothing is asked",
                readings.by_loss,
            ),
            (
                "the entropy alone cannot tell whether the student has learned the answer",
                lambda loss, entropy, K: readings.diagnose(entropy, entropy, K),
            ),
            (
                "ln K belongs to the head: K is an argument",
                lambda loss, entropy, K: readings.diagnose(loss, entropy, 1024),
            ),
            (
                "a sharp target alone is no collapse: the student must already agree with it",
                readings.by_entropy,
            ),
            ("the limits are shares of ln K, not 0.05 away from it and from 0", readings.fixed),
            ("a loss above ln K is not learned yet, either", readings.around),
            (
                "collapsed means a loss near 0; near the entropy, the student has learned it",
                readings.gap,
            ),
        ),
    ),
)
