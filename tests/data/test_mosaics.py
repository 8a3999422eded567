"""Mosaics: every pixel comes from the photograph that the mask names."""

import pytest
import torch

from dinolite.data.demo_pictures.photographs import CLASSES, make_windows
from dinolite.data.demo_pictures.scenes import MAX_REGIONS, SIDE, make_mosaics


def test_a_mosaic_is_made_of_windows() -> None:
    images, labels, masks = make_mosaics(12, "train", 5, 48)
    windows, photographs = make_windows(24, "train", 5, 48, SIDE)
    assert images.shape == (12, 3, 48, 48) and images.dtype == torch.uint8
    assert masks.min() >= 1 and masks.max() <= len(CLASSES)
    for image, label, mask in zip(images, labels, masks, strict=True):
        counts = torch.bincount(mask.flatten() - 1, minlength=len(CLASSES))
        assert counts[label] == counts.max()
        for photograph in mask.unique() - 1:
            here = mask == photograph + 1
            candidates = windows[photographs == photograph]
            covered = (candidates == image).all(1) & here  # [candidates, 48, 48]
            assert (covered.any(0) == here).all()


def test_regions_are_one_to_six_and_differ() -> None:
    _, _, masks = make_mosaics(300, "train", 6, 16)
    found = torch.tensor([len(mask.unique()) for mask in masks])
    assert found.min() == 1 and 5 <= found.max() <= MAX_REGIONS
    assert (found == 1).float().mean() > 0.12  # one region in six draws, more by chance


def test_same_arguments_same_mosaics_and_no_pixel_is_shared_between_splits() -> None:
    first, again = make_mosaics(5, "test", 7, 32), make_mosaics(5, "test", 7, 32)
    assert torch.equal(first.images, again.images) and torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, make_mosaics(5, "train", 7, 32).images)


def test_what_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="n="):
        make_mosaics(0, "train", 1, 32)
    with pytest.raises(ValueError, match="split='val'"):
        make_mosaics(3, "val", 1, 32)
