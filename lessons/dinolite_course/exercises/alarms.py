"""Exercise 17.3, an alarm that rings after some low looks in a row: the answer, its cases and what
people get wrong.
"""

from collections.abc import Callable, Sequence

from dinolite_course.checking import Remark

Values = Sequence[float]


def alarm(values: Values, every: int, least: float, patience: int) -> int | None:
    low = 0
    for i, value in enumerate(values):
        low = low + 1 if value < least else 0
        if low == patience:
            return i * every
    return None


def never_reset(values: Values, every: int, least: float, patience: int) -> int | None:
    low = 0
    for i, value in enumerate(values):
        low += value < least
        if low == patience:
            return i * every
    return None


def look_number(values: Values, every: int, least: float, patience: int) -> int | None:
    return alarm(values, 1, least, patience)


def looks_from_one(values: Values, every: int, least: float, patience: int) -> int | None:
    step = alarm(values, every, least, patience)
    return None if step is None else step + every


def impatient(values: Values, every: int, least: float, patience: int) -> int | None:
    return alarm(values, every, least, 1)


def too_patient(values: Values, every: int, least: float, patience: int) -> int | None:
    return alarm(values, every, least, patience + 1)


def where_it_began(values: Values, every: int, least: float, patience: int) -> int | None:
    step = alarm(values, every, least, patience)
    return None if step is None else step - (patience - 1) * every


def at_most(values: Values, every: int, least: float, patience: int) -> int | None:
    """Takes a look at `least` for a low one."""
    return alarm([v if v != least else least - 1 for v in values], every, least, patience)


def not_the_last(values: Values, every: int, least: float, patience: int) -> int | None:
    return alarm(values[:-1], every, least, patience)


def latest(values: Values, every: int, least: float, patience: int) -> int | None:
    """Goes on after it has rung."""
    steps = [i * every for i in range(patience - 1, len(values))
             if all(v < least for v in values[i - patience + 1 : i + 1])
             and (i == patience - 1 or values[i - patience] >= least)]  # fmt: skip
    return steps[-1] if steps else None


def zero_is_none(values: Values, every: int, least: float, patience: int) -> int | None:
    return alarm(values, every, least, patience) or None


def mean_of_looks(values: Values, every: int, least: float, patience: int) -> int | None:
    """The mean of `patience` looks instead of each."""
    for i in range(patience - 1, len(values)):
        if sum(values[i - patience + 1 : i + 1]) < patience * least:
            return i * every
    return None


def told(
    function: Callable[..., int | None],
    values: list[float],
    every: int,
    least: float,
    patience: int,
) -> str:
    """When the alarm rings, in words, so that None is no missing `return`.

    Raises:
        Remark: the list of values is another one afterwards, or no step where it never rings.
    """
    before = list(values)
    step = function(values, every, least, patience)
    if values != before:
        raise Remark("that changes `values`, and its caller loses it: only read them")
    if step is None:
        return "no alarm"
    if isinstance(step, bool):
        raise Remark("return a step, or None where it never rings")
    return f"an alarm at step {step:g}"


def histories() -> list[tuple[list[float], int, float, int]]:
    return [
        ([0.1, 0.5, 0.1, 0.6, 0.7, 0.8], 5, 0.2, 2),  # low twice, not in a row
        ([0.4, 0.3, 0.1, 0.0, 0.0, 0.0], 5, 0.2, 3),
        ([0.1, 0.6, 0.1, 0.1, 0.7, 0.1], 10, 0.2, 2),
        ([0.1, 0.3, 0.5, 0.7], 5, 0.2, 2),
        ([0.5, 0.5, 0.4, 0.3, 0.6, 0.2, 0.1], 7, 0.5, 2),  # two at `least`; rings twice
        ([0.9, 0.3, 0.2], 4, 0.4, 2),  # the last look
        ([0.1, 0.9], 6, 0.2, 1),  # the first one
    ]


MISTAKES = (
    ("it never rings; is a `return` missing?", lambda *a: None),
    ("one good look ends a bad series: set the count back to 0", never_reset),
    ("that is the number of the look; the step is `every` times as much", look_number),
    ("the first look is at step 0; yours counts from 1", looks_from_one),
    ("one low look may be chance: wait for `patience` of them in a row", impatient),
    ("too late: it rings at the look that makes `patience` in a row, not after it", too_patient),
    (
        "the series began there, but only its last look makes it long enough to ring",
        where_it_began,
    ),
    ("a look at exactly `least` is not below it", at_most),
    ("the last look counts, too", not_the_last),
    ("it rings at the first bad series; yours goes on to a later one", latest),
    ("step 0 is a step, though `if` takes it for false", zero_is_none),
    ("each of the looks has to be below `least`, not their mean", mean_of_looks),
    (
        "where it never rings the answer is None",
        lambda *a: -1 if (step := alarm(*a)) is None else step,
    ),
)
