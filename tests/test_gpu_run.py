"""The prepared run for a GPU: rehearsed on the CPU; what fails or takes too long stops nothing."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from dinolite.config import load_config
from dinolite.data.datasets import TensorPictures, load_pictures
from dinolite.models.pretrained import load, read_metadata
from dinolite.models.vision_transformer import build_backbone
from tests.small_sets import SMALL
from tools import gpu_run
from tools.gpu_run import REHEARSAL, STAGES, Job, Stage, attempt, config_of_training, do_stage, pack


def draw(folder: Path, n: int, colour: int) -> Path:
    """Pictures of 40 x 60 pixels, alike in colour."""
    noise = np.random.default_rng(colour)
    folder.mkdir()
    for i in range(n):
        pixels = noise.integers(0, 60, (40, 60, 3), dtype=np.uint8) + np.uint8(colour)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    out = tmp_path / "data"
    pack([draw(tmp_path / "made", 200, 90)], out, megabytes=0.5, side=32, quality=80)
    return out


@pytest.fixture
def job(tmp_path: Path, data: Path) -> Job:
    out = tmp_path / "out"
    out.mkdir()
    return Job(out, data, time.time() + 100, "tiny", [], REHEARSAL)


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / gpu_run.RECORDS).read_text("utf8").splitlines()]


def test_pack_keeps_to_its_bytes_and_shares_them(tmp_path: Path) -> None:
    dark, light = draw(tmp_path / "dark", 40, 10), draw(tmp_path / "light", 40, 190)
    out = tmp_path / "data"
    pack([dark, light], out, megabytes=0.02, side=16, quality=80)
    assert 17_000 < sum(path.stat().st_size for path in out.iterdir()) <= 20_000
    pictures = load_pictures(f"folder:{out / gpu_run.TRAIN}", "train")
    assert isinstance(pictures, TensorPictures) and pictures.images.shape[1:] == (3, 16, 16)
    is_light = pictures.images.float().mean((1, 2, 3)) > 128
    assert 0.35 < is_light.float().mean() < 0.65
    few = load_pictures(f"folder:{out / gpu_run.FEW}", "train")
    assert 0 < len(few) <= 64


@pytest.mark.parametrize(
    ("code", "how"),
    [("print(1)", "done"), ("1 / 0", "failed"), ("import time; time.sleep(60)", "out of time")],
)
def test_how_a_stage_ends(
    code: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_run, "GRACE", 1.0)
    begin = time.monotonic()
    seconds = 1.2 if how == "out of time" else 30
    assert attempt([sys.executable, "-c", code], seconds, tmp_path / "log", {}) == how
    assert time.monotonic() - begin < 25
    assert ("ZeroDivisionError" in (tmp_path / "log").read_text("utf8")) == (how == "failed")


def test_what_fails_stops_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(job: Job) -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    def fine(job: Job, net: str) -> dict[str, Any]:
        return {"value": net}

    monkeypatch.setitem(STAGES, "right", Stage(1, (broken,)))
    monkeypatch.setitem(STAGES, "rates", Stage(1, (fine,), of_nets=True))
    assert not do_stage("right", job) and do_stage("rates", job)
    first, second = records(job.out)
    assert first["failed"] == "RuntimeError: no such kernel"
    assert (second["what"], second["value"]) == ("fine vit_small", "vit_small")
    assert "no such kernel" in capsys.readouterr().err


def test_the_larger_net_fits_into_twelve_megabytes(job: Job) -> None:
    full = Job(job.out, job.data, job.until, "tiny", [], gpu_run.FULL)
    config = config_of_training(full, 4000, "runs/gpu")
    assert config.optim.lr.warmup == 200 and config.evaluation.eval_period_iterations == 1000
    assert config.evaluation.dataset == "windows"
    numbers = sum(p.numel() for p in build_backbone(config.student).parameters())
    assert numbers > 5e6 and 2 * numbers < 11.5e6
    for net, batch in gpu_run.FULL.nets.items():
        c = load_config("official_vitl_im1k", gpu_run.pretraining(full, net))
        assert (c.student.arch, c.train.batch_size_per_gpu) == (net, batch)
        assert c.crops.global_crops_size == 224 and c.train.compile


def test_a_run_that_cannot_be_says_why(data: Path, tmp_path: Path) -> None:
    def run(**more: Any) -> None:
        gpu_run.run(**{"out": tmp_path / "out", "data": data, "only": "right", **more})

    with pytest.raises(typer.BadParameter, match=r"only = 'left'; allowed: right, rates"):
        run(only="left")
    with pytest.raises(typer.BadParameter, match=r"train.zip is not there; `pack` makes it"):
        run(data=tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(typer.BadParameter, match="no CUDA device; --rehearsal needs none"):
            run(rehearsal=False)


@pytest.mark.slow
def test_weights_are_saved_when_time_is_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request to end comes while training."""
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    real, sizes = gpu_run.train, REHEARSAL._replace(iterations=100_000)

    def interrupted(config: Any, **more: Any) -> Any:
        threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return real(config, **more)

    monkeypatch.setattr(gpu_run, "train", interrupted)
    job.sizes = sizes
    assert do_stage("training", job), records(job.out)
    (record,) = records(job.out)
    assert 0 < record["iterations"] < record["planned"] == 100_000
    assert load(job.out / gpu_run.WEIGHTS).embed_dim == 16


@pytest.mark.slow
def test_rehearsal(data: Path, tmp_path: Path) -> None:
    """All stages, as `python -m tools.gpu_run run --rehearsal` takes them."""
    out = tmp_path / "out"
    with pytest.raises(typer.Exit) as end:
        gpu_run.run(out=out, data=data, rehearsal=True)
    found = records(out)
    assert end.value.exit_code == 0, (out / gpu_run.LOG).read_text("utf8")
    whats = {name: [r["what"] for r in found if r["stage"] == name] for name in STAGES}
    for name, stage in STAGES.items():
        nets = [f" {net}" for net in REHEARSAL.nets] if stage.of_nets else [""]
        assert whats[name] == [*(m.__name__ + n for m in stage.measurements for n in nets), "end"]
    by_name = {r["what"]: r for r in found}
    assert by_name["beside_the_cpu"]["most_apart"] == 0  # here both are the CPU
    assert by_name["bfloat16"]["most_apart"] < 0.1
    assert by_name["not_a_number"]["weights_unchanged"] and by_name["not_a_number"]["stopped"]
    words = read_metadata(out / gpu_run.WEIGHTS)
    assert json.loads(words["iterations"]) == 3 and json.loads(words["rgb_mean"]) == [0.5] * 3
    assert load(out / gpu_run.WEIGHTS).pixel_mean == (0.5, 0.5, 0.5)
    assert "/tmp" not in (out / gpu_run.RECORDS).read_text("utf8").replace(str(tmp_path), "")
