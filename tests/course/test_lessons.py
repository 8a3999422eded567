"""The lessons keep their promises: budgets, shape, honest outputs, a notebook for each source; the
map and the page of troubles lead to what is there. `pytest --nbval` runs them."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from tools import lessons
from tools.lesson_map import lesson_map

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
SOURCES = sorted((LESSONS / "src").glob("[0-9]*.py"))
TROUBLES = (LESSONS / "TROUBLESHOOTING.md").read_text("utf8")
PLACE = re.compile(r"\[(\d\d)\]\((\d\d_\w+\.ipynb)\): ([^|]+?) \|")
ASKED = (
    "does not go down",
    "batch size",
    "collapse",
    "curves look like",
    "centring",
    "choose K",
    "temperature",
    "momentum",
)


def test_each_source_has_its_notebook() -> None:
    notebooks = {path.stem for path in LESSONS.glob("*.ipynb")}
    assert {path.stem for path in SOURCES} == notebooks


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_keeps_all_rules_and_is_in_step(source: Path) -> None:
    """As `python -m tools.lessons check` says it."""
    notebook = LESSONS / f"{source.stem}.ipynb"
    found = lessons.check(source, notebook)
    assert not found, "\n".join(found)
    nbformat.validate(nbformat.read(notebook, 4))


def test_the_map_is_made_from_the_cards() -> None:
    page = (LESSONS / "README.md").read_text("utf8")
    assert page == lesson_map(), "run `python -m tools.lesson_map`"


def test_glossary_has_each_term_once() -> None:
    lines = (LESSONS / "GLOSSARY.md").read_text().splitlines()
    terms = [line for line in lines if line.startswith("##")]
    assert len(terms) == len(set(terms)) and terms == sorted(terms, key=str.lower)


def headings(notebook: str) -> set[str]:
    cells = json.loads((LESSONS / notebook).read_text("utf8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return set(re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE))


def test_every_place_that_helps_with_a_trouble_exists() -> None:
    places = PLACE.findall(TROUBLES)
    assert len(places) == TROUBLES.count(".ipynb")
    for number, notebook, heading in places:
        assert notebook.startswith(number)
        assert heading in headings(notebook), f"{notebook} has no heading {heading!r}"


def test_the_questions_asked_most_are_answered() -> None:
    first_table = TROUBLES.split("## The loss")[0]
    assert all(words in first_table for words in ASKED)


@pytest.mark.parametrize(("side", "mode"), [(8, "RGB"), (300, "P")])
def test_large_pictures_are_stored_with_a_palette(side: int, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    raw = io.BytesIO()
    Image.fromarray(noise).save(raw, "PNG")
    small = lessons.packed(base64.b64encode(raw.getvalue()).decode())
    stored = Image.open(io.BytesIO(base64.b64decode(small)))
    assert stored.mode == mode and stored.size == (side, side)
    error = np.abs(np.asarray(stored.convert("RGB")).astype(int) - noise)
    assert error.mean() < (1 if mode == "RGB" else 32)  # 256 colours of 16 million
