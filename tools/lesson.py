"""A lesson as its rules read it: cells, words, outputs, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from nbformat import NotebookNode

CODE = re.compile(r"```.*?```|`[^`\n]+`", re.S)
LINK = re.compile(r"\]\((?:<([^>]+)>|([^)\s]+))|(?:src|href)=\"([^\"]+)\"")


class Lesson(NamedTuple):
    """A notebook and where it lies (or will lie)."""

    path: Path
    notebook: NotebookNode

    @property
    def number(self) -> str:
        return self.path.name[:2]

    @property
    def code(self) -> list[NotebookNode]:
        return [c for c in self.notebook.cells if c.cell_type == "code"]

    @property
    def text(self) -> list[NotebookNode]:
        return [c for c in self.notebook.cells if c.cell_type == "markdown"]


Rule = Callable[[Lesson], Iterator[str]]


def head(cell: NotebookNode) -> str:
    """The beginning of a cell, to recognise it by."""
    return repr(cell.source.strip().split("\n")[0][:50])


def words(text: str) -> int:
    """Words that a reader reads: no markup, no addresses of links, no fenced code."""
    text = re.sub(r"```.*?```|<[^>]+>|\]\([^)]*\)", " ", text, flags=re.S)
    return len(re.findall(r"[^\W_][\w'.,/-]*", text))


def texts(cell: NotebookNode) -> Iterator[str]:
    """Every text that a code cell's stored outputs show."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield output.get("evalue", "")
        yield from (v for k, v in output.get("data", {}).items() if k.startswith("text/"))


def has_picture(cell: NotebookNode) -> bool:
    return any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))


def parse(cell: NotebookNode) -> ast.Module:
    """The cell as Python; a cell that shows a syntax error is empty."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def local_links(text: str) -> list[str]:
    """Targets of links and pictures that are no web addresses, outside code."""
    found = map("".join, LINK.findall(CODE.sub("", text)))
    return [t for t in found if not re.match(r"[a-z]+:|#", t)]


def anchors(page: Path) -> set[str]:
    """The anchors of a Markdown page: its headings as GitHub spells them, and `<a id=...>`."""
    text = page.read_text(encoding="utf-8")
    titles = (re.sub(r"\]\([^)]*\)", "", t) for t in re.findall(r"(?m)^#+ (.+)$", text))
    slugs = {re.sub(r"[^\w\- ]", "", t.strip().lower()).replace(" ", "-") for t in titles}
    return slugs | set(re.findall(r"<a (?:id|name)=[\"']([^\"']+)", text))


def dead_links(text: str, folder: Path) -> list[str]:
    """Local links of `text`, a page in `folder`, that lead nowhere."""
    dead = []
    for target in local_links(text):
        name, _, anchor = target.partition("#")
        page = folder / unquote(name)
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            dead.append(target)
    return dead
