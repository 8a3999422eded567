"""Many processes as if they were one: sums and gathers over all of them, which are the identity
when there is only one. Started by torchrun, or not at all. `sharding.py` is for models that one
process cannot hold.

Official `distributed/torch_wrapper.py`.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def is_enabled() -> bool:
    """Is there a process group?"""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if is_enabled() else 1


def rank() -> int:
    """This process's number; 0 without a process group."""
    return dist.get_rank() if is_enabled() else 0


def is_main() -> bool:
    """Is this the process that writes files and prints?"""
    return rank() == 0


def is_main_rank() -> bool:
    """The same before the group is joined and after it was left: what torchrun said."""
    return int(os.environ.get("RANK", 0)) == 0


def pick_device(wanted: str = "auto") -> torch.device:
    """ "auto": this process's GPU if there is one, else the CPU."""
    if wanted != "auto":
        try:
            return torch.device(wanted)
        except RuntimeError:
            raise ValueError(f"device = {wanted!r}; use auto, cpu, cuda, cuda:N or mps") from None
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the group that torchrun prepared (nccl on cuda, gloo else); leave it at the end."""
    if "WORLD_SIZE" not in os.environ or is_enabled():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        barrier()  # gloo's threads let go of their tensors; at Python's end that would abort
    finally:
        dist.destroy_process_group()


def all_reduce(x: Tensor, op: Literal["sum", "max"] = "sum") -> Tensor:
    """Sum or maximum over processes, in a new tensor; no gradient."""
    if world_size() == 1:
        return x
    x = x.clone()
    dist.all_reduce(x, dist.ReduceOp.SUM if op == "sum" else dist.ReduceOp.MAX)
    return x


class GatherWithGradient(torch.autograd.Function):
    """Everyone's tensors, stacked; backwards, everyone's gradients of one's own are summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)  # [world, B, ...]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce(grads[0].contiguous())[rank()]


def all_gather(x: Tensor) -> Tensor:
    """The processes' tensors [B, ...] one after another [world x B, ...]; gradients flow back."""
    if world_size() == 1:
        return x
    gathered: Tensor = GatherWithGradient.apply(x)
    return gathered.flatten(0, 1)


def from_main(value: T) -> T:
    """What the main process holds, for all; any object that can be pickled."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """DistributedDataParallel around a model if there are several processes: each has all of it."""
    if world_size() == 1:
        return model
    ids: Any = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():  # newer versions have another word for it, older ones only this
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return nn.parallel.DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
