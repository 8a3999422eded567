"""Several processes that train together, forked from one that has imported all (`preloaded`)."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dinolite import parallel


def prepare() -> None:
    """Before the first fork."""
    multiprocessing.set_forkserver_preload(["tests.preloaded"])


def together(world: int, folder: Path, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `job(world, *arguments)` returns in each of so many gloo processes, by rank."""
    prepare()
    meet = folder / f"meet{world}"
    meet.mkdir()
    mp.start_processes(
        one, (world, str(meet), job, arguments), nprocs=world, start_method="forkserver"
    )
    return [torch.load(meet / f"{rank}.pt", weights_only=False) for rank in range(world)]


def one(rank: int, world: int, meet: str, job: Callable[..., Any], arguments: Any) -> None:
    """One of them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meet}/meet", rank=rank, world_size=world)
    torch.save(job(world, *arguments), f"{meet}/{rank}.pt")
    parallel.barrier()  # nobody leaves while another still talks, as in `parallel.processes`
    dist.destroy_process_group()
