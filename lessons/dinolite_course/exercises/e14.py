"""Exercises of lesson 14, EMA: half-life, the shares of the past, what is averaged and what stays,
noise against delay, how old a teacher is under a schedule.
"""

import math

import torch

from dinolite_course.checking import Remark, by_name, keeping
from dinolite_course.exercises import exercise


@exercise("14.1", "the half-life", cases=[(0.5,), (0.9,), (0.98,), (0.994,)])
def half_life(momentum):
    return math.log(0.5) / math.log(momentum)


RATIO = "math.log(0.5) / math.log(momentum)"
MEAN_LENGTH = "that is the mean length of the memory; half of a weight is gone sooner"
NEAR_1 = "close for a momentum near 1, but ln m is not exactly m - 1"
half_life.slips = [
    (MEAN_LENGTH, RATIO, "1 / (1 - momentum)"),
    ("the sign: both logarithms are negative, so their ratio is positive", "0.5", "2"),
    ("turned upside down: m^n = 0.5 is solved by ln 0.5 / ln m", RATIO, f"1 / ({RATIO})"),
    (NEAR_1, "math.log(momentum)", "(momentum - 1)"),
    ("that is when 1/e is left, not half", "math.log(0.5)", "-1"),
    ("rounded; the number need not be whole", RATIO, f"round({RATIO})"),
    ("rounded up; the number need not be whole", RATIO, f"math.ceil({RATIO})"),
]


@exercise("14.2", "the shares of the past", cases=[(0.5, 3), (0.9, 5), (0.8, 1)])
def shares(momentum, n):
    path = [torch.tensor([1.0])]
    for _ in range(n):
        path = [momentum * share for share in path] + [torch.tensor([1 - momentum])]
    return torch.cat(path)


NO_START = "the start is missing: the teacher still holds m^n of it, and all sum to 1"
BACKWARDS = "the latest student must have the largest share of the students, yours the smallest"
EXCHANGED = "m and 1 - m are exchanged: the newest student has the share 1 - m"
shares.slips = [
    (NO_START, "(path)", "(path[1:])"),
    ("the order is turned round: the start first, the latest student last", "path)", "path[::-1])"),
    (BACKWARDS, "(path)", "(path[:1] + path[:0:-1])"),
    ("the start came in whole, not with 1 - m: its share is m^n", "[1.0]", "[1 - momentum]"),
    ("no student comes in whole: its share begins at 1 - m", "[1 - momentum]", "[1.0]"),
    (EXCHANGED, ("momentum * share", "(1 - momentum) * share"), ("[1 - momentum]", "[momentum]")),
]


def states():
    """The student's names come in another order; one has a buffer's name in its own."""
    draw = torch.Generator().manual_seed(5)
    cases = []
    for momentum, names, buffers in (
        (0.9, ("weight", "bias", "periods"), {"periods"}),
        (0.75, ("mean", "std", "mean_weight", "gain"), {"mean", "std"}),
    ):
        teacher = {name: torch.randn(3, generator=draw) for name in names}
        student = {name: torch.randn(3, generator=draw) for name in names[::-1]}
        cases.append((teacher, student, momentum, buffers))
    return cases


@exercise("14.3", "what is averaged and what stays", cases=states, run=by_name)
def next_teacher(teacher, student, momentum, buffers):
    new = dict(teacher)
    for name in teacher.keys() - buffers:
        new[name] = torch.lerp(teacher[name], student[name], 1 - momentum)
    return new


BY_POSITION = "tensors belong together by name, not by position"
LIKE = "a buffer's name inside a longer name makes no buffer of it"
next_teacher.slips = [
    ("the buffers were averaged, too; they stay as they are in the teacher", " - buffers", ""),
    ("the buffers came from the student; the teacher keeps its own", "(teacher)", "(student)"),
    ("the buffers are gone: the new teacher has all names", "dict(teacher)", "{}"),
    ("momentum is the share of the old teacher; yours keeps 1 - m of it", "1 - ", ""),
    ("that is the student, not a slow copy of it", "return new", "return student"),
    (BY_POSITION, "new = dict", "student = dict(zip(teacher, student.values())); new = dict"),
    (LIKE, "teacher.keys() - buffers", "[n for n in teacher if not any(b in n for b in buffers)]"),
]


@exercise(
    "14.4",
    "noise against delay",
    cases=[(0.0, 1.0, 0.1), (0.5, 1.0, 0.1), (0.9, 2.0, 0.05), (0.98, 0.5, 0.01)],
)
def teacher_error(momentum, noise, drift):
    late = drift * momentum / (1 - momentum)
    return noise * (1 - momentum) / (1 + momentum) + late**2


INVERSE = "a higher momentum must leave less noise: (1 - m) / (1 + m), not the inverse"
NEWEST_ALONE = "that is the noise of the newest student alone; sum the squares of all weights"
SQUARE_OF_SUM = "that is the square of the sum of weights, not the sum of their squares"
teacher_error.slips = [
    ("that is the noise alone; the teacher is late as well", " + late**2", ""),
    ("that is the delay alone; some noise is left", "noise *", "0 *"),
    ("noise is a square already, the delay is not: square it before you add", "late**2", "late"),
    (INVERSE, "(1 - momentum) / (1 + momentum)", "(1 + momentum) / (1 - momentum)"),
    ("the mean age is m / (1 - m): the newest student has age 0, not 1", " * momentum", ""),
    (NEWEST_ALONE, "/ (1 + momentum)", "* (1 - momentum)"),
    (SQUARE_OF_SUM, " * (1 - momentum) / (1 + momentum)", ""),
    ("`noise` is a variance, so a square already", "noise *", "noise**2 *"),
]


def schedules():
    long = torch.full((50,), 0.9), torch.linspace(0.8, 0.99, 60)
    short = torch.tensor([0.5, 0.8]), torch.tensor([0.9, 0.0, 0.8, 1.0, 0.6])
    return [(momenta,) for momenta in long + short]


def finite(function, momenta):
    """What a function returns.

    Raises:
        Remark: it is nan.
    """
    found = keeping(function, momenta)
    if isinstance(found, float) and math.isnan(found):
        raise Remark("that is nan: a momentum may be 0, and 0 / 0 is no number")
    return found


@exercise("14.5", "the age of a teacher", cases=schedules, run=finite)
def teacher_age(momenta):
    # The weights of the students grow out of the rule itself: at each step all
    # old ones shrink by m and a new one enters with 1 - m. Under the cosine to 1
    # nothing enters near the end, so its teacher is several times older than the
    # one of the constant 0.98, whose age is 49 steps all the time.
    weights, ages = [], []
    for m in momenta.tolist():
        weights = [m * w for w in weights] + [1 - m]
        ages = [a + 1 for a in ages] + [0]
    return sum(w * a for w, a in zip(weights, ages, strict=True)) / sum(weights)


LAST_MOMENTUM = "that treats the last momentum as if it had held all the time"
BEFORE_IT = "a student is shrunk by the steps after its own; you multiply with those before"
OWN_STEP = "its own step does not shrink a student: multiply from the next step on"
NOT_DIVIDED = "the weights do not sum to 1, since some of the start is left: divide by their sum"
teacher_age.slips = [
    (LAST_MOMENTUM, "momenta.tolist()", "[momenta[-1].item()] * len(momenta)"),
    (BEFORE_IT, "return", "weights = ((1 - momenta) * momenta.cumprod(0)).tolist(); return"),
    (OWN_STEP, "[1 - m]", "[m * (1 - m)]"),
    (NOT_DIVIDED, " / sum(weights)", ""),
    ("the newest student has age 0, so all ages are one too large", "[0]", "[1]"),
    ("the share of the start is in it; only students count", "[], []", "[1.0], [0]"),
    ("a student enters with 1 - m of its own step; yours all enter whole", "[1 - m]", "[1]"),
]
