"""Pairs of crops: pictures at the edges, losses inside, a gap for each pair that does not count."""

import matplotlib.pyplot as plt
import pytest
import torch

from dinolite_course.figures.crop_pairs import crop_pairs_figure


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
    plt.close(figure)


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    crops = list(torch.rand(2, 3, 4, 4))
    yes = torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"losses has shape \(2, 3\); \(2, 2\) is wanted"):
        crop_pairs_figure(crops, crops, torch.zeros(2, 3), yes)
    with pytest.raises(ValueError, match="counted is False everywhere"):
        crop_pairs_figure(crops, crops, torch.zeros(2, 2), ~yes)
