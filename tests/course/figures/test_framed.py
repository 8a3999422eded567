"""A framed patch and its maps: where the frame stands, one scale for all, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.framed import framed_figure


def test_the_frame_stands_around_the_patch() -> None:
    image = torch.zeros(3, 16, 32, dtype=torch.uint8)
    maps = {"early": torch.rand(2, 4, generator=torch.Generator().manual_seed(0))}
    figure = framed_figure(image, maps, (1, 2), width=4)
    left, right = figure.axes
    frame = left.patches[0]
    assert frame.get_xy() == (15.5, 7.5)
    assert (frame.get_width(), frame.get_height()) == (8, 8)
    assert right.get_title() == "early" and right.images[0].get_clim() == (-1, 1)
    assert np.array_equal(right.images[0].get_array(), maps["early"].numpy())
    plt.close(figure)


def test_no_map_and_a_patch_outside_are_refused() -> None:
    image = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match="is empty"):
        framed_figure(image, {}, (0, 0))
    with pytest.raises(ValueError, match="is not in maps"):
        framed_figure(image, {"early": torch.zeros(2, 2)}, (2, 0))
