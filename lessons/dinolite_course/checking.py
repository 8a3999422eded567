"""Exercises that check themselves: an answer is tried, compared with the right one, and where they
differ the reader is told how: like a known mistake, another shape, transposed, or by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.exercises import find
from dinolite_course.progress import remember


class Remark(Exception):
    """What is wrong with an answer whatever its numbers, in a sentence for the reader. Raised by
    `run`, the way an exercise is tried."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """How most exercises try an answer."""
    return function(*arguments)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson.

    Args:
        id: "03.2", lesson and number.
        title: what is asked, in a few words.
        answer: the right function (or class).
        cases: makes the inputs, a list of argument tuples; anew for every try, so that an answer
            which changes its input harms nobody. Seed what is random.
        wrong: known mistakes, (sentence, function) each. An answer that does what one of them
            does on every case gets its sentence.
        run: how an answer is tried on a case; for a class, say, build it and call it.
        tolerance: floats may differ by this much, absolutely and relatively.
        picture: draws (expected, actual) side by side, where that helps.
    """

    id: str
    title: str
    answer: Callable[..., Any]
    cases: Callable[[], Sequence[tuple[Any, ...]]]
    wrong: tuple[tuple[str, Callable[..., Any]], ...] = ()
    run: Callable[..., Any] = call
    tolerance: float = 1e-4
    picture: Callable[[Any, Any], Figure] | None = None


Function = Callable[..., Any]


def keeping(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: an argument is another one afterwards.
    """
    before = [a.clone() for a in arguments if isinstance(a, Tensor)]
    found = function(*arguments)
    after = [a for a in arguments if isinstance(a, Tensor)]
    if not all(map(torch.equal, before, after)):
        raise Remark(
            "that changes an argument in place, and its caller loses it: make a new tensor"
        )
    return found


@torch.no_grad()
def without_gradients(function: Function, *arguments: Any) -> Any:
    """As `keeping`, for a forward pass through trainable weights."""
    return keeping(function, *arguments)


def as_number(function: Function, *arguments: Any) -> Any:
    """As `keeping`; a Python float is as good as a tensor []."""
    found = keeping(function, *arguments)
    return torch.tensor(found) if isinstance(found, float) else found


def as_bools(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: a tensor of whole numbers.
    """
    found = function(*arguments)
    whole = isinstance(found, Tensor) and not found.is_floating_point()
    if whole and found.dtype != torch.bool:
        raise Remark("True and False are wanted, not 1 and 0")
    return found


def as_ints(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: a list with floats in it.
    """
    found = function(*arguments)
    if isinstance(found, tuple | list) and any(isinstance(x, float) for x in found):
        raise Remark("whole numbers are wanted, not floats: a count is an int")
    return found


@dataclass(frozen=True)
class Verdict:
    """What `check` found; shown as one sentence, with a picture where there is one."""

    id: str
    solved: bool
    sentence: str
    figure: Figure | None = None

    def __repr__(self) -> str:
        return f"{self.id}: {self.sentence}"

    def _repr_png_(self) -> bytes | None:
        from dinolite.viz.style import png_bytes

        return None if self.figure is None else png_bytes(self.figure)


def check(id: str, attempt: Callable[..., Any]) -> Verdict:
    """Is this answer to exercise `id` right? If not, which kind of wrong is it?

    Args:
        id: "03.2".
        attempt: the reader's function or class.
    """
    exercise = find(id)
    try:
        actual = outcomes(exercise, attempt)
    except NotImplementedError:
        return Verdict(id, False, "not attempted yet")
    except Remark as remark:
        return Verdict(id, False, f"not yet: {remark}")
    except Exception as error:
        return Verdict(id, False, f"your code raised {type(error).__name__}: {error}")
    expected = outcomes(exercise, exercise.answer)
    if all(map(same, expected, actual, [exercise.tolerance] * len(expected))):
        remember(id)
        return Verdict(id, True, "right")
    for sentence, mistake in exercise.wrong:
        known = outcomes(exercise, mistake)
        if all(map(same, known, actual, [exercise.tolerance] * len(known))):
            return Verdict(id, False, f"not yet: {sentence}", picture(exercise, expected, actual))
    pairs = zip(expected, actual, strict=True)
    first = next(p for p in pairs if not same(*p, exercise.tolerance))
    return Verdict(id, False, f"not yet: {difference(*first)}", picture(exercise, *zip(first)))


def outcomes(exercise: Exercise, function: Callable[..., Any]) -> list[Any]:
    """What a function makes of every case."""
    return [exercise.run(function, *case) for case in exercise.cases()]


def picture(exercise: Exercise, expected: Any, actual: Any) -> Figure | None:
    """Expected beside actual, if the exercise has a picture and the two can be drawn."""
    if exercise.picture is None or not isinstance(actual[0], type(expected[0])):
        return None
    if isinstance(expected[0], Tensor) and expected[0].shape != actual[0].shape:
        return None
    return exercise.picture(expected[0], actual[0])


def same(expected: Any, actual: Any, tolerance: float) -> bool:
    """Equal in kind, shape and value; floats within the tolerance; nan equals nan."""
    if isinstance(expected, Tensor):
        if not isinstance(actual, Tensor) or expected.shape != actual.shape:
            return False
        if expected.is_floating_point() != actual.is_floating_point():
            return False
        a, b = expected.detach().double(), actual.detach().double()
        return torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    if isinstance(expected, tuple | list):
        if not isinstance(actual, tuple | list) or len(expected) != len(actual):
            return False
        return all(same(e, a, tolerance) for e, a in zip(expected, actual, strict=True))
    if isinstance(expected, bool | str) or isinstance(actual, bool | str | Tensor | tuple | list):
        return type(expected) is type(actual) and bool(expected == actual)
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return abs(expected - actual) <= tolerance * max(1.0, abs(expected))
    return bool(expected == actual)


def difference(expected: Any, actual: Any) -> str:
    """The most telling difference, in words."""
    if actual is None:
        return "it returned None; does the last line say return?"
    if isinstance(expected, Tensor) and isinstance(actual, Tensor):
        return tensor_difference(expected, actual)
    if isinstance(expected, tuple | list) and isinstance(actual, tuple | list):
        if len(expected) != len(actual):
            return f"it returned {len(actual)} things, {len(expected)} are wanted"
        if all(isinstance(e, int | float | str) for e in expected):
            return f"it returned {tuple(actual)}, which is not right"
        for i, (e, a) in enumerate(zip(expected, actual, strict=True)):
            if not same(e, a, 1e-4):
                return f"in part {i}, {difference(e, a)}"
    if type(expected) is not type(actual) and {type(expected), type(actual)} != {int, float}:
        return f"it returned a {type(actual).__name__}, a {type(expected).__name__} is wanted"
    return f"it returned {actual!r}, which is not right"


def tensor_difference(expected: Tensor, actual: Tensor) -> str:
    """Shape first, then kind, then values."""
    if expected.shape != actual.shape:
        hint = ""
        if sorted(expected.shape) == sorted(actual.shape):
            hint = "; are two dimensions the wrong way round?"
        elif expected.numel() == actual.numel():
            hint = "; the numbers may be right and need another view"
        return f"the shape is {list(actual.shape)}, wanted is {list(expected.shape)}{hint}"
    if expected.is_floating_point() != actual.is_floating_point():
        return f"the dtype is {actual.dtype}, wanted is {expected.dtype}"
    if not bool(actual.double().isfinite().all()) and bool(expected.double().isfinite().all()):
        return "some of the numbers are nan or infinite"
    off = (expected.detach().double() - actual.detach().double()).abs()
    where = [int(i) for i in torch.unravel_index(off.argmax(), off.shape)]
    share = (off > 1e-4).double().mean().item()
    return (
        f"the shape is right, {100 * share:.0f} % of the numbers are not; the largest difference "
        f"is {off.max().item():.3g}, at {where}"
    )
