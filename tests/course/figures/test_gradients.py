"""The table of gradient norms: logarithms as colours, numbers in squares, nothing where 0."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dinolite_course.figures.gradients import gradient_figure


def test_colours_are_logarithms_and_zero_has_none() -> None:
    norms = {"a_loss": {"x": 100.0, "y": 0.0}, "b": {"x": 1.0, "y": 10.0}}
    figure = gradient_figure(norms)
    (ax,) = figure.axes
    drawn = np.ma.filled(ax.images[0].get_array(), math.nan)
    np.testing.assert_array_equal(drawn, [[2, math.nan], [0, 1]])
    assert [t.get_text() for t in ax.texts] == ["100", "0", "1", "10"]
    assert [t.get_color() for t in ax.texts] == ["black", "black", "white", "black"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a loss", "b"]
    plt.close(figure)


@pytest.mark.parametrize("row", [{"x": 1.0}, {"x": 1.0, "y": -1.0}])
def test_a_row_that_does_not_fit(row: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"norms\['b'\]"):
        gradient_figure({"a": {"x": 1.0, "y": 2.0}, "b": row})
