"""Attention over a photograph: the right rows are drawn, the right patch is framed; rollout."""

import pytest
import torch

from dinolite_course.figures.attention import (
    attention_rollout,
    patch_token,
    prefix_attention_figure,
    query_attention_figure,
)
from tests.course.figures.panels import frames

T, GRID, IMAGE = 9, (2, 3), torch.zeros(3, 20, 30)  # CLS, two registers, six patches


def test_patches_are_counted_from_the_end() -> None:
    assert patch_token(T, GRID, 0, 0) == 3 and patch_token(T, GRID, 1, 2) == T - 1


def test_each_head_has_the_row_of_the_query() -> None:
    torch.manual_seed(0)
    net, other = torch.rand(2, T, T), torch.rand(2, T, T)
    query = patch_token(T, GRID, 1, 0)
    figure = query_attention_figure(IMAGE, {"x": net, "y": other}, GRID, query=query)
    assert len(figure.axes) == 6 and figure.axes[3].get_title() == "y"
    drawn = torch.tensor(figure.axes[5].images[0].get_array())
    assert torch.equal(drawn.flatten(), other[1, query, 3:])
    assert figure.axes[2].get_title() == f"head 1, max {9 * net[1, query, 3:].max():.1f}"
    assert all(frames(figure.axes[i]) == [(-0.5, 0.5, 1, 1)] for i in (1, 2, 4, 5))
    assert frames(figure.axes[0]) == [(-0.5, 9.5, 10, 10)]
    assert figure.axes[1].images[0].get_clim()[0] == 0
    own = query_attention_figure(IMAGE, {"x": net}, GRID, query, scale="own")
    assert own.axes[1].images[0].get_clim()[0] > 0


def test_cls_and_registers_have_no_frame() -> None:
    for query in range(3):
        figure = query_attention_figure(IMAGE, {"x": torch.rand(2, T, T)}, GRID, query)
        assert not any(frames(ax) for ax in figure.axes)


def test_a_map_per_token_without_a_patch() -> None:
    attention = torch.rand(2, T, T, generator=torch.Generator().manual_seed(0)).softmax(-1)
    figure = prefix_attention_figure(IMAGE, {"a": attention, "b": attention * 2}, GRID)
    assert len(figure.axes) == 2 * (1 + 3)  # the picture, CLS and two registers
    for row, scale in enumerate([1, 2]):
        for token, name in enumerate(["CLS", "reg 0", "reg 1"]):
            ax = figure.axes[4 * row + 1 + token]
            mean = scale * attention[:, token, 3:].mean(0).view(GRID)
            torch.testing.assert_close(torch.tensor(ax.images[0].get_array().data), mean)
            assert ax.get_title() == f"{name}, max {T * mean.max():.1f}"


def test_rollout_by_hand() -> None:
    first = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])
    second = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
    shares = attention_rollout([first[None, None], second[None, None]])
    assert shares.shape == (1, 3, 3) and shares[0, 0].tolist() == [0.5, 0.25, 0.25]
    heads = torch.stack([first, second])[None]  # their mean
    torch.testing.assert_close(attention_rollout([heads])[0, 0], torch.tensor([0.75, 0.25, 0.0]))
    with pytest.raises(ValueError, match=r"maps has shapes \[\]"):
        attention_rollout([])
    with pytest.raises(ValueError, match="one shape"):
        attention_rollout([heads, heads[..., :2, :2]])
