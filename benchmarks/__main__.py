"""Run every benchmark, or the named ones, and write a dated record; then `python -m
benchmarks.readme` puts the newest figures into the README.

    python -m benchmarks [backbone export step augment memory roofline scaling ...]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks import augment, backbone, export, learning, lightly, memory, roofline, scaling, step
from benchmarks.record import Table, print_table, start, write

ALL: dict[str, Callable[[], Table]] = {
    "backbone": backbone.measure,
    "export": export.measure,
    "step": step.measure,
    "augment": augment.measure,
    "memory": memory.measure,
    "roofline": roofline.measure,
    "scaling": scaling.measure,
    "learning": learning.measure,
    "lightly": lightly.measure,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=", ".join(ALL))] = None,
) -> None:
    """Measure and write the record; what needs a package that is not installed is skipped."""
    if unknown := [name for name in names or [] if name not in ALL]:
        raise typer.BadParameter(f"{unknown[0]!r} is no benchmark; allowed: {', '.join(ALL)}")
    for name in names or ALL:
        try:
            table = ALL[name]()
        except ImportError as error:
            typer.echo(f"{name}: skipped, {error}")
            continue
        print_table(table)
        typer.echo(f"written to {write([table]).name}")


if __name__ == "__main__":
    start(main)
