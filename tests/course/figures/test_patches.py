"""Patch figures: the numbers are in reading order on their own patches, rows of patches,
kernels and tokens are drawn as given.
"""

import numpy as np
import torch
from torch import Tensor

from dinolite_course.figures.patches import (
    KINDS,
    kernels_figure,
    patch_grid_figure,
    sequence_figure,
    token_kinds,
    token_strip_figure,
)


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_numbers_stand_in_reading_order() -> None:
    figure = patch_grid_figure(random(3, 8, 12), 4)
    (ax,) = figure.axes
    places = {int(t.get_text()): t.get_position() for t in ax.texts}
    # the middle of the pixels 0..3 is 1.5, of 4..7 is 5.5, of 8..11 is 9.5
    xs, ys = [1.5, 5.5, 9.5], [1.5, 5.5]
    assert places == {n: (xs[n % 3], ys[n // 3]) for n in range(6)}
    horizontal, vertical = (c.get_segments() for c in ax.collections)
    assert [line[0][1] for line in horizontal] == [-0.5, 3.5, 7.5]
    assert [line[0][0] for line in vertical] == [-0.5, 3.5, 7.5, 11.5]


def test_a_sequence_is_drawn_from_left_to_right() -> None:
    patches = random(3, 3, 2, 2)
    figure = sequence_figure(patches)
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.texts] == ["0", "1", "2"]
    lefts = [image.get_extent()[0] for image in ax.images]
    assert lefts == sorted(lefts) and len(set(lefts)) == 3
    for image, patch in zip(ax.images, patches, strict=True):
        assert np.allclose(image.get_array(), patch.permute(1, 2, 0).numpy())


def test_kernels_are_grey_at_zero_and_scaled_each_by_itself() -> None:
    row = torch.zeros(2, 3, 2, 2)
    row[0, 0, 0, 0], row[0, 0, 0, 1], row[1, 2, 1, 1] = 4.0, -2.0, -0.1
    figure = kernels_figure({"a": row, "b": torch.zeros(2, 3, 2, 2)})
    assert [ax.get_title() for ax in figure.axes] == ["a", "", "b", ""]
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert np.allclose(drawn[0][0, :, 0], [1.0, 0.25]) and np.allclose(
        drawn[1][1, 1], [0.5, 0.5, 0]
    )
    assert np.allclose(drawn[0][1], 0.5) and np.allclose(drawn[2], 0.5)


def test_kinds_stand_in_the_order_of_the_sequence() -> None:
    assert token_kinds(4, 0) == ["CLS", "patch", "patch", "patch"]
    masks = torch.tensor([True, False])
    assert token_kinds(5, 2, masks) == ["CLS", "register", "register", "hidden patch", "patch"]


def test_strip_and_numbers() -> None:
    tokens = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([False, True, False, False])
    figure = token_strip_figure(tokens, 1, masks)
    strip, matrix = figure.axes
    assert strip.images[0].get_array().tolist() == [[0, 1, 2, 3, 2, 2]]
    assert torch.equal(torch.tensor(matrix.images[0].get_array().data), tokens.T)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(KINDS)
    (legend,) = token_strip_figure(tokens, 0).legends
    assert [text.get_text() for text in legend.get_texts()] == ["CLS", "patch"]
