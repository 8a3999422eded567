"""Changes of a picture in rows, and which views meet: what is drawn and what is refused."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.views import changes_figure, meetings_figure


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_changes_fill_the_rows_in_order() -> None:
    images = {name: torch.rand(3, 4, 6) for name in "abc"}
    axes = changes_figure(images, columns=2).axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", ""]
    for ax, image in zip(axes, images.values(), strict=False):
        np.testing.assert_allclose(ax.images[0].get_array(), image.permute(1, 2, 0).numpy())
    assert not axes[3].images and not axes[3].axison


@pytest.mark.parametrize(("n", "columns"), [(0, 5), (1, 0)])
def test_no_picture_or_no_column_is_refused(n: int, columns: int) -> None:
    images = {str(i): torch.rand(3, 4, 4) for i in range(n)}
    with pytest.raises(ValueError, match=f"{n} pictures, columns = {columns}"):
        changes_figure(images, columns)


def test_meetings_are_dark_and_the_others_have_an_x() -> None:
    counted = torch.tensor([[False, True, True], [True, False, True]])
    (ax,) = meetings_figure(counted).axes
    assert np.array_equal(ax.collections[0].get_array().reshape(2, 3), counted.numpy())
    assert [(t.get_text(), *t.get_position()) for t in ax.texts] == [
        ("x", 0.5, 0.5),
        ("x", 1.5, 1.5),
    ]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["G1", "G2", "1"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["teacher G1", "teacher G2"]
    assert ax.yaxis_inverted()  # the teacher's first view is at the top


def test_the_student_has_at_least_the_views_of_the_teacher() -> None:
    with pytest.raises(ValueError, match=r"shape \[3, 2\]"):
        meetings_figure(torch.ones(3, 2, dtype=torch.bool))
