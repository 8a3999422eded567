"""Pictures side by side: what is drawn, in which order, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.compare import compare_figure


def test_each_picture_stands_under_its_name() -> None:
    before = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0))
    after = torch.full((3, 8, 8), 51, dtype=torch.uint8)
    figure = compare_figure({"before": before, "after": after}, width=5.0)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("before", "after")
    assert np.allclose(left.images[0].get_array(), before.permute(1, 2, 0).numpy())
    assert np.allclose(right.images[0].get_array(), 0.2)
    assert left.images[0].get_interpolation() == "nearest"
    assert figure.get_size_inches()[0] == 5.0
    plt.close(figure)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images = \{\} is empty"):
        compare_figure({})
