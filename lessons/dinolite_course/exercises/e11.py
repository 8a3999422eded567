"""Exercises of lesson 11, Sinkhorn-Knopp: sums, centring, log space, the floor, a queue."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise
from dinolite_course.figures.matrices import matrix_figure


@exercise("11.1", "shape and sums of the targets", cases=[(12, 4), (64, 256), (8, 32)])
def sums(n, K):
    return n, K, 1, n / K


sums.slips = [
    ("one row per crop: n rows and K columns", "n, K, 1", "K, n, 1"),
    ("n units go to K prototypes: n / K each, not K / n", "n / K", "K / n"),
    ("a prototype gets 1 / K of the mass, which is n", "n / K", "1 / K"),
    ("only crops have one unit each; prototypes share them", "n / K", "1"),
]


def scores_and_center():
    draw = torch.Generator().manual_seed(1)

    def rand(n):
        return torch.randn(n, 4, generator=draw)

    return [(rand(6), rand(1), temp) for temp in (0.5, 0.2)]


def side_by_side(expected: Tensor, actual: Tensor) -> Figure:
    return matrix_figure({"expected": expected, "yours": actual})


@exercise(
    "11.2",
    "centred and sharpened targets",
    cases=scores_and_center,
    run=keeping,
    picture=side_by_side,
)
def targets_by_centring(logits, center, temp):
    return ((logits - center) / temp).softmax(dim=-1)


DIVIDED_FIRST = "the centre is a mean of scores: subtract it before you divide by the temperature"
MEAN_OF_BATCH = "that is the mean of this batch; subtract the centre that is given"
targets_by_centring.slips = [
    ("the centre is added; subtract it", "- center", "+ center"),
    (DIVIDED_FIRST, "(logits - center) / temp", "logits / temp - center"),
    ("the temperature is missing: no sharpening", " / temp", ""),
    ("the centre is missing: no centring", " - center", ""),
    (MEAN_OF_BATCH, "- center", "- logits.mean(dim=0)"),
    ("multiplied by the temperature; divide", "/ temp", "* temp"),
    ("softmax runs over the crops; each crop chooses among the prototypes", "dim=-1", "dim=0"),
]


def ordinary_and_large():
    """Scores as a head gives them, some that are far above 88 times the temperature, and crops
    whose scores are all larger or smaller than those of others by 1000 temperatures.
    """
    draw = torch.Generator().manual_seed(2)
    scores = 0.3 * torch.randn(6, 4, generator=draw)
    apart = scores + torch.tensor([0.0, 0, 40, 0, -40, 0])[:, None]
    return [(scores, 0.1, 2), (20 * scores, 0.04, 2), (apart, 0.04, 4), (scores[:, :3] + 1, 0.1, 1)]


@exercise(
    "11.3",
    "Sinkhorn-Knopp in log space",
    cases=ordinary_and_large,
    run=keeping,
    picture=side_by_side,
)
def sinkhorn(logits, temp, rounds):
    log_q = logits / temp  # [n, K]
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()


def exp_form(logits, temp, rounds):
    q = (logits / temp).exp()
    for _ in range(rounds):
        q = q / q.sum(dim=0, keepdim=True)
        q = q / q.sum(dim=1, keepdim=True)
    return q


CROPS_FIRST = "each round ends with the crops, or their targets do not sum to 1"
OWN_MAXIMUM = "the maximum of each crop was subtracted: crops weigh differently"
sinkhorn.slips = [
    (CROPS_FIRST, ("dim=0", "dim=-1"), ("dim=1", "dim=0")),
    ("one softmax per crop: no prototype is even", "log_q.logsumexp(dim=0, keepdim=True)", "0"),
    ("there was one round; repeat it", "range(rounds)", "range(1)"),
    ("right for small scores, nan for large ones: stay in log space", exp_form),
    (OWN_MAXIMUM, "logits / temp", "(logits - logits.amax(dim=1, keepdim=True)) / temp"),
    ("the temperature is missing", " / temp", ""),
    ("those are logarithms still: exp at the very end", ".exp()", ""),
    ("always three: rounds is an argument", "range(rounds)", "range(3)"),
    ("always two: rounds is an argument", "range(rounds)", "range(2)"),
    ("one round too many", "range(rounds)", "range(rounds + 1)"),
    (
        "float64, or a maximum subtracted first, moves the limit; there is one still: stay "
        "in log space",
        lambda logits, temp, rounds: exp_form(logits.double(), temp, rounds),
    ),
]


@exercise(
    "11.4",
    "the entropy floor of a run",
    cases=[(65536, 64, 1), (65536, 64, 8), (64, 128, 1), (4096, 256, 4), (1000, 24, 3)],
)
def floor_of_a_run(K, pictures, processes):
    # Twice the GPUs and half the prototypes lower the floor alike, by ln 2.
    crops = 2 * pictures * processes
    return max(math.log(K / crops), 0.0)


BELOW_0 = "with more crops than prototypes the logarithm is negative; an entropy is not"
IN_BITS = "that counts in bits; our entropies are in nats, so take the natural logarithm"
floor_of_a_run.slips = [
    ("every picture has two global crops, and both are in the batch of the teacher", "2 * ", ""),
    ("the column sums run over all processes, so their crops count too", " * processes", ""),
    (BELOW_0, "max(math.log(K / crops), 0.0)", "math.log(K / crops)"),
    ("K / crops: more crops, lower floor", "K / crops", "crops / K"),
    (IN_BITS, "math.log", "math.log2"),
    ("K / crops is no whole number: / and not //", "K / crops", "max(K // crops, 1)"),
]


def batch_and_queue():
    """A long queue, a short one, and none yet."""
    draw = torch.Generator().manual_seed(3)
    logits = 0.3 * torch.randn(4, 8, generator=draw)
    queue = 0.3 * torch.randn(12, 8, generator=draw)
    cuts = [(4, 12, 0.1), (2, 7, 0.07), (4, 2, 0.2), (4, 0, 0.1)]
    return [(logits[:n], queue[:m], temp) for n, m, temp in cuts]


@exercise("11.5", "a queue of earlier scores", cases=batch_and_queue)
def with_queue(logits, queue, temp):
    # The floor falls from ln(K / n) to ln(K / (n + m)) with m crops in the
    # queue, and no memory is needed for their gradients. The price: these
    # scores come from an older teacher. A teacher that moves slowly, or a
    # short queue, keeps them usable.
    both = torch.cat([logits, queue])  # [n + m, K]
    return sinkhorn_knopp(both, temp)[: len(logits)]


TOO_MANY = "the targets of the queue are in the result; the loss needs those of the batch"
OTHER_END = "those are targets of the queue; your crops stand at the other end"
LAST_ONES = "those are targets of the end of the queue; your crops stand at the beginning"
EMPTY_QUEUE = "right with a queue; before the first batch it is empty, and [:-0] keeps nothing"
with_queue.slips = [
    ("the queue had no say: the same floor", "(both, temp)", "(logits, temp)"),
    (TOO_MANY, "[: len(logits)]", ""),
    (OTHER_END, "[logits, queue]", "[queue, logits]"),
    (LAST_ONES, "[: len(logits)]", "[-len(logits) :]"),
    (EMPTY_QUEUE, "len(logits)", "-len(queue)"),
]
