"""The training loop, in the order in which it happens: make the state, take a step, run all steps
while writing the log, evaluating and saving, begin or resume a run, take a failed step again.

DINOv3 Sec. 3.2 "Optimization"; official `train/train.py::build_optimizer`, `do_train`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dinolite import parallel
from dinolite.checkpointer import load_checkpoint
from dinolite.config import INIT, STEP, Config, seed_of
from dinolite.data.datasets import PictureDataset, load_pictures
from dinolite.data.loaders import check_workers, ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.eval.online import KnnMonitor
from dinolite.metrics import RunLog, RunningMeans, Show, StepClock
from dinolite.models.vision_transformer import build_backbone
from dinolite.run_folder import (
    data_settings,
    locked,
    note_pictures,
    note_skipped,
    open_run,
    publish,
    record,
    resume_run,
    save,
    skipped_lines,
    tell_skipped,
)
from dinolite.train.early_end import (
    FiniteGuard,
    NonFiniteError,
    RunStopped,
    StopRequests,
    keep_failure,
    read_failure,
)
from dinolite.train.gram import loads_teacher, renews_teacher
from dinolite.train.handover import tell_start
from dinolite.train.monitors import entropy_floors
from dinolite.train.param_groups import get_params_groups, set_rates
from dinolite.train.schedules import Schedules
from dinolite.train.ssl_meta_arch import SSLMetaArch


@dataclass
class TrainState:
    """All that changes while training."""

    config: Config
    device: torch.device
    model: SSLMetaArch
    wrapped: nn.Module
    """What a step calls: with DDP the model is inside of it, else it is the model."""
    optimizer: torch.optim.AdamW
    schedules: Schedules
    guard: FiniteGuard
    iteration: int = 0
    pictures: list[int] | None = None
    """The `fingerprint` of those that it is trained on; on the main process only."""


def make_state(config: Config, device: torch.device | None = None) -> TrainState:
    """A model at iteration 0, the same for any number of processes, and its optimiser."""
    device = device or parallel.pick_device(config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    model = SSLMetaArch(config)
    if config.dino.koleo_loss_weight > 0:
        model.koleo_loss.search_size(config.train.batch_size_per_gpu)  # or no step could be taken
    wrapped = parallel.parallelize(model, config, device)
    o = config.optim
    groups = get_params_groups(model.student, o.layerwise_decay, o.patch_embed_lr_mult)
    # lr = 0.0: `set_rates` writes the scheduled rates into the groups before every step.
    betas, fused = (o.adamw_beta1, o.adamw_beta2), device.type in ("cpu", "cuda", "mps")
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)
    guard = FiniteGuard(optimizer, device)
    return TrainState(config, device, model, wrapped, optimizer, Schedules(config), guard)


def train_step(state: TrainState, batch: SSLBatch) -> dict[str, Tensor]:
    """One iteration: forward, backward, clip, step, teacher. Returns tensors, not yet read back."""
    i, model, now = state.iteration, state.model, state.schedules.at(state.iteration)
    gram = state.config.gram
    # From the iteration alone, so that a resumed run draws what an uninterrupted one would.
    torch.manual_seed(seed_of(state.config.train.seed, parallel.rank(), i, STEP))
    if loads_teacher(gram, i):
        model.update_gram_teacher()
    set_rates(state.optimizer.param_groups, now.lr, now.last_layer_lr, now.weight_decay)

    with parallel.autocast(state.config, state.device):
        total, values = state.wrapped(
            batch, now.teacher_temp, now.local_loss_weight, now.gram_loss_weight
        )
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()  # meanwhile DDP and FSDP2 average the gradients of all processes
    for parameter in model.student.parameters():
        if parameter.grad is None:  # no term of this step needs it; the optimiser keeps all states
            parameter.grad = torch.zeros_like(parameter)
    values = {"total_loss": total.detach(), **values}
    for name, module in model.student.items():  # one limit each, or the backbone's would rule
        norm = parallel.clip_grad_norm_(module.parameters(), state.config.optim.clip_grad)
        values[f"grad_norm/{name}"] = norm
    state.guard.look(i, values)  # before the step; on a GPU without waiting for it

    state.optimizer.step()
    model.update_teacher(now.momentum)
    if renews_teacher(gram, i):
        model.update_gram_teacher()
    state.iteration += 1
    return values


def run_loop(
    state: TrainState,
    folder: Path,
    data: PictureDataset,
    monitor: KnnMonitor | None,
    log: RunLog,
    stop: StopRequests,
) -> None:
    """Steps, log, k-NN and checkpoints until the last iteration."""
    config, total = state.config, state.config.train.iterations
    world_size = parallel.world_size()
    if state.iteration == 0:
        evaluate(state, monitor, log)
    process = {"rank": parallel.rank(), "world_size": world_size}
    batches = ssl_batches(data, config, state.device, start=state.iteration, **process)
    means, clock = RunningMeans(), StepClock(parallel.global_batch_size(config), state.device)
    for batch in batches:
        clock.lap("data")
        means.update(train_step(state, batch))  # summed on the device, not read back
        done = state.iteration
        log_due = is_due(done, config.train.log_every, total)
        evaluation_due = is_due(done, config.evaluation.eval_period_iterations, total)
        save_due = save_due_after(done, config)
        if log_due or evaluation_due or save_due:
            state.guard.check()  # CPU-GPU synchronisation: all steps so far are done
        clock.lap("compute")
        if log_due:
            used = state.schedules.at(done - 1)._asdict()
            floors = entropy_floors(config, world_size)
            log.write(done, means.flush() | floors | used | clock.flush())
        if evaluation_due:
            evaluate(state, monitor, log)
        # Several processes must agree on a stop: asked seldom, since asking costs time.
        signal = stop.received() if log_due or world_size == 1 else 0
        if save_due or signal:
            state.guard.check()
            save(folder, config, done, state.model, state.optimizer, state.pictures)
        if signal and done < total:
            raise RunStopped(done, signal)
        clock.start()


def save_due_after(done: int, config: Config) -> bool:
    """A checkpoint that stays (`keep_every`) is made whatever the usual period."""
    c, total = config.checkpointing, config.train.iterations
    return is_due(done, c.period, total) or is_due(done, c.keep_every or total, total)


def is_due(done: int, period: int, total: int) -> bool:
    """After every `period` iterations, and after the last."""
    return done % period == 0 or done == total


def evaluate(state: TrainState, monitor: KnnMonitor | None, log: RunLog) -> None:
    """k-NN with the teacher, on the main process; all processes must call this."""
    backbone = teacher_backbone(state)
    if monitor is not None and backbone is not None:
        log.write(state.iteration, monitor(backbone))


def teacher_backbone(state: TrainState) -> nn.Module | None:
    """The teacher's backbone, for the main process to use alone. With FSDP2 its shares are gathered
    on the main process: all must call this, and the others get None."""
    backbone: nn.Module = state.model.teacher["backbone"]
    if state.config.train.parallel != "fsdp2" or parallel.world_size() == 1:
        return backbone
    tensors = parallel.full_state_dict(backbone)
    if not parallel.is_main():
        return None
    copy = build_backbone(state.config.student, teacher=True)
    copy.load_state_dict(tensors)
    return copy.to(state.device).eval()


def open_pictures(
    state: TrainState, folder: Path, show: Show
) -> tuple[PictureDataset, KnnMonitor | None]:
    """The pictures to train on, and on the main process those for k-NN; it says what was understood
    and what is unusual."""
    config = state.config
    check_workers(config.train.num_workers)
    data = load_pictures(split="train", **data_settings(config))
    monitor = KnnMonitor(config, data, state.device) if parallel.is_main() else None
    note_skipped([data, *((monitor and monitor.pictures) or ())], folder, state.iteration > 0)
    if monitor is None:
        return data, None
    if show:
        print(f"data: {data.understood}", flush=True)
    state.pictures = note_pictures(data, folder, config, state.iteration, monitor.why_not)
    return data, monitor


@dataclass
class TrainResult:
    """Where a finished run lies and how it ended."""

    folder: Path
    iterations: int
    last: dict[str, float]
    """The last logged numbers; `knn` on the main process only, if the data set has labels."""


def train(config: Config, *, show: Show = None, allow_changes: bool = False) -> TrainResult:
    """Run a recipe to its end, or go on with one that was interrupted in the same output folder.

    Args:
        config: all settings; results go to `train.output_dir`.
        show: how far it is, by a progress bar or by lines of text; None = not at all.
        allow_changes: go on although the settings are not those that the run began with.

    Raises:
        CheckpointError: saving failed, or the folder holds a run with other settings.
        NonFiniteError: a loss or gradient became NaN; nothing was spoiled.
        RunStopped: Ctrl-C or SIGTERM came; the run was saved.
    """
    device = parallel.pick_device(config.train.device)
    with ExitStack() as stack:
        stack.enter_context(parallel.process_group(device))
        folder = Path(config.train.output_dir)
        stack.enter_context(locked(folder))
        open_run(folder, config, allow_changes)
        state = make_state(config, device)
        state.iteration = resume_run(folder, config, state.model, state.optimizer)
        tell_start(state.model, config, folder, state.iteration)
        data, monitor = open_pictures(state, folder, show)
        stack.callback(tell_skipped, folder, len(skipped_lines(folder)))
        if state.iteration == 0:
            record(folder, config)  # last: until here all can fail
        log = RunLog(folder, state.iteration, config.train.iterations, show)
        stack.enter_context(log)
        stop = stack.enter_context(StopRequests())
        try:
            run_loop(state, folder, data, monitor, log, stop)
        except NonFiniteError as error:
            parts = state.model, state.optimizer, state.guard
            raise keep_failure(folder, config, *parts, error) from None
        teacher = parallel.full_state_dict(state.model.teacher)
        if parallel.is_main():
            publish(folder, config, state.iteration, teacher)
        parallel.barrier()
    return TrainResult(folder, state.iteration, log.last)


def replay(run: str | Path) -> dict[str, float]:
    """Take the step that failed once more, on one process, and return its numbers by name.

    Raises:
        NonFiniteError: it failed again.
        CheckpointError: `run` holds no failure.
    """
    config, iteration, place = read_failure(Path(run))
    state = make_state(config)
    load_checkpoint(place, state.model, state.optimizer)
    state.iteration = iteration
    data = load_pictures(split="train", **data_settings(config))
    batches = ssl_batches(data, config, state.device, start=iteration)
    values = train_step(state, next(iter(batches)))
    state.guard.check()
    return {name: float(value) for name, value in values.items()}
