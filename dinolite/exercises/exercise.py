"""An exercise as its author writes it: the right answer, what to try it on, and the mistakes that
people make, each with the sentence that helps.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


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


def lesson_numbers() -> list[str]:
    """The lessons that have exercises: ["00", "01", ...]."""
    files = Path(__file__).parent.glob("lesson_[0-9][0-9].py")
    return sorted(path.stem.removeprefix("lesson_") for path in files)


def exercises_of(lesson: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson, in order.

    Raises:
        ValueError: there is no such lesson.
    """
    name = f"dinolite.exercises.lesson_{lesson}"
    if lesson not in lesson_numbers() or importlib.util.find_spec(name) is None:
        raise ValueError(
            f"lesson {lesson!r} has no exercises; those that have: {', '.join(lesson_numbers())}"
        )
    found: tuple[Exercise, ...] = import_module(name).EXERCISES
    return found


def find(id: str) -> Exercise:
    """The exercise with that id.

    Raises:
        ValueError: there is none.
    """
    mine = {e.id: e for e in exercises_of(id.partition(".")[0])}
    if id not in mine:
        raise ValueError(f"there is no exercise {id!r}; this lesson has {', '.join(mine)}")
    return mine[id]
