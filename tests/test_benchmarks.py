"""The benchmarks measure what they say, and the pages show the records' figures; no test here looks
at how fast anything is.
"""

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import gram, record, regions
from benchmarks.memory import parameter_bytes, saved_bytes
from benchmarks.readme import PAGES, ROOT, filled, newest
from benchmarks.record import Table, words
from benchmarks.timing import Timing, alternate, ratios
from dinolite.data.datasets import TensorPictures
from dinolite.data.demo_pictures.photographs import CLASSES, make_windows
from dinolite.data.loaders import ssl_batches
from dinolite.train.train import TrainState, make_state

CPU = torch.device("cpu")


@pytest.mark.parametrize("page", PAGES)
def test_pages_show_the_newest_records(page: str) -> None:
    """`python -m benchmarks.readme` would change nothing."""
    text = (ROOT / page).read_text("utf8")
    assert "<!-- benchmark: " in text
    assert filled(text) == text


def test_what_was_not_measured_says_so() -> None:
    page = "<!-- benchmark: nothing @gpu -->\n1.0\n<!-- end -->"
    assert "not measured" in filled(page) and "1.0" not in filled(page)


def test_records_say_machine_versions_and_commit() -> None:
    for table in newest("cpu").values():
        env = table["environment"]
        assert env["processor"] and env["threads"] and env["versions"]["torch"] and env["commit"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_candidates_take_turns() -> None:
    """Each is called once a round and once to warm up, and the first is not always first."""
    calls: list[str] = []
    timings = alternate(
        {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.01))},
        rounds=4,
        warm_up=1,
    )
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert timings["b"].median > 0.009 and len(timings["a"].seconds) == 4
    assert ratios({"a": Timing([1.0, 3.0, 2.0]), "b": Timing([4.0, 4.0])}, "b")["a"] == 0.5
    with pytest.raises(ValueError, match="rounds = 1"):
        alternate({"a": lambda: None}, rounds=1)


def test_saved_bytes_of_a_net_by_hand() -> None:
    """Linear saves its input [5, 3]; square saves the output [5, 4]; weights are not counted."""
    net = nn.Linear(3, 4)
    x = torch.randn(5, 3)

    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).square()

    assert saved_bytes(Squared(), x) == 4 * (5 * 3 + 5 * 4)
    assert parameter_bytes(net) == 4 * (3 * 4 + 4)


def test_a_record_keeps_the_tables_of_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RECORDS", tmp_path)
    record.write([Table("one", "s", ["a"], [[1.0]]), Table("two", "s", ["a"], [[2.0]])])
    path = record.write([Table("one", "s", ["a"], [[3.0]])])
    tables = {t["name"]: t["rows"] for t in json.loads(path.read_text("utf8"))["tables"]}
    assert tables == {"one": [[3.0]], "two": [[2.0]]}


def test_three_digits_that_count() -> None:
    assert [words(x) for x in (0.98765, 1466.2, 12.34, 3, "a")] == [
        "0.988",
        "1466",
        "12.3",
        "3",
        "a",
    ]


def test_rows_of_regions_have_names_and_ranges() -> None:
    """And weights that would share a row are refused before anything is read."""
    assert regions.title_of("runs/tiny_s1/teacher.safetensors") == "tiny_s1"
    assert regions.title_of("runs/tiny_s1/") == regions.title_of("tiny_s1") == "tiny_s1"
    assert regions.cell([0.5]) == "50.0" and regions.cell([0.5, 0.75, 0.25]) == "50.0 (25.0-75.0)"
    with pytest.raises(ValueError, match="one name in the table: a, a"):
        regions.measure(("runs/a", "other/a"))


# --- the experiment of docs/gram.md: copies are copies, and the pull is what it is said to be ---


@pytest.fixture
def state() -> TrainState:
    return make_state(gram.settings(0), CPU)


def test_a_branch_is_a_run_of_its_own(state: TrainState) -> None:
    gram.pull(state.model, 4.0)
    other = gram.branch(state, gram=True)
    assert other.model.compute_losses.__self__ is other.model
    assert other.wrapped is other.model
    mine = {id(p) for p in other.model.parameters()}
    assert mine.isdisjoint(id(p) for p in state.model.parameters())
    assert {id(p) for g in other.optimizer.param_groups for p in g["params"]} <= mine
    assert other.schedules.at(0).gram_loss_weight == gram.GRAM
    assert gram.branch(state, gram=False).schedules.at(0).gram_loss_weight == 0


def test_the_pull_adds_its_loss(state: TrainState) -> None:
    data = TensorPictures(*make_windows(20, "train", 5, 96), CLASSES)
    batch = next(ssl_batches(data, state.config, CPU))
    before, losses = state.model(batch, teacher_temp=0.02)
    gram.pull(state.model, 4.0)
    after, pulled = state.model(batch, teacher_temp=0.02)
    assert set(pulled) - set(losses) == {"pull_loss"}
    torch.testing.assert_close(after, before + 4 * pulled["pull_loss"])
