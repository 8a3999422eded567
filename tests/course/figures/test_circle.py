"""Points on circle and sphere, histograms and log-log curves: the right numbers are drawn."""

import math

import numpy as np
import pytest
import torch
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.circle import circle_figure
from dinolite_course.figures.histograms import histogram_figure
from dinolite_course.figures.loglog import loglog_figure
from dinolite_course.figures.sphere import flat, sphere_figure

SQUARE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def test_points_letters_links_and_arrows() -> None:
    nearest = torch.tensor([1, 0, 1, 2])
    figure = circle_figure({"a": SQUARE, "b": SQUARE}, {"a": nearest}, {"b": 0.5 * SQUARE})
    a, b = figure.axes
    assert [ax.get_title() for ax in (a, b)] == ["a", "b"]
    assert_allclose(np.asarray(a.collections[0].get_offsets()), SQUARE.numpy())
    drawn = [t for t in a.texts if isinstance(t, Annotation)]
    assert [t.get_text() for t in a.texts if not isinstance(t, Annotation)] == list("ABCD")
    assert_allclose([t.xy for t in drawn], SQUARE[nearest].numpy())
    tips = [t.xy for t in b.texts if isinstance(t, Annotation)]
    assert_allclose(tips, 1.5 * SQUARE.numpy())
    assert isinstance(drawn[0].arrow_patch, FancyArrowPatch)
    assert png_bytes(figure)


def test_groups_have_colours_and_many_points_no_letters() -> None:
    points = torch.cat([SQUARE, SQUARE])
    figure = circle_figure({"a": points}, groups=torch.arange(8) % 4)
    (ax,) = figure.axes
    colours = np.asarray(ax.collections[0].get_facecolor())
    assert not ax.texts and len(np.unique(colours, axis=0)) == 4
    assert_allclose(colours[:4], colours[4:])
    assert png_bytes(figure)


def test_the_sphere_has_a_front_and_a_back() -> None:
    points = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.6, -0.8]])
    figure = sphere_figure({"three": points})
    front, back = figure.axes
    assert [ax.get_title() for ax in (front, back)] == ["three: front 2", "back 1"]
    assert_allclose(np.asarray(front.collections[0].get_offsets()), [[0, 0], [1, 0]])
    place = np.asarray(back.collections[0].get_offsets())
    assert_allclose(place, [[0, 0.6 / math.sqrt(1.8)]], rtol=1e-6)
    assert png_bytes(figure)


def test_equal_areas_stay_equal() -> None:
    """A cap of height h has the area 2 pi h; on the disc its radius is sqrt(h)."""
    h = torch.linspace(0.01, 1, 20)
    rim = torch.stack([(1 - (1 - h) ** 2).sqrt(), 0 * h, 1 - h], dim=1)
    assert_allclose(flat(rim)[:, 0].square().numpy(), h.numpy(), rtol=1e-5)


def test_histograms_share_a_range() -> None:
    figure = histogram_figure({"a": torch.tensor([0.1, 0.1, 0.9])}, "distance", 0, 1, bins=2)
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == [2, 1]  # type: ignore[attr-defined]
    assert_allclose(np.asarray(ax.get_lines()[0].get_xdata()), 0.1)
    assert ax.get_xlim() == (0, 1) and png_bytes(figure)


def test_curves_on_logarithmic_axes() -> None:
    figure = loglog_figure([1, 10], {"a": {"one": [2, 20], "two": [3, 0]}}, "d")
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "d")
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    assert list(np.asarray(lines["one"].get_ydata())) == [2, 20]
    assert list(lines) == ["one", "two"] and png_bytes(figure)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"points = \{\} is empty"):
        circle_figure({})
    with pytest.raises(ValueError, match=r"points = \{\} is empty"):
        sphere_figure({})
    with pytest.raises(ValueError, match=r"values = \{\} is empty"):
        histogram_figure({}, "x", 0, 1)
    with pytest.raises(ValueError, match=r"panels = \{\} is empty"):
        loglog_figure([1], {}, "x")
