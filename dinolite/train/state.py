"""Everything that changes in a run, gathered in one object, and the schedules that say what each
iteration is to use.

Official `train/train.py::build_optimizer`, `build_schedulers`, and the first lines of `do_train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from dinolite import distributed
from dinolite.config import Config
from dinolite.data.samplers import seed_of
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


class Schedules:
    """All schedules of a run as arrays."""

    def __init__(self, config: Config) -> None:
        self.config, n, o = config, config.train.iterations, config.optim
        batch = config.train.batch_size_per_gpu * distributed.world_size()
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
    """The model, inside DistributedDataParallel if there are several processes."""
    optimizer: torch.optim.AdamW
    schedules: Schedules
    guard: FiniteGuard
    iteration: int = 0


def make_state(config: Config, device: torch.device | None = None) -> TrainState:
    """A model at iteration 0, the same on every process, and its optimiser."""
    device = device or distributed.pick_device(config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    model = SSLMetaArch(config).to(device)
    if config.train.compile and device.type == "cuda":
        networks = [model.student, model.teacher, model.gram_teacher]
        for network in [n for n in networks if n is not None]:
            for block in network["backbone"].blocks:  # type: ignore[union-attr]
                block.compile()
    o = config.optim
    groups = get_params_groups(model.student, o.layerwise_decay, o.patch_embed_lr_mult)
    betas, fused = (o.adamw_beta1, o.adamw_beta2), device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)
    return TrainState(
        config,
        device,
        model,
        distributed.wrap(model, device),
        optimizer,
        Schedules(config),
        FiniteGuard(optimizer, device),
    )
