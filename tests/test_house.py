"""The house rules that a machine can keep: who imports whom, functions of a size one can read, what
the repository may hold, and its tools content.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.lesson import dead_links

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, COURSE = ROOT / "dinolite", ROOT / "lessons" / "dinolite_course"
TREES = {
    path: ast.parse(path.read_text("utf8"))
    for folder in (PACKAGE, COURSE)
    for path in sorted(folder.rglob("*.py"))
}
HEAVY = {"timm", "torchvision", "matplotlib", "skimage", "sklearn", "tornado"}
DRAWS = re.compile(r"dinolite/(viz/|explore/)|dinolite_course/")

# What a folder of the package may not know, since it must work without it.
NEVER = {
    "dinolite": ("dinolite_course",),
    "dinolite.layers": ("models", "loss", "data", "train", "eval", "viz", "explore"),
    "dinolite.loss": ("models", "data", "train", "eval", "viz", "explore"),
    "dinolite.models": ("loss", "data", "train", "eval", "viz", "explore"),
    "dinolite.data": ("layers", "loss", "models", "train", "eval", "viz", "explore"),
    "dinolite.eval": ("train", "viz", "explore"),  # any backbone
    "dinolite.viz": ("train", "eval", "models", "explore"),
    "dinolite.train": ("viz", "explore"),
}


def module_name(path: Path) -> str:
    """`dinolite/layers/block.py` -> `dinolite.layers.block`; `__init__` is the folder itself."""
    folder = PACKAGE if path.is_relative_to(PACKAGE) else COURSE
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): tree for path, tree in TREES.items()}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Our modules that a module imports, functions included; whether for annotations alone."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    typed = [n for n in blocks if ast.unparse(n.test).endswith("TYPE_CHECKING")]
    for_types = {id(n) for block in typed for n in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [part if part in MODULES else str(node.module) for part in parts]
        else:
            continue
        for name in found:
            if name.split(".")[0] in ("dinolite", COURSE.name):
                yield name, id(node) in for_types


def test_imports_go_down() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in MODULES.items()
        for target, _ in imports(tree)
        for folder, never in NEVER.items()
        if f"{name}.".startswith(f"{folder}.")
        for bad in never
        if f"{target}.".startswith(f"{bad}." if bad == COURSE.name else f"dinolite.{bad}.")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    """Every module can be put after those that it imports."""
    left = {
        name: {t for t, for_types in imports(tree) if not for_types and t != name}
        for name, tree in MODULES.items()
    }
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"in a circle, or behind one: {sorted(left)}"


def test_the_package_does_not_name_the_course() -> None:
    suffixes = {".py", ".toml", ".html", ".js"}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in suffixes]
    assert files and not [path for path in files if COURSE.name in path.read_text("utf8")]


def test_functions_can_be_read() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {f.name} has {size} lines, limit 40"
        for path, tree in TREES.items()
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        if (size := (f.end_lineno or 0) - f.lineno + 1) > 40
    ]
    assert not long, "\n".join(long)


def test_a_file_opens_with_its_idea() -> None:
    silent = [str(p) for p, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert not silent


def lax_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that hide a mistake instead of naming it, or tie the code to one machine."""
    for node in ast.walk(tree):
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


def test_no_call_hides_a_mistake() -> None:
    found = [(str(path), *call) for path, tree in TREES.items() for call in lax_calls(tree)]
    assert not found


def test_heavy_packages_are_imported_inside_functions() -> None:
    """So that `import dinolite` costs little more than `import torch`."""
    early = []
    for path, tree in TREES.items():
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name for n in top if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in top if isinstance(n, ast.ImportFrom)}
        names |= {"matplotlib" for name in names if name.startswith("dinolite.viz")}
        heavy = {name.split(".")[0] for name in names} & HEAVY
        if DRAWS.search(path.as_posix()):
            heavy -= {"matplotlib", "tornado"}
        early += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(heavy)]
    assert not early, "\n".join(early)


@pytest.mark.slow
def test_import_costs_little_more_than_torch() -> None:
    """CPU seconds in fresh interpreters, in turn, so that a slow spell hits both; and what they
    have loaded."""
    code = "import sys, time, {0}; print(time.process_time(), *sys.modules)"
    spent: dict[str, list[float]] = {"torch": [], "dinolite.models.vision_transformer": []}
    for _ in range(2):
        for name, seconds in spent.items():
            command = [sys.executable, "-c", code.format(name)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            first, *loaded = done.stdout.split()
            seconds.append(float(first))
    assert not HEAVY & set(loaded), "move the import into a function"
    torch, ours = map(min, spent.values())
    assert ours <= torch + 0.3, "find the culprit with python -X importtime"


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


def test_markdown_links_lead_somewhere() -> None:
    pages = [p for p in repository_files() if p.suffix == ".md"]
    dead = {str(p.relative_to(ROOT)): dead_links(p.read_text(), p.parent) for p in pages}
    assert not {page: links for page, links in dead.items() if links}


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
