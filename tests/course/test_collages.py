"""Collage scores at their ends: features that know the tile, and features that know nothing."""

import pytest
import torch
from torch import Tensor

from dinolite.data.scenes import make_collages
from dinolite.eval.segmentation import patch_similarity_auc
from dinolite_course.measures import collages
from dinolite_course.measures.collages import TILE, auc_at_same_distance, collage_scores

PATCH = 4


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
