"""Figures of collapsed runs: what is drawn where, and what is refused."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.collapse import answers_figure, directions_figure, monitors_figure


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """pyplot keeps every figure until it is closed."""
    yield
    plt.close("all")


def test_every_monitor_has_a_panel_with_a_line_per_run_and_seed() -> None:
    healthy = {"loss": [[5.0, 4.0, 3.0], [6.0, 5.0, 4.0]], "spread": [[0.1, 0.5], [0.2, 0.6]]}
    broken = {"loss": [[2.0, 0.0]], "spread": [[0.1, 0.0]]}
    figure = monitors_figure({"healthy": healthy, "broken": broken}, steps=40)
    loss, spread = figure.axes
    assert (loss.get_title(), spread.get_title()) == ("loss", "spread")
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in loss.get_lines()]
    assert drawn == [([0, 20, 40], [5, 4, 3]), ([0, 20, 40], [6, 5, 4]), ([0, 40], [2, 0])]
    first, second, other = loss.get_lines()
    assert first.get_color() == second.get_color() != other.get_color()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["healthy", "broken"] and len(spread.get_lines()) == 3


@pytest.mark.parametrize("runs", [{}, {"a": {"loss": [[1.0]]}, "b": {"spread": [[1.0]]}}])
def test_runs_without_common_monitors_are_refused(runs: dict[str, dict[str, list]]) -> None:
    with pytest.raises(ValueError, match="must be at least one, with the same monitors"):
        monitors_figure(runs, steps=4)


def test_answers_are_drawn_by_their_roots() -> None:
    probs = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    left, right = answers_figure({"a": probs, "b": 1 - probs}).axes
    assert (left.get_title(), right.get_title()) == ("a", "b")
    assert np.allclose(left.images[0].get_array() ** 2, probs.numpy())
    assert np.allclose(right.images[0].get_array() ** 2, 1 - probs.numpy())
    assert left.images[0].get_clim() == (0, 1)


def test_bars_are_the_shares_and_stand_around_their_direction() -> None:
    shares = {"a": torch.tensor([0.75, 0.25]), "b": torch.tensor([0.5, 0.5])}
    (ax,) = directions_figure(shares).axes
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
    assert heights == [[0.75, 0.25], [0.5, 0.5]]
    middles = [bar.get_x() + bar.get_width() / 2 for bars in ax.containers for bar in bars]
    assert np.allclose(middles, [0.8, 1.8, 1.2, 2.2])


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"answers = \{\} is empty"):
        answers_figure({})
    for shares in [{}, {"a": torch.ones(2), "b": torch.ones(3)}]:
        with pytest.raises(ValueError, match="all of the same length"):
            directions_figure(shares)
