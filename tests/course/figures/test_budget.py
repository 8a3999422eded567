"""The bars of a budget reach from floor to ln K, and stack to the memory."""

import matplotlib.pyplot as plt
import pytest

from dinolite_course.figures.budget import GIB, budget_figure


def test_rooms_and_memory() -> None:
    memory = {"DDP": {"a": 2 * GIB, "b": GIB}, "FSDP2": {"a": GIB, "b": GIB}}
    figure = budget_figure({"DINO": (2.0, 9.0), "iBOT": (0.0, 9.0)}, memory, 80)
    left, right = figure.axes
    assert [(b.get_y(), b.get_height()) for b in left.patches] == [(2, 7), (0, 9)]
    assert [(b.get_x(), b.get_width()) for b in right.patches] == [(0, 2), (2, 1), (0, 1), (1, 1)]
    assert [t.get_text() for t in right.texts] == [" 3.0", " 2.0"]
    assert [line.get_xdata()[0] for line in right.lines] == [80]
    plt.close(figure)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="both need an entry"):
        budget_figure({}, {"DDP": {"a": 1.0}})
