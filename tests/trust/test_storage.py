"""Disks that are full, folders that cannot be written, files whose bytes changed, two runs in one
folder, a clock set back: nothing that was saved is lost, and the user is told."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dinolite import run_folder
from dinolite.checkpointer import CheckpointError, checkpoints
from dinolite.config import load_config
from dinolite.models.keymaps import WeightsError
from dinolite.models.pretrained import load, read_state_dict
from dinolite.train.train import train
from tests.processes import dinolite
from tests.tiny_run import QUICK, read_log
from tests.trust.conftest import Faults

RUN = [*QUICK, "checkpointing.period=4", "train.log_every=2", "optim.lr.warmup=0"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow


def run(out: Path, iterations: int = 12, *more: str) -> Path:
    changes = [*RUN, f"train.iterations={iterations}", f"train.output_dir={out}", *more]
    train(load_config("demo", changes))
    return out


def end_of(out: Path) -> dict[str, torch.Tensor]:
    return read_state_dict(out / "teacher.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of twelve steps, with checkpoints after 4, 8 and 12."""
    return run(tmp_path_factory.mktemp("storage") / "whole")


def cut(whole: Path, place: Path) -> Path:
    """A copy of the run as it was before it published its weights."""
    shutil.copytree(whole, place)
    (place / "teacher.safetensors").unlink()
    return place


def shorten(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


HURTS = {"cut short": shorten, "one bit flipped": flip, "emptied": empty, "removed": remove}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_checkpoint_is_passed_over(
    hurt: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], faults: Faults
) -> None:
    chance, times = random.Random(3), 0
    for name in ("__0_0.distcp", ".metadata", "meta.json", "0.sha256"):
        if (name, hurt) == ("meta.json", "removed"):
            continue  # then it is no checkpoint; see test_train
        out = cut(whole, tmp_path / name)
        HURTS[hurt](out / "ckpt" / "0000012" / name, chance)
        run(out)
        said = capsys.readouterr().err
        assert "0000012 is damaged" in said and len(said.strip().splitlines()) == 1, said
        assert (out / "ckpt" / "damaged-0000012").is_dir(), "kept, whatever it is"
        assert equal(end_of(out), end_of(whole)), "from the one before, to the same bits"
        times += 1
    HURTS["cut short"](out / "ckpt" / "0000012" / "meta.json", chance)  # once more
    run(out)
    aside = {path.name for path in (out / "ckpt").glob("damaged-*")}
    assert aside == {"damaged-0000012", "damaged-0000012-2"}, "both are kept"
    faults.survived(
        f"a file of a checkpoint {hurt}",
        "`checkpoint ... is damaged: ...`; goes on from the one before",
        times,
    )


def test_all_checkpoints_damaged(whole: Path, tmp_path: Path, faults: Faults) -> None:
    out = cut(whole, tmp_path / "run")
    for place in checkpoints(out):
        flip(place / "__0_0.distcp", random.Random(0))
    with pytest.raises(CheckpointError, match="none of the 3 checkpoints") as error:
        run(out)
    assert "\n" not in str(error.value)
    assert len(list((out / "ckpt").glob("damaged-*"))) == 3
    with pytest.raises(CheckpointError, match="damaged"):
        run(out)  # a second try does not begin anew in silence
    faults.survived("all checkpoints damaged", "one sentence; nothing is overwritten")


@pytest.mark.parametrize("hurt", HURTS)
def test_damaged_weights_are_refused(
    hurt: str, whole: Path, tmp_path: Path, faults: Faults
) -> None:
    chance, times = random.Random(5), 10
    for i in range(times):
        path = tmp_path / f"{i}.safetensors"
        shutil.copy(whole / "teacher.safetensors", path)
        HURTS[hurt](path, chance)
        with pytest.raises(WeightsError) as error:
            load(path)
        assert str(path) in str(error.value)
    faults.survived(f"published weights {hurt}", "one sentence that names the file", times)


def test_a_disk_that_fills_up(whole: Path, tmp_path: Path, faults: Faults) -> None:
    """A limit on the size of a file stands for it, at every place where a run writes."""
    times = 0
    for limit in (1, 200, 4_000, 20_000, 60_000):
        out = tmp_path / f"run {limit}"
        arguments = ["train", "demo", *RUN, "train.iterations=12", "--out", str(out), "--no-report"]
        done = dinolite(*arguments, cwd=tmp_path, largest_file=limit)
        assert done.returncode == 2, (limit, done.stdout, done.stderr)
        sentences = [line for line in done.stderr.splitlines() if line.startswith("dinolite:")]
        assert len(sentences) == 1 and "Traceback" not in done.stderr, done.stderr
        if out.exists():
            assert not list(out.rglob("*.tmp")) and not list(out.rglob("writing-*"))
        run(out)  # there is room again
        assert equal(end_of(out), end_of(whole))
        times += 1
    faults.survived("the disk is full", "one sentence with the place and the room left", times)


def test_a_folder_that_cannot_be_written(tmp_path: Path, faults: Faults) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    arguments = ["train", "demo", *RUN, "--out", str(shut / "run"), "--no-report"]
    command = [sys.executable, "-m", "dinolite.cli", *arguments]
    if os.geteuid() == 0:  # for root no folder is shut, unless it gives the right up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root writes everywhere, and there is no setpriv")
        rights = "-dac_override,-dac_read_search"
        command = [setpriv, f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True)
    if "setpriv" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "cannot be written" in done.stderr and str(shut) in done.stderr
    faults.survived("a read-only folder", "`... cannot be written: Permission denied`")


def test_a_file_where_the_folder_should_be(tmp_path: Path, faults: Faults) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(CheckpointError, match="cannot be written"):
        run(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"
    faults.survived("a file where the folder should be", "`... cannot be written: File exists`")


def test_the_second_run_in_a_folder_is_refused(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    out = tmp_path / "run"
    arguments = ["train", "demo", *RUN, "train.iterations=40", "--out", str(out), "--no-report"]
    first = subprocess.Popen(
        [sys.executable, "-m", "dinolite.cli", *arguments], env=ENV, stderr=subprocess.PIPE
    )
    while not (out / "metrics.jsonl").is_file():
        time.sleep(0.02)
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)  # it trains no further, and holds its lock
    monkeypatch.setattr(run_folder, "PATIENCE", 0.2)
    before = (out / "config.toml").read_text()
    with pytest.raises(CheckpointError, match="another process trains in"):
        run(out, 40)
    assert (out / "config.toml").read_text() == before and first.poll() is None
    first.kill()
    first.wait()
    run(out, 40)  # the lock died with its process
    faults.survived("two runs in one folder", "the second: `another process trains in ...`")


def test_a_clock_set_back(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    out, real = cut(whole, tmp_path / "run"), time.time
    for place in checkpoints(out)[1:]:
        shutil.rmtree(place)
    for path in out.rglob("*"):
        os.utime(path, (real() + 1e6, real() + 1e6))
    monkeypatch.setattr(time, "time", lambda: real() - 1e7)
    run(out)
    assert equal(end_of(out), end_of(whole))
    assert read_log(out) == read_log(whole)
    faults.survived("the clock set back", "nothing: what is newest is told by iterations")


def test_leftovers_of_the_killed_are_cleared_and_nothing_else(
    whole: Path, tmp_path: Path, faults: Faults
) -> None:
    out = cut(whole, tmp_path / "run")
    (out / ".config.toml.123.tmp").write_text("half")
    (out / "ckpt" / "writing-0000099").mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "ckpt" / "0000008.backup").mkdir()
    run(out)
    names = {path.name for path in out.rglob("*")}
    assert not names & {".config.toml.123.tmp", "writing-0000099"}
    assert names >= {"notes.txt", "0000008.backup"}
    faults.survived("half-written files of a killed run", "nothing; they are cleared away")
