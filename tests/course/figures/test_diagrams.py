"""Diagrams: every tensor with its shape, every loss with its weight, boxes as full as what they
stand for."""

import torch
from matplotlib.colors import same_color
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from dinolite.viz.style import COLORS
from dinolite_course.figures.diagrams import (
    ARROWS,
    BOXES,
    LOSSES,
    NODES,
    one_step_figure,
    pipeline_map,
    who_holds_figure,
)


def test_the_boxes_of_a_lesson_are_lit() -> None:
    lit = {}
    for lesson in ("00", "09", "16", "17"):
        (ax,) = pipeline_map(lesson).axes
        boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
        lit[lesson] = sum(same_color(box.get_facecolor(), COLORS[4]) for box in boxes)
    assert lit == {"00": len(BOXES), "09": 2, "16": 0, "17": 3}


def test_every_tensor_has_its_shape_and_every_loss_its_weight() -> None:
    shapes = {name: (i, 2 * i) for i, name in enumerate(NODES)}
    weights = {name: 0.5 + i for i, name in enumerate(LOSSES)}
    (ax,) = one_step_figure(shapes, weights).axes
    words = [text.get_text() for text in ax.texts]
    for name, node in NODES.items():
        assert f"{node.label}\n{list(shapes[name])}" in words
    for name, node in LOSSES.items():
        assert f"{node.label}\nx {weights[name]}" in words
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == sum(map(len, ARROWS.values())) + len(LOSSES)


def test_arrows_join_boxes_that_are_there() -> None:
    ends = {*ARROWS, *(end for ends in ARROWS.values() for end in ends)}
    assert ends == {*NODES, *LOSSES}


def test_boxes_are_filled_where_something_is() -> None:
    state = torch.zeros(2, 3, 2, dtype=torch.int64)
    state[0, :, 0] = state[1, :, 1] = 1
    state[0, 1, 1] = 2
    figure = who_holds_figure({"FSDP2": state}, ["a", "b", "c"])
    (ax,) = figure.axes
    filled = [p for p in ax.patches if p.get_fill()]
    assert len(filled) == 7 and len(ax.patches) == 7 + 6
    gathered = [p for p in filled if same_color(p.get_facecolor(), COLORS[4])]
    assert [(round(p.get_x(), 1), round(p.get_y(), 1)) for p in gathered] == [(0.5, 1.1)]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
