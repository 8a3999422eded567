"""The loop: draw a batch, take a step, write down how it went, save, and go on where it was left.

DINOv3 Sec. 3.2 "Optimization"; official `train/train.py::do_train`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dinolite import distributed, sharding
from dinolite.config import Config
from dinolite.data.collate import SSLBatch
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.pictures import PictureDataset
from dinolite.data.samplers import seed_of
from dinolite.eval.online import KnnMonitor
from dinolite.metrics import RunLog, RunningMeans
from dinolite.train.failure import keep_failure
from dinolite.train.gram import loads_teacher, renews_teacher
from dinolite.train.guard import NonFiniteError
from dinolite.train.interruption import RunStopped, StopRequests
from dinolite.train.monitors import entropy_floors
from dinolite.train.param_groups import set_rates
from dinolite.train.run_folder import (
    data_settings,
    locked,
    note_skipped,
    open_run,
    publish,
    resume,
    save,
)
from dinolite.train.state import TrainState, make_state, uses_bfloat16, whole_teacher

STEP = 4  # stream of random numbers, see `seed_of`


@dataclass
class TrainResult:
    """Where a finished run lies and how it ended."""

    folder: Path
    iterations: int
    last: dict[str, float]
    """The last logged numbers; `knn` is there if the data set has labels."""


def train_step(state: TrainState, batch: SSLBatch) -> dict[str, Tensor]:
    """One iteration: forward, backward, clip, step, teacher. Returns tensors, not yet read back."""
    i, model, now = state.iteration, state.model, state.schedules.at(state.iteration)
    gram = state.config.gram
    torch.manual_seed(seed_of(state.config.train.seed, distributed.rank(), i, STEP))
    if loads_teacher(gram, i):
        model.update_gram_teacher()
    set_rates(state.optimizer.param_groups, now.lr, now.last_layer_lr, now.weight_decay)

    with autocast(state.config, state.device):
        total, values = state.parallel(
            batch, now.teacher_temp, now.local_loss_weight, now.gram_loss_weight
        )
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    values = {"total_loss": total.detach(), **values}
    for name, module in model.student.items():
        norm = sharding.clip_grad_norm_(module.parameters(), state.config.optim.clip_grad)
        values[f"grad_norm/{name}"] = norm
    state.guard.look(i, values)

    state.optimizer.step()
    model.update_teacher(now.momentum)
    if renews_teacher(gram, i):
        model.update_gram_teacher()
    state.iteration += 1
    return values


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """bfloat16 for the matrix products where the settings or the device ask for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(config, device))


def train(config: Config, *, progress: bool = False, allow_changes: bool = False) -> TrainResult:
    """Run a recipe to its end, or go on with one that was interrupted in the same output folder.

    Args:
        config: all settings; results go to `train.output_dir`.
        progress: show a bar.
        allow_changes: go on although the settings are not those that the run began with.

    Raises:
        CheckpointError: saving failed, or the folder holds a run with other settings.
        NonFiniteError: a loss or gradient became NaN; nothing was spoiled.
        RunStopped: Ctrl-C or SIGTERM came; the run was saved.
    """
    device = distributed.pick_device(config.train.device)
    with ExitStack() as stack:
        stack.enter_context(distributed.processes(device))
        folder = Path(config.train.output_dir)
        stack.enter_context(locked(folder))
        open_run(folder, config, allow_changes)
        state = make_state(config, device)
        resume(state, folder)
        data = load_pictures(split="train", **data_settings(config))
        note_skipped(data, folder)
        monitor = KnnMonitor(config, data, device) if distributed.is_main() else None
        log = stack.enter_context(
            RunLog(folder, state.iteration, config.train.iterations, progress=progress)
        )
        stop = stack.enter_context(StopRequests())
        try:
            last = run_loop(state, folder, data, monitor, log, stop)
        except NonFiniteError as error:
            raise keep_failure(state, folder, error) from None
        backbone = whole_teacher(state)
        if backbone is not None and distributed.is_main():
            publish(state, backbone, folder)
        distributed.barrier()
    return TrainResult(folder, state.iteration, last)


def run_loop(
    state: TrainState,
    folder: Path,
    data: PictureDataset,
    monitor: KnnMonitor | None,
    log: RunLog,
    stop: StopRequests,
) -> dict[str, float]:
    """Steps, log, k-NN and checkpoints until the last iteration."""
    config, total = state.config, state.config.train.iterations
    means, last = RunningMeans(), {}
    who = {"rank": distributed.rank(), "world_size": distributed.world_size()}

    def write(line: dict[str, float]) -> None:
        log.write(state.iteration, line)
        last.update(line)

    def watch() -> None:
        backbone = whole_teacher(state)
        if monitor and backbone is not None:
            write(monitor(backbone))

    if state.iteration == 0:
        watch()
    for batch in ssl_batches(data, config, state.device, start=state.iteration, **who):
        now = state.schedules.at(state.iteration)
        means.update(train_step(state, batch))
        logged = is_due(state.iteration, config.train.log_every, total)
        if logged:
            state.guard.check()
            write(means.flush() | entropy_floors(config, who["world_size"]) | now._asdict())
        if is_due(state.iteration, config.evaluation.eval_period_iterations, total):
            watch()
        signal = stop.asked(meeting=logged)
        if signal or is_due(state.iteration, config.checkpointing.period, total):
            state.guard.check()
            save(state, folder)
        if signal and state.iteration < total:
            raise RunStopped(state.iteration, signal)
    return last


def is_due(done: int, period: int, total: int) -> bool:
    """After every `period` iterations, and after the last."""
    return done % period == 0 or done == total
