"""Lines over the blocks: the drawn values are the given ones, small ones stand on the floor."""

import matplotlib.pyplot as plt
import pytest

from dinolite_course.figures.depth import depth_figure


def test_the_lines_are_the_values() -> None:
    lines = {"CLS": [1.0, 2.0, 3.0], "patches": [0.5, 0.25, 0.0]}
    (ax,) = depth_figure(lines, "length").axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}  # type: ignore[arg-type]
    assert drawn == lines and ax.get_ylabel() == "length" and ax.get_yscale() == "linear"
    assert list(ax.get_lines()[0].get_xdata()) == [0, 1, 2]  # type: ignore[arg-type]
    plt.close("all")


def test_a_floor_makes_a_logarithmic_scale_that_can_show_zero() -> None:
    (ax,) = depth_figure({"same": [0.0, 1e-3]}, "difference", floor=1e-8).axes
    assert list(ax.get_lines()[0].get_ydata()) == [1e-8, 1e-3]  # type: ignore[arg-type]
    assert ax.get_yscale() == "log"
    plt.close("all")


def test_many_lines_are_all_drawn() -> None:
    (ax,) = depth_figure({str(i): [float(i)] for i in range(9)}, "x").axes
    assert len(ax.get_lines()) == 9
    plt.close("all")


def test_a_floor_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"floor = 0\.0 must be above 0"):
        depth_figure({"same": [0.0]}, "difference", floor=0.0)
