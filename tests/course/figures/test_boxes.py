"""Boxes on a photograph: frames, labels, crops, and what is refused."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from dinolite_course.figures.boxes import GLOBAL, LOCAL, boxes_figure

BIG = torch.tensor([[1, 2, 20, 25], [0, 5, 30, 30]])
SMALL = torch.tensor([[4, 6, 8, 10]])


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_frames_lie_where_the_boxes_are_with_their_labels() -> None:
    image = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    figure = boxes_figure(image, BIG, SMALL, title="cat")
    (ax,) = figure.axes
    assert ax.get_title() == "cat"
    np.testing.assert_allclose(ax.images[0].get_array(), image.permute(1, 2, 0).numpy() / 255)
    frames = [p for p in ax.patches if isinstance(p, Rectangle)]
    drawn = [[f.get_y() + 0.5, f.get_x() + 0.5, f.get_height(), f.get_width()] for f in frames]
    assert drawn == torch.cat([BIG, SMALL]).tolist()  # (top, left, height, width)
    assert [to_hex(f.get_edgecolor()).upper() for f in frames] == [GLOBAL, GLOBAL, LOCAL]
    assert [t.get_text() for t in ax.texts] == ["G1", "G2", "1"]
    assert [t.xy for t in ax.texts] == [(26, 1), (34, 0), (6, 4)]  # upper right, left for local


def test_crops_stand_beside_it_under_the_same_labels() -> None:
    crops = [torch.rand(3, 4, 4) for _ in range(3)]
    photo, *others = boxes_figure(torch.rand(3, 32, 48), BIG, SMALL, crops).axes
    assert [ax.get_title() for ax in others] == ["G1", "G2", "1"]
    for ax, crop in zip(others, crops, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), crop.permute(1, 2, 0).numpy())
    assert len(photo.patches) == 3


def test_crops_must_fit_the_boxes() -> None:
    with pytest.raises(ValueError, match="2 crops for 3 boxes"):
        boxes_figure(torch.rand(3, 32, 48), BIG, SMALL, list(torch.rand(2, 3, 4, 4)))
