"""Prototypes on a circle and on a photograph: what is painted in which colour."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from dinolite.viz.style import COLORS
from dinolite_course.figures.prototypes import (
    answers,
    even_prototypes,
    favourites_figure,
    prototypes_figure,
)


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """pyplot keeps every figure until it is closed."""
    yield
    plt.close("all")


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


def test_every_patch_has_the_colour_of_its_favourite() -> None:
    favourites = torch.tensor([[0, 5], [6, 11]])
    figure = favourites_figure(torch.rand(3, 8, 8), {"12 prototypes": favourites})
    photo, shown = figure.axes
    assert photo.images and shown.get_title() == "12 prototypes"
    assert np.array_equal(shown.images[0].get_array(), [[0, 5], [0, 5]])  # colours come again


def test_what_cannot_be_drawn_is_refused() -> None:
    circle = (even_prototypes(2), 1.0)
    with pytest.raises(ValueError, match="at least one"):
        prototypes_figure({})
    with pytest.raises(ValueError, match=r"have the panels \['b'\]"):
        prototypes_figure({"a": circle}, {"b": torch.rand(3, 2)})
    with pytest.raises(ValueError, match=r"temp = \[0\.0\]"):
        prototypes_figure({"a": (even_prototypes(2), 0.0)})
    with pytest.raises(ValueError, match="K = 0"):
        even_prototypes(0)
    with pytest.raises(ValueError, match=r"maps = \{\} is empty"):
        favourites_figure(torch.rand(3, 4, 4), {})
