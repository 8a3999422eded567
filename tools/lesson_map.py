"""lessons/README.md, the map from lesson to module, official file, paper section and minutes, made
from the lessons' own cards (the table in the second cell).

    python -m tools.lesson_map    write it
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import jupytext

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
FIELDS = ("you need", "time", "module", "official", "paper")
INTRO = """# The lessons

Numbered notebooks; each builds one part of DINOv3, looks at it, breaks it, checks it, and shows
that the package's own version does the same. Start JupyterLab with `make lab` and open the first.
Words are explained in [GLOSSARY.md](GLOSSARY.md); solutions of the exercises are in
[solutions/](solutions). Does a run look wrong? [TROUBLESHOOTING.md](TROUBLESHOOTING.md).

| lesson | question | module | official code | paper | time |
|---|---|---|---|---|---|
"""
OUTRO = """
Made from the lessons' cards by `python -m tools.lesson_map`. To change a lesson, edit
`src/NN_name.py` and run `make lessons WHICH=NN`.
"""


class Card(NamedTuple):
    """What a lesson says of itself."""

    name: str
    title: str
    question: str
    fields: dict[str, str]


def read_card(source: Path) -> Card:
    """The title, the question in bold below it, and the table of the card.

    Raises:
        ValueError: one of them is missing.
    """
    title, card = (cell.source for cell in jupytext.read(source, fmt="py:percent").cells[:2])
    question = re.search(r"\*\*(.+?)\*\*", title, re.S)
    fields = dict(re.findall(r"(?m)^\| (.+?) \| (.+?) \|$", card))
    missing = [name for name in FIELDS if name not in fields]
    if question is None or missing:
        raise ValueError(f"{source.name}: the title needs a bold question, the card {missing}")
    words = " ".join(question[1].split())
    return Card(source.stem, title.split("\n")[0].removeprefix("# "), words, fields)


def lesson_map(folder: Path = LESSONS) -> str:
    """The text of README.md."""
    rows = ""
    for source in sorted((folder / "src").glob("[0-9]*.py")):
        card = read_card(source)
        link = f"[{card.title}]({card.name}.ipynb)"
        f = card.fields
        rows += (
            f"| {link} | {card.question} | {f['module']} | {f['official']} | {f['paper']} "
            f"| {f['time']} |\n"
        )
    return INTRO + rows + OUTRO


def main() -> None:
    """Write the page."""
    (LESSONS / "README.md").write_text(lesson_map(), "utf8")


if __name__ == "__main__":
    main()
