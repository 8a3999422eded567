"""Processes that torchrun starts are waited for, and none is left behind when one fails; two of
them take the steps of one where they should, and others where they should not."""

import os
import time
from pathlib import Path

import pytest
import torch

from dinolite.config import load_config
from dinolite.parallel import can_shard_on_cpu
from dinolite_course import processes
from dinolite_course.processes import difference, pictures, rehearse, with_processes
from tests.tiny_run import QUICK

# --- starting processes ---

WORKER = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1], os.environ["RANK"]).write_text(f"{os.getpid()} {os.environ['WORLD_SIZE']}")
print("not to be seen", flush=True)
while sys.argv[2] == "sleep" or os.environ["RANK"] == "0":
    time.sleep(0.1)
while not Path(sys.argv[1], "0").exists():
    time.sleep(0.1)
raise OSError("no disk")
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program `a_worker`, in which each process notes its number."""
    (tmp_path / "a_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def all_ended(folder: Path, processes: int) -> bool:
    """None of those that noted themselves is there any more."""
    notes = [(folder / str(rank)).read_text().split() for rank in range(processes)]
    assert {note[1] for note in notes} == {str(processes)}
    deadline = time.monotonic() + 20
    left = [int(note[0]) for note in notes]
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if Path("/proc", str(pid)).exists()]
        time.sleep(0.1)
    return not left


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_when_one_fails_the_others_are_ended(
    worker: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)one of 2 processes failed: .*OSError: no disk"):
        processes.start(2, "a_worker", str(worker), "fail")
    assert all_ended(worker, 2)
    assert capfd.readouterr() == ("", ""), "nothing reaches the screen"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_time_is_limited(worker: Path) -> None:
    with pytest.raises(RuntimeError, match=r"1 processes were not done after 10 s"):
        processes.start(1, "a_worker", str(worker), "sleep", seconds=10)
    assert all_ended(worker, 1)


def test_no_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"processes = 0; it must be at least 1"):
        processes.start(0, "x")


def test_the_command_names_no_place_of_this_machine() -> None:
    command = processes.torchrun(2, "a_module", "word")
    assert command[0] == "torchrun" and command[-2:] == ["a_module", "word"]
    assert not any("/" in word for word in command)


# --- the first steps of a recipe ---

SHARED = [*QUICK, "train.device=cpu", "dino.koleo_loss_distributed=true"]
SHARED += ["optim.lr.warmup=0"]


def test_one_process() -> None:
    config = load_config("demo", SHARED)
    data = pictures(config)
    first, again, longer = (rehearse(config, data, n) for n in (2, 2, 3))
    assert len(first.said) == 2 and difference(first, again) == 0 < difference(first, longer)
    (held,) = first.held
    trained = sum(x.numel() for k, x in first.tensors.items() if k.startswith("student."))
    buffers = first.tensors["student.backbone.rope_embed.periods"].numel()
    assert held["student"] == held["gradients"] == held["teacher"] == 4 * (trained - buffers)
    assert held["AdamW"] == 2 * held["student"]


@pytest.mark.slow
def test_two_processes() -> None:
    half = [*SHARED, "train.batch_size_per_gpu=2"]
    variants = {"DDP": half, "alone": [*half, "dino.koleo_loss_distributed=false"]}
    if can_shard_on_cpu():
        variants["FSDP2"] = [*half, "train.parallel=fsdp2"]
    config = load_config("demo", SHARED)
    one = rehearse(config, pictures(config), 2)
    two = with_processes(2, "demo", variants, 2)
    for name, result in two.items():
        assert (difference(result, one) < 1e-5) == (name != "alone"), name
        assert len(result.held) == 2
        kept = sum(part["AdamW"] for part in result.held)
        assert kept == one.held[0]["AdamW"] * (1 if name == "FSDP2" else 2)
    assert two["DDP"].said[1]["total_loss"] == pytest.approx(one.said[1]["total_loss"], rel=1e-5)
    assert torch.is_tensor(two["DDP"].tensors["teacher.backbone.cls_token"])
