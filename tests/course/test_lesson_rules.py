"""Each rule of the lessons is broken at least once, and names what it was broken by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell as text_cell
from tests.lesson_gate import stream
from tests.tiny_lesson import build_tiny, read_tiny

from tools.lesson import Lesson
from tools.lesson_rules import RULES, problems

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("lesson"))


@pytest.fixture
def tiny(folder: Path) -> Lesson:
    return read_tiny(folder)


Change = Callable[[NotebookNode], Any]


def code(place: int, **fields: Any) -> Change:
    """Set fields of the code cell at `place`."""

    def change(nb: NotebookNode) -> None:
        [c for c in nb.cells if c.cell_type == "code"][place].update(nbformat.from_dict(fields))

    return change


def text(place: int, source: str) -> Change:
    """Set the source of the text cell at `place`."""

    def change(nb: NotebookNode) -> None:
        [c for c in nb.cells if c.cell_type == "markdown"][place].source = source

    return change


def shown(**data: str) -> list[dict[str, Any]]:
    kinds = {k.replace("_", "/").replace("svg", "svg+xml"): v for k, v in data.items()}
    return [{"output_type": "display_data", "metadata": {}, "data": kinds}]


def rows(nb: NotebookNode) -> None:
    nb.cells = [c for c in nb.cells if c.cell_type == "code" or c.source.startswith("# 03")]


CARD = "- add\n- draw\n- fail\n\n"
CLASS = (ROOT / "dinolite" / "layers" / "layer_scale.py").read_text().partition("class ")
BROKEN: list[tuple[str, Change]] = [
    ("text_budget", text(2, "word " * 121)),
    (
        "text_budget",
        lambda nb: nb.cells.extend(text_cell("word " * 119) for _ in range(30)),
    ),
    ("code_budget", code(1, source="x = 1\n" * 41)),
    ("code_budget", code(1, source="x = '" + "x" * 80 + "'")),
    ("code_budget", rows),
    ("size_budget", code(1, outputs=stream("x" * 1_000_000))),
    ("terms_budget", text(2, " ".join(f"[t](GLOSSARY.md#t{n})" for n in range(10)))),
    ("title_and_card", text(0, "# Tiny")),
    ("title_and_card", text(1, "- only one")),
    ("title_and_card", lambda nb: nb.cells.pop(0)),
    ("sections", text(-1, "## Sources\n\n## Recap")),
    ("exercises", code(-1, source="1")),
    ("exercises", code(-1, source="raise NotImplementedError('exercise 04.3')")),
    ("exercises", code(-1, source="raise NotImplementedError('exercise 03.3')")),
    ("imports", code(0, source="import torch\nx = 1")),
    ("imports", code(0, source="\n".join(["import os"] * 11))),
    ("imports", code(1, source="import torch")),
    ("forbidden", code(1, source="!pip install torch")),
    ("forbidden", code(1, source="model.cuda()")),
    ("forbidden", code(1, source="interact(f, x=3)")),
    ("forbidden", code(1, source="with widgets.Output():\n    pass")),
    ("forbidden", code(1, source="torch.__version__")),
    ("forbidden", code(1, source="load(download=True)")),
    ("forbidden", code(1, source="x;  # hidden")),
    ("seeds", code(1, source="x = torch.randn(3)")),
    ("seeds", code(1, source="layer = nn.Linear(2, 3)")),
    ("pasted", code(1, source="class " + CLASS[2])),
    ("voice", text(2, "This is simply a sum.")),
    ("voice", text(2, "Just add.")),
    ("sums", text(2, "Two\n+ three is five.")),
    ("links", text(2, "[x](gone.md)")),
    ("links", text(1, CARD + "[x](GLOSSARY.md#unknown)")),
    ("executed", code(1, execution_count=None)),
    ("executed", code(1, execution_count=9)),
    ("executed", lambda nb: nb.metadata.update(widgets={})),
    ("executed", code(1, metadata={"execution": {}})),
    ("quiet", code(1, outputs=stream("UserWarning", "stderr"))),
    ("quiet", code(3, metadata={})),
    ("same_everywhere", code(1, outputs=stream("/" + "home/ann/x"))),
    ("same_everywhere", code(1, outputs=stream("<f at 0x7f00aa>"))),
    ("same_everywhere", code(1, outputs=stream("0.123456"))),
    ("same_everywhere", code(1, outputs=shown(image_svg="<svg/>"))),
    ("ignored_outputs", code(1, source="# NBVAL_IGNORE_OUTPUT\n1")),
    ("ignored_outputs", code(1, source="# why\nf()  # NBVAL_IGNORE_OUTPUT")),
    ("ignored_outputs", code(1, source="# why\n# NBVAL_IGNORE_OUTPUT\n" * 2)),
    ("ignored_outputs", code(1, source="# NBVAL_SKIP\n1")),
    ("ignored_outputs", code(1, metadata={"tags": ["nbval-ignore-output"]})),
    ("figures", text(3, "Look at that.\n\n## Common mistakes")),
    ("figures", code(2, source="plt.plot([1, 3, 2])")),
    ("widgets", code(1, outputs=shown(text_plain="explore(f: x=3)", image_png="aaaa"))),
]


def test_the_tiny_lesson_keeps_every_rule(tiny: Lesson) -> None:
    assert problems(tiny) == []


@pytest.mark.parametrize(
    ("rule", "change"), BROKEN, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named(tiny: Lesson, rule: str, change: Change) -> None:
    change(tiny.notebook)
    speaking = {r.__name__ for r in RULES if list(r(tiny))}
    assert rule in speaking


def test_every_rule_was_broken() -> None:
    assert {rule.__name__ for rule in RULES} == {name for name, _ in BROKEN}


@pytest.mark.parametrize(
    ("place", "source"),
    [
        (1, "torch.manual_seed(0)\nx = torch.randn(3)"),
        (1, "class Net(nn.Module):\n    def __init__(self):\n        self.l = nn.Linear(1, 2)"),
        (1, "x = torch.randn(3, generator=g)"),
        (1, "# timings differ\n# NBVAL_IGNORE_OUTPUT\nf()"),
        (0, "import os\n# a comment\nimport sys"),
    ],
)
def test_what_is_allowed(tiny: Lesson, place: int, source: str) -> None:
    code(place, source=source)(tiny.notebook)
    assert problems(tiny) == []
