"""Put the newest figures of each benchmark into README.md, docs/speed.md and docs/pictures.md,
between their marks. Nobody types a figure there: a test compares the pages with the records.

    python -m benchmarks.readme [--check]
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from benchmarks.record import RECORDS, words

ROOT = RECORDS.parents[1]
PAGES = ("README.md", "docs/speed.md", "docs/pictures.md")
MARK = re.compile(r"(<!-- benchmark: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def newest(kind: str) -> dict[str, dict[str, Any]]:
    """name -> the newest table of that name among the records of a kind ("cpu" or "gpu")."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RECORDS.glob(f"*-{kind}.json")):
        for table in json.loads(path.read_text("utf8"))["tables"]:
            found[table["name"]] = table | {"date": path.name[: len("2026-01-01")]}
    return found


def markdown(table: dict[str, Any]) -> str:
    """A heading line that says machine, versions, sizes and date; then the table."""
    env = table["environment"]
    versions = ", ".join(f"{k} {v}" for k, v in env["versions"].items() if used(k, table))
    where = env["gpu"] or f"{env['processor']}, {env['threads']} thread"
    lines = [
        f"*{table['sizes']}. {table['date']}, {where}, {versions}, commit {env['commit']}.*",
        "",
        "| " + " | ".join(table["columns"]) + " |",
        "|" + "|".join("---" if isinstance(c, str) else "--:" for c in table["rows"][0]) + "|",
        *("| " + " | ".join(map(words, row)) + " |" for row in table["rows"]),
    ]
    if table["note"]:
        lines += ["", f"*{table['note']}*"]
    return "\n".join(lines) + "\n"


def used(package: str, table: dict[str, Any]) -> bool:
    """Is the version of this package of interest beside this table?"""
    text = json.dumps([table["name"], table["rows"]]).lower()
    return package == "torch" or package.split("-")[0] in text


def filled(page: str) -> str:
    """The page with every marked place filled anew; `name`, or `name gpu` for the GPU's record.

    A benchmark without a record gives one line that says so.
    """

    def fill(match: re.Match[str]) -> str:
        name, _, kind = match[2].partition(" @")
        table = newest(kind or "cpu").get(name)
        text = markdown(table) if table else f"*{name}, {kind or 'cpu'}: not measured.*\n"
        return match[1] + text + match[3]

    return MARK.sub(fill, page)


def main(check: Annotated[bool, typer.Option(help="only compare")] = False) -> None:
    """Rewrite the pages, or with --check only compare them."""
    stale = []
    for path in (ROOT / page for page in PAGES):
        text = path.read_text("utf8")
        if (new := filled(text)) != text:
            stale.append(path.name)
            if not check:
                path.write_text(new, "utf8")
    if check and stale:
        typer.echo(
            f"{', '.join(stale)}: other figures than the records; python -m benchmarks.readme"
        )
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
