"""Everything that changes in a run, gathered in one object, and the schedules that say what each
iteration is to use.

Official `train/train.py::build_optimizer`, `build_schedulers`, and the first lines of `do_train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from dinolite import distributed, sharding
from dinolite.config import Config
from dinolite.data.samplers import seed_of
from dinolite.models.sizes import build_backbone
from dinolite.train.cosine_lr_scheduler import schedule_values
from dinolite.train.gram import has_teacher
from dinolite.train.guard import FiniteGuard
from dinolite.train.param_groups import get_params_groups
from dinolite.train.ssl_meta_arch import SSLMetaArch

INIT = 0  # stream of random numbers, see `seed_of`


class Now(NamedTuple):
    """What the schedules say for one iteration."""

    lr: float
    last_layer_lr: float
    weight_decay: float
    teacher_temp: float
    momentum: float
    local_loss_weight: float
    gram_loss_weight: float


def global_batch_size(config: Config) -> int:
    """Pictures of all processes together."""
    return config.train.batch_size_per_gpu * distributed.world_size()


class Schedules:
    """All schedules of a run as arrays."""

    def __init__(self, config: Config) -> None:
        self.config, n, o = config, config.train.iterations, config.optim
        batch = global_batch_size(config)
        scale = {
            "sqrt_wrt_1024": 4 * (batch / 1024) ** 0.5,
            "linear_wrt_256": batch / 256,
            "off": 1.0,
        }[o.scaling_rule]
        scaled = {"peak": o.lr.peak * scale}
        if o.lr.kind == "warmup_cosine" and o.lr.end is not None:
            scaled["end"] = o.lr.end * scale  # the official v1 schedule leaves its end unscaled
        self.lr = schedule_values(o.lr.model_copy(update=scaled), n)
        self.weight_decay = schedule_values(o.weight_decay, n)
        self.teacher_temp = schedule_values(config.teacher.temp, n)
        self.momentum = schedule_values(config.teacher.momentum, n)
        self.local = schedule_values(config.dino.local_loss_weight_schedule, n)
        gram = config.gram.loss_weight_schedule
        self.gram = schedule_values(gram, n) if gram is not None else [config.gram.loss_weight] * n

    def at(self, i: int) -> Now:
        """The values for iteration i."""
        c = self.config
        anchored = c.gram.use_loss and has_teacher(c.gram, i)
        return Now(
            lr=float(self.lr[i]),
            last_layer_lr=0.0 if i < c.optim.freeze_last_layer else float(self.lr[i]),
            weight_decay=float(self.weight_decay[i]),
            teacher_temp=float(self.teacher_temp[i]),
            momentum=float(self.momentum[i]),
            local_loss_weight=float(self.local[i]) if c.dino.reweight_dino_local_loss else 1.0,
            gram_loss_weight=float(self.gram[i]) if anchored else 0.0,
        )


@dataclass
class TrainState:
    """All that changes while training."""

    config: Config
    device: torch.device
    model: SSLMetaArch
    parallel: nn.Module
    """What to call: with DDP the model is inside of it, else it is the model."""
    optimizer: torch.optim.AdamW
    schedules: Schedules
    guard: FiniteGuard
    iteration: int = 0


def make_state(config: Config, device: torch.device | None = None) -> TrainState:
    """A model at iteration 0, the same for any number of processes, and its optimiser."""
    device = device or distributed.pick_device(config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    model = SSLMetaArch(config)
    parallel = parallelize(model, config, device)
    o = config.optim
    groups = get_params_groups(model.student, o.layerwise_decay, o.patch_embed_lr_mult)
    betas, fused = (o.adamw_beta1, o.adamw_beta2), device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)
    everywhere = partial(distributed.all_reduce, op="max")
    guard = FiniteGuard(optimizer, device, everywhere)
    return TrainState(config, device, model, parallel, optimizer, Schedules(config), guard)


def parallelize(model: SSLMetaArch, config: Config, device: torch.device) -> nn.Module:
    """Recomputed blocks, compiled blocks, the device and all processes, in the official order.

    With FSDP2 a part moves to the device when it is shared out, so the whole need not fit there.
    """
    networks = [n for n in (model.student, model.teacher, model.gram_teacher) if n is not None]
    for block in model.student["backbone"].blocks:  # type: ignore[union-attr]
        block.recompute = config.train.checkpointing_full
    if config.train.compile and device.type == "cuda":
        for network in networks:
            for block in network["backbone"].blocks:  # type: ignore[union-attr]
                block.compile()
    if config.train.parallel == "fsdp2":
        sharding.shard(networks, device, uses_bfloat16(config, device))
        return model.to(device)
    return distributed.wrap(model.to(device), device)


def whole_teacher(state: TrainState) -> nn.Module | None:
    """The teacher's backbone for the main process to use alone (others get None where it is shared
    out, and must call this, too)."""
    backbone: nn.Module = state.model.teacher["backbone"]
    if state.config.train.parallel != "fsdp2" or distributed.world_size() == 1:
        return backbone
    tensors = sharding.whole_state_dict(backbone)
    if not distributed.is_main():
        return None
    copy = build_backbone(state.config.student, teacher=True)
    copy.load_state_dict(tensors)
    return copy.to(state.device).eval()


def uses_bfloat16(config: Config, device: torch.device) -> bool:
    """Do the settings, or else the device, ask for bfloat16 in the matrix products?"""
    wanted = config.train.precision
    return wanted == "bfloat16" or (wanted == "auto" and device.type == "cuda")
