"""A loss curve in two layers: the line is their sum, the dashes stand at ln K."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dinolite_course.figures.loss_split import loss_split_figure


def test_the_line_is_the_sum_of_both_layers() -> None:
    runs = {"a": ([1.0, 1.5], [3.0, 1.0]), "b": ([0.5, 0.0], [0.25, 0.0])}
    figure = loss_split_figure(runs, start=4.0)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    for ax, loss in zip(figure.axes, [[4.0, 2.5], [0.75, 0.0]], strict=True):
        line, dashes = ax.get_lines()
        assert np.allclose(line.get_ydata(), loss)
        assert np.allclose(dashes.get_ydata(), 4.0)
        lower, upper = ax.collections
        assert np.isclose(lower.get_paths()[0].vertices[:, 1].min(), 0)
        assert np.isclose(upper.get_paths()[0].vertices[:, 1].max(), max(loss))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["target entropy", "KL", "loss", "ln K"]
    plt.close(figure)


def test_runs_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match=r"runs = \{\} is empty"):
        loss_split_figure({}, 1.0)
    with pytest.raises(ValueError, match="run 'a': 2 entropies, 1 divergences"):
        loss_split_figure({"a": ([1.0, 2.0], [1.0])}, 1.0)
