"""The lessons keep their promises: budgets, shape, honest outputs, a gate that notices a change.

`pytest --nbval` runs them and compares the outputs; here is what it lets through.
"""

import shutil
from pathlib import Path

import nbformat
import pytest
from tests.lesson_gate import nbval, spoil

from tools import lessons
from tools.lesson import Lesson, Rule
from tools.lesson_map import lesson_map, read_card
from tools.lesson_rules import RULES

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
NOTEBOOKS = sorted(LESSONS.glob("*.ipynb"))
each_lesson = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_lesson
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(path: Path, rule: Rule) -> None:
    found = list(rule(Lesson(path, nbformat.read(path, 4))))
    assert not found, "\n".join(found)


@each_lesson
def test_is_a_valid_notebook(path: Path) -> None:
    nbformat.validate(nbformat.read(path, 4))


def test_each_source_has_its_notebook() -> None:
    sources = {path.stem for path in (LESSONS / "src").glob("[0-9]*.py")}
    assert sources == {path.stem for path in NOTEBOOKS}


@each_lesson
def test_is_in_step_with_its_source(path: Path) -> None:
    assert lessons.in_step(LESSONS / "src" / f"{path.stem}.py", path), "run `make lessons`"


def test_the_map_is_made_from_the_cards() -> None:
    page = (LESSONS / "README.md").read_text("utf8")
    assert page == lesson_map(), "run `python -m tools.lesson_map`"


def test_a_card_without_a_row_is_named(tmp_path: Path) -> None:
    source = tmp_path / "01_x.py"
    source.write_text(
        "# %% [markdown]\n# # 01 X\n#\n# **Why?**\n\n# %% [markdown]\n# | time | 3 |\n"
    )
    with pytest.raises(ValueError, match=r"01_x.py: .* 'module'"):
        read_card(source)


def test_glossary_has_each_term_once() -> None:
    page = LESSONS / "GLOSSARY.md"
    terms = [line for line in page.read_text().splitlines() if line.startswith("##")]
    assert len(terms) == len(set(terms)) and terms == sorted(terms, key=str.lower)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each lesson, what nbval says of its cells up to one whose output was changed."""
    folder = tmp_path_factory.mktemp("spoiled") / "lessons"
    shutil.copytree(LESSONS, folder, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    cells = {}
    for path in NOTEBOOKS:
        if change := spoil(nbformat.read(path, 4)):
            nbformat.write(change.notebook, folder / path.name)
            cells[path.stem] = change.cell
    outcomes = nbval(folder)
    return {
        stem: [outcomes[stem, number] for number in range(last + 1)] for stem, last in cells.items()
    }


@pytest.mark.slow
@each_lesson
def test_a_changed_output_fails(path: Path, spoiled: dict[str, list[str]]) -> None:
    assert path.stem in spoiled, "no output that nbval compares: print a number or a shape"
    *before, changed = spoiled[path.stem]
    assert not any(before), before
    assert "Cell outputs differ" in changed
