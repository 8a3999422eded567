"""Scaled pictures against Pillow, raw pixels as features, and the best that k-NN makes of them."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from dinolite.data.datasets import ListPictures
from dinolite.eval.features import picture_batches, pixel_features, scaled
from dinolite.eval.knn import best_pixel_knn


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


# --- scaling ---


@pytest.mark.parametrize(("height", "width", "side"), [(40, 24, 16), (9, 9, 20), (16, 30, 16)])
def test_scaling_is_that_of_pillow(height: int, width: int, side: int) -> None:
    """Black and white blocks overshoot under bicubic: 260 must become 255 and not 4."""
    blocks = noise(1, 3, height // 3 + 1, width // 3 + 1) // 128 * 255
    picture = blocks.repeat_interleave(3, 2).repeat_interleave(3, 3)[:, :, :height, :width]
    channels = [Image.fromarray(c) for c in picture[0].float().numpy()]  # 8 bits clamp in between
    theirs = [np.asarray(c.resize((side, side), Image.Resampling.BICUBIC)) for c in channels]
    assert np.max(theirs) > 256 and np.min(theirs) < -1
    expected = np.clip(np.round(theirs), 0, 255)
    actual = scaled(picture, side)
    assert actual.shape == (1, 3, side, side) and actual.dtype == torch.uint8
    difference = actual[0].numpy().astype(int) - expected
    assert abs(difference).max() <= 1 and (difference != 0).mean() < 0.01  # x.5 may go either way


def test_pictures_of_the_right_size_are_not_touched() -> None:
    images = noise(2, 3, 8, 8)
    assert torch.equal(scaled(images, 8), images)


def test_batches_come_in_order_and_scaled_one_by_one() -> None:
    """More pictures than are scaled at once."""
    images = noise(40, 3, 6, 9)
    batches = list(picture_batches(images, 33, 4))
    assert [len(b) for b in batches] == [33, 7]
    assert torch.equal(torch.cat(batches), torch.cat([scaled(i[None], 4) for i in images]))


# --- raw pixels ---


def test_pixel_features_are_pixels_from_0_to_1() -> None:
    images = noise(300, 3, 2, 3)
    before = copy.deepcopy(images)
    expected = images.numpy().reshape(300, 18) / 255
    np.testing.assert_allclose(pixel_features(images).numpy(), expected, rtol=1e-6)
    assert torch.equal(images, before)
    assert pixel_features(
        ListPictures(list(images[:2]), torch.zeros(2).long(), ("a",)), side=5
    ).shape == (2, 75)


@pytest.mark.parametrize("side", [0, -3])
def test_pixel_features_need_a_side_of_at_least_1(side: int) -> None:
    with pytest.raises(ValueError, match=f"size = {side}"):
        pixel_features(noise(1, 3, 4, 4), side)


# --- the baseline ---


def theirs(x: Tensor, y: Tensor, k: int) -> KNeighborsClassifier:
    """scikit-learn's, voting with exp(cosine / 0.07)."""

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / 0.07)

    return KNeighborsClassifier(k, weights=weights, metric="cosine", algorithm="brute").fit(x, y)


def slow_pixel_knn(train: Tensor, y: Tensor, test: Tensor, truth: Tensor, ks, sides) -> dict:
    """Accuracy by scikit-learn for every (side, centring, k)."""
    found = {}
    for side in sides:
        a, b = (scaled(x, side).flatten(1).double() / 255 for x in (train, test))
        prepared = {
            "raw": (a, b),
            "data set": (a - a.mean(0), b - a.mean(0)),
            "picture": (a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)),
        }
        for (centre, (p, q)), k in product(prepared.items(), ks):
            found[side, centre, k] = theirs(p, y, k).score(q, truth)
    return found


def faint(n: int) -> tuple[Tensor, Tensor]:
    """Noise under changing light; the upper half is a little redder in each further class."""
    y = torch.arange(n) % 3
    x = torch.randint(0, 100, (n, 3, 8, 8)) + torch.randint(0, 21, (n, 1, 1, 1))
    x[:, 0, :4] += 6 * y[:, None, None]
    return x.to(torch.uint8), y


def test_best_pixels_are_the_best_of_all_ways() -> None:
    ks, sides, ways = (1, 5), (8, 2), set()
    for _ in range(12):
        data = *faint(30), *faint(40)
        expected = slow_pixel_knn(*data, ks, sides)
        best = best_pixel_knn(*data, ks, sides)
        assert best.accuracy == pytest.approx(max(expected.values()))
        assert expected[best.side, best.centre, best.k] == pytest.approx(best.accuracy)
        ways.add(best.centre)
    assert ways == {"raw", "data set", "picture"}  # or an error in one would not be seen


def test_pixels_of_pictures_of_different_sizes_are_scaled() -> None:
    sizes = [(8, 9), (12, 8), (16, 16), (9, 20)] * 4
    y = torch.arange(16) % 2
    pictures = ListPictures([torch.randint(0, 256, (3, *s)).byte() for s in sizes], y, ("a", "b"))
    small = torch.cat([scaled(picture[None], 8) for picture in pictures.pictures(range(16))])
    split = range(10), range(10, 16)
    best = best_pixel_knn(
        pictures.subset(split[0]), y[:10], pictures.subset(split[1]), y[10:], (1, 3), (8,)
    )
    assert best == best_pixel_knn(small[:10], y[:10], small[10:], y[10:], (1, 3), (8,))
