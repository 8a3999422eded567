"""A rehearsal on two processes is that on one, where it should be, and not where it should not."""

import pytest
import torch

from dinolite.config import load_config
from dinolite.parallel import can_shard_on_cpu
from dinolite_course.processes import difference, pictures, rehearse, with_processes
from tests.tiny_run import TINY

SHARED = [*TINY, "train.device=cpu", "dino.koleo_loss_distributed=true", "data.dataset=scenes"]
SHARED += ["optim.lr.warmup=0"]


def test_one_process() -> None:
    config = load_config("demo", SHARED)
    data = pictures(config)
    first, again, longer = (rehearse(config, data, n) for n in (2, 2, 3))
    assert len(first.said) == 2 and difference(first, again) == 0 < difference(first, longer)
    (held,) = first.held
    trained = sum(x.numel() for k, x in first.tensors.items() if k.startswith("student."))
    buffers = first.tensors["student.backbone.rope_embed.periods"].numel()
    assert held["student"] == held["gradients"] == held["teacher"] == 4 * (trained - buffers)
    assert held["AdamW"] == 2 * held["student"]


@pytest.mark.slow
def test_two_processes() -> None:
    half = [*SHARED, "train.batch_size_per_gpu=2"]
    variants = {"DDP": half, "alone": [*half, "dino.koleo_loss_distributed=false"]}
    if can_shard_on_cpu():
        variants["FSDP2"] = [*half, "train.parallel=fsdp2"]
    config = load_config("demo", SHARED)
    one = rehearse(config, pictures(config), 2)
    two = with_processes(2, "demo", variants, 2)
    for name, result in two.items():
        assert (difference(result, one) < 1e-5) == (name != "alone"), name
        assert len(result.held) == 2
        kept = sum(part["AdamW"] for part in result.held)
        assert kept == one.held[0]["AdamW"] * (1 if name == "FSDP2" else 2)
    assert two["DDP"].said[1]["total_loss"] == pytest.approx(one.said[1]["total_loss"], rel=1e-5)
    assert torch.is_tensor(two["DDP"].tensors["teacher.backbone.cls_token"])
