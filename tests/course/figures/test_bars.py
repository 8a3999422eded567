"""Bars: one panel per vector, heights as given, scales shared or not."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.bars import bars_figure


def test_each_vector_is_a_panel_with_its_bars() -> None:
    teacher, student = torch.tensor([0.75, 0.25, 0.0]), torch.tensor([0.5, 0.25, 0.25])
    figure = bars_figure({"teacher": teacher, "student": student})
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("teacher", "student")
    assert np.allclose([bar.get_height() for bar in left.patches], teacher)
    assert np.allclose([bar.get_height() for bar in right.patches], student)
    assert left.get_ylim() == right.get_ylim() and list(left.get_xticks()) == [0, 1, 2]
    plt.close(figure)


def test_own_scales_and_numbers_below_zero() -> None:
    figure = bars_figure({"a": torch.tensor([10.0]), "b": torch.tensor([-1.0])}, same_scale=False)
    left, right = figure.axes
    assert left.get_ylim()[1] > 9 and right.get_ylim()[0] <= -1 and right.get_ylim()[1] < 1
    plt.close(figure)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vectors = \{\} is empty"):
        bars_figure({})
