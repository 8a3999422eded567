"""Lines over a varied number: what is drawn, the doubling axis, and what is refused."""

import pytest

from dinolite_course import figures as viz


def test_lines_of_every_panel_on_one_scale() -> None:
    panels = {"patches": {"a": [1.0, 2.0], "b": [0.0, 3.0]}, "CLS": {"a": [5.0, 4.0]}}
    figure = viz.lines_figure([0.5, 2], panels, "factor", doubling=True)
    first, second = figure.axes
    assert [list(line.get_ydata()) for line in first.lines] == [[1, 2], [0, 3]]
    assert list(second.lines[0].get_xdata()) == [0.5, 2]
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xscale() == "log" and list(first.get_xticks()) == [0.5, 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b"]
    assert viz.lines_figure([1, 2], panels, "n").axes[0].get_xscale() == "linear"


def test_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        viz.lines_figure([1, 2], {}, "n")
