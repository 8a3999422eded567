"""Masks: exact counts, blocks, and the batch's ladder of ratios."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dinolite.config import IbotConfig
from dinolite.data.loaders import generator_of
from dinolite.data.masking import MaskingGenerator, draw_masks, mask_positions, roll


@settings(max_examples=40)
@given(h=st.integers(1, 16), w=st.integers(1, 16), seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_counts_are_exact(h: int, w: int, seed: int, share: float) -> None:
    counts = torch.tensor([int(share * h * w), 0, h * w, 1])
    masks = MaskingGenerator((h, w))(counts, generator_of(seed))
    assert masks.shape == (4, h, w)
    assert masks.sum((1, 2)).tolist() == counts.tolist()


def test_blocks_not_confetti() -> None:
    """At the same count, hidden patches have far more hidden neighbours than random ones would."""
    masks = MaskingGenerator((14, 14))(torch.full((64,), 60), generator_of(0))
    pairs = (masks[:, 1:] & masks[:, :-1]).sum() + (masks[:, :, 1:] & masks[:, :, :-1]).sum()
    by_chance = 64 * (60 / 196) ** 2 * 2 * 13 * 14
    assert pairs > 1.8 * by_chance


def test_no_side_is_preferred() -> None:
    """Blocks lie in the middle more often than in a corner, but alike on all four sides."""
    masks = MaskingGenerator((8, 8))(torch.full((8000,), 20), generator_of(1))
    share = masks.float().mean(0)
    assert share.mean().item() == pytest.approx(20 / 64)
    for mirrored in (share.flip(0), share.flip(1), share.T):
        assert (share - mirrored).abs().max() < 0.03
    assert share.min() > 0.05 and share.max() < 0.6


def test_a_block_never_spans_the_grid() -> None:
    generator = MaskingGenerator((6, 6), max_num_patches=36)
    for seed in range(20):
        blocks, possible = generator.draw_blocks(torch.full((50,), 36), generator_of(seed))
        full = blocks.any(2).all(1) | blocks.any(1).all(1)
        assert not (full & possible).any()


def test_same_seed_same_masks() -> None:
    counts = torch.full((8,), 10)
    first, second = (MaskingGenerator((7, 7))(counts, generator_of(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("bad", [-1, 50])
def test_impossible_counts(bad: int) -> None:
    with pytest.raises(ValueError, match="0 to 49"):
        MaskingGenerator((7, 7))(torch.tensor([bad]))


def test_the_official_ladder() -> None:
    """B = 8 pictures of 14 x 14 patches: the counts of section 4.4 of the facts, shuffled."""
    masks = draw_masks(16, (14, 14), IbotConfig(), generator_of(0))
    counts = masks.sum(1)
    assert sorted(counts.tolist()) == [0] * 8 + [29, 39, 49, 58, 68, 78, 88, 98]
    indices, weight = mask_positions(masks)
    assert len(indices) == 507 and weight.sum().item() == pytest.approx(8)
    assert torch.equal(masks.flatten().nonzero().flatten(), indices)
    expected = torch.cat([torch.full((int(n),), 1 / n) for n in counts if n])
    assert torch.allclose(weight, expected)


@pytest.mark.parametrize(
    ("crops", "grid", "counts"),
    [
        (24, (6, 6), [4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 18]),  # 12 pictures: no 12
        (16, (6, 3), [2, 3, 4, 5, 6, 7, 8, 9]),
        (16, (14, 14), [29, 39, 49, 58, 68, 78, 88, 98]),  # 224 pixels, patches of 16
        (8, (16, 16), [51, 76, 102, 128]),  # 256 pixels
    ],
)
def test_counts_are_the_official_ones_to_the_patch(
    crops: int, grid: tuple[int, int], counts: list[int]
) -> None:
    """The official collate function's, which computes the ratios in float32."""
    masks = draw_masks(crops, grid, IbotConfig(), generator_of(0))
    assert sorted(masks.sum(1).tolist())[crops // 2 :] == counts


@pytest.mark.parametrize(
    ("grid", "limit", "count", "share"),
    [((3, 3), 3, 4, 0.317), ((5, 5), 10, 12, 0.066), ((4, 4), 8, 12, 0.214)],
)
def test_no_block_adds_more_than_its_limit(
    grid: tuple[int, int], limit: int, count: int, share: float
) -> None:
    """How many masks are one whole rectangle, in 12,000 of the official `MaskingGenerator`; with a
    block as large as all that is missing it would be 83 % on the first grid."""
    masks = MaskingGenerator(grid, limit)(torch.full((6000,), count), generator_of(0))
    box = masks.any(1).sum(1) * masks.any(2).sum(1)
    assert (box == count).float().mean().item() == pytest.approx(share, abs=0.02)


def test_one_picture() -> None:
    """One of its two crops is masked at the highest ratio."""
    masks = draw_masks(2, (6, 6), IbotConfig(), generator_of(0))
    assert sorted(masks.sum(1).tolist()) == [0, 18]


def test_no_masks() -> None:
    masks = draw_masks(4, (6, 6), IbotConfig(mask_sample_probability=0.0), generator_of(0))
    indices, weight = mask_positions(masks)
    assert not masks.any() and len(indices) == len(weight) == 0


def test_circular_shift_keeps_counts_and_moves() -> None:
    masks = torch.zeros(50, 5, 5, dtype=torch.bool)
    masks[:, 0, :3] = True
    rolled = roll(masks, generator_of(0))
    assert (rolled.sum((1, 2)) == 3).all() and (rolled.any(2).sum(1) == 1).all()
    assert rolled.any(0).all()
