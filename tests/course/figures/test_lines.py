"""Lines: each where it belongs and with one look, levels and marks, scales, legends."""

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.lines import (
    entropy_floor_figure,
    lines_figure,
    loss_split_figure,
    panels_of,
    percent_of_run,
)


def drawn(ax: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in ax.lines}


def named(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def places(ax: Axes) -> list[list[float]]:
    return [np.asarray(line.get_xdata()).tolist() for line in ax.lines]


def test_a_name_has_one_look_in_all_panels_and_marks_cross_them() -> None:
    panels = {"a": {"student": [1.0, 2.0], "teacher": [0.5, 2.5]}, "b": {"teacher": [1, 1]}}
    figure = lines_figure(panels, [0, 50], "step", "k-NN (%)", {"untrained": 0.7})
    left, right = figure.axes
    assert [(ax.get_title(), ax.get_xlabel()) for ax in (left, right)] == [
        ("a", "step"),
        ("b", "step"),
    ]
    assert drawn(left) == {"student": [1, 2], "teacher": [0.5, 2.5], "untrained": [0.7, 0.7]}
    assert places(left)[:2] == [[0, 50], [0, 50]]
    assert left.get_ylabel() == "k-NN (%)" and left.get_ylim() == right.get_ylim()
    student, teacher, mark = left.lines
    for look in ("color", "linestyle", "marker"):
        of = [getattr(line, f"get_{look}")() for line in (student, teacher, right.lines[0])]
        assert of[0] != of[1] == of[2]
    assert mark.get_color() == "gray"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "student",
        "teacher",
        "untrained",
    ]


def test_panels_of_different_quantities_have_their_own_scale() -> None:
    figure = lines_figure({"loss": {"run": [1, 2]}, "norm": {"run": [10, 1000]}}, log=["norm"])
    loss, norm = figure.axes
    assert loss.get_ylim()[1] < 3 and (loss.get_yscale(), norm.get_yscale()) == ("linear", "log")
    assert places(loss) == [[0, 1]] and not figure.legends  # one name needs no legend


def test_panels_without_a_common_name_have_a_legend_each() -> None:
    figure = lines_figure({"loss": {"a": [1, 2], "ln K": 3.0}, "k-NN": {"b": [1, 2]}})
    assert [[t.get_text() for t in ax.get_legend().get_texts()] for ax in figure.axes] == [
        ["a", "ln K"],
        ["b"],
    ]


def test_pairs_levels_and_rows() -> None:
    lines = {"pulled": ([40, 80], [1.0, 2.0]), "seeds": [[5.0, 4.0], [6.0, 5.0]], "untrained": 0.5}
    (ax,) = lines_figure({"AUC": lines}, [0, 40]).axes
    assert places(ax)[:3] == [[40, 80], [0, 40], [0, 40]]
    assert [list(y) for y in drawn(ax).values()] == [[1, 2], [5, 4], [6, 5], [0.5, 0.5]]
    assert ax.lines[1].get_color() == ax.lines[2].get_color() != ax.lines[0].get_color()


def test_few_values_have_markers() -> None:
    few, many = (lines_figure({"": {"a": range(n)}}).axes[0].lines[0] for n in (5, 100))
    assert few.get_marker() == "o" and many.get_marker() == ""


def test_horizontal_scales() -> None:
    curves = {"a": {"one": [2, 20], "two": [3, 0]}}
    (ax,) = lines_figure(curves, [1, 10], "d", log=curves, xscale="log").axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log") and drawn(ax)["two"] == [3, 0]
    figure = lines_figure(curves, [0.5, 2], xscale="doubling", upright={"here": 1})
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and list(ax.get_xticks()) == [0.5, 2]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5", "2"]
    assert places(ax)[-1] == [1, 1] and "here" in [
        t.get_text() for t in figure.legends[0].get_texts()
    ]


def test_infinite_values_do_not_stop_the_drawing() -> None:
    values = [1.0, 0.0, float("nan"), float("inf")]
    assert png_bytes(lines_figure({"norm": {"a": values}}, log=["norm"]))


def test_runs_become_panels() -> None:
    runs = {"a": {"norm": [1, 2], "alike": [0, 1]}, "b": {"norm": [3, 4]}}
    assert panels_of(runs) == {"norm": {"a": [1, 2], "b": [3, 4]}, "alike": {"a": [0, 1]}}


def test_runs_of_different_lengths_are_counted_in_percent() -> None:
    assert [list(v) for v in percent_of_run([1.0, 2.0, 3.0, 4.0])] == [
        [0, 25, 50, 75],
        [1, 2, 3, 4],
    ]
    percent, values = percent_of_run(np.arange(10_001.0))
    assert (
        len(percent) == 500 and values[-1] == 10_000 and percent[-1] == pytest.approx(100, abs=0.1)
    )


def test_measured_beside_the_floor() -> None:
    measured = {8: {"T 0.1": [2.0, 1.5, 1.0]}, 2: {"T 0.1": [0.6, 0.5, 0.4]}}
    left, right = entropy_floor_figure([2, 4, 16], measured).axes
    assert [left.get_title(), right.get_title()] == ["K = 8", "K = 2"]
    lines = drawn(left)
    assert lines["T 0.1"] == [2.0, 1.5, 1.0] and places(left)[0] == [2, 4, 16]
    assert_allclose(lines["floor"], [math.log(4), math.log(2), 0])
    assert_allclose(lines["ln K"], math.log(8))


def test_the_loss_is_the_sum_of_both_layers() -> None:
    runs = {"a": ([1.0, 1.5], [3.0, 1.0]), "b": ([0.5, 0.0], [0.25, 0.0])}
    figure = loss_split_figure(runs, start=4.0)
    for ax, loss in zip(figure.axes, [[4.0, 2.5], [0.75, 0.0]], strict=True):
        assert drawn(ax) == {"loss": loss, "ln K": [4.0, 4.0]}
        lower, upper = ax.collections
        assert lower.get_paths()[0].vertices[:, 1].min() == pytest.approx(0)
        assert upper.get_paths()[0].vertices[:, 1].max() == pytest.approx(max(loss))
    assert named(figure) == ["target entropy", "KL", "loss", "ln K"]
