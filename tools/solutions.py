"""Write lessons/solutions/NN.py from the exercises, where each solution stands once.

python -m tools.solutions
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

from dinolite_course.exercises import exercises_of, lesson_numbers

FOLDER = Path(__file__).resolve().parents[1] / "lessons" / "solutions"
IDEA = (
    "Solutions of lesson {}. Try first: `check` in the lesson tells you what kind of wrong it is."
)


def imports_for(code: str, module: str) -> str:
    """The lines of a module's imports that bind a name which `code` uses, in their groups."""
    used = {n.id for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name)}
    text = Path(str(import_module(module).__file__)).read_text("utf8")
    groups: dict[int, list[str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in used]
            if node.names:
                blank_lines = text.split("\n")[: node.lineno].count("")
                groups.setdefault(blank_lines, []).append(ast.unparse(node))
    return "\n\n".join("\n".join(lines) for lines in groups.values())


def solutions(lesson: str) -> str:
    """The page of solutions of a lesson."""
    code = "\n\n".join(exercise.solution for exercise in exercises_of(lesson))
    imports = imports_for(code, f"dinolite_course.exercises.e{lesson}")
    head = f'"""{IDEA.format(lesson)}"""\n' + (f"\n{imports}\n" if imports else "")
    return f"{head}\n\n{code}"


def main() -> None:
    """Write all pages."""
    for lesson in lesson_numbers():
        (FOLDER / f"{lesson}.py").write_text(solutions(lesson), "utf8")


if __name__ == "__main__":
    main()
