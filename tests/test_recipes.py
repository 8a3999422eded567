"""The recipes of the official models say what the official configurations say: sizes and effective
values are those of the released models and of the papers, not of our code.
"""

import pytest
import torch

from dinolite.config import Config, load_config, recipe_header
from dinolite.models.vision_transformer import build_backbone
from dinolite.train.schedules import ScheduledValues, Schedules

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


@pytest.mark.parametrize(
    ("name", "period", "recompute", "workers", "start"),
    [
        ("official_vit7b_pretrain", 1000, (True, False), 10, None),
        ("official_vit7b_gram", 1000, (None, True), 10, None),
        ("official_vit7b_highres", 250, (None, True), 2, "stage2"),
    ],
)
def test_what_the_official_files_of_the_7b_say(
    name: str, period: int, recompute: tuple[bool | None, bool], workers: int, start: str | None
) -> None:
    """Checkpoints, recomputation (full includes selective), and where weights come from: the Gram
    teacher from a file, never from the teacher of the moment."""
    c = load_config(name)
    assert (c.checkpointing.period, c.checkpointing.max_to_keep) == (period, 3)
    assert c.checkpointing.keep_every == 50_000 and c.optim.clip_grad == 30
    selective, full = recompute
    assert c.train.checkpointing_full == full and (full or c.train.checkpointing == selective)
    assert c.train.num_workers == workers and c.train.parallel == "fsdp2"
    assert c.student.resume_from_teacher_chkpt == start
    if c.gram.use_loss:
        assert c.gram.ckpt is not None and c.gram.it_load_ema_teacher == -1
        g = c.gram
        assert (g.it_first_update, g.update_frequency, g.max_updates) == (1_010_000, 10_000, 3)
    for word in ("fp8", "cache_dataset", ".yaml"):
        assert word in recipe_header(name)


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
