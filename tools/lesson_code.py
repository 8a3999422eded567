"""What the code of a lesson does: which random numbers it draws, which classes it defines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "dinolite"
DRAWS = {
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
    *("multinomial", "bernoulli", "normal", "dropout", "shuffle", "choice"),
    *("normal_", "uniform_", "bernoulli_", "random_", "trunc_normal_"),
    *("Linear", "Conv2d", "Embedding", "init_weights"),
}


def drawn(body: list[ast.stmt]) -> Iterator[str]:
    """Names of the random functions that a cell calls when it runs, not inside a definition."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and not any(k.arg == "generator" for k in node.keywords):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in DRAWS:
                yield name
        stack.extend(ast.iter_child_nodes(node))


def bare(node: ast.ClassDef) -> str:
    """A class as its code alone: no comments, no docstrings."""
    for part in ast.walk(node):
        if isinstance(part, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(part):
            part.body = part.body[1:]
    return ast.dump(node)


@cache
def package_classes() -> frozenset[str]:
    sources = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py"))
    found = (n for source in sources for n in ast.walk(source) if isinstance(n, ast.ClassDef))
    return frozenset(bare(node) for node in found)
