"""Every test here makes something go wrong on purpose and writes down what became of it. With
DINOLITE_FAULTS=docs/trust.md in the environment, the table in that file is written anew:

    DINOLITE_FAULTS=docs/trust.md python -m pytest tests/trust
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- faults: written by tests/trust -->", "<!-- end of faults -->"
HEAD = "| fault | tried | survived | what the user sees |\n|---|--:|--:|---|\n"


@dataclass
class Faults:
    """fault -> [times tried, times survived, what the user sees]."""

    rows: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def survived(self, fault: str, sees: str, times: int = 1) -> None:
        """Called at the end of a test: all its assertions held."""
        tried, well, _ = self.rows.get(fault, (0, 0, ""))
        self.rows[fault] = (tried + times, well + times, sees)

    def table(self) -> str:
        lines = [
            f"| {fault} | {tried} | {well} | {sees.replace('|', '/')} |\n"
            for fault, (tried, well, sees) in self.rows.items()
        ]
        return HEAD + "".join(lines)


FAULTS = Faults()


@pytest.fixture(scope="session")
def faults() -> Iterator[Faults]:
    yield FAULTS


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Put the table between its marks, if a file was named and nothing failed."""
    target = os.environ.get("DINOLITE_FAULTS")
    if not target or session.testsfailed or not FAULTS.rows:
        return
    path = Path(target)
    before, rest = path.read_text("utf8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{FAULTS.table()}{END}{after}", "utf8")
