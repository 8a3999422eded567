"""Who imports whom: the house has floors, and imports go down."""

import ast
from functools import cache

import pytest

from tests.import_graph import ROOT, Import, cycle, imports_of, module_name

MODULES = {module_name(path): path for path in sorted((ROOT / "dinolite").rglob("*.py"))}

# The floors of the house. A module may import lower floors, and what shares its entry; on the
# ground floor all may meet. The longest entry that fits a module counts.
FLOORS = {
    "dinolite": 0,
    "dinolite.config": 0,
    "dinolite.settings": 0,
    "dinolite.recipe_files": 0,
    "dinolite.setting_types": 0,
    "dinolite.checks": 0,
    "dinolite.files": 0,
    "dinolite.offline": 0,
    "dinolite.provenance": 0,
    "dinolite.distributed": 0,
    "dinolite.sharding": 0,
    "dinolite.launching": 0,
    "dinolite.metrics": 0,
    "dinolite.layers": 1,
    "dinolite.models": 2,
    "dinolite.loss": 2,
    "dinolite.data": 2,
    "dinolite.train": 3,
    "dinolite.checkpointer": 3,
    "dinolite.eval": 4,
    "dinolite.viz": 4,
    "dinolite.train.train": 5,  # the loop, and what was split off from it:
    "dinolite.train.state": 5,
    "dinolite.train.run_folder": 5,
    "dinolite.train.interruption": 5,
    "dinolite.train.failure": 5,
    "dinolite.train.replay": 5,
    "dinolite.train.rehearsal": 5,
    "dinolite.summary": 5,
    "dinolite.show": 5,
    "dinolite.installation": 5,
    "dinolite.exercises": 5,
    "dinolite.explore": 5,
    "dinolite.cli": 6,
    "dinolite.__main__": 7,
}
# Floors 1-4 do not know that other processes exist, except for the loss, which averages over them,
# and checkpoints, which all write together.
MANY = {"dinolite.distributed", "dinolite.sharding"}
SPEAKS_TO_OTHERS = {"dinolite.loss", "dinolite.checkpointer"}
BARRED = {"dinolite.eval": {3}, "dinolite.viz": {3}}  # they work on any backbone, so never on train
LOOP = 5  # one file by idea, several by size


def entry(module: str) -> str:
    """The line of the table that speaks about `module`."""
    while module not in FLOORS and "." in module:
        module = module.rpartition(".")[0]
    return module


def misstep(module: str, target: str) -> str:
    """Why `module` may not import `target`; empty if it may."""
    ours, theirs = entry(module), entry(target)
    floor, other = FLOORS[ours], FLOORS[theirs]
    if theirs in MANY and 1 <= floor <= 4 and ours not in SPEAKS_TO_OTHERS:
        return "only loss/, checkpointer and the training loop know that other processes exist"
    if ours == theirs or floor == other == 0 or floor == other == LOOP:
        return ""
    if other >= floor:
        return f"floor {floor} may not import floor {other}"
    if other in BARRED.get(ours, set()):
        return f"{ours} works on any backbone and never imports floor {other}"
    return ""


@cache
def edges() -> dict[str, list[Import]]:
    known = set(MODULES)
    return {
        name: imports_of(ast.parse(path.read_text()), name, path.name == "__init__.py", known)
        for name, path in MODULES.items()
    }


def test_imports_go_down() -> None:
    wrong = [
        f"{name}:{i.line} imports {i.target}: {reason}"
        for name, found in edges().items()
        for i in found
        if (reason := misstep(name, i.target))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_floor() -> None:
    homeless = [name for name in MODULES if name != "dinolite" and entry(name) == "dinolite"]
    assert not homeless, f"give {homeless} a floor in FLOORS, as in the import table"


def test_no_import_cycles() -> None:
    graph = {n: {i.target for i in found if not i.typing_only} for n, found in edges().items()}
    assert not cycle(graph), " -> ".join(cycle(graph))


@pytest.mark.parametrize(
    ("module", "target", "allowed"),
    [
        ("dinolite.layers.block", "dinolite.layers.attention", True),
        ("dinolite.layers.block", "dinolite.config", True),
        ("dinolite.layers.block", "dinolite.models.vision_transformer", False),
        ("dinolite.models.x", "dinolite.loss.y", False),  # neighbours on floor 2
        ("dinolite.data.x", "dinolite.models.y", False),
        ("dinolite.loss.x", "dinolite.distributed", True),
        ("dinolite.data.samplers", "dinolite.distributed", False),
        ("dinolite.train.ema", "dinolite.distributed", False),
        ("dinolite.train.ema", "dinolite.sharding", False),
        ("dinolite.train.ssl_meta_arch", "dinolite.train.ema", True),
        ("dinolite.train.ssl_meta_arch", "dinolite.train.train", False),
        ("dinolite.eval.knn", "dinolite.train.ema", False),
        ("dinolite.eval.knn", "dinolite.models.vision_transformer", True),
        ("dinolite.viz.pca", "dinolite.eval.features", False),
        ("dinolite.train.train", "dinolite.distributed", True),
        ("dinolite.train.train", "dinolite.eval.knn", True),
        ("dinolite.train.train", "dinolite.cli", False),
        ("dinolite.cli", "dinolite.train.train", True),
        ("dinolite.config", "dinolite.distributed", True),
        ("dinolite.config", "dinolite.layers.block", False),
    ],
)
def test_the_table_itself(module: str, target: str, allowed: bool) -> None:
    assert (misstep(module, target) == "") == allowed


def test_imports_are_found_wherever_they_stand() -> None:
    source = ast.parse(
        "import dinolite.config\n"
        "def f():\n    from ..loss import koleo_loss\n"
        "from dinolite.loss.koleo_loss import KoLeoLoss\n"
        "if TYPE_CHECKING:\n    from . import ema\n"
        "importlib.import_module('dinolite.cli')\n"
        "import torch\n"
    )
    known = {"dinolite.loss.koleo_loss", "dinolite.train.ema"}
    found = imports_of(source, "dinolite.train.param_groups", False, known)
    assert found == [
        (1, "dinolite.config", False),
        (3, "dinolite.loss.koleo_loss", False),
        (4, "dinolite.loss.koleo_loss", False),
        (6, "dinolite.train.ema", True),
        (7, "dinolite.cli", False),
    ]


def test_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
