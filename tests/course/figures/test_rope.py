"""Figures of RoPE: the drawn arrays, and where pictures lie."""

import numpy as np
import torch

from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.viz.style import png_bytes
from dinolite_course import figures as viz
from tests.course.figures.panels import frames

IMAGE = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
GRID = (4, 6)


def test_angle_fields_are_the_columns_of_the_table() -> None:
    table = RopePositionEmbedding(32, num_heads=2).eval()(H=4, W=6)
    figure = viz.angle_field_figure(table, GRID)
    assert len(figure.axes) == 2 * 8
    for i, ax in enumerate(figure.axes):
        drawn = ax.images[0].get_array()
        np.testing.assert_array_equal(drawn, table[i // 8][:, i % 8].view(4, 6))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["sin, pair 0", "pair 1"] and titles[8:10] == ["cos", ""]


def test_pictures_lie_where_the_coordinates_say() -> None:
    modes = ("separate", "max", "min")
    boxes = {
        m: RopePositionEmbedding(32, num_heads=2, normalize_coords=m).coordinates(*GRID)
        for m in modes
    }
    figure = viz.coordinates_figure(IMAGE, boxes, GRID)
    edges = [ax.images[0].get_extent() for ax in figure.axes]
    np.testing.assert_allclose(edges[0], (-1, 1, 1, -1), atol=1e-6)
    np.testing.assert_allclose(edges[1], (-1, 1, 1 / 3, -1), atol=1e-6)
    np.testing.assert_allclose(edges[2], (-1, 2, 1, -1), atol=1e-6)
    for ax, mode in zip(figure.axes, modes, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), boxes[mode].flip(1))
        assert frames(ax) == [(-1, -1, 2, 2)] and ax.get_title() == mode
        low, high = sorted(ax.get_ylim())
        assert low < -1 and high > 1 and ax.get_xlim()[1] > 2 and ax.yaxis_inverted()
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_arrows_end_at_their_vectors() -> None:
    pairs = {
        "one": (torch.tensor([3.0, 4.0]), torch.tensor([-1.0, 0.0])),
        "two": (torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])),
    }
    figure = viz.turned_pairs_figure(pairs)
    for ax, (name, pair) in zip(figure.axes, pairs.items(), strict=True):
        assert ax.get_title() == name and ax.get_xlim()[1] > 5
        tips = [t.xy for t in ax.texts if t.get_text() == ""]
        assert tips == [tuple(v.tolist()) for v in pair]
