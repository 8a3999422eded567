"""The exercises of all lessons, one file a lesson, and how to find one by its id."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dinolite_course.checking import Exercise


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
    mine = [x for x in found.values() if hasattr(x, "slips") and x.id.startswith(lesson)]
    return tuple(mine)


def find(id: str) -> Exercise:
    """The exercise with that id.

    Raises:
        ValueError: there is none.
    """
    mine = {e.id: e for e in exercises_of(id.partition(".")[0])}
    if id not in mine:
        raise ValueError(f"there is no exercise {id!r}; this lesson has {', '.join(mine)}")
    return mine[id]
