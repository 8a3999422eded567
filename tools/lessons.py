"""Build lessons/*.ipynb from lessons/src/*.py (percent format), run them, keep diffs small.

    python -m tools.lessons build [NN ...]   run and write the changed lessons (--force: all)
    python -m tools.lessons check [NN ...]   say what is out of step or breaks a rule

A rebuild with the same code writes the same bytes: cell ids are hashes of the cells' own text, and
whatever differs from run to run (times, widget ids, traceback colours) is dropped.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager
from PIL import Image

from tools.lesson import Lesson
from tools.lesson_rules import problems, second_limit

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
LARGE = 80_000  # bytes of a picture
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "DINOLITE_PROGRESS": "",
}


def from_source(path: Path) -> NotebookNode:
    """The notebook that a source describes: no outputs, ids taken from the cells' own text."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        tags = {k: v for k, v in cell.metadata.items() if k == "tags"}
        cell.metadata = nbformat.from_dict(tags)
        digest = hashlib.sha1(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def shape(notebook: NotebookNode) -> list[tuple[Any, ...]]:
    """What a source decides about its notebook, and a run does not."""
    return [(c.id, c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]


def in_step(source: Path, target: Path) -> bool:
    """Whether the notebook at `target` is the one that `source` describes."""
    return target.exists() and shape(nbformat.read(target, 4)) == shape(from_source(source))


def packed(picture: str) -> str:
    """In fewer bytes: a base64 PNG without the alpha channel that none needs; where it is large,
    as photographs are, with 256 colours of its own."""
    opened = Image.open(io.BytesIO(base64.b64decode(picture)))
    image: Image.Image = opened
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    if small.tell() > LARGE and image.mode == "RGB":
        small = io.BytesIO()
        image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            small, "PNG", optimize=True
        )
    return min(base64.b64encode(small.getvalue()).decode() + "\n", picture, key=len)


def strip_noise(notebook: NotebookNode) -> None:
    """Drop, in place, what would differ in the next run."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data) > 1:  # a random model id; the picture or text beside it stays
                data.pop(WIDGET_VIEW, None)
            if "image/png" in data:
                data["image/png"] = packed(data["image/png"])
            if output.output_type == "error":  # one line for colours, kernel paths and frames
                output.traceback = [f"{output.ename}: {output.evalue}"]


def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Execute all cells in `folder` with the Python that runs this, as nbval will."""
    manager = AsyncKernelManager(
        kernel_name=CURRENT_ENV_KERNEL_NAME, kernel_spec_manager=NbvalKernelspecManager()
    )
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=300,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=os.environ | KERNEL_ENVIRONMENT)
    strip_noise(notebook)
    nbformat.validate(notebook)
    return notebook


def build(source: Path, target: Path) -> list[str]:
    """Run `source` and write `target`, unless a cell fails; returns what is wrong with it."""
    start = time.perf_counter()
    try:
        notebook = run(from_source(source), target.parent)
    except CellExecutionError as error:
        return [f"a cell fails:\n{error}"]
    seconds = time.perf_counter() - start
    nbformat.write(notebook, target)
    print(f"{target.name}: {seconds:.1f} s")
    lesson = Lesson(target, notebook)
    limit = second_limit(lesson)
    slow = [f"took {seconds:.0f} s, more than {limit}"] if seconds > limit else []
    return slow + problems(lesson)


def check(source: Path, target: Path) -> list[str]:
    """What is wrong with a lesson as it lies there; nothing is run."""
    if not in_step(source, target):
        return ["out of step with its source: run `make lessons`"]
    return problems(Lesson(target, nbformat.read(target, 4)))


def pairs(folder: Path, which: list[str]) -> Iterator[tuple[Path, Path]]:
    """The sources, and where the notebook of each lies."""
    for source in sorted((folder / "src").glob("[0-9]*.py")):
        if not which or any(source.name.startswith(start) for start in which):
            yield source, folder / f"{source.stem}.ipynb"


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.lessons", description=__doc__)
    parser.add_argument("command", choices=["build", "check"])
    parser.add_argument("which", nargs="*", help="first letters of the lessons, such as 03")
    parser.add_argument("--force", action="store_true", help="run unchanged lessons too")
    parser.add_argument("--folder", type=Path, default=LESSONS, help="where the lessons lie")
    arguments = parser.parse_intermixed_args(argv)  # `build --force 03` too
    failed = False
    for source, target in pairs(arguments.folder, arguments.which):
        if arguments.command == "build" and (arguments.force or not in_step(source, target)):
            found = build(source, target)
        else:
            found = check(source, target)
        for sentence in found:
            print(f"{target.name}: {sentence}")
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
