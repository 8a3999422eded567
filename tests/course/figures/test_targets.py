"""Targets and entropy floors: the right numbers reach the right panel."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.entropy_floor import entropy_floor_figure
from dinolite_course.figures.targets import targets_figure


def test_maps_and_shares() -> None:
    one = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    figure = targets_figure({"a": one, "b": torch.full((2, 2), 0.5)})
    a, b, a_shares, _ = figure.axes
    assert [ax.get_title() for ax in (a, b)] == ["a", "b"]
    assert_allclose(np.asarray(a.images[0].get_array()), one.numpy())
    assert a.images[0].get_clim() == b.images[0].get_clim() == (0, 1)
    heights = [bar.get_height() for bar in a_shares.patches]  # type: ignore[attr-defined]
    assert heights == [0.25, 0.75]
    assert list(np.asarray(a_shares.get_lines()[0].get_ydata())) == [0.5, 0.5]
    assert png_bytes(figure)


def test_a_map_may_have_a_scale_of_its_own() -> None:
    figure = targets_figure({"a": torch.full((3, 4), 0.25)}, vmax=None)
    assert figure.axes[0].images[0].get_clim() == (0, 0.25)
    plt.close(figure)


def test_no_targets_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"targets = \{\} is empty"):
        targets_figure({})


def test_measured_beside_the_floor() -> None:
    measured = {8: {"T 0.1": [2.0, 1.5, 1.0]}, 2: {"T 0.1": [0.6, 0.5, 0.4]}}
    figure = entropy_floor_figure([2, 4, 16], measured)
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == ["K = 8", "K = 2"]
    lines = {str(ln.get_label()): ln for ln in left.get_lines()}
    assert list(np.asarray(lines["T 0.1"].get_xdata())) == [2, 4, 16]
    assert list(np.asarray(lines["T 0.1"].get_ydata())) == [2.0, 1.5, 1.0]
    assert_allclose(np.asarray(lines["floor"].get_ydata()), [math.log(4), math.log(2), 0])
    assert_allclose(np.asarray(lines["ln K"].get_ydata()), math.log(8))
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["ln K", "T 0.1", "floor"]
    assert png_bytes(figure)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"measured = \{\} is empty"):
        entropy_floor_figure([1], {})
