"""Memory, open files and threads stay level, in many steps and whatever the pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dinolite.config import load_config
from dinolite.data import loaders
from dinolite.data.datasets import ListPictures, PictureDataset, TensorPictures
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


class LargestTensor(TorchFunctionMode):
    """The bytes of the largest tensor that any call gives back."""

    most = 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.most = max(self.most, out.numel() * out.element_size())
        return out


@pytest.mark.parametrize("large", [1, 4])
@pytest.mark.parametrize("pipeline", ["batched", "per_image"])
def test_a_batch_of_large_pictures_never_lies_there_whole(
    large: int, pipeline: str, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One large picture among small ones, or all of them large, also of one size."""
    sides = [(900, 600)] * large + [(24 + i, 40) for i in range(4 - large)]
    pictures = [torch.randint(0, 256, (3, *side), dtype=torch.uint8) for side in sides]
    no_labels = torch.zeros(4, dtype=torch.int64)
    data: list[PictureDataset] = [ListPictures(pictures, no_labels, ())]
    if large == 4:
        monkeypatch.setattr(loaders, "CANVAS_BYTES", 3 * 900 * 600 * 4 - 1)
        data.append(TensorPictures(torch.stack(pictures), no_labels, ()))
    changes = ["train.batch_size_per_gpu=4", f"crops.pipeline={pipeline}"]
    for some in data:
        with LargestTensor() as largest:
            stream = loaders.ssl_batches(some, load_config("demo", changes), torch.device("cpu"))
            batch = next(stream)
        assert largest.most <= 3 * 900 * 600
        assert batch.local_crops.isfinite().all() and len(batch.global_crops) == 8
        faults.survived("a batch with pictures of any size", "memory for one picture and the crops")
