"""The house rules a machine can keep: sizes, manners, paths, links, linter, type checker."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tools.lesson import dead_links

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dinolite"
SOURCES = sorted(PACKAGE.rglob("*.py"))

HEAVY = {"timm", "torchvision", "matplotlib", "skimage", "sklearn"}
DRAWS = [
    PACKAGE / "viz",
    PACKAGE / "exercises",
    PACKAGE / "show.py",
]  # imported by those who want pictures


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(source: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def forbidden_calls(source: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that hide a mistake instead of naming it, or tie the code to one machine."""
    for node in ast.walk(source):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        lax = any(k.arg == "strict" and ast.unparse(k.value) == "False" for k in node.keywords)
        if name == "getattr" and len(node.args) == 3:
            yield node.lineno, "getattr with a default"
        elif name == "load_state_dict" and lax:
            yield node.lineno, "load_state_dict(strict=False)"
        elif name == "cuda" and isinstance(node.func, ast.Attribute):
            yield node.lineno, ".cuda()"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_size_and_manners(path: Path) -> None:
    lines, source = path.read_text(encoding="utf-8").splitlines(), tree(path)
    assert len(lines) <= 200, f"{len(lines)} lines: split by idea"
    assert not [n for n, line in enumerate(lines, 1) if len(line) > 100], "lines over 100"
    long = [
        f"{f.name}: {size} lines"
        for f in functions(source)
        if (size := (f.end_lineno or 0) - f.lineno + 1) > 40
    ]
    assert not long
    assert path.stat().st_size == 0 or ast.get_docstring(source), "a file opens with its idea"
    assert not list(forbidden_calls(source))
    assert path.stem != "utils", "name a file after its idea"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    top = [n for n in tree(path).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
    if any(path.is_relative_to(place) for place in DRAWS):
        names = {name for name in names if not name.startswith("matplotlib")}
    assert not {name.split(".")[0] for name in names} & HEAVY


# --- what the repository holds ---


def repository_files() -> list[Path]:
    """Files that git tracks or would track; without git, all outside hidden and ignored folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"/(\.[^/]+|runs|__pycache__|[^/]+\.egg-info)/")
        paths = [p for p in ROOT.rglob("*") if not hidden.search(f"/{p.relative_to(ROOT)}")]
    return [p for p in paths if p.is_file()]


# A path of somebody's machine. Not part of a longer path or address: https://host/home/x is none.
MACHINE_PATH = re.compile(
    rb"""(?<![\w.~*/:)\]>-])(?:/(?:work|root|Users|home/\w+)/\w|[A-Z]:\\Users\\)"""
)


def test_no_machine_paths() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}..."
        for path in repository_files()
        if (match := MACHINE_PATH.search(path.read_bytes()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("open('" + "/root" + "/x.pt')", True),
        ("from " + "/home/ann" + "/data", True),
        ("https://example.org/home/ann/x", False),
        ("dinolite/work/x", False),
    ],
)
def test_machine_path_pattern(text: str, is_path: bool) -> None:
    assert bool(MACHINE_PATH.search(text.encode())) == is_path


def test_readme_is_there() -> None:
    assert (ROOT / "README.md").is_file()


def test_markdown_links_lead_somewhere() -> None:
    pages = [p for p in repository_files() if p.suffix == ".md"]
    dead = {str(p.relative_to(ROOT)): dead_links(p.read_text(), p.parent) for p in pages}
    assert not {page: links for page, links in dead.items() if links}


def test_dead_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a b.png").touch()
    (tmp_path / "page.md").write_text("# A [title](x), with `code`!\n\n<a id='own'></a>")
    text = (
        "[x](gone.md) [y](page.md#a-title-with-code) [z](https://example.org/n.md) [w](#here)\n"
        '`[c](code.md)` <img src="away.png"> ![v](<a b.png>) [u](page.md#elsewhere) '
        "[t](page.md#own) [s](a%20b.png)"
    )
    assert dead_links(text, tmp_path) == ["gone.md", "away.png", "page.md#elsewhere"]


# --- tools ---


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(["mypy"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_tool_is_content(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
