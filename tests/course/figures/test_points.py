"""Measured points: lines and marks are where they belong."""

import matplotlib.pyplot as plt
import pytest

from dinolite_course.figures.points import points_figure


def test_lines_and_marks() -> None:
    panels = {"a": {"student": [1.0, 2.0], "teacher": [0.5, 2.5]}, "b": {"student": [1, 1]}}
    figure = points_figure([0, 50], panels, "step", "k-NN (%)", {"untrained": 0.7})
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    student, teacher, mark = figure.axes[0].lines
    assert list(student.get_xdata()) == [0, 50] and list(teacher.get_ydata()) == [0.5, 2.5]
    assert list(mark.get_ydata()) == [0.7, 0.7]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["student", "teacher", "untrained"]
    plt.close(figure)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="is empty"):
        points_figure([0], {}, "step", "k-NN")
