"""Matrices with their numbers in them."""

import matplotlib.pyplot as plt
import torch

from dinolite_course.figures.matrices import matrix_figure


def test_every_entry_is_written_where_it_belongs() -> None:
    a, b = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.25], [3.0]])
    figure = matrix_figure({"a": a, "b": b}, decimals=1)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert (figure.axes[0].images[0].get_array() == a.numpy()).all()
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "1.0", (1, 0): "-2.0", (2, 0): "0.5"}
    written = {text.get_position(): text.get_text() for text in figure.axes[1].texts}
    assert written == {(0, 0): "0.2", (0, 1): "3.0"}
    dark = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert dark["-2.0"] == "white" and dark["1.0"] == "black"  # readable on the colour scale
    plt.close(figure)
