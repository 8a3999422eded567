"""Disks that are full, folders that cannot be written, files whose bytes changed, two runs in one
folder, a clock set back: nothing that was saved is lost, and the user is told."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from dinolite import run_folder
from dinolite.checkpointer import CheckpointError, checkpoints, load_checkpoint, resume, sha256
from dinolite.config import load_config
from dinolite.data.datasets import load_pictures
from dinolite.models.keymaps import WeightsError
from dinolite.models.pretrained import load, read_state_dict
from dinolite.report import open_finished
from dinolite.run_folder import fingerprint
from dinolite.train import train as train_module
from dinolite.train.train import make_state, train
from tests.processes import dinolite, forked
from tests.tiny_run import QUICK, read_log
from tests.trust.conftest import Faults

RUN = [*QUICK, "checkpointing.period=4", "train.log_every=2", "optim.lr.warmup=0"]
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
    state = make_state(load_config("demo", RUN))
    for name in ("__0_0.distcp", ".metadata", "meta.json", "0.sha256"):
        if (name, hurt) == ("meta.json", "removed"):
            continue  # then it is no checkpoint; see test_train
        out = cut(whole, tmp_path / name)
        HURTS[hurt](out / "ckpt" / "0000012" / name, chance)
        assert resume(out, state.model, state.optimizer) == 8, "the one before"
        said = capsys.readouterr().err
        assert "0000012 is damaged" in said and len(said.strip().splitlines()) == 1, said
        assert (out / "ckpt" / "damaged-0000012").is_dir(), "kept, whatever it is"
        times += 1
    run(out)
    assert equal(end_of(out), end_of(whole)), "to the same bits"
    HURTS["cut short"](out / "ckpt" / "0000012" / "meta.json", chance)  # once more
    assert resume(out, state.model, state.optimizer) == 8
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
    """For root no folder of a disk is shut; those of the kernel are."""
    shut = tmp_path / "shut" if os.geteuid() else Path("/sys/kernel")
    if os.geteuid():
        shut.mkdir(mode=0o555)
    elif not shut.is_dir():
        pytest.skip("root writes everywhere")
    with pytest.raises(CheckpointError, match="cannot be written") as error:
        run(shut / "run")
    assert str(shut / "run") in str(error.value) and "\n" not in str(error.value)
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
    first = forked(run, out, 40)
    while not (out / "metrics.jsonl").is_file():
        time.sleep(0.02)
        assert first.is_alive()
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)  # it trains no further, and holds its lock
    monkeypatch.setattr(run_folder, "PATIENCE", 0.2)
    before = (out / "config.toml").read_text()
    with pytest.raises(CheckpointError, match="another process trains in"):
        run(out, 40)
    assert (out / "config.toml").read_text() == before and first.is_alive()
    first.kill()
    first.join()
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


IMPOSSIBLE = {  # changes, with which the finished run of twelve steps cannot go on
    "data.dataset=folder:nowhere train.iterations=14": "folder:nowhere is not a folder",
    "student.embed_dim=32": "this run was begun with student.embed_dim = 16",
    "student.depth=2 train.iterations=14": "this run was begun with student.depth = 1",
    "student.n_storage_tokens=0": "this run was begun with student.n_storage_tokens = 2",
    "ibot.head_n_prototypes=8": "this run was begun with ibot.head_n_prototypes = 16",
    "teacher.centering=centering": "this run was begun with teacher.centering = sinkhorn_knopp",
    "crops.rgb_mean=[0.1,0.1,0.1]": "leaves nothing to be trained with other settings",
    "train.iterations=8": "a run of 12 iterations: train.iterations = 8 leaves nothing",
    "train.iterations=14 dino.koleo_topk=9 dino.koleo_loss_distributed=true": "too few for topk",
    "train.iterations=14 optim.lr.peak=1.0": "the first step fails",
}


def test_changes_that_cannot_be_made_leave_the_record(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)

    def fails(*_: object) -> None:
        raise RuntimeError("the first step fails")

    monkeypatch.setattr(train_module, "train_step", fails)
    files = {path: path.read_bytes() for path in (out / "config.toml", out / "teacher.safetensors")}
    kept = sorted(path.name for path in (out / "ckpt").iterdir())
    for changes, says in IMPOSSIBLE.items():
        config = load_config("demo", [*RUN, "train.iterations=12", *changes.split()])
        settings = config.train.model_copy(update={"output_dir": str(out)})
        with pytest.raises((ValueError, RuntimeError)) as error:
            train(config.model_copy(update={"train": settings}), allow_changes=True)
        assert says in str(error.value) and "remove" not in str(error.value)
        assert {path: path.read_bytes() for path in files} == files, changes
        assert sorted(path.name for path in (out / "ckpt").iterdir()) == kept
    run(out)  # the original command, which has nothing to do
    assert load_config(out / "config.toml").student == open_finished(out).config.student
    faults.survived(
        "`--allow-changes` with what cannot be",
        "one sentence, such as `this run was begun with student.depth = 1`; the record stays",
        len(IMPOSSIBLE),
    )


def test_changes_that_can_be_made_are_recorded_and_used(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    more = ["optim.adamw_beta2=0.5", "optim.layerwise_decay=0.7", "train.iterations=13"]
    config = load_config("demo", [*RUN, *more, f"train.output_dir={out}"])
    train(config, allow_changes=True)
    assert load_config(out / "config.toml") == config
    state = make_state(config, torch.device("cpu"))
    fresh = [{k: v for k, v in g.items() if k != "params"} for g in state.optimizer.param_groups]
    load_checkpoint(checkpoints(out)[-1], state.model, state.optimizer)
    for group, own in zip(state.optimizer.param_groups, fresh, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == own


def test_a_record_of_another_version(whole: Path, tmp_path: Path) -> None:
    out = cut(whole, tmp_path / "run")
    for place in checkpoints(out):
        meta = (place / "meta.json").read_text().replace('"n_storage_tokens"', '"n_registers"')
        (place / "meta.json").write_text(meta)
        line = f"{sha256(place / 'meta.json')}  meta.json\n"
        sums = (place / "0.sha256").read_text().splitlines(keepends=True)
        (place / "0.sha256").write_text("".join([s for s in sums if "meta.json" not in s] + [line]))
    with pytest.raises(CheckpointError, match="holds a run with settings that dinolite"):
        run(out)


def draw(folder: Path, seeds: range, side: int = 20) -> Path:
    """Pictures of one size in two classes, as files of one size: not compressed."""
    for i in seeds:
        pixels = torch.randint(256, (side, side, 3), generator=torch.Generator().manual_seed(i))
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.byte().numpy()).save(folder / "ab"[i % 2] / f"{i:02}.bmp")
    return folder


@pytest.mark.parametrize("cache_bytes", [2**31, 0], ids=["in memory", "as files"])
def test_other_pictures_are_told_from_the_same_elsewhere(tmp_path: Path, cache_bytes: int) -> None:
    def seen(folder: Path) -> list[int]:
        return fingerprint(load_pictures(f"folder:{folder}", cache_bytes=cache_bytes))

    here, was = tmp_path / "here", seen(draw(tmp_path / "here", range(12)))
    shutil.copytree(here, tmp_path / "a" / "copy", copy_function=shutil.copyfile)
    (tmp_path / "mount").symlink_to(here)
    for path in (tmp_path / "a" / "copy").rglob("*.bmp"):
        os.utime(path, (1e9, 1e9))
    assert seen(tmp_path / "a" / "copy") == seen(tmp_path / "mount") == was
    here = here.rename(tmp_path / "moved")
    assert seen(here) == was
    draw(here, range(12, 13))
    assert seen(here)[0] == was[0] + 1
    (here / "a" / "12.bmp").unlink()
    assert seen(here) == was
    (here / "a" / "00.bmp").rename(here / "a" / "09.bmp")  # another order
    assert seen(here)[0] == was[0] and seen(here) != was
    (here / "a" / "09.bmp").rename(here / "a" / "00.bmp")
    Image.new("RGB", (20, 21)).save(here / "a" / "00.bmp")  # another size
    assert seen(here)[0] == was[0] and seen(here) != was
    Image.new("RGB", (20, 20)).save(here / "a" / "00.bmp")  # other pixels, the file as large
    assert (seen(here) != was) == (cache_bytes > 0)


def test_other_pictures_in_an_archive_are_told_by_its_size(tmp_path: Path) -> None:
    folder = draw(tmp_path / "pictures", range(2))

    def seen() -> list[int]:
        packed = shutil.make_archive(str(tmp_path / "p"), "zip", folder)
        return fingerprint(load_pictures(f"folder:{packed}", cache_bytes=0))

    was = seen()
    assert seen() == was
    Image.new("RGB", (20, 20)).save(folder / "a" / "00.bmp")
    assert seen()[0] == was[0] and seen() != was


def test_pictures_that_changed_while_a_run_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], faults: Faults
) -> None:
    folder = draw(tmp_path / "pictures", range(12))
    more = ["train.batch_size_per_gpu=4", "evaluation.eval_period_iterations=100"]

    def go(iterations: int, data: Path) -> str:
        changes = [*RUN, *more, f"train.iterations={iterations}", f"data.dataset=folder:{data}"]
        config = load_config("demo", [*changes, f"train.output_dir={tmp_path / 'run'}"])
        train(config, allow_changes=True)
        return capsys.readouterr().err

    assert go(4, folder) == ""
    assert go(5, folder.rename(tmp_path / "moved")) == ""
    folder = draw(tmp_path / "moved", range(12, 16))
    said = go(6, folder)
    assert "have changed since iteration 5 (11 then, 15 now)" in said and said.count("\n") == 1
    assert go(7, folder) == "", "said once"
    (folder / "a" / "00.bmp").write_bytes((folder / "b" / "01.bmp").read_bytes())
    assert "(still 15, others or in another order)" in go(8, folder)
    faults.survived(
        "pictures added, exchanged or moved while a run was stopped",
        "`the pictures have changed since iteration ...`; moved: nothing",
        4,
    )
