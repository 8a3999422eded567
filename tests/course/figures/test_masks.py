"""Masks drawn: hidden patches are covered, positions count through the batch, shares are means."""

import numpy as np
import torch
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.masks import (
    COVER,
    assignments_figure,
    covered,
    hidden_share_figure,
    positions_figure,
)


def two_masks() -> torch.Tensor:
    masks = torch.zeros(2, 2, 3, dtype=torch.bool)
    masks[0, 1, 2] = masks[1, 0, 0] = True
    return masks


def test_hidden_patches_are_covered_and_the_others_untouched() -> None:
    image = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0))
    seen = covered(image, two_masks()[0])
    assert_allclose(seen[:, 2:, 4:].flatten(1).mean(1).numpy(), COVER, rtol=1e-6)
    assert torch.equal(seen[:, :2], image[:, :2]) and torch.equal(seen[:, :, :4], image[:, :, :4])


def test_many_pictures_are_covered_at_once_and_turned_into_shares() -> None:
    images = torch.full((2, 3, 4, 6), 255, dtype=torch.uint8)
    seen = covered(images, two_masks())
    assert_allclose(seen[0, :, 3, 5], COVER, rtol=1e-6)
    assert_allclose(seen[1, :, 0, 0], COVER, rtol=1e-6)
    assert [int((s == 1).all(dim=0).sum()) for s in seen] == [20, 20]  # all but 2 x 2 pixels each
    assert_allclose(covered(images, two_masks(), (0, 0, 0))[0, :, 3, 5], 0)


def test_positions_go_on_from_crop_to_crop() -> None:
    figure = positions_figure(two_masks(), ["a", "b"])
    numbers = [[int(t.get_text()) for t in ax.texts] for ax in figure.axes]
    assert numbers == [list(range(6)), list(range(6, 12))]
    white = [t.get_text() for ax in figure.axes for t in ax.texts if t.get_color() == "white"]
    assert white == ["5", "6"]


def test_shares_are_means_over_the_masks() -> None:
    figure = hidden_share_figure({"a": two_masks(), "b": two_masks()[:1]})
    maps = [ax for ax in figure.axes if ax.get_title() in ("a", "b")]
    assert_allclose(np.asarray(maps[0].images[0].get_array()), [[0.5, 0, 0], [0, 0, 0.5]])
    assert {ax.images[0].get_clim() for ax in maps} == {(0.0, 1.0)}
    (curves,) = [ax for ax in figure.axes if ax.get_title() == "middle row"]
    assert [list(np.asarray(ln.get_ydata())) for ln in curves.get_lines()] == [
        [0, 0, 0.5],
        [0, 0, 1],
    ]
    assert png_bytes(figure)


def test_the_same_prototype_has_the_same_colour_and_no_answer_is_white() -> None:
    images, hidden = torch.full((2, 3, 4, 4), 0.5), torch.tensor([[True, False], [False, False]])
    masks = torch.stack([hidden, ~hidden])
    teacher = torch.tensor([[[3, 1], [2, 0]], [[1, 1], [3, 2]]])
    student = torch.where(masks, teacher, -1)
    axes = assignments_figure(images, masks, {"teacher": teacher, "student": student}).axes
    assert [ax.get_title() for ax in axes[:4]] == ["crop", "student sees", "teacher", "student"]
    first, second, answers = (np.asarray(axes[i].images[0].get_array()) for i in (2, 6, 3))
    assert_allclose(first[0, 0], second[1, 0])  # both prototype 3
    assert not np.allclose(first[0, 0], first[0, 1])
    assert_allclose(answers[0, 0], first[0, 0])
    assert_allclose(answers[0, 1], 1)
    assert_allclose(answers[1], 1)
