"""Bars of parameters: they end at 100 percent, each part as wide as its share."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from dinolite_course.figures.parameters import parameters_figure


def test_the_parts_are_the_shares() -> None:
    counts = {
        "a": {"attention": 1_000_000, "FFN": 3_000_000},
        "b": {"attention": 500_000, "FFN": 500_000},
    }
    figure = parameters_figure(counts)
    (ax,) = figure.axes
    bars = [(p.get_x(), p.get_width()) for p in ax.patches if isinstance(p, Rectangle)]
    assert bars == [(0, 25), (0, 50), (25, 75), (50, 50)]  # part by part, network by network
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a\n4.0 M", "b\n1.0 M"]
    assert [t.get_text() for t in ax.texts] == ["25", "50", "75", "50"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["attention", "FFN"]
    plt.close("all")


def test_a_narrow_part_has_no_number() -> None:
    (ax,) = parameters_figure({"a": {"attention": 99, "norms": 1}}).axes
    assert [t.get_text() for t in ax.texts] == ["99"]
    plt.close("all")


@pytest.mark.parametrize("other", [{"FFN": 1}, {"attention": 0}])
def test_networks_that_cannot_be_compared(other: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"counts\['b'\]"):
        parameters_figure({"a": {"attention": 1}, "b": other})
