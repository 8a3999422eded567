"""Attention of one patch over a photograph: the right rows are drawn, the right patch is framed."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.axes import Axes

from dinolite_course.figures.queries import lookup_figure, patch_token, query_attention_figure

T, GRID = 9, (2, 3)  # CLS, two registers, six patches


def frames(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Left, top, width, height of the frames in a panel."""
    return [(*p.get_xy(), p.get_width(), p.get_height()) for p in ax.patches]  # type: ignore[attr-defined]


def test_patches_are_counted_from_the_end() -> None:
    assert patch_token(T, GRID, 0, 0) == 3 and patch_token(T, GRID, 1, 2) == T - 1
    for at in [(2, 0), (0, 3), (-1, 0)]:
        with pytest.raises(ValueError, match="2 rows, 3 columns"):
            patch_token(T, GRID, *at)
    with pytest.raises(ValueError, match="does not fit"):
        patch_token(5, GRID, 0, 0)


def test_lookup_draws_its_maps_and_frames_the_patch() -> None:
    maps = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, 3)}
    figure = lookup_figure(torch.zeros(3, 20, 30), maps, 1, 2)
    assert [ax.get_title() for ax in figure.axes] == ["", "a", "b"]
    assert (figure.axes[1].images[0].get_array() == maps["a"].numpy()).all()
    assert figure.axes[1].images[0].get_clim() == (0, 5)
    assert set(frames(figure.axes[0])) == {(19.5, 9.5, 10, 10)}
    assert set(frames(figure.axes[1])) == {(1.5, 0.5, 1, 1)}
    stretched = lookup_figure(torch.zeros(3, 20, 30), {"a": 2 + maps["a"]}, 0, 0, vmin=None)
    assert stretched.axes[1].images[0].get_clim() == (2, 7)
    with pytest.raises(ValueError, match="2 rows"):
        lookup_figure(torch.zeros(3, 20, 30), maps, 2, 0)
    plt.close("all")


def test_each_head_has_the_row_of_the_query() -> None:
    torch.manual_seed(0)
    net, other = torch.rand(2, T, T), torch.rand(2, T, T)
    query = patch_token(T, GRID, 1, 0)
    figure = query_attention_figure(
        torch.zeros(3, 20, 30), {"x": net, "y": other}, GRID, query=query
    )
    assert len(figure.axes) == 6 and figure.axes[3].get_title() == "y"
    drawn = torch.tensor(figure.axes[5].images[0].get_array())
    assert torch.equal(drawn.flatten(), other[1, query, 3:])
    assert figure.axes[2].get_title() == f"head 1, max {9 * net[1, query, 3:].max():.1f}"
    assert all(set(frames(figure.axes[i])) == {(-0.5, 0.5, 1, 1)} for i in (1, 2, 4, 5))
    plt.close("all")


def test_cls_and_registers_have_no_frame() -> None:
    for query in range(3):
        figure = query_attention_figure(
            torch.zeros(3, 20, 30), {"x": torch.rand(2, T, T)}, GRID, query
        )
        assert not any(frames(ax) for ax in figure.axes)
        plt.close(figure)
