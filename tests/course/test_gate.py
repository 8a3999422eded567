"""The machine behind the lessons rebuilds to the byte, and its gate closes on a changed output."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from tests.lesson_gate import nbval, spoil, stream
from tests.tiny_lesson import TINY, build_tiny, read_tiny

from tools import lessons
from tools.lesson import Lesson


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("lesson"))


@pytest.fixture
def tiny(folder: Path) -> Lesson:
    return read_tiny(folder)


def test_a_rebuild_writes_the_same_bytes(folder: Path) -> None:
    first = (folder / "03_tiny.ipynb").read_bytes()
    assert lessons.main(["build", "--force", "03", "--folder", str(folder)]) == 0
    assert (folder / "03_tiny.ipynb").read_bytes() == first


def test_an_unchanged_lesson_is_not_run_again(folder: Path) -> None:
    before = (folder / "03_tiny.ipynb").stat().st_mtime_ns
    assert lessons.main(["build", "--folder", str(folder)]) == 0
    assert (folder / "03_tiny.ipynb").stat().st_mtime_ns == before


def test_the_outputs_are_stored(tiny: Lesson) -> None:
    number, figure, error = tiny.code[1:4]
    assert number.outputs[0].text.startswith("three 3 0.2")  # random.Random(3) begins 0.2379...
    assert "image/png" in figure.outputs[0].data
    assert error.outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    assert [c.execution_count for c in tiny.code] == [1, 2, 3, 4, 5, 6, 7]


def test_check_names_a_lesson_that_is_out_of_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "03_tiny.ipynb").write_bytes((folder / "03_tiny.ipynb").read_bytes())
    (tmp_path / "GLOSSARY.md").write_text("# Term")
    source = tmp_path / "src" / "03_tiny.py"
    source.write_text(TINY)
    assert lessons.main(["check", "--folder", str(tmp_path)]) == 0
    source.write_text(TINY.replace("rises from", "climbs from"))
    assert lessons.main(["check", "--folder", str(tmp_path)]) == 1
    assert "03_tiny.ipynb: out of step" in capsys.readouterr().out
    assert lessons.main(["check", "04", "--folder", str(tmp_path)]) == 0  # not asked about


def test_a_lesson_that_fails_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "05_bad.py").write_text("# %%\n{}['key']\n")
    assert lessons.main(["build", "--folder", str(tmp_path)]) == 1
    assert "KeyError" in capsys.readouterr().out
    assert not (tmp_path / "05_bad.ipynb").exists()


def test_equal_cells_get_ids_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "06_twins.py"
    source.write_text("# %%\n1\n\n# %%\n1\n")
    first, second = lessons.from_source(source).cells
    assert second.id == f"{first.id}-2"


def output(code: str, stored: list[dict[str, Any]]) -> NotebookNode:
    """A notebook of one cell that was run and left these outputs."""
    cell = new_code_cell(code, execution_count=1, outputs=nbformat.from_dict(stored))
    return new_notebook(cells=[cell])


def result(plain: str) -> list[dict[str, Any]]:
    data = {"text/plain": plain}
    return [{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}]


GATE = {
    "pass_same": output("print('a', 0.5)", stream("a 0.5\n")),
    "pass_near": output("print(f'{0.50001:.5f}')", stream("0.50030\n")),
    "pass_result": output("[0.25, 3]", result("[0.2501, 3]")),
    "fail_float": output("print(0.5)", stream("0.501\n")),
    "fail_integer": output("print(1000)", stream("1001\n")),
    "fail_word": output("print('good')", stream("goof\n")),
    "fail_result": output("[0.25, 3]", result("[0.25, 4]")),
    "fail_missing": output("1", []),
    "fail_added": output("print('a')", [*stream("a\n"), *result("1")]),
    "fail_warning": output("import sys\nprint('w', file=sys.stderr)", []),
}


@pytest.mark.slow
def test_the_gate(tmp_path: Path, tiny: Lesson) -> None:
    """One run over notebooks that must pass, that must fail, and the tiny lesson with a change."""
    for name, notebook in GATE.items():
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    nbformat.write(tiny.notebook, tmp_path / "tiny.ipynb")
    change = spoil(tiny.notebook)
    assert change is not None and change.cell == 1
    nbformat.write(change.notebook, tmp_path / "spoiled.ipynb")
    outcomes = nbval(tmp_path)
    passed = {name: not outcomes[name, 0] for name in GATE}
    assert passed == {name: name.startswith("pass") for name in GATE}
    assert not any(outcomes["tiny", n] for n in range(7))
    assert not outcomes["spoiled", 0] and "outputs differ" in outcomes["spoiled", 1]
