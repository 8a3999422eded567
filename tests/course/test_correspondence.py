"""Views cut by known matrices: the right place of a patch is where it was put, and those who know
it are counted right."""

import pytest
import torch
from torch import Tensor

from dinolite_course.measures.correspondence import (
    View,
    centres,
    cut_view,
    match_views,
    mutual_neighbours,
    places,
)


@pytest.fixture
def photo() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)


def test_a_plain_view_is_the_photograph_and_a_mirrored_one_its_mirror(photo: Tensor) -> None:
    assert torch.equal(cut_view(photo, 32).picture, photo)
    assert torch.equal(cut_view(photo, 32, mirror=True).picture, photo.flip(2))
    assert torch.equal(cut_view(photo, 32, angle=180).picture, photo.flip(1, 2))
    quarter = cut_view(photo, 16, zoom=2, shift=(0.5, -0.5)).picture  # right, above
    assert torch.equal(quarter, photo[:, :16, 16:])


def test_bad_views_are_refused(photo: Tensor) -> None:
    with pytest.raises(ValueError, match="square"):
        cut_view(photo[:, :30], 32)
    with pytest.raises(ValueError, match="zoom = 0"):
        cut_view(photo, 32, zoom=0)


def test_centres_run_row_by_row() -> None:
    assert centres((2, 4))[:2].tolist() == [[-0.75, -0.5], [-0.25, -0.5]]
    assert centres((2, 4))[4].tolist() == [-0.75, 0.5]


def test_places_follow_the_cut(photo: Tensor) -> None:
    whole, mirror = cut_view(photo, 32), cut_view(photo, 32, mirror=True)
    here = torch.stack([torch.arange(16) // 4, torch.arange(16) % 4], dim=1).float()
    torch.testing.assert_close(places(whole, whole, (4, 4)), here)
    there = here.clone()
    there[:, 1] = 3 - here[:, 1]
    torch.testing.assert_close(places(whole, mirror, (4, 4)), there)
    right = cut_view(photo, 32, shift=(0.5, 0.0))  # a patch is half of a half side
    torch.testing.assert_close(places(whole, right, (4, 4)), here - torch.tensor([0.0, 1.0]))
    turned = cut_view(photo, 32, angle=90)
    back = places(turned, whole, (4, 4)).round().long()
    seen = turned.picture.unflatten(1, (4, 8)).unflatten(3, (4, 8))  # [3, 4, 8, 4, 8]
    origin = photo.unflatten(1, (4, 8)).unflatten(3, (4, 8))
    for (r, c), (i, j) in zip(here.long().tolist(), back.tolist(), strict=True):
        a, b = seen[:, r, :, c].float().mean(), origin[:, i, :, j].float().mean()
        torch.testing.assert_close(a, b, atol=0.1, rtol=0)


def test_mutual_means_the_choice_is_returned() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    b = torch.tensor([[0.0, 3.0], [2.0, 0.1]])
    nearest, mutual = mutual_neighbours(a, b)
    assert nearest.tolist() == [1, 1, 0]
    assert mutual.tolist() == [True, False, True] or mutual.tolist() == [False, True, True]


def test_features_that_know_the_place_in_the_photograph_are_always_right(photo: Tensor) -> None:
    def knows(view: View) -> Tensor:  # place in the photograph, as a vector whose cosine is telling
        xy = centres((8, 8)) @ view.matrix[:, :2].T + view.matrix[:, 2]
        angles = torch.cat([xy, 2 * xy], dim=1)
        return torch.cat([angles.cos(), angles.sin()], dim=1).T.unflatten(1, (8, 8))

    a, b = cut_view(photo, 32), cut_view(photo, 32, zoom=1.2, angle=20, mirror=True)
    found = match_views(a, b, knows(a), knows(b))
    assert 20 < found.visible.sum() < 64
    assert found.right[found.visible].float().mean() > 0.95
    assert not found.right[~found.visible].any()
    i, j, good = found.pairs()
    assert found.mutual[i].all() and found.visible[i].all() and torch.equal(found.right[i], good)
    assert torch.equal(found.nearest[i], j)
    blind = match_views(a, b, knows(a), torch.randn(8, 8, 8))
    assert blind.right[blind.visible].float().mean() < 0.6
