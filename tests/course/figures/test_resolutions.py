"""One photograph at several sizes: the drawn arrays, the frames, and what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from dinolite_course import figures as viz

SMALL, LARGE = torch.zeros(3, 16, 24), torch.ones(3, 32, 48)


def test_maps_and_frames_at_every_size() -> None:
    maps = [torch.linspace(-1, 1, 6).view(2, 3), torch.linspace(-1, 1, 24).view(4, 6)]
    colours = [torch.rand(3, *m.shape, generator=torch.Generator().manual_seed(0)) for m in maps]
    images = {"16 px": SMALL, "32 px": LARGE}
    figure = viz.resolutions_figure(images, {"a": maps, "b": colours}, place=(0.6, 0.4))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["16 px", "32 px", "a", "", "b", ""]
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), maps[1])
    assert figure.axes[3].images[0].get_clim() == (-1, 1)
    np.testing.assert_allclose(figure.axes[5].images[0].get_array(), colours[1].permute(1, 2, 0))
    frames = []
    for ax in figure.axes[:4]:
        (frame,) = (p for p in ax.patches if isinstance(p, Rectangle))
        frames.append((frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()))
    assert frames == [
        (7.5, 7.5, 8, 8),  # of two rows the second, of three columns the second
        (15.5, 15.5, 8, 8),  # of four rows the third, of six columns the third
        (0.5, 0.5, 1, 1),
        (1.5, 1.5, 1, 1),
    ]


def test_without_a_place_nothing_is_framed() -> None:
    figure = viz.resolutions_figure({"16 px": SMALL}, {"a": [torch.zeros(2, 3)]})
    assert not any(ax.patches for ax in figure.axes)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 maps for 1 pictures"):
        viz.resolutions_figure({"16 px": SMALL}, {"a": [torch.zeros(2, 3)] * 2})
    with pytest.raises(ValueError, match="place = "):
        viz.resolutions_figure({"16 px": SMALL}, {"a": [torch.zeros(2, 3)]}, place=(0, 1))
