"""What the stored outputs of a lesson must keep to: the same on every machine, nothing hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.lesson import Lesson, Rule, has_picture, head, texts

IGNORE = "# NBVAL_IGNORE_OUTPUT"
OTHER_MARKERS = re.compile(
    r"NBVAL_SKIP|NBVAL_CHECK_OUTPUT|NBVAL_RAISES_EXCEPTION|PYTEST_VALIDATE_IGNORE_OUTPUT"
)
TAGS = {"raises-exception"}
FIGURE = re.compile(r"(?im)^\W*(?:figure|alt text)\b.{20,}")
PATH = re.compile(
    r"""(?<![\w.~:/])/(?:work|root|home|Users|tmp|usr|opt|var|private)/\w"""
    r"""|\b[A-Z]:\\|ipykernel_\d|\bat 0x[0-9a-fA-F]{4}"""
)
DECIMALS = re.compile(r"(?<![\w.])\d+\.\d{5,}")


def executed(lesson: Lesson) -> Iterator[str]:
    counts = [cell.execution_count for cell in lesson.code]
    if counts != list(range(1, len(counts) + 1)):
        yield "was not run from the top in one go"
    if set(lesson.notebook.metadata) != {"kernelspec", "language_info"}:
        yield f"notebook metadata {sorted(lesson.notebook.metadata)}"
    for cell in lesson.notebook.cells:
        if not set(cell.metadata) <= {"tags"}:
            yield f"cell metadata {sorted(cell.metadata)} in {head(cell)}"


def quiet(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        declared = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            if output.get("name") == "stderr":
                yield f"a warning or other stderr in {head(cell)}: {output.text[:80]!r}"
            if output.output_type == "error" and not declared:
                yield f"an error without the tag raises-exception in {head(cell)}"


def same_everywhere(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        for text in texts(cell):
            for found in [*PATH.findall(text), *DECIMALS.findall(text)]:
                yield f"{found!r} in the output of {head(cell)} differs between machines"
        if any("image/svg+xml" in o.get("data", {}) for o in cell.outputs):
            yield f"an SVG in {head(cell)}"


def ignored_outputs(lesson: Lesson) -> Iterator[str]:
    lines = [ln.strip() for c in lesson.code for ln in ["", *c.source.split("\n")]]
    marks = [n for n, line in enumerate(lines) if IGNORE in line]
    if len(marks) > 1:
        yield f"{len(marks)} outputs are ignored, limit 1"
    for n in marks:
        reason = lines[n - 1].startswith("#") and lines[n - 1] != IGNORE
        if lines[n] != IGNORE or not reason:
            yield f"{IGNORE} stands alone on its line, below a comment with the reason"
    for cell in lesson.code:
        if extra := set(cell.metadata.get("tags", [])) - TAGS:
            yield f"tags {sorted(extra)} in {head(cell)}"
        if OTHER_MARKERS.search(cell.source):
            yield f"a marker that hides a cell from nbval in {head(cell)}"


def figures(lesson: Lesson) -> Iterator[str]:
    cells = lesson.notebook.cells
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if not has_picture(cell):
            continue
        if any(t.startswith("<Figure") for t in texts(cell)):
            last = cell.source.rstrip().split("\n")[-1]
            if last != "plt.show()":
                yield f"draws a figure and does not end in plt.show(): {head(cell)}"
        if following is None or not FIGURE.search(following.source):
            yield f"no 'Figure: ...' with what it shows in the text cell after {head(cell)}"


def widgets(lesson: Lesson) -> Iterator[str]:
    drawn_before = False
    for cell in lesson.code:
        if any(t.startswith("explore(") for t in texts(cell)) and not drawn_before:
            yield f"no static figure stands before the widget of {head(cell)}"
        drawn_before |= has_picture(cell)


OUTPUT_RULES: tuple[Rule, ...] = (
    executed,
    quiet,
    same_everywhere,
    ignored_outputs,
    figures,
    widgets,
)
