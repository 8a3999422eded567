"""Dictionaries of tensors: ways to try an answer that gets and returns some, and exercise 14.3,
what an EMA averages and what stays.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dinolite_course.checking import Remark

State = dict[str, Tensor]
CHANGED = "that changes a dictionary or a tensor it was given; make new ones"


def by_name(function: Callable[..., State], *arguments: Any) -> list[tuple[str, Tensor]] | None:
    """Names and tensors, whatever their order.

    Raises:
        Remark: the answer is no dictionary, or one that it was given is another one afterwards.
    """
    given = [(a, list(a.items())) for a in arguments if isinstance(a, dict)]
    copies = [[w.clone() for _, w in items] for _, items in given]
    found = function(*arguments)
    for (state, items), old in zip(given, copies, strict=True):
        intact = [(n, id(w)) for n, w in state.items()] == [(n, id(w)) for n, w in items]
        if not intact or not all(torch.equal(w, c) for (_, w), c in zip(items, old, strict=True)):
            raise Remark(CHANGED)
    if found is not None and not isinstance(found, dict):
        raise Remark("return a dictionary from names to tensors")
    return None if found is None else sorted(found.items())


def with_dtypes(
    function: Callable[..., State], state: State
) -> list[tuple[str, str, Tensor]] | None:
    """As `by_name`; what each tensor is stored as counts, too."""
    found = by_name(function, state)
    return None if found is None else [(name, str(w.dtype), w) for name, w in found]


def next_teacher(teacher: State, student: State, momentum: float, buffers: set[str]) -> State:
    return {
        name: old if name in buffers else momentum * old + (1 - momentum) * student[name]
        for name, old in teacher.items()
    }


def student_buffers(teacher: State, student: State, momentum: float, buffers: set[str]) -> State:
    kept = {name: student[name] for name in buffers}
    return next_teacher(teacher, student, momentum, buffers) | kept


def parameters_only(teacher: State, student: State, momentum: float, buffers: set[str]) -> State:
    new = next_teacher(teacher, student, momentum, buffers)
    return {name: w for name, w in new.items() if name not in buffers}


def by_position(teacher: State, student: State, momentum: float, buffers: set[str]) -> State:
    paired = dict(zip(teacher, student.values(), strict=True))
    return next_teacher(teacher, paired, momentum, buffers)


def part_of_a_name(teacher: State, student: State, momentum: float, buffers: set[str]) -> State:
    """Takes a name for a buffer's that has a buffer's name in it."""
    like = {name for name in teacher if any(buffer in name for buffer in buffers)}
    return next_teacher(teacher, student, momentum, like)


def states() -> list[tuple[State, State, float, set[str]]]:
    """The student's names come in another order; one has a buffer's name in its own."""
    draw = torch.Generator().manual_seed(5)
    cases: list[tuple[State, State, float, set[str]]] = []
    for momentum, names, buffers in (
        (0.9, ("weight", "bias", "periods"), {"periods"}),
        (0.75, ("mean", "std", "mean_weight", "gain"), {"mean", "std"}),
    ):
        teacher, student = (
            {name: torch.randn(3, generator=draw) for name in order}
            for order in (names, names[::-1])
        )
        cases.append((teacher, student, momentum, buffers))
    return cases


MISTAKES = (
    (
        "the buffers were averaged, too; they stay as they are in the teacher",
        lambda t, s, momentum, buffers: next_teacher(t, s, momentum, set()),
    ),
    ("the buffers came from the student; the teacher keeps its own", student_buffers),
    ("the buffers are gone: the new teacher has all names", parameters_only),
    (
        "momentum is the share of the old teacher; yours keeps 1 - m of it",
        lambda t, s, momentum, buffers: next_teacher(t, s, 1 - momentum, buffers),
    ),
    ("that is the student, not a slow copy of it", lambda t, s, momentum, buffers: s),
    ("tensors belong together by name, not by position", by_position),
    ("a buffer's name inside a longer name makes no buffer of it", part_of_a_name),
)
