"""Run notebooks under `pytest --nbval` as `make test` does, and spoil an output to see it fail."""

import copy
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]


def stream(words: str, name: str = "stdout") -> list[dict[str, str]]:
    return [{"output_type": "stream", "name": name, "text": words}]


class Spoiled(NamedTuple):
    """A notebook that ends in the cell whose stored output was changed."""

    notebook: NotebookNode
    cell: int  # counted among the code cells, as nbval counts


def spoil_text(text: str) -> str:
    """Change the first digit; in a text without digits, the case of the first letter."""
    if found := re.search(r"\d", text):
        return text[: found.start()] + str((int(found[0]) + 1) % 10) + text[found.end() :]
    return re.sub(r"[^\W\d_]", lambda letter: letter[0].swapcase(), text, count=1)


def spoil_cell(cell: NotebookNode) -> bool:
    """Change, in place, the first stored output that nbval compares; whether there was one."""
    if "NBVAL_IGNORE_OUTPUT" in cell.source:
        return False
    for output in cell.outputs:
        if output.output_type == "stream":
            output.text = spoil_text(output.text)
            return True
        plain = output.get("data", {}).get("text/plain", "<Figure")
        if not plain.startswith("<Figure"):
            output.data["text/plain"] = spoil_text(plain)
            return True
    return False


def spoil(notebook: NotebookNode) -> Spoiled | None:
    """A copy with one output changed, cut off behind it; None if no output can be compared."""
    changed = copy.deepcopy(notebook)
    code = 0
    for place, cell in enumerate(changed.cells):
        if cell.cell_type == "code":
            if spoil_cell(cell):
                changed.cells = changed.cells[: place + 1]
                return Spoiled(changed, code)
            code += 1
    return None


def nbval(folder: Path) -> dict[tuple[str, int], str]:
    """Outcome of each code cell of the notebooks in `folder`: why it failed, or "".

    A process of its own with this repository's settings; the outer run's do not leak in.
    """
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", str(folder), "--nbval", "-q"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    command += ["-p", "conftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        failure = case.find("failure")
        message = "" if failure is None else f"{failure.get('message')}\n{failure.text}"
        notebook = case.get("classname", "").removesuffix(".ipynb")
        outcomes[notebook, int(case.get("name", "").removeprefix("Cell "))] = message
    return outcomes
