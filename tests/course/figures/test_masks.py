"""Masks drawn: hidden patches are covered, positions count through the batch, shares are means."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dinolite.viz.style import png_bytes
from dinolite_course.figures.masks import (
    COVER,
    covered,
    hidden_share_figure,
    masked_figure,
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


@pytest.mark.parametrize("whole", [True, False])
def test_masked_pictures_fill_rows(whole: bool) -> None:
    images = torch.zeros(2, 3, 4, 6, dtype=torch.uint8) if whole else torch.zeros(2, 3, 4, 6)
    figure = masked_figure(images, two_masks(), ["a", "b"], columns=1)
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert_allclose(drawn[0][3, 5], COVER, rtol=1e-6)
    assert_allclose(drawn[1][0, 0], COVER, rtol=1e-6)
    assert [int((d[..., 2] > 0).sum()) for d in drawn] == [4, 4]  # one patch of 2 x 2 pixels each
    assert png_bytes(figure)


def test_positions_go_on_from_crop_to_crop() -> None:
    figure = positions_figure(two_masks(), ["a", "b"])
    numbers = [[int(t.get_text()) for t in ax.texts] for ax in figure.axes]
    assert numbers == [list(range(6)), list(range(6, 12))]
    white = [t.get_text() for ax in figure.axes for t in ax.texts if t.get_color() == "white"]
    assert white == ["5", "6"]
    plt.close(figure)


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


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="1 images, 2 masks, 1 titles"):
        masked_figure(torch.zeros(1, 3, 4, 6), two_masks(), ["a"])
    with pytest.raises(ValueError, match="2 masks, 1 titles"):
        positions_figure(two_masks(), ["a"])
    with pytest.raises(ValueError, match="runs is empty"):
        hidden_share_figure({})
