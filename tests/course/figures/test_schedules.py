"""Schedules as lines: where they lie, how the axis counts, and what cannot be drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dinolite_course.figures.schedules import MANY, schedules_figure


def test_equally_long_schedules_are_counted_in_iterations() -> None:
    panels = {"lr": {"v1": [0.0, 1.0, 0.5], "v2": [0.0, 0.5, 1.0]}, "wd": {"v1": [0.1] * 3}}
    figure = schedules_figure(panels, {"warm-up ends": 2})
    assert [ax.get_title() for ax in figure.axes] == ["lr", "wd"]
    first, second, mark = figure.axes[0].lines
    assert list(first.get_xdata()) == [0, 1, 2] and list(second.get_ydata()) == [0.0, 0.5, 1.0]
    assert list(mark.get_xdata()) == [2, 2] and first.get_marker() == "o"
    assert {ax.get_xlabel() for ax in figure.axes} == {"iteration"}
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["v1", "v2", "warm-up ends"]
    plt.close(figure)


def test_different_lengths_are_counted_in_percent_and_thinned() -> None:
    long = np.arange(10_001.0)
    figure = schedules_figure({"lr": {"long": long, "short": [1.0, 2.0, 3.0, 4.0]}})
    line, short = figure.axes[0].lines
    assert len(line.get_xdata()) == MANY and line.get_ydata()[-1] == 10_000
    assert list(short.get_xdata()) == [0, 25, 50, 75]
    assert figure.axes[0].get_xlabel() == "percent of the run"
    plt.close(figure)


@pytest.mark.parametrize("panels", [{}, {"lr": {}}, {"lr": {"v1": []}}])
def test_nothing_to_draw(panels) -> None:
    with pytest.raises(ValueError, match="allowed: 1 and up"):
        schedules_figure(panels)


def test_marks_need_one_axis() -> None:
    with pytest.raises(ValueError, match="of one length"):
        schedules_figure({"lr": {"a": [1.0], "b": [1.0, 2.0]}}, {"here": 0})
