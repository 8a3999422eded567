"""Classes of patches and pixels: counting against scikit-learn, the probe by hand."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from sklearn.linear_model import Ridge
from torch import Tensor

from dinolite.eval import segmentation
from dinolite.eval.segmentation import (
    confusion_matrix,
    iou,
    miou,
    patch_labels,
    pixel_patches,
    segmentation_probe,
)

# --- labels of patches ---


def test_a_patch_has_the_commonest_class_of_its_pixels() -> None:
    """Two rows of three patches of 2 x 2 pixels; of equally common ones the lowest; . = -1."""
    rows = ["0012..", "0122..", "3.10.3", "..0111"]
    masks = torch.tensor([[-1 if c == "." else int(c) for c in row] for row in rows])[None]
    assert patch_labels(masks, (2, 3), 4).tolist() == [[[0, 2, -1], [3, 0, 1]]]


def test_patch_labels_are_those_of_a_slow_count() -> None:
    masks = torch.randint(-1, 4, (3, 6, 12))
    found = patch_labels(masks, (3, 4), 4)
    for n, i, j in np.ndindex(3, 3, 4):
        cell = masks[n, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].flatten().tolist()
        counts = Counter(c for c in cell if c >= 0)
        most = max(counts.values())
        assert found[n, i, j] == min(c for c in counts if counts[c] == most)


@pytest.mark.parametrize("grid", [(4, 3), (3, 5)])
def test_the_grid_has_to_divide_the_mask(grid: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"grid = {grid[0]} x {grid[1]} .* 6 x 12"):
        patch_labels(torch.zeros(1, 6, 12).long(), grid, 2)


# --- counting pixels ---


def test_confusion_is_that_of_scikit_learn() -> None:
    """Class 4 occurs nowhere, and a sixth of the pixels does not count."""
    named, truth = torch.randint(0, 4, (3, 5, 7)), torch.randint(-1, 3, (3, 5, 7))
    counts = (truth >= 0).numpy()
    expected = metrics.confusion_matrix(
        truth.numpy()[counts], named.numpy()[counts], labels=range(5)
    )
    np.testing.assert_array_equal(confusion_matrix(named, truth, 5).numpy(), expected)


def test_iou_is_the_jaccard_score_of_scikit_learn() -> None:
    named, truth = torch.randint(0, 4, (200,)), torch.randint(0, 4, (200,))
    confusion = confusion_matrix(named, truth, 4)
    expected = metrics.jaccard_score(truth.numpy(), named.numpy(), average=None)
    np.testing.assert_allclose(iou(confusion).numpy(), expected)
    assert miou(confusion) == pytest.approx(expected.mean())


def test_only_classes_that_occur_or_are_named_are_averaged() -> None:
    """Class 1 occurs and is not named, class 2 is named and does not occur, class 3 neither."""
    confusion = torch.tensor([[6, 0, 2, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    values = iou(confusion).tolist()
    assert values[:3] == pytest.approx([6 / 9, 0, 0]) and math.isnan(values[3])
    assert miou(confusion) == pytest.approx(6 / 9 / 3)


# --- the probe ---


def test_scores_are_scaled_up_before_the_class_is_chosen() -> None:
    """Trained on x = -1 and 1, the score grows with x, and 0 is the border. A test picture has the
    patches -3 and 1. Over 8 pixels, (i + 1/2) / 4 - 1/2 patches from the first: -3 -3 -2.5 -1.5
    -0.5 | 0.5 1 1. Choosing first would put the border in the middle."""
    train = torch.tensor([-1.0, 1.0]).expand(4, 1, 1, 2)
    train_masks = torch.tensor([0, 1]).repeat_interleave(4).expand(4, 1, 8)
    test = torch.tensor([-3.0, 1.0]).view(1, 1, 1, 2)
    truth = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]).view(1, 1, 8)
    result = segmentation_probe(train, train_masks, test, truth)
    assert result.confusion.tolist() == [[5, 0], [0, 3]]
    assert result.miou == result.pixel_accuracy == 1 and result.per_class == (1, 1)


def test_the_result_by_hand() -> None:
    """As above, against another truth: 2 pixels do not count, 1 of the other 6 is wrong."""
    train = torch.tensor([-1.0, 1.0]).expand(4, 1, 1, 2)
    train_masks = torch.tensor([0, 1]).repeat_interleave(4).expand(4, 1, 8)
    test = torch.tensor([-3.0, 1.0]).view(1, 1, 1, 2)
    truth = torch.tensor([-1, 0, 0, 0, 1, 1, 1, -1]).view(1, 1, 8)
    result = segmentation_probe(train, train_masks, test, truth, n_classes=3)
    assert result.confusion.tolist() == [[3, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert result.pixel_accuracy == pytest.approx(5 / 6)
    assert result.per_class[:2] == pytest.approx([3 / 4, 2 / 3]) and math.isnan(result.per_class[2])
    assert result.miou == pytest.approx((3 / 4 + 2 / 3) / 2)


def some(n: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Features that tell three classes, of which 0 is the commonest by far, only more or less."""
    masks = (torch.rand(n, 3, 4) * 10 - 7).clamp(min=0).long()
    x = F.one_hot(masks, 5).permute(0, 3, 1, 2) + torch.randn(n, 5, 3, 4) + shift
    return x, masks


def test_the_probe_is_a_balanced_ridge_on_the_train_patches() -> None:
    """scikit-learn's, with one pixel per patch; the test patches are shifted, so that a probe that
    had seen them would differ. More test pictures than are scored at once."""
    (train, masks), (test, truth) = some(12), some(37, shift=0.5)
    result = segmentation_probe(train, masks, test, truth, ridges=(0.1,))
    x, y = train.permute(0, 2, 3, 1).reshape(-1, 5).double().numpy(), masks.flatten().numpy()
    weights = 1 / np.bincount(y)[y] / 3
    shift = weights @ x
    scale = np.sqrt(weights @ (x - shift) ** 2)
    model = Ridge(alpha=0.1, solver="cholesky")
    model.fit((x - shift) / scale, np.eye(3)[y], sample_weight=weights)
    queries = test.permute(0, 2, 3, 1).reshape(-1, 5).double().numpy()
    named = model.predict((queries - shift) / scale).argmax(axis=1)
    expected = metrics.confusion_matrix(truth.flatten().numpy(), named)
    np.testing.assert_array_equal(result.confusion.numpy(), expected)


def test_whole_pictures_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 25 pictures, one without any class, two; a patch without a class is in neither part."""
    seen = {}

    def spy(x, y, n_classes, ridges, hidden, balanced):
        seen.update(x=x, y=y, hidden=hidden)
        return original(x, y, n_classes, ridges, hidden, balanced)

    original = segmentation.ridge_probe
    monkeypatch.setattr(segmentation, "ridge_probe", spy)
    x, masks = some(25)
    x[:, 0] = torch.arange(25.0)[:, None, None]  # the number of the picture
    masks[4] = -1
    masks[:, 1, 2] = -1
    segmentation_probe(x, masks, *some(2))
    number = seen["x"][:, 0].long()
    assert sorted(number.tolist()) == [i for i in range(25) if i != 4 for _ in range(11)]
    assert torch.equal(seen["y"], masks[masks >= 0])
    held = number[seen["hidden"]].unique(return_counts=True)
    assert held[1].tolist() == [11, 11]


@pytest.mark.parametrize("unlabelled", [0, 1, 2])
def test_a_train_picture_without_a_class_changes_nothing(unlabelled: int) -> None:
    (train, masks), test = some(3), some(4)
    masks[unlabelled] = -1
    used = torch.arange(3) != unlabelled
    with_it = segmentation_probe(train, masks, *test, ridges=(0.1,))
    without = segmentation_probe(train[used], masks[used], *test, ridges=(0.1,))
    assert torch.equal(with_it.confusion, without.confusion)


@pytest.mark.parametrize(
    ("train_without", "test_without", "message"),
    [
        (slice(1, None), slice(0), "train_masks has 1 pictures"),
        (slice(None), slice(0), "train_masks has 0 pictures"),
        (slice(0), slice(None), "test_masks 0 pixels"),
    ],
)
def test_masks_without_classes_are_refused(
    train_without: slice, test_without: slice, message: str
) -> None:
    (train, masks), (test, truth) = some(3), some(2)
    masks[train_without], truth[test_without] = -1, -1
    with pytest.raises(ValueError, match=message):
        segmentation_probe(train, masks, test, truth)


@pytest.mark.parametrize(("n", "m"), [(0, 1), (1, 1), (2, 0)])
def test_the_probe_needs_two_pictures_and_one_to_test(n: int, m: int) -> None:
    with pytest.raises(ValueError, match=f"train_masks has {n} pictures"):
        segmentation_probe(*some(n), *some(m))


# --- pixels as features ---


def test_the_pixels_of_a_patch_are_its_features() -> None:
    images = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    found = pixel_patches(images, 2)
    assert found.shape == (2, 12, 3, 4)
    for n, i, j in np.ndindex(2, 3, 4):
        cell = images[n, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        torch.testing.assert_close(found[n, :, i, j], cell.flatten() / 255)


def test_the_neighbourhood_is_the_mean_of_the_patches_inside_the_picture() -> None:
    images = torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8)
    own, found = pixel_patches(images, 2), pixel_patches(images, 2, neighbourhood=True)
    assert found.shape == (2, 24, 3, 4) and torch.equal(found[:, :12], own)
    for i, j in np.ndindex(3, 4):
        around = own[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean(dim=(2, 3))
        torch.testing.assert_close(found[:, 12:, i, j], around)


@pytest.mark.parametrize("patch_size", [4, 3, 0, -2])
def test_the_patch_size_has_to_divide_the_picture(patch_size: int) -> None:
    with pytest.raises(ValueError, match=f"patch_size = {patch_size} .* 6 x 8"):
        pixel_patches(torch.zeros(1, 3, 6, 8).byte(), patch_size)
