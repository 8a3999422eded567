"""Places that keep their features are found again; others are not."""

import pytest
import torch

from dinolite_course.measures.resolution import agreement, pooled


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_pooled_takes_means_of_cells_of_any_shape() -> None:
    x = torch.arange(24.0).view(1, 1, 4, 6)
    assert pooled(x, (2, 2)).flatten().tolist() == [4.0, 7.0, 16.0, 19.0]
    assert torch.equal(pooled(x, (4, 6)), x)
    with pytest.raises(ValueError, match="grid = 3 x 2 does not divide maps of 4 x 6"):
        pooled(x, (3, 2))


def test_the_same_picture_enlarged_agrees_fully() -> None:
    x = features(2, 8, 3, 5)
    large = x.repeat_interleave(2, dim=2).repeat_interleave(4, dim=3) + 7.0  # one offset for all
    cosine, found = agreement(x, large)
    assert cosine == pytest.approx(1, abs=1e-5) and found == 1


def test_shifted_places_are_not_found() -> None:
    x = features(2, 16, 4, 4)
    cosine, found = agreement(x, x.roll(1, dims=3))
    assert cosine < 0.3 and found == 0


def test_the_turned_grid_is_no_agreement_of_a_square_one() -> None:
    x = features(1, 16, 4, 4)
    assert agreement(x, x.mT).found == 0.25  # the diagonal stays where it is


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="first two numbers"):
        agreement(features(2, 8, 3, 3), features(1, 8, 3, 3))
