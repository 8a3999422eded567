"""Collage scores at their ends: features that know the tile, and features that know nothing."""

import pytest
import torch
from torch import Tensor

from dinolite.data.mosaics import make_collages
from dinolite.eval import collages
from dinolite.eval.collages import TILE, collage_scores

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
    assert scores.auc == 1 and scores.auc_smoothed > 0.95 and scores.miou > 0.9


def test_noise_knows_nothing(few: None) -> None:
    """Chance: AUC a half; an IoU of 1/16 right and as many wrong, so 1/31."""
    torch.manual_seed(0)
    scores = collage_scores(lambda x: torch.randn(len(x), 8, 16, 16), PATCH)
    assert scores.auc == pytest.approx(0.5, abs=0.01)
    assert scores.miou == pytest.approx(1 / 31, abs=0.01)
