"""What a slow copy remembers: weights, averages and paths are where they belong."""

import torch

from dinolite_course.figures.ema import ema_of, memory_figure, memory_weights, paths_figure


def test_weights_sum_to_one_and_shrink_by_the_momentum() -> None:
    weights = memory_weights(0.9, 300)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    torch.testing.assert_close(weights[1:5] / weights[:4], torch.full((4,), 0.9))
    assert memory_weights(0.0, 3).tolist() == [1, 0, 0] and memory_weights(1.0, 2).sum() == 0


def test_average_by_hand() -> None:
    path = ema_of(torch.tensor([0.0, 4.0, 2.0]), 0.5)
    assert path.tolist() == [0, 2, 2]


def test_memory_figure() -> None:
    values = torch.tensor([0.0, 4.0, 2.0])
    figure = memory_figure([0.5, 1.0], values, steps=4)
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [[0.5, 0.25, 0.125, 0.0625], [0] * 4]
    assert [list(line.get_ydata()) for line in right.lines] == [[0, 4, 2], [0, 2, 2], [0, 0, 0]]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["student", "m = 0.5", "m = 1"]


def test_paths_figure() -> None:
    paths = {"student": torch.tensor([[0.0, 1], [2, 3]]), "teacher": torch.zeros(2, 2)}
    figure = paths_figure({"early": paths, "late": paths}, half_side=3.0)
    assert [ax.get_title() for ax in figure.axes] == ["early", "late"]
    path, end = figure.axes[0].lines[:2]
    assert list(path.get_xdata()) == [0, 2] and list(path.get_ydata()) == [1, 3]
    assert list(end.get_xdata()) == [2] and figure.axes[0].get_xlim() == (-3, 3)
