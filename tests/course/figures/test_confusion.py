"""Confusion matrices are drawn in shares of their rows."""

import pytest
import torch

from dinolite_course.figures import confusion_figure


def test_rows_are_shares() -> None:
    counts = torch.tensor([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    figure = confusion_figure({"a": counts, "b": counts.T}, ["cat", "dog", "cup"])
    left, right = figure.axes
    drawn = torch.tensor(left.images[0].get_array().tolist())
    assert torch.allclose(drawn, torch.tensor([[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]]))
    assert [t.get_text() for t in left.get_yticklabels()] == ["cat 0", "dog 1", "cup 2"]
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 1)
    assert (left.get_title(), right.get_title()) == ("a", "b")


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="empty"):
        confusion_figure({}, ["cat"])
    with pytest.raises(ValueError, match=r"\[2, 2\]; wanted is \[1, 1\]"):
        confusion_figure({"a": torch.zeros(2, 2, dtype=torch.int64)}, ["cat"])
