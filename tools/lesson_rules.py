"""What a lesson must keep to, as far as a machine can tell: budgets, shape, stored outputs.

A rule takes a lesson and returns one sentence for each thing that is wrong; `problems` asks all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import nbformat

from tools.lesson import CODE, Lesson, Rule, dead_links, head, local_links, parse, words
from tools.lesson_code import bare, drawn, package_classes
from tools.output_rules import OUTPUT_RULES

WORDS_IN_CELL, WORDS_IN_LESSON = 120, 3500
LINES_IN_CELL, WIDTH, CELLS_IN_A_ROW = 40, 79, 3
TERMS, IMPORT_LINES, BYTES = 10, 10, 1_000_000
SECONDS, LONG_LESSONS, LONG_SECONDS = 60, {"16", "17"}, 120
ONLINE_LESSONS = {"22"}  # the released models: loads them, or skips where there is no network
SECTIONS = ["Common mistakes", "Exercises", "Recap", "Sources"]

FILLERS = re.compile(r"\b(?:simply|just|obviously)\b", re.I)
FORBIDDEN = {
    r"(?m)^\s*[!%]": "a shell or magic command",
    r"\.cuda\(|[\"']cuda": "CUDA",
    r"\binteract(?:ive|ive_output|_manual)?\(|\bOutput\(": "a widget that nbval cannot follow",
    r"__version__": "a version",
    r"\btqdm\b": "a progress bar",
    r";\s*(?:#[^\n]*)?\Z": "a closing semicolon, which nbval does not honour",
}
DOWNLOADS = re.compile(r"download=True|pretrained=True|urlretrieve|urlopen|requests\.|hf_hub")


def second_limit(lesson: Lesson) -> int:
    return LONG_SECONDS if lesson.number in LONG_LESSONS else SECONDS


# --- budgets ---


def text_budget(lesson: Lesson) -> Iterator[str]:
    counts = [words(cell.source) for cell in lesson.text]
    for cell, count in zip(lesson.text, counts, strict=True):
        if count > WORDS_IN_CELL:
            yield f"{count} words in the text cell {head(cell)}, limit {WORDS_IN_CELL}"
    if sum(counts) > WORDS_IN_LESSON:
        yield f"{sum(counts)} words, limit {WORDS_IN_LESSON}"


def code_budget(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        lines = cell.source.split("\n")
        if len(lines) > LINES_IN_CELL:
            yield f"{len(lines)} lines in the code cell {head(cell)}, limit {LINES_IN_CELL}"
        for line in lines:
            if len(line) > WIDTH:
                yield f"a line of {len(line)} characters, limit {WIDTH}: {line.strip()[:50]!r}"
    row = 0
    for cell in lesson.notebook.cells:
        row = row + 1 if cell.cell_type == "code" else 0
        if row == CELLS_IN_A_ROW + 1:
            yield f"more than {CELLS_IN_A_ROW} code cells in a row, from before {head(cell)}"


def size_budget(lesson: Lesson) -> Iterator[str]:
    size = len(nbformat.writes(lesson.notebook).encode())
    if size > BYTES:
        yield f"{size:,} bytes, limit {BYTES:,}"


def terms_budget(lesson: Lesson) -> Iterator[str]:
    linked = {t for cell in lesson.text for t in local_links(cell.source) if "GLOSSARY.md#" in t}
    if len(linked) > TERMS:
        yield f"{len(linked)} terms linked to the glossary, limit {TERMS}"


# --- shape ---


def title_and_card(lesson: Lesson) -> Iterator[str]:
    cells = lesson.notebook.cells
    if len(cells) < 2 or any(c.cell_type != "markdown" for c in cells[:2]):
        yield "does not open with two text cells, the title and the card"
    elif not cells[0].source.startswith(f"# {lesson.number}"):
        yield f"the title is not '# {lesson.number} ...'"
    elif len(re.findall(r"(?m)^[-*] ", cells[1].source)) < 3:
        yield "the card (second cell) does not list 3 to 5 objectives"


def sections(lesson: Lesson) -> Iterator[str]:
    found = re.findall(r"(?m)^## (.+?)\s*$", "\n".join(c.source for c in lesson.text))
    if [name for name in found if name in SECTIONS] != SECTIONS:
        yield f"its sections are {found}: expected {SECTIONS} once each, in this order"


def exercises(lesson: Lesson) -> Iterator[str]:
    code = "\n".join(cell.source for cell in lesson.code)
    stubs = re.findall(r"NotImplementedError\(\s*[\"']exercise (\d\d\.\d)[\"']", code)
    if stubs != [f"{lesson.number}.{k}" for k in range(1, len(stubs) + 1)]:
        yield f"exercise ids are {stubs}, not {lesson.number}.1, {lesson.number}.2, ..."
    if not 3 <= len(stubs) <= 5:
        yield f"{len(stubs)} exercise stubs, not 3 to 5"
    for stub in stubs:
        if not re.search(rf"check\([^)]*[\"']{re.escape(stub)}", code):
            yield f"exercise {stub} is never checked"


def imports(lesson: Lesson) -> Iterator[str]:
    """The first code cell has all imports and nothing else."""
    for place, cell in enumerate(lesson.code):
        body = parse(cell).body
        importing = [isinstance(n, ast.Import | ast.ImportFrom) for n in body]
        if place == 0 and not all(importing):
            yield "the first code cell has more than imports"
        if place == 0 and len(cell.source.split("\n")) > IMPORT_LINES:
            yield f"more than {IMPORT_LINES} lines of imports"
        if place > 0 and any(importing):
            yield f"imports in a later cell: {head(cell)}"


def forbidden(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        for pattern, name in FORBIDDEN.items():
            if re.search(pattern, cell.source):
                yield f"{name} in {head(cell)}"
        if lesson.number not in ONLINE_LESSONS and DOWNLOADS.search(cell.source):
            yield f"a download in {head(cell)}"


def seeds(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        names = sorted(set(drawn(parse(cell).body)))
        if names and not re.search(r"manual_seed|default_rng\(\d", cell.source):
            yield f"draws random numbers ({', '.join(names)}) without a seed in {head(cell)}"


def pasted(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.code:
        for node in ast.walk(parse(cell)):
            if isinstance(node, ast.ClassDef) and bare(node) in package_classes():
                yield f"class {node.name} is pasted from the package: use inspect.getsource"


def voice(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.text:
        for word in FILLERS.findall(CODE.sub("", cell.source)):
            yield f"{word!r} in {head(cell)}"


def sums(lesson: Lesson) -> Iterator[str]:
    """Markdown makes a list of a line that begins with a plus, in the middle of a sentence."""
    for cell in lesson.text:
        for line in re.findall(r"(?m)^\+ .*", cell.source):
            yield f"a line begins with a plus, and becomes a list: {line[:50]!r}"


def links(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.text:
        for target in dead_links(cell.source, lesson.path.parent):
            yield f"a link to {target}, which is not there"


RULES: tuple[Rule, ...] = (
    text_budget,
    code_budget,
    size_budget,
    terms_budget,
    title_and_card,
    sections,
    exercises,
    imports,
    forbidden,
    seeds,
    pasted,
    voice,
    sums,
    links,
    *OUTPUT_RULES,
)


def problems(lesson: Lesson) -> list[str]:
    """All sentences of all rules; empty for a lesson that keeps to them."""
    return [sentence for rule in RULES for sentence in rule(lesson)]
