"""The exercises of all lessons, one file a lesson: how one is written (the solution, what to try it
on, and its slips), and how one is found by its id.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """How most exercises try an answer."""
    return function(*arguments)


Slip = tuple[Any, ...]
"""A known mistake: (sentence, old, new), an edit of the solution's own text; or with several edits
(sentence, (old, new), (old, new), ...); or, where no edit says it, (sentence, function)."""


@dataclass
class Exercise:
    """One exercise of a lesson; made by `exercise`, and called like its solution.

    Args:
        id: "03.2", lesson and number.
        title: what is asked, in a few words.
        answer: the right function (or class).
        cases: makes the inputs, a list of argument tuples; anew for every try, so that an answer
            which changes its input harms nobody. Seed what is random.
        slips: known mistakes. An answer that does what one of them does on every case gets its
            sentence.
        run: how an answer is tried on a case; for a class, say, build it and call it.
        tolerance: floats may differ by this much, absolutely and relatively.
        picture: draws (expected, actual) side by side, where that helps.
    """

    id: str
    title: str
    answer: Callable[..., Any]
    cases: Callable[[], Sequence[tuple[Any, ...]]]
    slips: Sequence[Slip] = ()
    run: Callable[..., Any] = call
    tolerance: float = 1e-4
    picture: Callable[[Any, Any], Figure] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.answer(*arguments, **named)

    @property
    def solution(self) -> str:
        """The text of the answer, as readers find it in `lessons/solutions`."""
        text = textwrap.dedent(inspect.getsource(self.answer))
        definition = ast.parse(text).body[0]
        assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
        return "".join(text.splitlines(keepends=True)[definition.lineno - 1 :])

    @property
    def mistakes(self) -> list[tuple[str, Callable[..., Any]]]:
        """The slips as (sentence, function that makes the mistake)."""
        return [(sentence, self.slipped(sentence, *how)) for sentence, *how in self.slips]

    def slipped(self, sentence: str, *how: Any) -> Callable[..., Any]:
        """The solution with one slip in it.

        Raises:
            ValueError: an old text does not stand exactly once in the solution.
        """
        if len(how) == 1 and callable(how[0]):
            mistake: Callable[..., Any] = how[0]
            return mistake
        text = self.solution
        for old, new in [how] if isinstance(how[0], str) else how:
            if text.count(old) != 1:
                raise ValueError(
                    f"exercise {self.id}, slip {sentence!r}: {old!r} stands {text.count(old)} "
                    "times in the solution; once is wanted"
                )
            text = text.replace(old, new)
        names = dict(vars(sys.modules[self.answer.__module__]))
        exec(compile(text, f"<a slip of {self.id}>", "exec"), names)
        found: Callable[..., Any] = names[self.answer.__name__]
        return found


def exercise(
    id: str,
    title: str,
    cases: Sequence[tuple[Any, ...]] | Callable[[], Sequence[tuple[Any, ...]]],
    run: Callable[..., Any] = call,
    tolerance: float = 1e-4,
    picture: Callable[[Any, Any], Figure] | None = None,
) -> Callable[[Callable[..., Any]], Exercise]:
    """Decorate the solution with what makes it an exercise; see `Exercise`. `cases` that hold no
    tensors may be a list."""
    make = cases if callable(cases) else lambda: deepcopy(cases)

    def made(answer: Callable[..., Any]) -> Exercise:
        return Exercise(id, title, answer, make, (), run, tolerance, picture)

    return made


def lesson_numbers() -> list[str]:
    """The lessons that have exercises: ["00", "01", ...]."""
    return sorted(path.stem[1:] for path in Path(__file__).parent.glob("e[0-9][0-9].py"))


def exercises_of(lesson: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson, in order.

    Raises:
        ValueError: there is no such lesson.
    """
    name = f"dinolite_course.exercises.e{lesson}"
    if lesson not in lesson_numbers() or importlib.util.find_spec(name) is None:
        raise ValueError(
            f"lesson {lesson!r} has no exercises; those that have: {', '.join(lesson_numbers())}"
        )
    found = vars(import_module(name))
    mine = [x for x in found.values() if isinstance(x, Exercise)]
    return tuple(x for x in mine if x.id.startswith(lesson))


def find(id: str) -> Exercise:
    """The exercise with that id.

    Raises:
        ValueError: there is none.
    """
    mine = {e.id: e for e in exercises_of(id.partition(".")[0])}
    if id not in mine:
        raise ValueError(f"there is no exercise {id!r}; this lesson has {', '.join(mine)}")
    return mine[id]
