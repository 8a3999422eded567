"""The training loop, in the order in which it happens: make the state, take a step, run all steps,
log, save, and go on where a run was left.

DINOv3 Sec. 3.2 "Optimization"; official `train/train.py::build_optimizer`, `do_train`.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from dinolite import parallel
from dinolite.checkpointer import CheckpointError, checkpoints, load_checkpoint, resume
from dinolite.config import Config
from dinolite.data.datasets import PictureDataset, load_pictures
from dinolite.data.loaders import seed_of, ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.eval.online import KnnMonitor
from dinolite.metrics import RunLog, RunningMeans
from dinolite.models.vision_transformer import build_backbone
from dinolite.run_folder import data_settings, locked, note_skipped, open_run, publish, save
from dinolite.train.cosine_lr_scheduler import Schedules
from dinolite.train.early_end import (
    FAILED,
    REPORT,
    FiniteGuard,
    NonFiniteError,
    RunStopped,
    StopRequests,
    keep_failure,
)
from dinolite.train.gram import loads_teacher, renews_teacher
from dinolite.train.monitors import entropy_floors
from dinolite.train.param_groups import get_params_groups, set_rates
from dinolite.train.ssl_meta_arch import SSLMetaArch

INIT = 0  # stream of random numbers, see `seed_of`


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
    device = device or parallel.pick_device(config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    model = SSLMetaArch(config)
    wrapped = parallel.parallelize(model, config, device)
    o = config.optim
    groups = get_params_groups(model.student, o.layerwise_decay, o.patch_embed_lr_mult)
    betas, fused = (o.adamw_beta1, o.adamw_beta2), device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)
    everywhere = partial(parallel.all_reduce, op="max")
    guard = FiniteGuard(optimizer, device, everywhere)
    return TrainState(config, device, model, wrapped, optimizer, Schedules(config), guard)


def whole_teacher(state: TrainState) -> nn.Module | None:
    """The teacher's backbone for the main process to use alone (others get None where it is shared
    out, and must call this, too)."""
    backbone: nn.Module = state.model.teacher["backbone"]
    if state.config.train.parallel != "fsdp2" or parallel.world_size() == 1:
        return backbone
    tensors = parallel.whole_state_dict(backbone)
    if not parallel.is_main():
        return None
    copy = build_backbone(state.config.student, teacher=True)
    copy.load_state_dict(tensors)
    return copy.to(state.device).eval()


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
    torch.manual_seed(seed_of(state.config.train.seed, parallel.rank(), i, STEP))
    if loads_teacher(gram, i):
        model.update_gram_teacher()
    set_rates(state.optimizer.param_groups, now.lr, now.last_layer_lr, now.weight_decay)

    with parallel.autocast(state.config, state.device):
        total, values = state.parallel(
            batch, now.teacher_temp, now.local_loss_weight, now.gram_loss_weight
        )
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    values = {"total_loss": total.detach(), **values}
    for name, module in model.student.items():
        norm = parallel.clip_grad_norm_(module.parameters(), state.config.optim.clip_grad)
        values[f"grad_norm/{name}"] = norm
    state.guard.look(i, values)

    state.optimizer.step()
    model.update_teacher(now.momentum)
    if renews_teacher(gram, i):
        model.update_gram_teacher()
    state.iteration += 1
    return values


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
    device = parallel.pick_device(config.train.device)
    with ExitStack() as stack:
        stack.enter_context(parallel.processes(device))
        folder = Path(config.train.output_dir)
        stack.enter_context(locked(folder))
        open_run(folder, config, allow_changes)
        state = make_state(config, device)
        state.iteration = resume(folder, state.model, state.optimizer)
        data = load_pictures(split="train", **data_settings(config))
        note_skipped(data, folder)
        monitor = KnnMonitor(config, data, device) if parallel.is_main() else None
        log = stack.enter_context(
            RunLog(folder, state.iteration, config.train.iterations, progress=progress)
        )
        stop = stack.enter_context(StopRequests())
        try:
            last = run_loop(state, folder, data, monitor, log, stop)
        except NonFiniteError as error:
            raise keep_failure(
                folder, config, state.model, state.optimizer, state.guard, error
            ) from None
        backbone = whole_teacher(state)
        if backbone is not None and parallel.is_main():
            publish(folder, config, state.iteration, backbone)
        parallel.barrier()
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
    who = {"rank": parallel.rank(), "world_size": parallel.world_size()}

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
            save(folder, config, state.iteration, state.model, state.optimizer)
        if signal and state.iteration < total:
            raise RunStopped(state.iteration, signal)
    return last


def is_due(done: int, period: int, total: int) -> bool:
    """After every `period` iterations, and after the last."""
    return done % period == 0 or done == total


def replay(run: str | Path) -> dict[str, float]:
    """Take the step that failed once more, on one process, and return its numbers by name.

    Raises:
        NonFiniteError: it failed again.
        CheckpointError: `run` holds no failure.
    """
    places = checkpoints(Path(run) / FAILED)
    if not places:
        raise CheckpointError(f"{run} has no {FAILED}/ckpt: no run failed there")
    report = json.loads((Path(run) / FAILED / REPORT).read_text("utf8"))
    config = Config.model_validate(report["settings"])
    state = make_state(config)
    load_checkpoint(places[-1], state.model, state.optimizer)
    state.iteration = report["iteration"]
    data = load_pictures(split="train", **data_settings(config))
    batches = ssl_batches(data, config, state.device, start=state.iteration)
    values = train_step(state, next(iter(batches)))
    state.guard.check()
    return {name: float(value) for name, value in values.items()}
