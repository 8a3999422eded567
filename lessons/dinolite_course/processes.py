"""Several processes on this machine, started from Python: what torchrun does, without its command
line, for a notebook or a test. Each is the same program with another RANK in its environment; they
meet at a free port of 127.0.0.1.

No counterpart in the official code, which is started by torchrun or SLURM.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from dinolite import parallel
from dinolite.config import Config, load_config
from dinolite.data.datasets import PictureDataset, load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.run_folder import data_settings
from dinolite.train.train import TrainState, make_state, train_step

TRIES = 3  # another program may take the free port before we do
TAKEN = "EADDRINUSE"


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """The variables by which process `rank` finds the others."""
    own = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": "1",
    }
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:  # gloo would talk through whatever this machine's name leads to
        own["GLOO_SOCKET_IFNAME"] = loopback[0]
    return own


def start(processes: int, module: str, *arguments: str, seconds: float = 120) -> None:
    """Run `python -m module arguments` in so many processes, and wait for all of them.

    Raises:
        ValueError: there is no process to start.
        RuntimeError: one failed, with the end of what it said, or time is up; none is left.
    """
    if processes < 1:
        raise ValueError(f"processes = {processes}; it must be at least 1")
    for attempt in range(TRIES):
        error = attempted(processes, [sys.executable, "-m", module, *arguments], seconds)
        if not error:
            return
        if TAKEN not in error or attempt == TRIES - 1:
            raise RuntimeError(error)


def attempted(processes: int, command: list[str], seconds: float) -> str:
    """One try; returns what went wrong, or nothing."""
    running: list[subprocess.Popen[bytes]] = []
    port = free_port()
    with TemporaryDirectory() as folder:
        try:
            for rank in range(processes):
                env = os.environ | environment(rank, processes, port)
                with open(Path(folder, str(rank)), "wb") as words:
                    process = subprocess.Popen(
                        command, env=env, stdin=subprocess.DEVNULL, stdout=words, stderr=words
                    )
                running.append(process)
            failed, how = first_failure(running, seconds)
        finally:
            for process in running:
                process.kill()  # nothing happens to those that have ended
                process.wait()
        if failed is None:
            return ""
        said = Path(folder, str(failed)).read_text("utf8", errors="replace")
    return f"process {failed} of {processes} {how}: {said[-2000:]}"


def first_failure(running: list[subprocess.Popen[bytes]], seconds: float) -> tuple[int | None, str]:
    """Wait for all; the number of one that failed, or is still there at the end, and how."""
    deadline = time.monotonic() + seconds
    while True:
        codes = [process.poll() for process in running]
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                return rank, f"ended with {code}"
            if code is None and time.monotonic() > deadline:
                return rank, f"was not done after {seconds} s"
        if None not in codes:
            return None, ""
        time.sleep(0.02)


def free_port() -> int:
    """A port of this machine that nobody listened to a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Rehearsal(NamedTuple):
    """How it went."""

    said: list[dict[str, float]]
    """For each step its losses and gradient norms, as means over processes."""
    tensors: dict[str, Tensor]
    """Student and teacher after the last step, put together."""
    held: list[dict[str, float]]
    """For each process the bytes of student, gradients, AdamW and teacher."""


def pictures(config: Config) -> PictureDataset:
    """The training data of a recipe."""
    return load_pictures(split="train", **data_settings(config))


def rehearse(config: Config, data: PictureDataset, steps: int) -> Rehearsal:
    """The first steps of a recipe, together with the other processes if there are some."""
    device, world = parallel.pick_device(config.train.device), parallel.world_size()
    state = make_state(config, device)
    who = {"rank": parallel.rank(), "world_size": world}
    said = []
    for batch in ssl_batches(data, config, device, **who):
        values = train_step(state, batch)
        means = {k: parallel.all_reduce(v.detach()) / world for k, v in values.items()}
        said.append({k: float(v) for k, v in means.items()})
        if state.iteration == steps:
            break
    model = state.model.state_dict()
    tensors = {k: parallel.full_tensor(v.detach()).cpu().clone() for k, v in model.items()}
    own = held(state)
    everyones = parallel.all_gather(torch.tensor([[*own.values()]], device=device))
    shares = [dict(zip(own, row, strict=True)) for row in everyones.tolist()]
    return Rehearsal(said, tensors, shares)


def held(state: TrainState) -> dict[str, float]:
    """Bytes on this process by part."""

    def size(tensors: Iterable[Tensor]) -> float:
        local = (x.to_local() if isinstance(x, parallel.DTensor) else x for x in tensors)
        return float(sum(x.numel() * x.element_size() for x in local))

    student = list(state.model.student.parameters())
    moments = [v for s in state.optimizer.state.values() for n, v in s.items() if n != "step"]
    return {
        "student": size(student),
        "gradients": size(p.grad for p in student if p.grad is not None),
        "AdamW": size(moments),
        "teacher": size(state.model.teacher.parameters()),
    }


def difference(a: Rehearsal, b: Rehearsal) -> float:
    """The largest difference of a tensor, in relative L2 norm."""
    pairs = [(a.tensors[name], x) for name, x in b.tensors.items()]
    return max(float((x - y).norm() / y.norm().clamp(min=1e-8)) for x, y in pairs)


def with_processes(
    processes: int, recipe: str, variants: Mapping[str, Sequence[str]], steps: int
) -> dict[str, Rehearsal]:
    """Rehearse several variants of a recipe in one start of so many processes.

    Args:
        variants: {"DDP": ["train.parallel=ddp", ...]}, changes of the recipe by name; all use the
            pictures of the first.

    Raises:
        RuntimeError: a process failed or took too long; see `launching.start`.
    """
    with TemporaryDirectory() as folder:
        asked = (folder, recipe, str(steps), json.dumps({k: list(v) for k, v in variants.items()}))
        start(processes, "dinolite_course.processes", *asked)
        places = {name: Path(folder, f"{i}.pt") for i, name in enumerate(variants)}
        return {name: Rehearsal(**torch.load(place)) for name, place in places.items()}


def main() -> None:
    """One process of `with_processes`."""
    folder, recipe, steps, variants = sys.argv[1:]
    configs = [load_config(recipe, changes) for changes in json.loads(variants).values()]
    with parallel.process_group(parallel.pick_device(configs[0].train.device)):
        data = pictures(configs[0])
        for i, config in enumerate(configs):
            result = rehearse(config, data, int(steps))
            if parallel.is_main():
                torch.save(result._asdict(), Path(folder, f"{i}.pt"))


if __name__ == "__main__":
    main()
