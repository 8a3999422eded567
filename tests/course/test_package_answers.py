"""Exercises about something the package computes: what the package gives is a right answer, so that
solutions and package agree.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dinolite.config import GramConfig
from dinolite.eval.segmentation import confusion_matrix, miou
from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.loss.gram_loss import GramLoss
from dinolite.models.keymaps import TIMM
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.train.gram import resize_patches
from dinolite.train.monitors import entropy
from dinolite_course import check
from dinolite_course.figures.attention import attention_rollout


def tokens(height: int, width: int, patch: int, registers: int) -> int:
    net = DinoVisionTransformer(
        patch_size=patch, embed_dim=8, depth=1, num_heads=2, n_storage_tokens=registers
    )
    return net.prepare_tokens_with_masks(torch.zeros(1, 3, height, width))[0].shape[1]


def step(side: int) -> float:
    """Between two rows of positions."""
    rows = RopePositionEmbedding(8, num_heads=2).coordinates(side, side).view(side, side, 2)
    return float(rows[1, 0, 0] - rows[0, 0, 0])


def from_timm(name: str) -> str:
    for ours, theirs in TIMM.items():
        name = name.replace(theirs, ours)
    return name


def rollout_of_cls(maps: list[Tensor]) -> Tensor:
    return attention_rollout([m[None] for m in maps])[0, 0]


@pytest.mark.parametrize(
    ("id", "package"),
    [
        ("17.2", lambda p: entropy(p.mean(dim=0, keepdim=True)).exp()),
        ("18.3", lambda truth, named, n: miou(confusion_matrix(named, truth, n))),
        ("19.3", rollout_of_cls),
        ("20.2", lambda x: GramLoss().gram(x)),
        ("20.3", lambda student, teacher: GramLoss()(student, teacher)),
        ("20.4", lambda patches, side: resize_patches(patches, side * side, GramConfig())),
        ("21.1", tokens),
        ("21.2", lambda n, n_train: step(n_train) / step(n)),
        ("22.2", from_timm),
    ],
)
def test_the_package_gives_a_right_answer(id: str, package: Callable[..., Any]) -> None:
    assert check(id, package).solved
