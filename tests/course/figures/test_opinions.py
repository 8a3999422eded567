"""Answers over steps: the right map in the right panel, on one scale."""

import matplotlib.pyplot as plt
import pytest
import torch

from dinolite_course.figures.opinions import opinions_figure


def test_maps_are_steps_by_prototypes_on_one_scale() -> None:
    torch.manual_seed(0)
    answers = {"a": torch.rand(5, 3), "b": torch.rand(5, 3) / 2}
    figure = opinions_figure(torch.zeros(3, 4, 4), answers)
    assert [ax.get_title() for ax in figure.axes] == ["the picture", "a", "b"]
    maps = [ax.images[0] for ax in figure.axes[1:]]
    for image, matrix in zip(maps, answers.values(), strict=True):
        drawn = torch.as_tensor(image.get_array().data)
        torch.testing.assert_close(drawn, matrix.T)
    top = float(torch.cat([matrix.flatten() for matrix in answers.values()]).quantile(0.99))
    assert [image.get_clim() for image in maps] == [(0, top)] * 2
    plt.close(figure)


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="is empty"):
        opinions_figure(torch.zeros(3, 4, 4), {})
