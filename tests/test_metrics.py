"""What a run says of its speed, and what it prints where there is no terminal."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dinolite import metrics
from dinolite.metrics import RunLog, StepClock
from tests.tiny_run import QUICK

LINE = re.compile(
    r" *(\d+)/60  total \d+\.\d{3}  dino_local \d.*  ibot \d.*  lr \d\.\d\de[-+]\d\d"
    r"  \d+\.\d pictures/s  \d\.\d{3} s/step  data \d\.\d{3} s  \d+ MiB  \d:\d\d:\d\d left"
)


@pytest.mark.slow
def test_a_run_without_a_terminal_prints_a_line_every_log_step(tmp_path: Path) -> None:
    """As in `dinolite train demo | cat`, and while it runs, not at its end."""
    changes = ["train.iterations=60", "train.log_every=20", "evaluation.eval_period_iterations=40"]
    arguments = ["train", "demo", *QUICK, *changes, "--out", str(tmp_path / "run"), "--no-report"]
    run = subprocess.Popen(
        [sys.executable, "-m", "dinolite.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout is not None
    lines = [run.stdout.readline() for _ in range(3)]
    assert run.poll() is None, "the first lines came when the run had ended"
    lines += run.stdout.readlines()
    assert run.wait() == 0
    assert lines[0].startswith("recipe demo -> ")
    found = [LINE.fullmatch(line.rstrip("\n")) for line in lines]
    assert [int(match[1]) for match in found if match] == [20, 40, 60], lines
    knn = [line.split()[0] for line in lines if "k-NN" in line]
    assert knn == ["0/60", "40/60", "60/60"] and len(lines) == 8, lines


def test_seconds_of_data_and_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of 8 pictures: 1 and 3 s of waiting, 2 and 4 s of computing; between them an
    evaluation of 100 s that does not count."""
    times = iter([0.0, 1.0, 3.0, 103.0, 106.0, 110.0])
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: next(times))
    clock = StepClock(8, torch.device("cpu"))
    clock.lap("data")
    clock.lap("compute")
    clock.start()
    clock.lap("data")
    clock.lap("compute")
    numbers = clock.flush()
    assert numbers.pop("machine/memory_mib") > 10
    assert numbers == {
        "machine/pictures_per_s": 8 / 5,
        "machine/step_s": 5.0,
        "machine/data_s": 2.0,
        "machine/compute_s": 3.0,
    }


def test_time_left_counts_all_but_the_evaluation_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now)
    with RunLog(tmp_path, 0, 1000, "lines") as log:
        now = 50.0
        log.write(0, {"knn": 12.5})
        now = 70.0
        log.write(10, {"total_loss": 9.0, "dino_local_crops_loss": 1.5, "grad_norm/backbone": 3.0})
    assert capsys.readouterr().out.splitlines() == [
        "   0/1000  k-NN 12.50 %",
        "  10/1000  total 9.000  dino_local 1.500  0:33:00 left",
    ]
    assert log.last == {
        "knn": 12.5,
        "total_loss": 9.0,
        "dino_local_crops_loss": 1.5,
        "grad_norm/backbone": 3.0,
    }
