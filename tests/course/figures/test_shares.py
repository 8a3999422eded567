"""Bars and boxes are as high and as full as what they stand for."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import same_color

from dinolite.viz.style import COLORS
from dinolite_course.figures.shares import held_figure, who_holds_figure


def test_bars_stand_on_each_other() -> None:
    MiB = 2**20
    whole, half = {"student": 4 * MiB, "AdamW": 8 * MiB}, {"student": 2 * MiB, "AdamW": 4 * MiB}
    figure = held_figure({"one": [whole], "shared": [half, half]})
    one, shared = figure.axes
    assert (one.get_title(), shared.get_title()) == ("one", "shared")
    assert [(b.get_y(), b.get_height()) for b in one.patches] == [(0, 4), (4, 8)]
    assert [(b.get_y(), b.get_height()) for b in shared.patches] == [(0, 2), (0, 2), (2, 4), (2, 4)]
    assert one.get_ylim() == shared.get_ylim() and one.get_ylabel() == "MiB"
    plt.close(figure)


def test_boxes_are_filled_where_something_is() -> None:
    state = torch.zeros(2, 3, 2, dtype=torch.int64)
    state[0, :, 0] = state[1, :, 1] = 1
    state[0, 1, 1] = 2
    figure = who_holds_figure({"FSDP2": state}, ["a", "b", "c"])
    (ax,) = figure.axes
    filled = [p for p in ax.patches if p.get_fill()]
    assert len(filled) == 7 and len(ax.patches) == 7 + 6
    gathered = [p for p in filled if same_color(p.get_facecolor(), COLORS[4])]
    assert [(round(p.get_x(), 1), round(p.get_y(), 1)) for p in gathered] == [(0.5, 1.1)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    plt.close(figure)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"held = \{\} is empty"):
        held_figure({})
    with pytest.raises(ValueError, match=r"ways = \{\} is empty"):
        who_holds_figure({}, [])
    with pytest.raises(ValueError, match=r"1 names in parts, 'x' has 2"):
        who_holds_figure({"x": torch.ones(1, 2, 1, dtype=torch.int64)}, ["a"])
