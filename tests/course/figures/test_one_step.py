"""The drawing of a step: every tensor is there with its shape, every loss with its weight."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import FancyArrowPatch

from dinolite_course.figures.one_step import ARROWS, LOSSES, NODES, one_step_figure

SHAPES = {node.name: (i, 2 * i) for i, node in enumerate(NODES)}
WEIGHTS = {node.name: 0.5 + i for i, node in enumerate(LOSSES)}


def test_every_tensor_has_its_shape_and_every_loss_its_weight() -> None:
    figure = one_step_figure(SHAPES, WEIGHTS)
    (ax,) = figure.axes
    words = [text.get_text() for text in ax.texts]
    for i, node in enumerate(NODES):
        assert f"{node.label}\n[{i}, {2 * i}]" in words
    for i, node in enumerate(LOSSES):
        assert f"{node.label}\nx {0.5 + i}" in words
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == len(ARROWS) + len(LOSSES)
    plt.close(figure)


def test_arrows_join_boxes_that_are_there() -> None:
    names = {node.name for node in (*NODES, *LOSSES)}
    assert {end for start, stop, _ in ARROWS for end in (start, stop)} == names


def test_a_missing_tensor_or_weight_is_named() -> None:
    with pytest.raises(ValueError, match=r"shapes = .* has no masks"):
        one_step_figure({k: v for k, v in SHAPES.items() if k != "masks"}, WEIGHTS)
    with pytest.raises(ValueError, match=r"weights = .* has no ibot_loss"):
        one_step_figure(SHAPES, {k: v for k, v in WEIGHTS.items() if k != "ibot_loss"})
