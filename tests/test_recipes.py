"""The recipes of the official models say what the official configurations say: sizes and effective
values are those of the released models and of the papers, not of our code.
"""

import pytest
import torch

from dinolite.config import Config, load_config
from dinolite.models.vision_transformer import build_backbone
from dinolite.train.cosine_lr_scheduler import ScheduledValues, Schedules

STAGES = ("official_vit7b_pretrain", "official_vit7b_gram", "official_vit7b_highres")


def at(name: str, gpus: int, iteration: int) -> ScheduledValues:
    """What a recipe uses at an iteration when it runs on so many GPUs."""
    config = load_config(name)
    batch = config.train.batch_size_per_gpu * gpus
    alone = {"train.batch_size_per_gpu": batch, "dino.koleo_loss_weight": 0.0}
    config = load_config(name, alone)
    return Schedules(config).at(iteration)


def parameters(config: Config) -> int:
    with torch.device("meta"):
        net = build_backbone(config.student, teacher=True)
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", STAGES)
def test_the_7b_recipes_build_the_released_7b(name: str) -> None:
    """As many parameters as the official hub constructor makes, the norm for local crops among
    them."""
    assert parameters(load_config(name)) == 6_716_043_264


def test_vit_large_of_imagenet() -> None:
    """24 blocks of 12 D^2 + 13 D + 2 D (LayerScale), patches, tokens and the last norm by hand."""
    D = 1024
    block = 4 * D * D + 4 * D + 8 * D * D + 5 * D + 2 * 2 * D + 2 * D
    rest = (3 * 16 * 16 + 1) * D + D + D + 2 * D
    assert parameters(load_config("official_vitl_im1k")) == 24 * block + rest


@pytest.mark.parametrize(
    ("name", "gpus", "iteration", "lr"),
    [
        ("official_vitl_im1k", 32, 12_499, 5.657e-3),
        ("official_vit7b_pretrain", 256, 100_000, 4e-4),
        ("official_vit7b_pretrain", 256, 999_999, 4e-4),
        ("official_vit7b_gram", 256, 1_100_000, 2.4e-4),
        ("official_vit7b_highres", 256, 0, 0.0),
        ("official_vit7b_highres", 256, 29_999, 7.07e-5),
    ],
)
def test_effective_learning_rates(name: str, gpus: int, iteration: int, lr: float) -> None:
    """The square-root rule makes these of the configured 1e-3, 5e-5, 3e-5 and 1.25e-5."""
    assert at(name, gpus, iteration).lr == pytest.approx(lr, rel=1e-3)


def test_gram_anchoring_sets_in_at_a_million() -> None:
    """From 0 to 2 by a cosine of 1,000 iterations, local crops from 1 to a half."""
    values = {i: at(STAGES[1], 1, i) for i in (999_999, 1_000_500, 1_000_999, 1_199_999)}
    gram = {i: now.gram_loss_weight for i, now in values.items()}
    assert gram[999_999] == 0 and gram[1_000_999] == gram[1_199_999] == pytest.approx(2.0)
    assert gram[1_000_500] == pytest.approx(1.0016, abs=1e-4)
    assert values[999_999].local_loss_weight == 1
    assert values[1_000_999].local_loss_weight == pytest.approx(0.5)


def test_high_resolution_stage() -> None:
    now = at(STAGES[2], 1, 15_000)
    assert now.gram_loss_weight == 1.5 and now.local_loss_weight == 0.5
    assert now.teacher_temp == 0.07 and now.momentum == 0.999
