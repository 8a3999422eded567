"""Colours of features: the foreground is the object, the film strip does not flip."""

import torch
from torch import Tensor

from dinolite_course.figures.pca import (
    film_figure,
    first_component,
    foreground_figure,
    foreground_mask,
)


def objects(n: int = 2) -> tuple[Tensor, Tensor]:
    """Patch features with an object in the middle, of one direction; and where it is."""
    torch.manual_seed(0)
    mask = torch.zeros(n, 6, 7, dtype=torch.bool)
    mask[:, 2:4, 2:5] = True
    patches = 0.1 * torch.randn(n, 5, 6, 7)
    patches[:, 1] += torch.where(mask, 1.0, -1.0)
    return patches, mask


def test_foreground_does_not_own_the_border() -> None:
    patches, mask = objects()
    assert torch.equal(foreground_mask(patches), mask)
    assert torch.equal(foreground_mask(-patches), mask)  # a component has no sign of its own
    assert first_component(patches).std() < 2
    figure = foreground_figure(torch.zeros(2, 3, 12, 14, dtype=torch.uint8), {"a": patches})
    colors = torch.tensor(figure.axes[4].images[0].get_array())
    assert torch.equal((colors > 0).any(dim=-1), mask[0])


def test_a_film_has_a_column_for_each_step() -> None:
    steps = {"early": torch.randn(2, 4, 6, 6), "last": torch.randn(2, 4, 6, 6)}
    figure = film_figure(torch.zeros(2, 3, 12, 12, dtype=torch.uint8), steps)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["", "early", "last"]
