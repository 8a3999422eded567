"""Killed at thirty moments, a run comes to the same end, bit for bit, and leaves nothing behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dinolite.models.pretrained import HANDOVER, read_state_dict
from tests.tiny_run import QUICK, read_log
from tests.trust.conftest import Faults

ROOT = Path(__file__).resolve().parents[2]
RUN = [
    *QUICK,
    "train.iterations=40",
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


def drive(kind: str, deaths: int, out: Path, more: list[str], temporary: Path) -> dict[str, int]:
    temporary.mkdir(exist_ok=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "LIFE": str(out)}
    command = [sys.executable, "-m", "tests.trust.driver", kind, str(deaths), "7", str(out)]
    done = subprocess.run(
        [*command, *RUN, *more], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900
    )
    log = out.with_name("lives.log")
    assert done.returncode == 0, done.stderr + (log.read_text() if log.is_file() else "")
    return json.loads(done.stdout.splitlines()[-1])


def orphans(out: Path) -> list[str]:
    """Living processes that descend from the run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            if f"LIFE={out}".encode() in environment.split(b"\0"):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_killed_again(kind: str, tmp_path: Path, faults: Faults) -> None:
    deaths, more = KINDS[kind]
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    whole.parent.mkdir()
    killed.parent.mkdir()
    drive(kind, 0, whole, more, tmp_path / "tmp")
    told = drive(kind, deaths, killed, more, tmp_path / "tmp")
    assert told["killed"] == deaths
    if kind == "save":
        assert told["half_written"] >= 1, "no death fell into a save"
    a, b = (read_state_dict(run / "teacher.safetensors") for run in (whole, killed))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert read_log(whole) == read_log(killed), "the log of the run is that of one life, too"
    assert {path.name for path in killed.iterdir()} == LEFT
    assert all(path.name.isdigit() for path in (killed / "ckpt").iterdir())
    deadline = time.monotonic() + 30  # a data loader's workers look for their parent every 5 s
    while orphans(killed) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not orphans(killed)
    left = {path.name for path in (tmp_path / "tmp").iterdir()}
    assert not {n for n in left if not n.startswith("torchinductor_")}, "temporary folders stayed"
    faults.survived(
        f"kill -9 {WHERE[kind]}",
        "nothing; the same command goes on, to the same bits",
        times=deaths,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_saves_and_says_how_to_go_on(
    number: signal.Signals, tmp_path: Path, faults: Faults
) -> None:
    more = ["train.iterations=300", "checkpointing.period=1000", "train.log_every=1"]
    more += ["evaluation.eval_period_iterations=1000"]
    whole, cut = tmp_path / "whole", tmp_path / "a run"

    def command(out: Path) -> list[str]:
        arguments = ["train", "demo", *QUICK, *more, "--out", str(out), "--no-report"]
        return [sys.executable, "-m", "dinolite.cli", *arguments]

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(cut), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = cut / "metrics.jsonl"
    while process.poll() is None and not (log.is_file() and len(log.read_text()) > 3000):
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + number, said
    assert "saved" in said and "Traceback" not in said
    again = shlex.split(said.splitlines()[-1])
    assert again[0] == "dinolite" and again[1:] == command(cut)[3:]
    assert len(list((cut / "ckpt").iterdir())) == 1 and not (cut / "teacher.safetensors").exists()
    for out in (cut, whole):
        subprocess.run(command(out), env=env, check=True, capture_output=True)
    a, b = (read_state_dict(run / "teacher.safetensors") for run in (whole, cut))
    assert all(torch.equal(a[name], b[name]) for name in a)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sentence = re.sub(r"\d+", "...", said.splitlines()[0]).removesuffix(":")
    faults.survived(name, f"`{sentence}`, and the command; exit code {128 + number}")
