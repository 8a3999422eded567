"""The hidden-word figures: the right patches are covered, one prototype has one colour."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.hidden_words import assignments_figure, patch_maps_figure

MASK = torch.tensor([[True, False], [False, False]])


def shown(ax: plt.Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_maps_share_a_scale_beside_the_covered_crop() -> None:
    image = torch.full((3, 4, 4), 0.5)
    maps = {"a": torch.tensor([[0.0, 1.0], [2.0, 3.0]]), "b": torch.full((2, 2), 5.0)}
    figure = patch_maps_figure(image, MASK, maps)
    crop, a, b = figure.axes[:3]
    assert [ax.get_title() for ax in (crop, a, b)] == ["what the student sees", "a", "b"]
    assert not np.allclose(shown(crop)[:2, :2], 0.5)
    assert_allclose(shown(crop)[2:], 0.5)
    assert_allclose(shown(a), maps["a"].numpy())
    assert a.images[0].get_clim() == b.images[0].get_clim() == (0, 5)
    assert png_bytes(figure)


def test_the_same_prototype_has_the_same_colour_and_no_answer_is_white() -> None:
    images, masks = torch.full((2, 3, 4, 4), 0.5), torch.stack([MASK, ~MASK])
    teacher = torch.tensor([[[3, 1], [2, 0]], [[1, 1], [3, 2]]])
    student = torch.where(masks, teacher, -1)
    figure = assignments_figure(images, masks, {"teacher": teacher, "student": student})
    axes = figure.axes
    assert [ax.get_title() for ax in axes[:4]] == ["crop", "student sees", "teacher", "student"]
    first, second = shown(axes[2]), shown(axes[6])
    assert_allclose(first[0, 0], second[1, 0])  # both prototype 3
    assert not np.allclose(first[0, 0], first[0, 1])
    answers = shown(axes[3])
    assert_allclose(answers[0, 0], first[0, 0])
    assert_allclose(answers[0, 1], 1)
    assert_allclose(answers[1], 1)
    assert png_bytes(figure)


def test_bad_input() -> None:
    image, mask = torch.zeros(3, 4, 4), MASK
    with pytest.raises(ValueError, match=r"maps = \{\} is empty"):
        patch_maps_figure(image, mask, {})
    with pytest.raises(ValueError, match=r"choices = \{\} is empty"):
        assignments_figure(image[None], mask[None], {})
    many = torch.tensor([[[0, 20], [1, 2]]])
    with pytest.raises(ValueError, match="numbers from 0 to 20; allowed are -1"):
        assignments_figure(image[None], mask[None], {"teacher": many})
