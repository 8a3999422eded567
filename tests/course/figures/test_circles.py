"""Points, arrows and prototypes on circle and sphere: what stands where and in which colour."""

import math

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation
from numpy.testing import assert_allclose

from dinolite.viz.style import COLORS, png_bytes
from dinolite_course.figures.circles import (
    answers,
    circle_figure,
    even_prototypes,
    flat,
    gram_circles_figure,
    prototype_colors,
    prototypes_figure,
    sphere_figure,
)

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


def test_patches_on_a_circle_and_the_cosines_of_their_pairs() -> None:
    parts = torch.tensor([0, 0, 1, 1])
    turned = SQUARE.roll(1, 0)  # by a quarter of a turn: other places, the same cosines
    stages = {"early": SQUARE, "turned": turned}
    figure = gram_circles_figure(stages, parts, SQUARE[3], ["sky", "wall"], "the finding")
    assert figure.get_suptitle() == "the finding"
    circles, tables = figure.axes[:2], figure.axes[2:4]
    assert [ax.get_title() for ax in circles] == ["early", "turned"]
    for ax, points in zip(circles, (SQUARE, turned), strict=True):
        [dots] = ax.collections
        assert_allclose(np.asarray(dots.get_offsets()), points.numpy())
        expected = [to_rgb(COLORS[i]) for i in (0, 0, 1, 1)]
        assert_allclose(np.asarray(dots.get_facecolor())[:, :3], expected)
        [arrow] = [t for t in ax.texts if isinstance(t, Annotation)]
        tip = np.asarray(arrow.xy)
        assert_allclose(tip / np.linalg.norm(tip), [0, -1], atol=1e-6)
    pairs = [[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]]  # 90 degrees each
    for ax in tables:
        [image] = ax.images
        assert_allclose(np.asarray(image.get_array()), pairs, atol=1e-6)
        assert image.get_clim() == (-1, 1)
        assert [t.get_text() for t in ax.get_xticklabels()] == ["sky", "wall"]
        assert_allclose(ax.get_xticks(), [0.5, 2.5])  # the middles of the two blocks
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


def test_a_point_has_the_mean_colour_of_its_answer() -> None:
    prototypes, points = even_prototypes(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    figure = prototypes_figure({"a": (prototypes, 0.01)}, {"a": points})
    [cloud] = figure.axes[0].collections
    drawn = np.asarray(cloud.get_facecolor())[:, :3]
    first, second = (np.array(to_rgb(c)) for c in COLORS[:2])
    assert np.allclose(drawn, [first, (first + second) / 2, second], atol=1e-5)
    assert np.allclose(cloud.get_offsets(), points)


def test_without_points_the_whole_circle_is_painted_and_each_prototype_has_an_arrow() -> None:
    figure = prototypes_figure(
        {"soft": (even_prototypes(3), 1.0), "sharp": (2 * even_prototypes(8), 0.1)}
    )
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("soft", "sharp")
    ring = np.asarray(left.collections[0].get_offsets())
    assert np.allclose(np.linalg.norm(ring, axis=1), 1, atol=1e-6)
    assert len(left.texts) == 6 and len(right.texts) == 8  # 3 with numbers; 8 are too many
    assert left.get_xlim() == right.get_xlim() and right.get_xlim()[1] > 2  # one scale


def test_prototypes_stand_at_equal_angles_and_answers_sum_to_1() -> None:
    torch.testing.assert_close(even_prototypes(4)[1], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(even_prototypes(1, turn=90.0)[0], torch.tensor([0.0, 1.0]))
    shares = answers(even_prototypes(5), even_prototypes(3), 0.1)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))


def test_the_seventh_prototype_has_the_colour_of_the_first() -> None:
    colors = prototype_colors(8)
    assert torch.equal(colors[6], colors[0]) and len(colors[:6].unique(dim=0)) == 6
