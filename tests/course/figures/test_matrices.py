"""Matrices: numbers where they belong and readable, colours on the right scale."""

import math

import numpy as np
import torch
from numpy.testing import assert_allclose

from dinolite_course.figures.matrices import (
    answers_figure,
    confusion_figure,
    crop_pairs_figure,
    gradient_figure,
    matrix_figure,
    meetings_figure,
    targets_figure,
)


def test_every_entry_is_written_where_it_belongs() -> None:
    a, b = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.25], [3.0]])
    figure = matrix_figure({"a": a, "b": b}, decimals=1)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert (figure.axes[0].images[0].get_array() == a.numpy()).all()
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "1.0", (1, 0): "-2.0", (2, 0): "0.5"}
    written = {text.get_position(): text.get_text() for text in figure.axes[1].texts}
    assert written == {(0, 0): "0.2", (0, 1): "3.0"}
    dark = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert dark["-2.0"] == "white" and dark["1.0"] == "black"  # readable on the colour scale


def test_colours_are_logarithms_and_zero_has_none() -> None:
    norms = {"a_loss": {"x": 100.0, "y": 0.0}, "b": {"x": 1.0, "y": 10.0}}
    figure = gradient_figure(norms)
    (ax,) = figure.axes
    drawn = np.ma.filled(ax.images[0].get_array(), math.nan)
    np.testing.assert_array_equal(drawn, [[2, math.nan], [0, 1]])
    assert [t.get_text() for t in ax.texts] == ["100", "0", "1", "10"]
    assert [t.get_color() for t in ax.texts] == ["black", "black", "white", "black"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a loss", "b"]


def test_rows_are_shares() -> None:
    counts = torch.tensor([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    figure = confusion_figure({"a": counts, "b": counts.T}, ["cat", "dog", "cup"])
    left, right, _scale = figure.axes
    drawn = torch.tensor(left.images[0].get_array().tolist())
    assert torch.allclose(drawn, torch.tensor([[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]]))
    for labels in (left.get_yticklabels(), left.get_xticklabels(), right.get_xticklabels()):
        assert [t.get_text() for t in labels] == ["cat", "dog", "cup"]
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert (left.get_title(), right.get_title()) == ("a", "b")


def test_answers_have_one_scale_and_a_picture_beside_them() -> None:
    torch.manual_seed(0)
    answers = {"a": torch.rand(3, 5), "b": torch.rand(3, 5) / 2}
    figure = answers_figure(answers, "step", "prototype", torch.zeros(3, 4, 4))
    assert [ax.get_title() for ax in figure.axes] == ["the picture", "a", "b"]
    for ax, matrix in zip(figure.axes[1:], answers.values(), strict=True):
        assert_allclose(ax.images[0].get_array(), matrix)
    top = float(torch.cat([matrix.flatten() for matrix in answers.values()]).quantile(0.99))
    assert [ax.images[0].get_clim() for ax in figure.axes[1:]] == [(0, top)] * 2
    assert figure.axes[1].get_ylabel() == "prototype"
    assert len(answers_figure(answers).axes) == 2


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


def test_a_map_may_have_a_scale_of_its_own() -> None:
    figure = targets_figure({"a": torch.full((3, 4), 0.25)}, vmax=None)
    assert figure.axes[0].images[0].get_clim() == (0, 0.25)


def test_crops_at_the_edges_and_losses_where_they_meet() -> None:
    student, teacher = list(torch.rand(3, 3, 4, 4)), list(torch.rand(2, 3, 6, 6))
    losses = torch.tensor([[9.0, 1.0], [2.0, 9.0], [3.0, 4.0]])
    counted = torch.tensor([[False, True], [True, False], [True, True]])
    figure = crop_pairs_figure(student, teacher, losses, counted)
    axes = [figure.axes[r * 4 : r * 4 + 4] for r in range(3)]
    assert [ax.get_title() for ax in axes[0]] == ["", "student 0", "student 1", "student 2"]
    assert [row[0].get_title() for row in axes[1:]] == ["teacher 0", "teacher 1"]
    written = [[ax.texts[0].get_text() for ax in row[1:]] for row in axes[1:]]
    assert written == [["-", "2.00", "3.00"], ["1.00", "-", "4.00"]]
    drawn = [[len(ax.images) for ax in row[1:]] for row in axes[1:]]
    assert drawn == [[0, 1, 1], [1, 0, 1]]
    assert axes[1][2].images[0].get_clim() == (1.0, 4.0)  # of the pairs that count


def test_meetings_are_dark_and_the_others_have_an_x() -> None:
    counted = torch.tensor([[False, True, True], [True, False, True]])
    (ax,) = meetings_figure(counted).axes
    assert np.array_equal(ax.images[0].get_array(), 1.0 - counted.float())
    crossed = [t.get_position() for t in ax.texts if t.get_text() == "x"]
    assert crossed == [(0, 0), (1, 1)]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["G1", "G2", "1"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["teacher G1", "teacher G2"]
