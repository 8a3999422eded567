"""Exercises that check themselves: an answer is tried, compared with the right one, and where they
differ the reader is told how: like a known mistake, another shape, transposed, or by how much.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite_course.exercises import Exercise, find
from dinolite_course.progress import remember


class Remark(Exception):
    """What is wrong with an answer whatever its numbers, in a sentence for the reader. Raised by
    `run`, the way an exercise is tried."""


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


def by_name(function: Function, *arguments: Any) -> list[tuple[str, Tensor]] | None:
    """Names and tensors of a dictionary that a function returns, whatever their order.

    Raises:
        Remark: the answer is no dictionary, or one that it was given is another one afterwards.
    """
    given = [(a, list(a.items())) for a in arguments if isinstance(a, dict)]
    copies = [[w.clone() for _, w in items] for _, items in given]
    found = function(*arguments)
    for (state, items), old in zip(given, copies, strict=True):
        intact = [(n, id(w)) for n, w in state.items()] == [(n, id(w)) for n, w in items]
        if not intact or not all(torch.equal(w, c) for (_, w), c in zip(items, old, strict=True)):
            raise Remark("that changes a dictionary or a tensor it was given; make new ones")
    if found is not None and not isinstance(found, dict):
        raise Remark("return a dictionary from names to tensors")
    return None if found is None else sorted(found.items())


@dataclass(frozen=True)
class Verdict:
    """What `check` found; shown as one sentence, the input it is about, and a picture if any."""

    id: str
    solved: bool
    sentence: str
    tried: str = ""
    figure: Figure | None = None

    def __repr__(self) -> str:
        return f"{self.id}: {self.sentence}" + (f"\n(tried on {self.tried})" if self.tried else "")

    def _repr_png_(self) -> bytes | None:
        from dinolite.viz.style import png_bytes

        return None if self.figure is None else png_bytes(self.figure)


def check(id: str, attempt: Callable[..., Any]) -> Verdict:
    """Is this answer to exercise `id` right? If not, which kind of wrong is it, on which input?

    Args:
        id: "03.2".
        attempt: the reader's function or class.
    """
    exercise = find(id)
    inputs = [described(exercise, case) for case in exercise.cases()]
    actual: list[Any] = []
    try:
        for case in exercise.cases():
            actual.append(exercise.run(attempt, *case))
    except NotImplementedError:
        return Verdict(id, False, "not attempted yet")
    except Remark as remark:
        return Verdict(id, False, f"not yet: {remark}", inputs[len(actual)])
    except Exception as error:
        sentence = f"your code raised {type(error).__name__}: {error}"
        return Verdict(id, False, sentence, inputs[len(actual)])
    expected = outcomes(exercise, exercise.answer)
    right = [same(e, a, exercise.tolerance) for e, a in zip(expected, actual, strict=True)]
    if all(right):
        remember(id)
        return Verdict(id, True, "right")
    first = right.index(False)
    for sentence, mistake in exercise.mistakes:
        known = outcomes(exercise, mistake)
        if all(map(same, known, actual, [exercise.tolerance] * len(known))):
            figure = picture(exercise, expected[first:], actual[first:])
            return Verdict(id, False, f"not yet: {sentence}", inputs[first], figure)
    figure = picture(exercise, expected[first:], actual[first:])
    sentence = f"not yet: {difference(expected[first], actual[first])}"
    return Verdict(id, False, sentence, inputs[first], figure)


def described(exercise: Exercise, case: tuple[Any, ...]) -> str:
    """A case in words: "scores [3, 5], temp = 0.5"."""
    try:
        names = list(inspect.signature(exercise.answer).parameters)
    except (TypeError, ValueError):
        names = []
    names += [f"argument {i}" for i in range(len(names), len(case))]
    return ", ".join(value_in_words(name, x) for name, x in zip(names, case, strict=False))


def value_in_words(name: str, x: Any) -> str:
    """A name with its value if that is short, else with its shape or kind."""
    if isinstance(x, Tensor):
        short = x.numel() <= 4 and not x.is_complex()
        return f"{name} = {numbers(x.tolist())}" if short else f"{name} {list(x.shape)}"
    text = f"{name} = {numbers(x)}"
    return text if len(text) <= 60 else f"{name}, a {type(x).__name__}"


def numbers(x: Any) -> str:
    """Like repr, with floats to four digits."""
    if isinstance(x, float):
        return f"{x:.4g}"
    if isinstance(x, list):
        return f"[{', '.join(map(numbers, x))}]"
    return repr(x)


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
