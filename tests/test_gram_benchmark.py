"""The experiment of docs/gram.md: copies are copies, and the pull is what it is said to be."""

import pytest
import torch

from benchmarks import gram
from dinolite.data.datasets import TensorPictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.photographs import CLASSES, make_windows
from dinolite.train.train import TrainState, make_state

CPU = torch.device("cpu")


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
