"""Signals through depth: the right numbers reach the right panel."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.signal import (
    depth_maps_figure,
    kept_figure,
    mosaic_figure,
    signal_figure,
)


def lines(ax: Axes) -> dict[str, list[float]]:
    return {str(ln.get_label()): list(np.asarray(ln.get_ydata())) for ln in ax.get_lines()}


def image_in(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_each_quantity_has_a_panel_and_each_run_its_curve() -> None:
    runs = {"a": {"norm": [1.0, 2.0], "alike": [0.1, 0.2]}, "b": {"norm": [3.0, 4.0]}}
    figure = signal_figure(runs, log=["norm"])
    left, right = figure.axes
    assert lines(left) == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    assert lines(right) == {"a": [0.1, 0.2]}
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert (left.get_title(), left.get_xlabel()) == ("norm", "block")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    first, second = left.get_lines()
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert png_bytes(figure)


def test_curves_over_given_places() -> None:
    figure = signal_figure({"a": {"y": [1.0, 4.0]}}, x=[-1.0, 2.0], xlabel="input")
    assert list(np.asarray(figure.axes[0].get_lines()[0].get_xdata())) == [-1.0, 2.0]
    plt.close(figure)


def test_infinite_values_do_not_stop_the_drawing() -> None:
    values = [1.0, 0.0, float("nan"), float("inf")]
    assert png_bytes(signal_figure({"a": {"norm": values}}, log=["norm"]))


@pytest.mark.parametrize("runs", [{}, {"a": {}}])
def test_nothing_to_draw_is_an_error(runs: dict[str, dict[str, list[float]]]) -> None:
    with pytest.raises(ValueError, match="runs is empty"):
        signal_figure(runs)


def test_maps_by_depth() -> None:
    image = torch.zeros(3, 8, 8)
    maps = {"x": torch.arange(8.0).view(2, 2, 2) / 8, "y": torch.ones(2, 2, 2)}
    figure = depth_maps_figure(image, maps, ["block 0", "block 9"], patch=(1, 0))
    axes = figure.axes
    assert [ax.get_title() for ax in axes] == ["x", "block 0", "block 9", "y", "block 0", "block 9"]
    assert_allclose(image_in(axes[2]), maps["x"][1].numpy())
    assert axes[5].images[0].get_clim() == (-1, 1)
    frame = axes[0].patches[0]
    assert frame.get_xy() == (-0.5, 3.5)  # type: ignore[attr-defined]
    plt.close(figure)


def test_one_title_for_each_map() -> None:
    with pytest.raises(ValueError, match="zip"):
        depth_maps_figure(torch.zeros(3, 4, 4), {"x": torch.ones(2, 2, 2)}, ["a"], (0, 0))
    plt.close("all")


def test_mosaics_keep_their_own_sizes() -> None:
    figure = mosaic_figure({"a": torch.ones(3, 2, 2) * 2, "b": torch.zeros(3, 5, 4)})
    assert [image_in(ax).shape for ax in figure.axes] == [(2, 2, 3), (5, 4, 3)]
    assert image_in(figure.axes[0]).max() == 1
    plt.close(figure)


def test_skipped_pictures_are_faded() -> None:
    images = torch.zeros(2, 3, 4, 4)
    kept = {"attention": torch.tensor([True, False]), "FFN": torch.tensor([False, False])}
    figure = kept_figure(images, kept)
    shades = [float(image_in(ax).mean()) for ax in figure.axes]
    assert_allclose(shades, [0, 0.85, 0.85, 0.85], rtol=1e-6)
    assert [ax.get_title() for ax in figure.axes] == ["attention", "", "FFN", ""]
    plt.close(figure)
