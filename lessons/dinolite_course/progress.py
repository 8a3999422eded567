"""Which exercises are solved, kept in a small file beside the lessons and nowhere else.

The environment variable `DINOLITE_PROGRESS` names another file (the tests set it to nothing).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from dinolite.checkpointer import write_text
from dinolite_course.exercises import exercises_of, lesson_numbers

FILE = ".progress.json"


def progress_file() -> Path:
    """`lessons/.progress.json`, called from the project or from lessons/."""
    if "DINOLITE_PROGRESS" in os.environ:
        return Path(os.environ["DINOLITE_PROGRESS"] or os.devnull)
    here = Path.cwd()
    return (here / "lessons" if (here / "lessons").is_dir() else here) / FILE


def solved() -> set[str]:
    """Ids of the solved exercises; empty where there is no readable file."""
    try:
        found = json.loads(progress_file().read_text("utf8"))["solved"]
        return {id for id in found if isinstance(id, str)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def remember(id: str) -> None:
    """Add an exercise to the solved ones. A folder that cannot be written stops nobody."""
    path, done = progress_file(), solved()
    if id in done or str(path) == os.devnull:
        return
    try:
        write_text(path, json.dumps({"solved": sorted({*done, id})}))
    except OSError:
        return


def progress(lesson: str) -> str:
    """One line for a lesson: how many of its exercises are solved, and which are open."""
    ids = [exercise.id for exercise in exercises_of(lesson)]
    open_ones = [id for id in ids if id not in solved()]
    line = f"lesson {lesson}: {len(ids) - len(open_ones)} of {len(ids)} exercises solved"
    return line + (f"; open: {', '.join(open_ones)}" if open_ones else "")


def all_progress() -> list[str]:
    """The line of every lesson."""
    return [progress(lesson) for lesson in lesson_numbers()]
