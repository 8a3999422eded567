"""Groups of patches: numbers by hand, order by size, the same colour for the same group."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dinolite.viz.groups import groups_figure, patch_groups, renumbered
from dinolite.viz.style import laid_over


def stripes() -> Tensor:
    """Two pictures of 4 x 8 patches: three directions at an angle of 90 or 180 degrees to each
    other, 5 columns (of both pictures 40 patches), 2 (16) and 1 (8) wide, the widest in the middle
    of the first and on the left of the second; a patch is as long as its row's number + 1."""
    directions = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    of_column = torch.tensor([[1, 1, 0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 2, 1, 1]])
    x = directions[of_column].permute(0, 2, 1)[:, :, None].expand(2, 3, 4, 8)
    return x * torch.tensor([1.0, 1.1, 1.2, 1.3])[:, None]


def test_groups_are_the_directions_numbered_by_falling_size() -> None:
    """In a 3 x 3 mean the patches beside a border are mixtures; the ones inside are pure. The
    column of one patch is nowhere pure: it has a third of its own, more than of any other."""
    groups = patch_groups(stripes(), 3)
    assert groups.shape == (2, 4, 8) and groups.dtype == torch.int64
    sizes = torch.bincount(groups.flatten(), minlength=3).tolist()
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 64
    first, second = groups[0], groups[1]
    assert (first[:, 3:6] == 0).all() and (second[:, :4] == 0).all()  # the widest, in both
    assert (first[:, 0] == first[0, 0]).all() and first[0, 0] > 0
    assert (second[:, 7] == first[0, 0]).all()  # the same group in another picture


def test_groups_do_not_know_length_or_what_all_patches_share() -> None:
    x = stripes()
    moved = 7 * x + torch.tensor([9.0, -3, 4])[:, None, None]
    torch.testing.assert_close(patch_groups(moved, 3), patch_groups(x, 3))


def test_one_odd_patch_belongs_to_its_neighbours() -> None:
    """Left half one direction, right half the opposite; a patch of the wrong kind in the left is
    one of nine in its neighbourhood, and is outvoted by eight."""
    x = torch.ones(1, 4, 6, 12) * torch.tensor([1.0, 1, -1, 0.5]).view(1, 4, 1, 1)
    x[..., 6:] *= -1
    x[0, :, 3, 2] *= -1
    groups = patch_groups(x, 2)[0]
    assert (groups[:, :6] == groups[0, 0]).all() and (groups[:, 6:] == groups[0, 11]).all()
    assert groups[0, 0] != groups[0, 11]


def test_the_same_seed_gives_the_same_groups() -> None:
    x = torch.randn(2, 5, 6, 6)
    torch.testing.assert_close(patch_groups(x, 4, seed=3), patch_groups(x, 4, seed=3))


@pytest.mark.parametrize(
    ("patches", "k", "message"),
    [
        (torch.randn(2, 5, 3, 4), 0, "k = 0; allowed: 1 to 24"),
        (torch.randn(2, 5, 3, 4), 25, "k = 25; allowed: 1 to 24"),
        (torch.full((1, 2, 3, 3), torch.nan), 2, "18 numbers that are not finite"),
    ],
)
def test_groups_refuse_what_cannot_be_grouped(patches: Tensor, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patch_groups(patches, k)


def test_numbers_follow_those_of_the_other_grouping() -> None:
    """0 shares 3 patches with 2 and 1 with 0; 1 shares 2 with 0; 2 shares 2 with 1."""
    groups = torch.tensor([[[0, 0, 0, 0], [1, 1, 2, 2]]])
    like = torch.tensor([[[2, 2, 2, 0], [0, 0, 1, 1]]])
    assert renumbered(groups, like).tolist() == [[[2, 2, 2, 2], [0, 0, 1, 1]]]
    torch.testing.assert_close(renumbered(like, like), like)


def test_the_figure_has_a_row_for_each_kind_in_the_colours_of_the_last() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 32), dtype=torch.uint8)
    kinds = {"pixels": torch.randn(2, 4, 4, 8), "trained": stripes()}
    figure = groups_figure(images, kinds, 3, title="Two of three are alike")
    assert figure.get_suptitle() == "Two of three are alike"
    rows = [figure.axes[i : i + 2] for i in range(0, 6, 2)]
    assert [row[0].texts[0].get_text() for row in rows[1:]] == ["pixels", "trained"]
    last = patch_groups(kinds["trained"], 3)
    for row, groups in zip(
        rows[1:], [renumbered(patch_groups(kinds["pixels"], 3), last), last], strict=True
    ):
        for ax, image, numbers in zip(row, images, groups, strict=True):
            expected = laid_over(image, numbers).permute(1, 2, 0).numpy()
            np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), expected, atol=1e-6)
