"""The foreground is the object, whatever the sign of the component."""

import torch
from torch import Tensor

from dinolite_course.figures.pca import (
    first_component,
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
