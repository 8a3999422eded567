"""What makes `pytest --nbval` repeatable anywhere: one thread, offline, floats with a tolerance.

nbval compares stored and new outputs as strings. Here these are `NearText`: floats may differ by
one part in a thousand, since CPUs round differently; integers, shapes and words must be the same.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent
RELATIVE = 1e-3

# The lessons' kernels inherit these. Torch reads the first when it is imported: not before here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
inherited = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(
    [
        *(str(ROOT / p) for p in ("tests/offline", ".", "lessons")),
        *([inherited] if inherited else []),
    ]
)
os.environ["DINOLITE_PROGRESS"] = ""  # what a reader has solved changes no output

from dinolite.cli import forbid_network  # noqa: E402  it imports torch

# Neither tests nor lessons, nor any Python they start, may reach another machine.
forbid_network()

LONGEST = (
    "lessons/16_training",
    "lessons/17_collapse",
    "lessons/20_gram",
    "tests/test_commands",
    "lessons/14_ema",
    "lessons/23_scaling",
    "tests/trust/test_interruption",
    "lessons/21_resolution",
    "lessons/18_reading_features",
    "lessons/22_real_dinov3",
    "lessons/00_the_map",
    "lessons/19_seeing_features",
    "tests/course/test_exercises",
    "tests/trust/test_leaks",
    "tests/course/test_browser",
    "tests/test_parallel",
    "tests/test_weights",
)
"""Files by the time they take; all others take less. Two processes that begin with these end
together."""

# A float has a point, or an exponent with a sign, as Python, NumPy and torch print them. "3." is
# one only before a comma or bracket ("tensor([3., 4.])"); elsewhere it ends a sentence. Versions
# (1.2.3) and names (v1.5) are words. Torch pads for the minus sign, so the spaces before a float
# belong to it.
FLOAT = re.compile(
    r"[ ]*(?<![\w.])"
    r"([+-]?(?:\d+\.\d+(?:[eE][+-]?\d{1,3})?|\d+(?:\.)?[eE][+-]\d{1,3}|\d+\.(?=[,\])])))"
    r"(?!\d|_|\.\d)"
)


def near(a: str, b: str) -> bool:
    """Whether two printed floats agree within `RELATIVE` of the larger."""
    return math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=0.0)


def same_text(a: str, b: str) -> bool:
    """Whether two outputs agree: their floats within `RELATIVE`, all else exactly."""
    a, b = str(a), str(b)  # plain strings: a NearText would come back here
    if a == b:
        return True
    if FLOAT.sub("\0", a) != FLOAT.sub("\0", b):
        return False
    return all(map(near, FLOAT.findall(a), FLOAT.findall(b)))


class NearText(str):
    """A string that equals another if `same_text` says so."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return same_text(self, other) if isinstance(other, str) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other


def tolerant(sanitize: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap nbval's sanitiser, through which each side of each comparison passes."""

    def wrapped(output: Any) -> Any:
        clean = sanitize(output)
        return NearText(clean) if isinstance(clean, str) else clean

    return wrapped


def pytest_configure(config: pytest.Config) -> None:
    """Point nbval to the sanitiser file; in `addopts` its path would be relative to nowhere."""
    if getattr(config.option, "nbval_sanitize_with", "no nbval") is None:
        config.option.nbval_sanitize_with = str(ROOT / "tests" / "nbval.cfg")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each notebook cell the tolerant comparison."""
    if type(item).__name__ == "IPyNbCell":
        item.sanitize = tolerant(item.sanitize)  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, each whole and in its order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0].rpartition(".")[0], len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The cells of a notebook share one kernel, so `-n 2` deals out whole files, in our order."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how long each lesson took; its kernel's start is counted."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            where = getattr(report, "nodeid", "").split("::")[0]
            if where.endswith(".ipynb"):
                seconds[where] += getattr(report, "duration", 0.0)
    for where, total in sorted(seconds.items()):
        terminalreporter.write_line(f"{where}: {total:.1f} s")
