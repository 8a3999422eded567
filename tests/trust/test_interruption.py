"""Killed at thirty moments, a run comes to the same end, bit for bit, and leaves nothing behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dinolite.models.pretrained import HANDOVER, read_state_dict
from tests.processes import dinolite
from tests.tiny_run import QUICK, read_log
from tests.trust.conftest import Faults

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    *QUICK,
    "train.iterations=50",
    "optim.lr.warmup=0",
    "train.log_every=1",
    "checkpointing.period=1",
    "student.drop_path_rate=0.2",
]
KINDS = {  # kind: (deaths, more settings)
    "a step": (8, ["evaluation.eval_period_iterations=100"]),
    "save": (8, ["evaluation.eval_period_iterations=100"]),
    "evaluation": (6, ["evaluation.eval_period_iterations=1"]),
    "workers": (4, ["evaluation.eval_period_iterations=100", "train.num_workers=2"]),
    "two processes": (4, ["evaluation.eval_period_iterations=100"]),
}
WHERE = {
    "a step": "in a step",
    "save": "inside a save",
    "evaluation": "inside an evaluation",
    "workers": "with data-loader workers",
    "two processes": "of one of two processes",
}
LEFT = {
    "config.toml",
    "metrics.jsonl",
    "teacher.safetensors",
    HANDOVER,
    "ckpt",
    "tensorboard",
    ".lock",
}
pytestmark = pytest.mark.slow


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path: loader workers meet at sockets in it, whose names have 107 bytes
    at most, and wait for ever where they do not fit."""
    with tempfile.TemporaryDirectory(prefix="d") as name:
        yield Path(name)


def drive(kind: str, deaths: int, folder: Path, more: list[str], temporary: Path) -> dict[str, int]:
    """A run in folder/whole/run that nobody kills, and one of many deaths in folder/killed/run."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "tests.trust.driver", kind, str(deaths), "7", str(folder)]
    done = subprocess.run(
        [*command, *RUN, *more],
        cwd=ROOT,
        env=env | {"LIFE": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    logs = "".join(log.read_text() for log in folder.glob("*/lives.log"))
    assert done.returncode == 0, done.stderr + logs
    return json.loads(done.stdout.splitlines()[-1])


def orphans(folder: Path) -> list[str]:
    """Living processes that descend from the runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            if f"LIFE={folder}".encode() in environment.split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_killed_again(
    kind: str, tmp_path: Path, temporary: Path, faults: Faults
) -> None:
    deaths, more = KINDS[kind]
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    told = drive(kind, deaths, tmp_path, more, temporary)
    assert told["killed"] == deaths
    if kind == "save":
        assert told["half_written"] >= 1, "no death fell into a save"
    a, b = (read_state_dict(run / "teacher.safetensors") for run in (whole, killed))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert read_log(whole) == read_log(killed), "the log of the run is that of one life, too"
    assert {path.name for path in killed.iterdir()} == LEFT
    assert all(path.name.isdigit() for path in (killed / "ckpt").iterdir())
    deadline = time.monotonic() + 30  # a data loader's workers look for their parent every 5 s
    while orphans(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not orphans(tmp_path)
    left = {path.name for path in temporary.iterdir()}
    assert not {n for n in left if not n.startswith("torchinductor_")}, "temporary folders stayed"
    faults.survived(
        f"kill -9 {WHERE[kind]}",
        "nothing; the same command goes on, to the same bits",
        times=deaths,
    )


MORE = ["train.iterations=150", "checkpointing.period=1000", "train.log_every=1"]
MORE += ["evaluation.eval_period_iterations=1000"]


def words(out: Path) -> list[str]:
    """What stands behind `dinolite` to train a run that can be stopped."""
    return ["train", "demo", *QUICK, *MORE, "--out", str(out), "--no-report"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert dinolite(*words(out), cwd=out.parent).returncode == 0
    return out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_saves_and_says_how_to_go_on(
    number: signal.Signals, whole: Path, tmp_path: Path, faults: Faults
) -> None:
    cut = tmp_path / "a run"
    process = subprocess.Popen(
        [sys.executable, "-m", "dinolite.cli", *words(cut)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = cut / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and len(log.read_text()) > 3000):
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + number, said
    assert "saved" in said and "Traceback" not in said
    again = shlex.split(said.splitlines()[-1])
    assert again[0] == "dinolite" and again[1:] == words(cut)
    assert len(list((cut / "ckpt").iterdir())) == 1 and not (cut / "teacher.safetensors").exists()
    assert dinolite(*again[1:], cwd=tmp_path).returncode == 0
    a, b = (read_state_dict(run / "teacher.safetensors") for run in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sentence = re.sub(r"\d+", "...", said.splitlines()[0]).removesuffix(":")
    faults.survived(name, f"`{sentence}`, and the command; exit code {128 + number}")
