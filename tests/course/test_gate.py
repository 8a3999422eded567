"""The gate of the lessons: stored outputs are compared, a rebuild gives the same bytes, and what is
out of step or fails is said.

Two lessons and a few cells are run under `pytest --nbval` as `make test` runs all, with an output
changed.
"""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from tools import lessons

ROOT = Path(__file__).resolve().parents[2]
SPOILED = ("01_patches", "03_rope")
TINY = """
# %% [markdown]
# # 03 Tiny

# %%
import random
import matplotlib.pyplot as plt

# %%
rng = random.Random(3)
print("three", 3, f"{rng.random():.4f}", [1, 2])

# %%
plt.plot([1, 3, 2])
plt.show()

# %% tags=["raises-exception"]
1 / 0
""".lstrip()


def lesson(folder: Path, text: str = TINY) -> Path:
    """A source in a folder of lessons; where its notebook will be."""
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "03_tiny.py").write_text(text)
    (folder / "GLOSSARY.md").write_text("# Glossary\n")
    return folder / "03_tiny.ipynb"


def command(*words: str, folder: Path) -> int:
    return lessons.main([*words, "--folder", str(folder)])


@pytest.mark.slow
def test_a_rebuild_writes_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "less ons"
    notebook = lesson(folder)
    command("build", folder=folder)
    first, when = notebook.read_bytes(), notebook.stat().st_mtime_ns
    cells = [c for c in nbformat.reads(first.decode(), 4).cells if c.cell_type == "code"]
    assert cells[1].outputs[0].text.startswith("three 3 0.2")  # random.Random(3) begins 0.2379...
    assert "image/png" in cells[2].outputs[0].data
    assert cells[3].outputs[0].traceback == ["ZeroDivisionError: division by zero"]
    command("build", folder=folder)
    assert notebook.stat().st_mtime_ns == when, "an unchanged lesson is not run again"
    command("build", "--force", folder=folder)
    assert notebook.read_bytes() == first


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lesson without its notebook, and one whose cell fails, which is then not written."""
    notebook = lesson(tmp_path / "a")
    assert command("check", folder=tmp_path / "a") == 1
    assert "03_tiny.ipynb: out of step" in capsys.readouterr().out
    assert command("check", "04", folder=tmp_path / "a") == 0  # not asked about
    notebook = lesson(tmp_path / "b", "# %%\n{}['key']\n")
    assert command("build", folder=tmp_path / "b") == 1
    assert "KeyError" in capsys.readouterr().out and not notebook.exists()


def printed(words: str) -> list[dict[str, str]]:
    return [{"output_type": "stream", "name": "stdout", "text": words}]


def result(plain: str) -> list[dict[str, Any]]:
    data = {"text/plain": plain}
    return [{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}]


CASES: dict[str, tuple[str, list[dict[str, Any]]]] = {  # name: (a cell, what is stored of it)
    "pass_same": ("print('a', 0.5)", printed("a 0.5\n")),
    "pass_near": ("print('0.50001 [1., -0.0]')", printed("0.50030 [1.0005,  0.0]\n")),
    "pass_result": ("[0.25, 3]", result("[0.2501, 3]")),
    "fail_float": ("print(0.5)", printed("0.501\n")),
    "fail_sign": ("print(0.5)", printed("-0.5\n")),
    "fail_integer": ("print(3000)", printed("3001\n")),
    "fail_version": ("print('1.2000.3')", printed("1.2001.3\n")),
    "fail_word": ("print('good')", printed("goof\n")),
    "fail_result": ("[0.25, 3]", result("[0.25, 4]")),
    "fail_missing": ("1", []),
    "fail_added": ("print('a')", [*printed("a\n"), *result("1")]),
    "fail_warning": ("import sys\nprint('w', file=sys.stderr)", []),
}


def case(code: str, stored: list[dict[str, Any]]) -> NotebookNode:
    cell = new_code_cell(code, execution_count=1, outputs=nbformat.from_dict(stored))
    return new_notebook(cells=[cell])


def spoil(notebook: NotebookNode) -> int:
    """Change a digit of the first printed output; the number of its cell, now the last."""
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    for number, place in enumerate(code):
        for output in notebook.cells[place].outputs:
            if output.output_type == "stream" and (digit := re.search(r"\d", output.text)):
                start, end = digit.span()
                other = str((int(digit[0]) + 1) % 10)
                output.text = output.text[:start] + other + output.text[end:]
                notebook.cells = notebook.cells[: place + 1]
                return number
    raise ValueError("no digit is printed")


def nbval(folder: Path) -> dict[tuple[str, int], str]:
    """Why each code cell of the notebooks in `folder` failed, or "".

    A process of its own with this repository's settings; the outer run's do not leak in.
    """
    report = folder / "report.xml"
    words = [sys.executable, "-m", "pytest", str(folder), "--nbval", "-q"]
    words += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    words += ["-p", "conftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    outcomes = {}
    for test in ET.parse(report).iter("testcase"):
        failure = test.find("failure")
        message = "" if failure is None else f"{failure.get('message')}\n{failure.text}"
        name = test.get("classname", "").removesuffix(".ipynb")
        outcomes[name, int(test.get("name", "").removeprefix("Cell "))] = message
    return outcomes


@pytest.mark.slow
def test_the_gate_closes_on_a_changed_output(tmp_path: Path) -> None:
    for name, (code, stored) in CASES.items():
        nbformat.write(case(code, stored), tmp_path / f"{name}.ipynb")
    last = {}
    for name in SPOILED:
        notebook = nbformat.read(ROOT / "lessons" / f"{name}.ipynb", 4)
        last[name] = spoil(notebook)
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    outcomes = nbval(tmp_path)
    passed = {name: not outcomes[name, 0] for name in CASES}
    assert passed == {name: name.startswith("pass") for name in CASES}
    for name, number in last.items():
        assert not any(outcomes[name, n] for n in range(number)), name
        assert "Cell outputs differ" in outcomes[name, number]
