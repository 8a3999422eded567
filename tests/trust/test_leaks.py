"""Fifteen hundred steps: memory, open files and threads stay level."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_run import QUICK
from tests.trust.conftest import Faults

STEPS, EVERY = 1500, 50
SCRIPT = """
import json, os, sys, threading
from dinolite.config import load_config
from dinolite.train import train as loop

real, seen = loop.train_step, []

def step(state, batch):
    values = real(state, batch)
    if state.iteration % {every} == 0:
        pages = int(open("/proc/self/statm").read().split()[1])
        files = len(os.listdir("/proc/self/fd"))
        seen.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threading.active_count()))
    return values

loop.train_step = step
loop.train(load_config("demo", sys.argv[1:]))
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads /proc")
def test_a_long_run_holds_its_memory(tmp_path: Path, faults: Faults) -> None:
    changes = [
        *QUICK,
        f"train.iterations={STEPS}",
        "train.log_every=10",
        "checkpointing.period=250",
        "evaluation.eval_period_iterations=250",
        f"train.output_dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(every=EVERY), *changes],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    memory, files, threads = np.array(json.loads(done.stdout)).T
    later = slice(len(memory) // 3, None)  # the allocator has settled
    slope = np.polyfit(np.arange(len(memory))[later], memory[later], 1)[0] * 1000 / EVERY
    assert slope < 4, f"{slope:.2f} MiB per 1000 steps; {memory.round(1).tolist()}"
    assert files[-1] <= files[2] and threads[-1] <= threads[2], (files.tolist(), threads.tolist())
    faults.survived(
        f"{STEPS} steps", f"memory {slope:+.1f} MiB per 1000 steps; files and threads level"
    )
