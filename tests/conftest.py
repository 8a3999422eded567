"""Every test starts from the same seeds, on one thread, with the shapes in signatures checked."""

import random
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings

# Before anything imports dinolite. A tensor that contradicts its annotation fails the test; an int
# passes for a float, as type checkers have it (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook(["dinolite", "dinolite_course"], CHECKER)

# No example data base, no deadline: a property fails for its own sake, not for a busy machine's.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Slow tests and those of trust run as a user does, without the checks of shapes: they take
    half of the time of a small step."""
    as_used = item.get_closest_marker("slow") is not None or item.path.parent.name == "trust"
    jaxtyping.config.update("jaxtyping_disable", as_used)


@pytest.fixture(autouse=True)
def seeds() -> Iterator[None]:
    """Seed the three generators that code can draw from."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
