"""Pictures and maps in rows: what is drawn where, on which scale, and which patch is framed."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose

from dinolite.viz.similarity import OTHER, SAME
from dinolite.viz.style import laid_over
from dinolite_course.figures.rows import (
    Vote,
    compare_figure,
    in_colors,
    neighbours_figure,
    queries_figure,
    rows_figure,
    sizes_figure,
    votes_figure,
)
from tests.course.figures.panels import frames

IMAGE = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
SMALL, LARGE = torch.linspace(0, 0.5, 24).view(4, 6), torch.linspace(0.2, 1, 96).view(8, 12)


def drawn(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_each_panel_stands_under_its_name() -> None:
    panels = {"before": IMAGE, "after": torch.full((3, 8, 8), 51, dtype=torch.uint8), "map": SMALL}
    figure = compare_figure(panels, width=5.0)
    assert [ax.get_title() for ax in figure.axes] == ["before", "after", "map"]
    assert_allclose(drawn(figure.axes[0]), IMAGE.permute(1, 2, 0))
    assert_allclose(drawn(figure.axes[1]), 0.2, rtol=1e-6)
    assert_allclose(drawn(figure.axes[2]), SMALL)
    assert figure.axes[2].images[0].get_interpolation() == "nearest"
    assert figure.get_size_inches()[0] == 5.0


def test_panels_fill_rows_in_order() -> None:
    axes = compare_figure({name: IMAGE for name in "abc"}, columns=2).axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", ""]
    assert not axes[3].images and not axes[3].axison


def test_scales_of_maps() -> None:
    maps = {"a": SMALL, "b": LARGE}
    found = {
        scale: [ax.images[0].get_clim() for ax in compare_figure(maps, scale=scale).axes[:2]]
        for scale in ("signed", "positive", "own", "shared")
    }
    assert_allclose(found["signed"], [(-1, 1), (-1, 1)])
    assert_allclose(found["positive"], [(0, 0.5), (0, 1)])
    assert_allclose(found["own"], [(0, 0.5), (0.2, 1)], rtol=1e-6)
    assert_allclose(found["shared"], [(0, 1), (0, 1)])


def test_the_same_part_is_framed_at_every_resolution() -> None:
    picture, a, b = compare_figure({"": IMAGE, "a": SMALL, "b": LARGE}, patch=(1, 2)).axes
    assert frames(picture) == [(7.5, 3.5, 4, 4)]
    assert frames(a) == [(1.5, 0.5, 1, 1)] and frames(b) == [(3.5, 1.5, 2, 2)]


def test_each_panel_may_have_its_own_patches() -> None:
    patches = [[(1, 2), (3, 0)], [(1, 2)], [(3, 0)]]
    picture, a, b = compare_figure({"": IMAGE, "a": SMALL, "b": SMALL}, patch=patches).axes
    assert len(frames(picture)) == 2
    assert frames(a) == [(1.5, 0.5, 1, 1)] and frames(b) == [(-0.5, 2.5, 1, 1)]


def test_rows_have_their_name_first_and_columns_their_title_on_top() -> None:
    figure = rows_figure({"": [IMAGE, IMAGE], "x": SMALL.view(2, 3, 4)}, ["16 px", "32 px"])
    assert [ax.get_title() for ax in figure.axes] == ["16 px", "32 px", "x", ""]
    assert_allclose(drawn(figure.axes[3]), SMALL.view(2, 3, 4)[1])
    figure = rows_figure([[IMAGE, SMALL], [IMAGE, LARGE]], ["photo", "map"])
    assert [ax.get_title() for ax in figure.axes] == ["photo", "map", "", ""]


def test_the_patch_of_a_place_is_framed_on_every_grid() -> None:
    images = [torch.zeros(3, 16, 24), torch.ones(3, 32, 48)]
    maps = [torch.zeros(2, 3), torch.zeros(4, 6)]
    figure = rows_figure({"": images, "a": maps}, place=(0.6, 0.4))
    assert [frames(ax) for ax in figure.axes] == [
        [(7.5, 7.5, 8, 8)],  # of two rows the second, of three columns the second
        [(15.5, 15.5, 8, 8)],  # of four rows the third, of six columns the third
        [(0.5, 0.5, 1, 1)],
        [(1.5, 1.5, 1, 1)],
    ]
    beside = rows_figure({"a": [images[0], maps[0]]}, place=(0.6, 0.4)).axes
    assert frames(beside[0]) == [(7.5, 7.5, 8, 8)] and frames(beside[1]) == [(0.5, 0.5, 1, 1)]
    assert not any(frames(ax) for ax in rows_figure({"": images, "a": maps}).axes)


def test_maps_of_all_sizes_lie_over_the_largest_picture_on_one_scale() -> None:
    large = (255 * IMAGE).byte()
    images = [large[:, ::2, ::2], large]
    maps = {"untrained": [SMALL, LARGE], "trained": [2 * SMALL, LARGE]}
    figure = sizes_figure(images, maps, place=(0.6, 0.4))
    first, second, *rows = figure.axes[:6]
    assert [first.get_title(), second.get_title()] == ["8 x 12 px", "16 x 24 px"]
    assert drawn(first).shape[:2] == (8, 12)
    # Patch (2, 2) of 4 x 6 is 2 pixels large and begins at 4, of the larger picture 4 and at 8; the
    # frame begins half a patch before it, and a pixel's middle has the whole number.
    assert frames(first) == [(4 - 1 - 0.5, 4 - 1 - 0.5, 4, 4)]
    assert frames(second) == [(8 - 2 - 0.5, 8 - 2 - 0.5, 8, 8)]
    assert not any(frames(ax) for ax in rows)
    every = torch.cat([SMALL, 2 * SMALL, LARGE.repeat(2, 1).view(-1, 6)]).flatten()
    bright = float(every.quantile(0.99))
    expected = laid_over(large, 2 * SMALL, vmax=bright).permute(1, 2, 0)
    assert_allclose(drawn(rows[2]), expected, atol=1e-6)


def test_groups_of_all_sizes_keep_their_colours() -> None:
    large = (255 * IMAGE).byte()
    groups = [torch.tensor([[0, 1], [2, 3]]), torch.arange(4).view(2, 2).repeat(2, 2)]
    figure = sizes_figure([large, large], {"trained": groups}, "one title")
    assert len(figure.axes) == 4  # no bar of colours
    assert_allclose(drawn(figure.axes[3]), laid_over(large, groups[1]).permute(1, 2, 0), atol=1e-6)


def test_a_number_has_one_colour_and_no_number_is_white() -> None:
    colors = in_colors(torch.tensor([[[3, 1], [-1, 23]]]))
    assert colors.shape == (1, 3, 2, 2)
    assert torch.equal(colors[0, :, 0, 0], colors[0, :, 1, 1])  # 23 = 20 + 3
    assert not torch.equal(colors[0, :, 0, 0], colors[0, :, 0, 1])
    assert colors[0, :, 1, 0].tolist() == [1, 1, 1]


def test_votes_are_framed_and_their_largest_shares_are_bars() -> None:
    query = torch.full((3, 4, 6), 10, dtype=torch.uint8)
    pictures, shares = torch.stack([query + 1, query + 2]), torch.tensor([0.2, 0.7, 0.1])
    vote = Vote(pictures, torch.tensor([1, 0]), shares)
    figure = votes_figure(query, 1, {"trained": vote}, ["cat", "dog", "cup"], shown=3)
    asked, right, wrong, missing, bars = figure.axes
    assert asked.get_title() == "trained" and not missing.images
    assert_allclose(drawn(wrong), 12 / 255, rtol=1e-6)
    for ax, color in ((right, SAME), (wrong, OTHER)):
        assert to_hex(ax.spines["left"].get_edgecolor()).upper() == color and ax.axison
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.7, 0.2, 0.1])
    assert [t.get_text() for t in bars.get_yticklabels()] == ["dog", "cat", "cup"]


def pictures(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 4, 4), dtype=torch.uint8)


def frame_colour(ax: Axes) -> str | None:
    """The colour around a panel; None if there is no frame."""
    colours = {to_hex(s.get_edgecolor()) for s in ax.spines.values() if s.get_visible()}
    if not ax.axison:
        return None
    assert len(colours) == 1 and all(s.get_visible() for s in ax.spines.values())
    return colours.pop()


def test_neighbours_stand_behind_their_query_framed_by_class() -> None:
    bank, queries = pictures(5), pictures(2)
    labels = torch.tensor([0, 1, 0, 2, 1])
    nets = {
        "untrained": torch.tensor([[3, 0], [1, 2]]),
        "trained": torch.tensor([[0, 2], [4, 1]]),
    }
    figure = neighbours_figure(bank, labels, queries, torch.tensor([0, 1]), nets)
    assert [[ax.get_title() for ax in row] for row in [figure.axes[i : i + 5] for i in (0, 5)]] == [
        ["query", "untrained", "", "trained", ""],
        [""] * 5,
    ]
    frames = [[OTHER, SAME, SAME, SAME], [SAME, OTHER, SAME, SAME]]
    for i, row in enumerate([figure.axes[i : i + 5] for i in (0, 5)]):
        assert_allclose(drawn(row[0]), queries[i].permute(1, 2, 0) / 255, rtol=1e-6)
        for ax, found in zip(row[1:], torch.cat(list(nets.values()), dim=1)[i], strict=True):
            assert_allclose(drawn(ax), bank[found].permute(1, 2, 0) / 255, rtol=1e-6)
        expected = [None, *(colour.lower() for colour in frames[i])]
        assert [frame_colour(ax) for ax in row] == expected
    assert SAME != OTHER


def test_two_pictures_without_a_label_are_not_of_the_same_class() -> None:
    figure = neighbours_figure(
        pictures(1),
        torch.tensor([-1]),
        pictures(1),
        torch.tensor([-1]),
        {"net": torch.tensor([[0]])},
    )
    assert frame_colour(figure.axes[1]) == OTHER.lower()


def test_cosines_with_a_patch_of_each_photograph_on_one_scale() -> None:
    images = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    near, far = torch.tensor([[1.0, 0.5], [0.0, 0.1]]), torch.zeros(2, 2)
    maps = {"early": torch.stack([near, far]), "late": torch.stack([far, near])}
    figure = queries_figure(images, maps, [(0, 0), (1, 1)], "the finding")
    first, second, *below = figure.axes[:6]
    assert figure.get_suptitle() == "the finding"
    assert len(first.patches) == len(second.patches) == 1 and not below[0].patches
    for ax, values in zip(below, (near, far, far, near), strict=True):
        assert_allclose(drawn(ax), laid_over(images[0], values).permute(1, 2, 0), atol=1e-6)
    means = [t.get_text() for ax in below for t in ax.texts if "mean" in t.get_text()]
    assert means == ["mean 0.40", "mean 0.00", "mean 0.00", "mean 0.40"]
    words = {"early": ["fur 51 %", "flag"], "late": ["a", "b"]}
    figure = queries_figure(images, maps, [(0, 0), (1, 1)], words=words)
    assert [t.get_text() for ax in figure.axes[2:6] for t in ax.texts if not t.get_rotation()] == [
        *("fur 51 %", "flag", "a", "b")
    ]
