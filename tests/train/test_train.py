"""The loop itself on a model so small that a run takes seconds: learning, saving, resuming,
stopping."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dinolite.checkpointer import CheckpointError, checkpoints, save_checkpoint
from dinolite.config import Config, GramConfig, load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.demo_pictures import photographs
from dinolite.data.loaders import ssl_batches
from dinolite.run_folder import open_run, save
from dinolite.train import train as loop
from dinolite.train.early_end import NonFiniteError
from dinolite.train.gram import renews_teacher, resize_patches
from dinolite.train.train import make_state, save_due_after, train, train_step
from tests import tiny_run
from tests.tiny_run import read_log

TINY = [
    *tiny_run.TINY,
    "optim.lr.warmup=2",
    "train.log_every=2",
    "evaluation.eval_period_iterations=1000",
    "checkpointing.period=4",
]


def tiny(*more: str) -> Config:
    return load_config("demo", [*TINY, "train.iterations=10", *more])


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred windows instead of thousands."""
    few = {"train": (100, 1), "test": (100, 2)}
    monkeypatch.setattr(photographs, "WINDOW_COUNT_AND_SEED", few)


def batches(config: Config, n: int, start: int = 0):
    data = load_pictures("windows", "train")
    stream = ssl_batches(data, config, torch.device("cpu"), start=start)
    return [next(stream) for _ in range(n)]


def weights(state) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in state.model.state_dict().items()}


def test_a_step_moves_the_student_and_a_little_the_teacher() -> None:
    config = tiny("optim.lr.warmup=0", "teacher.momentum.peak=0.75")
    state = make_state(config)
    before = weights(state)
    values = train_step(state, batches(config, 1)[0])
    after = weights(state)
    assert state.iteration == 1 and all(v.isfinite() for v in values.values())
    key = "backbone.blocks.0.attn.qkv.weight"
    moved = after[f"student.{key}"] - before[f"student.{key}"]
    assert moved.abs().max() > 1e-4
    teacher = after[f"teacher.{key}"] - before[f"teacher.{key}"]
    assert torch.allclose(teacher, 0.25 * moved, atol=1e-7)
    assert not any(p.requires_grad for p in state.model.teacher.parameters())


def test_the_loss_falls_on_one_batch() -> None:
    config = tiny("optim.lr.peak=5e-3", "optim.lr.warmup=0", "train.iterations=60")
    state, batch = make_state(config), batches(config, 1)[0]
    losses = [train_step(state, batch)["total_loss"].item() for _ in range(60)]
    assert sum(losses[-5:]) / 5 < losses[0] - 0.3


def test_every_weight_gets_a_gradient() -> None:
    config = tiny("student.untie_cls_and_patch_norms=true", "student.layerscale=0.1")
    state = make_state(config)
    total, _ = state.model(batches(config, 1)[0], 0.05)
    total.backward()
    without = [n for n, p in state.model.student.named_parameters() if p.grad is None]
    assert not without
    assert all(p.grad is None for p in state.model.teacher.parameters())


def test_last_layer_is_frozen_at_first() -> None:
    config = tiny("optim.freeze_last_layer=1", "optim.lr.warmup=0")
    state = make_state(config)
    before = state.model.student["dino_head"].last_layer.weight.detach().clone()
    first, second = batches(config, 2)
    train_step(state, first)
    assert torch.equal(state.model.student["dino_head"].last_layer.weight, before)
    train_step(state, second)
    assert not torch.equal(state.model.student["dino_head"].last_layer.weight, before)


@pytest.mark.parametrize(
    ("centering", "pipeline"),
    [
        ("sinkhorn_knopp", "batched"),
        ("centering", "per_image"),
        pytest.param("sinkhorn_knopp", "per_image", marks=pytest.mark.slow),
        pytest.param("centering", "batched", marks=pytest.mark.slow),
    ],
)
def test_a_run_leaves_everything_behind(tmp_path: Path, centering: str, pipeline: str) -> None:
    out = tmp_path / "a run"
    changes = [f"teacher.centering={centering}", f"crops.pipeline={pipeline}"]
    config = tiny(f"train.output_dir={out}", *changes)
    result = train(config)
    assert result.iterations == 10 and 0 <= result.last["knn"] <= 100
    assert [int(p.name) for p in checkpoints(out)] == [4, 8, 10]
    assert load_config(out / "config.toml") == config
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "total_loss" in line] == [2, 4, 6, 8, 10]
    assert [line["iteration"] for line in lines if "knn" in line] == [0, 10]
    expected = {"dino_target_entropy", "dino_entropy_floor", "feature_spread", "lr"}
    expected |= {f"grad_norm/{n}" for n in ("backbone", "dino_head", "ibot_head")}
    parts = ("pictures_per_s", "step_s", "data_s", "compute_s", "memory_mib")
    expected |= {f"machine/{part}" for part in parts}
    assert expected <= lines[-2].keys() | lines[-1].keys()
    (tmp_path / "new").touch()
    modes = {path.name: path.stat().st_mode for path in out.iterdir() if path.is_file()}
    usual = {name for name, mode in modes.items() if mode == (tmp_path / "new").stat().st_mode}
    assert {"config.toml", "metrics.jsonl", "teacher.safetensors"} <= usual, "who may read them"
    assert list((out / "tensorboard").glob("events*"))
    teacher = load_file(out / "teacher.safetensors")
    assert teacher["cls_token"].shape == (1, 1, 16)
    assert not list(out.rglob("*.tmp")) and not list(out.rglob("writing-*"))


def final_weights(out: Path) -> dict[str, torch.Tensor]:
    config = load_config(out / "config.toml")
    state = make_state(config)
    from dinolite.checkpointer import resume

    state.iteration = resume(out, state.model, state.optimizer)
    assert state.iteration == config.train.iterations
    optimizer = {
        f"{i}.{name}": value
        for i, s in enumerate(state.optimizer.state.values())
        for name, value in s.items()
    }
    return {**weights(state), **optimizer}


DROPPY = ["student.drop_path_rate=0.3", "student.pos_embed_rope_rescale_coords=2.0"]


def test_resumed_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything random on: dropped samples, RoPE jitter, crops, masks. Bit for bit."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(tiny(*DROPPY, f"train.output_dir={whole}"))

    class Cut(Exception):
        pass

    real, seen = loop.train_step, []

    def until_seven(state, batch):
        if len(seen) == 7:
            raise Cut
        seen.append(state.iteration)
        return real(state, batch)

    config = tiny(*DROPPY, f"train.output_dir={cut}")
    monkeypatch.setattr(loop, "train_step", until_seven)
    with pytest.raises(Cut):
        train(config)
    monkeypatch.setattr(loop, "train_step", real)
    assert [int(p.name) for p in checkpoints(cut)] == [4]
    train(config)
    a, b = final_weights(whole), final_weights(cut)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert read_log(whole) == read_log(cut)


def test_workers_do_not_change_the_batches(tmp_path: Path) -> None:
    for pipeline in ("batched", "per_image"):
        data = load_pictures("photos", "train", image_size=64)
        config = tiny(f"crops.pipeline={pipeline}", "train.iterations=3")
        runs = []
        for workers in (0, 2):
            c = tiny(
                f"crops.pipeline={pipeline}",
                "train.iterations=3",
                f"train.num_workers={workers}",
            )
            runs.append(list(ssl_batches(data, c, torch.device("cpu"))))
        assert len(runs[0]) == 3 == config.train.iterations
        for a, b in zip(*runs, strict=True):
            assert torch.equal(a.global_crops, b.global_crops) and torch.equal(a.masks, b.masks)
            assert torch.equal(a.local_crops, b.local_crops)


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    out = f"train.output_dir={tmp_path / 'run'}"
    train(tiny(out, "train.iterations=4"))
    with pytest.raises(CheckpointError, match=r"train.seed was 0, is 1"):
        train(tiny(out, "train.iterations=4", "train.seed=1"))
    assert train(tiny(out, "train.iterations=4", "train.log_every=1")).iterations == 4


def test_not_a_number_stops_before_the_step(tmp_path: Path) -> None:
    config = tiny()
    state = make_state(config)
    first, second = batches(config, 2)
    train_step(state, first)
    before = weights(state)
    second.global_crops[0, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"iteration 1: total_loss, dino_local_crops_loss"):
        train_step(state, second)
    assert all(torch.equal(v, before[k]) for k, v in weights(state).items())


def test_fused_adamw_skips_where_the_guard_says_so() -> None:
    """What protects a GPU run, where the flag is only read later."""
    config = tiny("optim.lr.warmup=0")
    state = make_state(config)
    state.guard.stopped.fill_(1.0)
    before = weights(state)
    total, _ = state.model(batches(config, 1)[0], 0.05)
    total.backward()
    state.optimizer.param_groups[0]["lr"] = 1.0
    state.optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in weights(state).items())


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk; the first checkpoint survives the second."""
    resource = pytest.importorskip("resource")
    state = make_state(tiny())
    save_checkpoint(tmp_path, 1, state.model, state.optimizer, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written.*MiB free.*as they were"):
            save_checkpoint(tmp_path, 2, state.model, state.optimizer, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in (tmp_path / "ckpt").iterdir()] == ["0000001"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dinolite.checkpointer import resume

    state = make_state(tiny())
    for i in (2, 3):
        place = save_checkpoint(tmp_path, i, state.model, state.optimizer, 3)
    data = next(place.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:1000])
    assert resume(tmp_path, state.model, state.optimizer) == 2
    assert "0000003 is damaged: __0_0.distcp is not as it was written" in capsys.readouterr().err
    assert (tmp_path / "ckpt" / "damaged-0000003").is_dir(), "nothing saved is thrown away"
    (tmp_path / "ckpt" / "0000002" / "meta.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints"):
        resume(tmp_path, state.model, state.optimizer)


def test_checkpoints_that_stay(tmp_path: Path) -> None:
    """Those of every `keep_every` iterations, made whatever the period; else the newest."""
    config = tiny("checkpointing.keep_every=5", "checkpointing.max_to_keep=2")  # period = 4
    due = [i for i in range(1, 11) if save_due_after(i, config)]
    assert due == [4, 5, 8, 10]
    assert [i for i in range(1, 11) if save_due_after(i, tiny())] == [4, 8, 10]
    state = make_state(config)
    for i in (*due, 12, 13):
        save(tmp_path, config, i, state.model, state.optimizer)
    assert [int(p.name) for p in checkpoints(tmp_path)] == [5, 10, 12, 13]


@pytest.mark.parametrize("limit", ["none", "1e-3"])
def test_gradients_are_clipped_or_not(limit: str) -> None:
    """The norm is logged either way, and is that of before."""
    config = tiny(f"optim.clip_grad={limit}", "optim.lr.warmup=0")
    state = make_state(config)
    values = train_step(state, batches(config, 1)[0])
    for name, module in state.model.student.items():
        left = torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None])
        norm = values[f"grad_norm/{name}"]
        assert norm > 1e-3
        wanted = norm.item() if limit == "none" else 1e-3
        assert left.norm().item() == pytest.approx(wanted, rel=1e-2)


def test_leftovers_of_a_killed_save_are_removed(tmp_path: Path) -> None:
    (tmp_path / "ckpt" / "writing-0000009").mkdir(parents=True)
    (tmp_path / "ckpt" / "0000007").mkdir()  # no meta.json: never a checkpoint
    open_run(tmp_path, tiny(), allow_changes=False)
    assert not (tmp_path / "ckpt" / "writing-0000009").exists()
    assert checkpoints(tmp_path) == []


GRAM = [
    "gram.use_loss=true",
    "gram.it_load_ema_teacher=2",
    "gram.update_frequency=4",
    "gram.it_first_update=4",
    "gram.max_updates=1",
    "crops.gram_teacher_crops_size=48",
]


def test_the_gram_teachers_life() -> None:
    """Unused before iteration 2, then a copy of the teacher, renewed once after 4 iterations."""
    config = tiny(*GRAM, "optim.lr.warmup=0")
    state = make_state(config)
    key = "backbone.blocks.0.mlp.fc1.weight"

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        gram, teacher = state.model.gram_teacher, state.model.teacher
        return gram.state_dict()[key].clone(), teacher.state_dict()[key].clone()

    history, seen = [], []
    for batch in batches(config, 9):
        values = train_step(state, batch)
        history.append(pair())
        seen.append("gram_loss" in values)
        assert batch.gram_teacher_crops is not None
    assert seen == [False, False] + [True] * 7
    assert not torch.equal(history[1][0], history[1][1])
    assert torch.equal(history[2][0], history[1][1])  # loaded right before iteration 2
    assert torch.equal(history[3][0], history[3][1])  # renewed right after iteration 3
    assert torch.equal(history[8][0], history[3][0])  # and never again
    assert not torch.equal(history[8][1], history[8][0])


def test_a_step_on_crops_that_are_not_square() -> None:
    """Masks, positions, losses and the Gram teacher's larger grid follow."""
    sides = ["global_crops_size=[16, 32]", "local_crops_size=[8, 16]"]
    sides += ["gram_teacher_crops_size=[24, 48]", "gram_teacher_no_distortions=true"]
    gram = ["gram.use_loss=true", "gram.it_load_ema_teacher=0", "gram.tokens_used=masked"]
    config = tiny(*gram, *(f"crops.{side}" for side in sides), "optim.lr.warmup=0")
    state = make_state(config)
    values = train_step(state, batches(config, 1)[0])
    state.guard.check()
    assert values["gram_loss"] > 0


def test_gram_teachers_grid_that_is_not_square() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 8)
    small = resize_patches(rows.reshape(1, 32, 1), (2, 4), GramConfig())  # [1, 8, 1]
    assert torch.allclose(small.reshape(2, 4), torch.tensor([[0.5], [2.5]]).expand(2, 4), atol=0.1)


def test_gram_renewals_of_the_7b_run() -> None:
    config = load_config(
        None,
        [
            "gram.use_loss=true",
            "gram.ckpt=x",
            "gram.update_frequency=10_000",
            "gram.it_first_update=1_010_000",
            "gram.max_updates=3",
            "train.iterations=1_200_000",
        ],
    )
    due = [i for i in range(999_999, 1_200_000, 10_000) if renews_teacher(config.gram, i)]
    assert due == [1_009_999, 1_019_999, 1_029_999]
    assert not renews_teacher(config.gram, 1_010_000)
