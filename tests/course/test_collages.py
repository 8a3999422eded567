"""Collages; pair AUC against scikit-learn; and collage scores at their ends: features that know the
tile, and features that know nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from dinolite.data.demo_pictures.photographs import make_windows
from dinolite.data.demo_pictures.scenes import SIDE
from dinolite_course.measures import collages
from dinolite_course.measures.collages import (
    TILE,
    auc,
    auc_at_same_distance,
    collage_scores,
    make_collages,
    make_uneven_collages,
    miou_without_labels,
    patch_similarity_auc,
)

PATCH = 4


def test_a_collage_has_four_photographs_in_their_places() -> None:
    images, labels = make_collages(50, "test", 8, 24)
    windows, photographs = make_windows(6 * 50 + 64, "test", 8, 24, SIDE)
    assert images.shape == (50, 3, 48, 48) and labels.shape == (50, 2, 2)
    assert all(len(four.unique()) == 4 for four in labels)
    for image, four in zip(images, labels, strict=True):
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            tile = image[:, 24 * i : 24 * i + 24, 24 * j : 24 * j + 24]
            same = (windows == tile).flatten(1).all(1)
            assert (photographs[same] == four[i, j]).all() and same.any()


def test_uneven_collages_meet_in_the_middle_half() -> None:
    images, tiles = make_uneven_collages(6, "test", 8, 32, 4)
    whole, _ = make_collages(6, "test", 8, 32)
    assert images.shape == (6, 3, 32, 32) and tiles.shape == (6, 8, 8)
    cuts = set()
    for image, full, tile in zip(images, whole, tiles, strict=True):
        down, right = int((tile[:, 0] == 0).sum()), int((tile[0] == 0).sum())
        assert 2 <= down <= 6 and 2 <= right <= 6
        cuts.add((down, right))
        a, b = 4 * down, 4 * right  # pixels: each part comes from its own window, in its place
        assert torch.equal(image[:, :a, :b], full[:, :a, :b])
        assert torch.equal(image[:, :a, b:], full[:, :a, 32 + b :])
        assert torch.equal(image[:, a:, :b], full[:, 32 + a :, :b])
        assert torch.equal(image[:, a:, b:], full[:, 32 + a :, 32 + b :])
        assert tile[down, 0] == 2 and tile[0, right] == 1 and tile[down, right] == 3
    assert len(cuts) > 1
    with pytest.raises(ValueError, match="side=30"):
        make_uneven_collages(1, "test", 8, 30, 4)


def test_groups_and_tiles_are_matched_as_well_as_they_can_be() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])  # lengths do not count
    tiles = torch.tensor([[[0, 0], [1, 1]]]).expand(2, -1, -1)
    known = torch.stack([b, b, a, a]).T.reshape(1, 2, 2, 2)
    # One patch and three: 1/2 of tile 0 (two patches, one found) and 2/3 of tile 1.
    half = torch.stack([a, b, b, b]).T.reshape(1, 2, 2, 2)
    found = miou_without_labels(torch.cat([known, half]), tiles)
    torch.testing.assert_close(found, torch.tensor([1, (1 / 2 + 2 / 3) / 2]))
    again = miou_without_labels(torch.cat([known, half]), 3 * tiles + 2)  # numbers are names
    torch.testing.assert_close(again, found)


def test_no_collages_are_none() -> None:
    with pytest.raises(ValueError, match="n="):
        make_collages(0, "train", 1, 32)
    with pytest.raises(ValueError, match="split='val'"):
        make_collages(3, "val", 1, 32)


@pytest.mark.parametrize("kinds", [3, 1000])
def test_auc_is_that_of_scikit_learn(kinds: int) -> None:
    """Scores of three kinds: nearly all pairs tie."""
    scores, positive = torch.randint(0, kinds, (150,)) / kinds, torch.rand(150) < 0.3
    expected = metrics.roc_auc_score(positive.numpy(), scores.numpy())
    assert float(auc(scores[positive], scores[~positive])) == pytest.approx(expected)


def slow_auc(x: Tensor, y: Tensor) -> float:
    """All pairs of labelled patches [D, h, w] of one picture."""
    x, y = x.flatten(1).T, y.flatten()
    pairs = [(a, b) for b in range(len(y)) for a in range(b) if y[a] >= 0 and y[b] >= 0]
    same = [bool(y[a] == y[b]) for a, b in pairs]
    cosines = [float(F.cosine_similarity(x[a], x[b], dim=0)) for a, b in pairs]
    return float(metrics.roc_auc_score(same, cosines))


def test_similarity_auc_is_the_mean_of_the_pictures() -> None:
    """Unequal numbers of pairs; patches of unequal lengths, of which cosines know nothing."""
    labels = torch.randint(0, 3, (3, 3, 4))
    labels[1, :2] = -1
    labels[1, 2] = torch.tensor([0, 0, 1, 2])
    labels[2, 0, 1] = -1
    x = torch.randn(3, 6, 3, 4) + 2 * F.one_hot(labels.clamp(min=0), 6).permute(0, 3, 1, 2)
    x = x * (torch.rand(3, 1, 3, 4) * 9 + 0.1)
    values = [slow_auc(*one) for one in zip(x, labels, strict=True)]
    assert patch_similarity_auc(x, labels) == pytest.approx(np.mean(values))


def test_pictures_with_pairs_of_one_kind_only_are_left_out() -> None:
    """All the same, all different, no label; what remains is told apart perfectly."""
    labels = torch.tensor([[[0, 0, 0]], [[0, 1, 2]], [[-1, -1, -1]], [[1, 1, 0]]])
    x = torch.randn(4, 2, 1, 3)
    x[3, :, 0] = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    assert patch_similarity_auc(x, labels) == 1
    x[3, :, 0] = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.1]])  # equal ones at a right angle
    assert patch_similarity_auc(x, labels) == 0
    with pytest.raises(ValueError, match="labels has no picture"):
        patch_similarity_auc(x[:3], labels[:3])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collages, "COLLAGES", ((60, "train", 1), (30, "test", 2)))


def test_features_that_name_the_photograph(few: None) -> None:
    """One-hot photographs: all that can be had."""
    made = iter([make_collages(60, "train", 1, TILE * PATCH), make_collages(30, "test", 2, 32)])

    def read(images: Tensor) -> Tensor:
        expected, labels = next(made)
        assert torch.equal(images, expected)
        one_hot = torch.nn.functional.one_hot(labels, 16).permute(0, 3, 1, 2).float()
        return one_hot.repeat_interleave(TILE, 2).repeat_interleave(TILE, 3)

    scores = collage_scores(read, PATCH)
    assert scores.auc > 0.95 and scores.auc_same_distance > 0.95 and scores.miou > 0.9


def test_place_alone_deceives_both_aucs_and_not_the_probe(few: None) -> None:
    """As the docstring warns: tiles always meet in the middle."""
    place = torch.stack(torch.meshgrid(*2 * [torch.linspace(-1, 1, 16)], indexing="ij"))
    scores = collage_scores(lambda x: place.expand(len(x), -1, -1, -1), PATCH)
    assert scores.auc > 0.9 and scores.auc_same_distance > 0.8 and scores.miou < 0.1


def test_noise_knows_nothing(few: None) -> None:
    """Chance: AUC a half; an IoU of 1/16 right and as many wrong, so 1/31."""
    torch.manual_seed(0)
    scores = collage_scores(lambda x: torch.randn(len(x), 8, 16, 16), PATCH)
    assert scores.auc_same_distance == pytest.approx(0.5, abs=0.01)
    assert scores.miou == pytest.approx(1 / 31, abs=0.01)


def test_nearness_helps_the_first_auc_and_not_the_second() -> None:
    """Features that know only where a patch lies, the same in every picture and the same for all
    patches of a displacement: waves along both axes."""
    angle = torch.arange(16) * 0.12
    waves = torch.stack([angle.cos(), angle.sin()])  # cosine depends on the displacement alone
    x = torch.cat([waves[:, :, None].expand(2, 16, 16), waves[:, None].expand(2, 16, 16)])[None]
    labels = (torch.arange(16) // 8)[:, None] * 2 + torch.arange(16) // 8
    assert patch_similarity_auc(x, labels[None]) > 0.8
    assert auc_at_same_distance(x) == pytest.approx(0.5, abs=0.01)


def test_a_tile_by_hand() -> None:
    """2 x 2 tiles of 2 x 2 patches, one tile unlike the three others. One to the right: of 4 pairs
    across tiles 2 are unlike, so the AUC is 3/4. The other displacements by a loop over pairs."""
    x = torch.zeros(1, 2, 4, 4)
    x[:, 0] = 1
    x[:, 0, :2, :2], x[:, 1, :2, :2] = 0, 1

    def one(down: int, right: int) -> float:
        within, across = [], []
        for i in range(4):
            for j in range(4):
                k, m = i + down, j + right
                if k < 4 and 0 <= m < 4:
                    alike = float(x[0, :, i, j] @ x[0, :, k, m])
                    (within if (i // 2, j // 2) == (k // 2, m // 2) else across).append(alike)
        pairs = [(p > q) + (p == q) / 2 for p in within for q in across]
        return sum(pairs) / len(pairs)

    assert one(0, 1) == one(1, 0) == 0.75
    expected = sum(one(*d) for d in ((0, 1), (1, -1), (1, 0), (1, 1))) / 4
    assert auc_at_same_distance(x) == pytest.approx(expected)
