"""Every token has the colour of its kind; the maps are those of CLS and registers."""

import pytest
import torch

from dinolite_course.figures.tokens import (
    KINDS,
    prefix_attention_figure,
    token_kinds,
    token_strip_figure,
)


def test_kinds_stand_in_the_order_of_the_sequence() -> None:
    assert token_kinds(4, 0) == ["CLS", "patch", "patch", "patch"]
    masks = torch.tensor([True, False])
    assert token_kinds(5, 2, masks) == ["CLS", "register", "register", "hidden patch", "patch"]


@pytest.mark.parametrize("registers", [-1, 4, 5])
def test_no_place_for_patches(registers: int) -> None:
    with pytest.raises(ValueError, match=f"registers = {registers} must"):
        token_kinds(5, registers)


@pytest.mark.parametrize("shape", [(3,), (5,)])
def test_masks_of_a_wrong_shape_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="masks has shape"):
        token_kinds(6, 1, torch.zeros(shape, dtype=torch.bool))


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


def test_a_map_per_token_without_a_patch() -> None:
    attention = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)
    image = torch.zeros(3, 12, 8)
    figure = prefix_attention_figure(image, {"a": attention, "b": attention * 2}, (3, 2))
    assert len(figure.axes) == 2 * (1 + 3)  # the picture, CLS and two registers
    for row, scale in enumerate([1, 2]):
        for token in range(3):
            ax = figure.axes[4 * row + 1 + token]
            drawn = torch.tensor(ax.images[0].get_array().data)
            mean = scale * attention[:, token, 3:].mean(0).view(3, 2)
            assert torch.allclose(drawn, mean)
            name = ["CLS", "reg 0", "reg 1"][token]
            assert ax.get_title() == f"{name}, max {9 * mean.max():.1f}"
