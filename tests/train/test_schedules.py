"""Schedules, parameter groups, EMA, monitors: figures that can be checked by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dinolite.config import Schedule, load_config
from dinolite.train.ema import update_ema
from dinolite.train.monitors import entropy, entropy_floor, entropy_floors, spread
from dinolite.train.param_groups import get_params_groups, multipliers, set_rates
from dinolite.train.schedules import (
    Schedules,
    cosine_schedule,
    linear_warmup_cosine_decay,
    schedule_values,
)


def test_cosine_by_hand() -> None:
    """A line that includes both ends, half a cosine that does not reach its end."""
    values = cosine_schedule(1.0, 0.0, 7, warmup_iters=3)
    half = [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    assert np.allclose(values, [0, 0.5, 1, *half])


def test_warmup_cosine_by_hand() -> None:
    """The line stops before the peak; the cosine includes both ends; then constant."""
    values = linear_warmup_cosine_decay(0.0, 1.0, 0.2, 4, 9, cosine_iterations=3)
    assert np.allclose(values, [0, 0.25, 0.5, 0.75, 1.0, 0.6, 0.2, 0.2, 0.2])


def test_constant_after_warmup_and_teacher_temperature() -> None:
    values = schedule_values(Schedule(start=0.0, peak=2.0, warmup=2), 5)
    assert np.allclose(values, [0, 1, 2, 2, 2])
    values = schedule_values(Schedule(kind="cosine", start=0.04, peak=0.07, warmup=4), 6)
    assert np.allclose(values, [0.04, 0.05, 0.06, 0.07, 0.07, 0.07])


def test_schedules_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="total_iters = 3"):
        cosine_schedule(1, 0, 3, warmup_iters=4)
    with pytest.raises(ValueError, match="total_iterations = 3"):
        linear_warmup_cosine_decay(0, 1, 0, 2, 3, cosine_iterations=2)


def test_the_official_im1k_run_at_its_checkpoints() -> None:
    """lr 1e-3 at batch 2048 (sqrt rule) peaks at 5.657e-3; 125,000 iterations (facts, 6.5)."""
    config = load_config(None, ["train.batch_size_per_gpu=2048"])
    s = Schedules(config)
    assert s.at(0).lr == 0 and s.at(12_499).lr == pytest.approx(5.657e-3, rel=1e-3)
    assert s.at(1249).last_layer_lr == 0 and s.at(1250).last_layer_lr == s.at(1250).lr > 0
    assert s.at(124_999).lr == pytest.approx(1e-6, rel=1e-3)
    assert s.at(0).weight_decay == pytest.approx(0.04)
    assert s.at(124_999).weight_decay == pytest.approx(0.4, rel=1e-3)
    assert s.at(0).momentum == pytest.approx(0.992)
    assert s.at(37_499).teacher_temp == pytest.approx(0.07) == s.at(124_999).teacher_temp


@pytest.mark.parametrize(
    ("rule", "factor"), [("sqrt_wrt_1024", 4 * math.sqrt(256 / 1024)), ("linear_wrt_256", 1.0)]
)
def test_scaling_rules(rule: str, factor: float) -> None:
    changes = [f"optim.scaling_rule={rule}", "train.batch_size_per_gpu=256", "optim.lr.warmup=0"]
    s = Schedules(
        load_config(
            "demo", [*changes, "train.iterations=900", "optim.lr.peak=2e-3", "optim.lr.end=1e-3"]
        )
    )
    assert s.at(0).lr == pytest.approx(2e-3 * factor)
    assert s.at(899).lr == pytest.approx(1e-3 * factor)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cls_token", (0.9**3, 1.0, False)),
        ("mask_token", (0.9**3, 1.0, False)),
        ("patch_embed.proj.weight", (0.9**3 * 0.2, 1.0, False)),
        ("patch_embed.proj.bias", (0.9**3 * 0.2, 0.0, False)),
        ("blocks.0.attn.qkv.weight", (0.9**2, 1.0, False)),
        ("blocks.1.norm1.weight", (0.9, 0.0, False)),
        ("blocks.1.ls1.gamma", (0.9, 0.0, False)),
        ("norm.weight", (1.0, 0.0, False)),
    ],
)
def test_multipliers_of_two_blocks(name: str, expected: tuple[float, float, bool]) -> None:
    assert multipliers(name, 2, 0.9, 0.2) == pytest.approx(expected)


def test_groups_cover_every_parameter_once_and_rates_are_set() -> None:
    head = nn.ModuleDict({"mlp": nn.Linear(2, 2), "last_layer": nn.Linear(2, 3, bias=False)})
    groups = get_params_groups(nn.ModuleDict({"dino_head": head}), 0.9, 0.2)
    params = [p for g in groups for p in g["params"]]
    assert {id(p) for p in params} == {id(p) for p in head.parameters()} and len(params) == 3
    set_rates(groups, lr=1.0, last_layer_lr=0.0, weight_decay=0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert rates[id(head["mlp"].weight)] == (1.0, 0.5)
    assert rates[id(head["mlp"].bias)] == (1.0, 0.0)
    assert rates[id(head["last_layer"].weight)] == (0.0, 0.5)


def test_ema_moves_parameters_and_leaves_buffers() -> None:
    teacher, student = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        student.weight.fill_(3.0)
        student.running_mean.fill_(9.0)
    update_ema(teacher, student, 0.75)
    assert torch.allclose(teacher.weight, torch.full((2,), 0.75 * 1 + 0.25 * 3))
    assert torch.equal(teacher.running_mean, torch.zeros(2))
    update_ema(teacher, student, 0.0)
    assert torch.equal(teacher.weight, student.weight)


def test_ema_matches_by_name() -> None:
    with pytest.raises(ValueError, match="bias"):
        update_ema(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.9)


def test_monitors_by_hand() -> None:
    assert entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    assert entropy(torch.eye(4)).item() == pytest.approx(0, abs=1e-6)
    assert entropy_floor(512, 16) == pytest.approx(math.log(32)) and entropy_floor(8, 16) == 0
    assert spread(torch.ones(5, 3)).item() == pytest.approx(0, abs=1e-6)
    assert spread(torch.tensor([[1.0, 0], [-2.0, 0]])).item() == pytest.approx(1)
    floors = entropy_floors(load_config("demo", ["dino.head_n_prototypes=640"]))
    assert floors["dino_entropy_floor"] == pytest.approx(math.log(640 / 64))
