"""Numbers over steps: one panel per run, one line per name, marks across all."""

import matplotlib.pyplot as plt
import pytest

from dinolite_course.figures.steps import steps_figure


def test_lines_and_marks_are_where_they_belong() -> None:
    runs = {"right": {"a": [3.0, 2.0], "b": [1.0, 0.5]}, "wrong": {"a": [3.0, 3.0], "b": [1, 1]}}
    figure = steps_figure(runs, "nats", {"ln K": 4.0})
    assert [ax.get_title() for ax in figure.axes] == ["right", "wrong"]
    for ax, lines in zip(figure.axes, runs.values(), strict=True):
        a, b, mark = ax.lines
        assert list(a.get_ydata()) == lines["a"] and list(b.get_ydata()) == lines["b"]
        assert list(mark.get_ydata()) == [4.0, 4.0]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b", "ln K"]
    plt.close(figure)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="is empty"):
        steps_figure({}, "nats")
