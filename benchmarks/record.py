"""What a benchmark gives: a table that says what was measured and how large it was. A record is all
tables of a day with the machine and the versions, as JSON in benchmarks/records/.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import typer

from dinolite.run_folder import commit

RECORDS = Path(__file__).resolve().parent / "records"
PACKAGES = ("torch", "torchvision", "timm", "transformers", "lightly-train", "numpy", "onnxruntime")


@dataclass
class Table:
    """One benchmark's result; numbers as they were measured, rounded only when shown."""

    name: str
    sizes: str
    """Model, pictures, batch: what the figures are of."""
    columns: list[str]
    rows: list[list[Any]]
    note: str = ""


def device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def environment() -> dict[str, Any]:
    """Machine, versions, threads and commit. Never a host name or a path."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": found,
        "commit": commit(("benchmarks/*.py",)),
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write(tables: list[Table]) -> Path:
    """Keep the tables as `records/DATE-cpu.json` (or -gpu); the same day's earlier one of the
    same kind is kept under tables that this one does not have."""
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    path = RECORDS / f"{datetime.now(UTC):%Y-%m-%d}-{kind}.json"
    earlier = json.loads(path.read_text("utf8"))["tables"] if path.is_file() else []
    new = [asdict(t) | {"environment": environment()} for t in tables]
    names = {t.name for t in tables}
    kept = [t for t in earlier if t["name"] not in names]
    RECORDS.mkdir(exist_ok=True)
    path.write_text(json.dumps({"tables": kept + new}, indent=1) + "\n", "utf8")
    return path


def words(value: Any) -> str:
    """A cell as it is shown: three digits that count."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(table: Table) -> None:
    """On the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(title=f"{table.name}: {table.sizes}", caption=table.note or None)
    for i, column in enumerate(table.columns):
        numbers = all(isinstance(row[i], int | float) for row in table.rows)
        shown.add_column(column, justify="right" if numbers else "left")
    for row in table.rows:
        shown.add_row(*map(words, row))
    Console(width=120).print(shown)


def start(main: Callable[..., None]) -> None:
    """Start a benchmark from the command line; one thread unless OMP_NUM_THREADS says more."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    typer.run(main)
