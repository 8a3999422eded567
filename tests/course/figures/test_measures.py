"""Measures over steps: each line where it belongs, marks as lines, and what is refused."""

import matplotlib.pyplot as plt
import pytest

from dinolite_course.figures.measures import measures_figure


def test_one_plot_a_measure_one_line_a_run() -> None:
    lines = {"with": ([0, 10], [0.5, 0.7]), "without": ([0, 10], [0.5, 0.4])}
    other = {"with": ([0, 10], [1, 2])}
    figure = measures_figure({"k-NN": lines, "AUC": other}, {"k-NN": {"untrained": 0.2}}, width=7)
    left, right = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["k-NN", "AUC"]
    assert [list(line.get_ydata()) for line in left.lines] == [[0.5, 0.7], [0.5, 0.4], [0.2, 0.2]]
    assert list(right.lines[0].get_xdata()) == [0, 10]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["with", "without", "untrained"]
    assert figure.get_size_inches()[0] == 7
    plt.close(figure)


def test_one_line_needs_no_legend() -> None:
    figure = measures_figure({"AUC": {"run": ([0], [1])}})
    assert not figure.legends
    plt.close(figure)


def test_nothing_and_uneven_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        measures_figure({})
    with pytest.raises(ValueError, match="has 2 steps and 1 values"):
        measures_figure({"AUC": {"run": ([0, 1], [1])}})
