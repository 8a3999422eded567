"""Every place that lessons/TROUBLESHOOTING.md points to is there: the notebook, and the heading."""

import json
import re
from pathlib import Path

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
PAGE = (LESSONS / "TROUBLESHOOTING.md").read_text("utf8")
PLACE = re.compile(r"\[(\d\d)\]\((\d\d_\w+\.ipynb)\): ([^|]+?) \|")
ASKED = ("does not go down", "batch size", "collapse", "curves look like", "centring", "choose K",
         "temperature", "momentum")  # fmt: skip


def headings(notebook: str) -> set[str]:
    cells = json.loads((LESSONS / notebook).read_text("utf8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return set(re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE))


def test_every_place_exists() -> None:
    places = PLACE.findall(PAGE)
    assert len(places) == PAGE.count(".ipynb")
    for number, notebook, heading in places:
        assert notebook.startswith(number)
        assert heading in headings(notebook), f"{notebook} has no heading {heading!r}"


def test_the_questions_asked_most_are_answered() -> None:
    first_table = PAGE.split("## The loss")[0]
    assert all(words in first_table for words in ASKED)
