"""Which dinolite module imports which, read from the sources, functions included."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Import(NamedTuple):
    """An import of a dinolite module: where it stands, and whether for annotations alone."""

    line: int
    target: str
    typing_only: bool


def module_name(path: Path) -> str:
    """`dinolite/layers/block.py` -> `dinolite.layers.block`; `__init__` is the folder itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk(node: ast.AST, typing_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node with whether it stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        inside = typing_only or is_typing_block(node)
        yield child, inside
        yield from walk(child, inside)


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that `from X import ...` names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    base = parts[: len(parts) - node.level + 1]
    return ".".join(base + ([node.module] if node.module else []))


def imports_of(source: ast.Module, module: str, is_package: bool, known: set[str]) -> list[Import]:
    """The dinolite modules that `source` imports anywhere, functions included."""
    found = set()
    for node, typing_only in walk(source):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, is_package)
            parts = [f"{base}.{alias.name}" for alias in node.names]
            targets = [part if part in known else base for part in parts]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            targets = [a.value for a in node.args if isinstance(a, ast.Constant)]
        for target in targets:
            if target.split(".")[0] == "dinolite" and target != module:
                found.add(Import(getattr(node, "lineno", 0), target, typing_only))
    return sorted(found)


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one import cycle, in order; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if found := visit(following, [*trail, node]):
                return found
        done.add(node)
        return []

    for start in sorted(graph):
        if found := visit(start, []):
            return found
    return []
