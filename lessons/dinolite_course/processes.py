"""The first steps of a recipe by one process or by several, for lesson 23 and for tests: `rehearse`
takes them in this process, `with_processes` has torchrun start a few that do the same together.

The official code is started by torchrun or SLURM, too.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import record

from dinolite import parallel
from dinolite.config import Config, load_config
from dinolite.data.datasets import PictureDataset, load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.run_folder import data_settings
from dinolite.train.train import TrainState, make_state, train_step

# --- starting processes ---


def torchrun(processes: int, module: str, *arguments: str) -> list[str]:
    """The command that starts so many copies of a program on this machine."""
    meet = ["--standalone", "--local-addr", "127.0.0.1"]  # a free port of this machine
    return ["torchrun", *meet, "--nproc-per-node", str(processes), "-m", module, *arguments]


def start(processes: int, module: str, *arguments: str, seconds: float = 120) -> None:
    """Run `python -m module arguments` in so many processes, and wait for all of them.

    Raises:
        ValueError: there is no process to start.
        RuntimeError: one failed, with the end of what was said, or time is up; none is left.
    """
    if processes < 1:
        raise ValueError(f"processes = {processes}; it must be at least 1")
    command = torchrun(processes, module, *arguments)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:  # gloo would talk through whatever this machine's name leads to
        env["GLOO_SOCKET_IFNAME"] = loopback[0]
    with subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *command[1:]],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        try:
            output = running.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            reason = f"{processes} processes were not done after {seconds} s"
            raise RuntimeError(reason) from None
        finally:
            running.terminate()  # torchrun ends the processes it started, then itself
    if running.returncode:
        raise RuntimeError(f"one of {processes} processes failed: {output[-3000:]}")


# --- the first steps of a recipe ---


class Rehearsal(NamedTuple):
    """What the first steps of a run gave."""

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
    said = []
    for batch in ssl_batches(data, config, device, rank=parallel.rank(), world_size=world):
        values = train_step(state, batch)
        means = {k: parallel.all_reduce(v.detach()) / world for k, v in values.items()}
        said.append({k: float(v) for k, v in means.items()})
        if state.iteration == steps:
            break
    model = state.model.state_dict()
    tensors = {k: parallel.full_tensor(v.detach()).cpu().clone() for k, v in model.items()}
    own = bytes_held(state)
    gathered = parallel.all_gather(torch.tensor([[*own.values()]], device=device))
    shares = [dict(zip(own, row, strict=True)) for row in gathered.tolist()]
    return Rehearsal(said, tensors, shares)


def bytes_held(state: TrainState) -> dict[str, float]:
    """Bytes on this process by part."""

    def size(tensors: Iterable[Tensor]) -> float:
        local = (x.to_local() if hasattr(x, "to_local") else x for x in tensors)
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
        RuntimeError: a process failed or took too long; see `start`.
    """
    with TemporaryDirectory() as folder:
        changes = json.dumps([list(v) for v in variants.values()])
        start(processes, "dinolite_course.processes", folder, recipe, str(steps), changes)
        files = {name: Path(folder, f"{i}.pt") for i, name in enumerate(variants)}
        return {name: Rehearsal(**torch.load(file)) for name, file in files.items()}


@record  # so that torchrun prints a traceback
def main() -> None:
    """One process of `with_processes`."""
    folder, recipe, steps, variants = sys.argv[1:]
    configs = [load_config(recipe, changes) for changes in json.loads(variants)]
    with parallel.process_group(parallel.pick_device(configs[0].train.device)):
        data = pictures(configs[0])
        for i, config in enumerate(configs):
            result = rehearse(config, data, int(steps))
            if parallel.is_main():
                torch.save(result._asdict(), Path(folder, f"{i}.pt"))


if __name__ == "__main__":
    main()
