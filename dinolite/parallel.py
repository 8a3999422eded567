"""One GPU or many. First the process group that torchrun prepares, and sums and gathers over it:
the identity where there is one process only. Then what is done to the model, in the order in which
it is applied: recomputed activations, torch.compile, bfloat16, a copy in every process (DDP) or a
share in each (FSDP2), gradients clipped.

ZeRO, arXiv 1910.02054, stage 3; DINOv3 App. C; official `distributed/torch_wrapper.py`,
`fsdp/ac_compile_parallelize.py`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from dinolite.config import Config

T = TypeVar("T")


def pick_device(wanted: str = "auto") -> torch.device:
    """ "auto": this process's GPU if there is one, else the CPU."""
    gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", 0))
    if wanted == "auto":
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    here = {"cpu": 1, "cuda": gpus, "mps": int(torch.backends.mps.is_available())}
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"device = {wanted!r}; use auto, cpu, cuda, cuda:N or mps") from None
    if (device.index or 0) >= here.get(device.type, 0):
        raise ValueError(f"device = {wanted!r} is not in this machine; use auto or cpu")
    return device


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
    """Is this the process that writes files and prints? Before the group is joined and after it was
    left, torchrun's RANK tells (without WORLD_SIZE there is no group to join)."""
    if not is_enabled() and "WORLD_SIZE" in os.environ:
        return int(os.environ.get("RANK", 0)) == 0
    return rank() == 0


def global_batch_size(config: Config) -> int:
    """Pictures of all processes together."""
    return config.train.batch_size_per_gpu * world_size()


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
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


def broadcast_object(value: T) -> T:
    """The main process's value on all processes; any object that can be pickled."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def parallelize(model: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """Make an `SSLMetaArch` ready: recomputation, compilation, the device and all processes, in the
    official order. With FSDP2 a part moves to the device when it is sharded, so the whole model
    need not fit there.

    Returns:
        the module to call: DDP's, which has the model inside, else the model itself.
    """
    networks = [n for n in model.children() if isinstance(n, nn.ModuleDict)]  # student, teachers
    for block in model.get_submodule("student.backbone.blocks").children():
        recompute(block, config)
    if config.train.compile and device.type == "cuda":
        for network in networks:
            for block in network.get_submodule("backbone.blocks").children():
                block.compile()
    if config.train.parallel == "fsdp2":
        shard(networks, device, uses_bfloat16(config, device))
        return model.to(device)
    return wrap(model.to(device), device, config)


COSTLY = (
    "mm",
    "addmm",  # with a bias; the official list has none, its products are in fp8
    "_scaled_mm",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_cudnn_attention",
)


def recompute(block: nn.Module, config: Config) -> None:
    """Let a block forget what is inside it until the backward pass: all of it, or, which is cheaper
    to make up for, all but the results of matrix products and attention."""
    full, selective = config.train.checkpointing_full, config.train.checkpointing
    block.recompute = full or selective  # type: ignore[assignment]
    if selective and not full:
        kept = [getattr(torch.ops.aten, name).default for name in COSTLY]
        contexts = partial(create_selective_checkpoint_contexts, kept)
        block.keeping = {"context_fn": contexts}  # type: ignore[assignment]


def uses_bfloat16(config: Config, device: torch.device) -> bool:
    """Do the settings, or else the device, ask for bfloat16 in the matrix products?"""
    wanted = config.train.precision
    return wanted == "bfloat16" or (wanted == "auto" and device.type == "cuda")


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """bfloat16 for the matrix products where the settings or the device ask for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(config, device))


def wrap(model: nn.Module, device: torch.device, config: Config) -> nn.Module:
    """DistributedDataParallel around a model if there are several processes: each has all of it."""
    if world_size() == 1:
        return model
    weights = config.dino.loss_weight, config.ibot.loss_weight
    norm = config.student.untie_global_and_local_cls_norm and config.dino.reweight_dino_local_loss
    unused = norm or 0 in weights  # no term then needs a head or a norm, at least in some steps
    ids: Any = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():  # newer versions have another word for it, older ones only this
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        return nn.parallel.DistributedDataParallel(
            model, device_ids=ids, broadcast_buffers=False, find_unused_parameters=unused
        )


def can_shard_on_cpu() -> bool:
    """FSDP2 on a CPU: torch 2.6 cannot, later ones can."""
    return hasattr(torch.cpu.Stream, "record_event")


def shard(networks: Iterable[nn.Module], device: torch.device, bfloat16: bool) -> None:
    """Leave each process its share of every block, of the rest of every backbone and of every head.

    FSDP2, in place, if there are several processes: whoever computes gathers a part right before
    it and lets go right after. Networks alike are shared out alike. With `bfloat16` that is what
    is gathered; shares, gradients between processes and what the optimiser keeps stay float32.
    """
    if world_size() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if device.type == "cpu" and not can_shard_on_cpu():
        raise ValueError(
            f'train.parallel = "fsdp2" on the CPU needs a torch newer than {torch.__version__}; '
            'use "ddp", or a GPU'
        )
    policy = MixedPrecisionPolicy()
    if bfloat16:  # inputs stay as they are: the tables of RoPE are float32, autocast does the rest
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (world_size(),))
    for part in (child for network in networks for child in network.children()):
        blocks = dict(part.named_children()).get("blocks", nn.ModuleList())
        for module in (*blocks.children(), part):
            fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        if not any(p.requires_grad for p in part.parameters()):
            # It has no backward pass after which to let go, and torch 2.6 keeps the outermost.
            part.register_forward_hook(reshard)


def reshard(module: nn.Module, inputs: object, output: object) -> None:
    """A forward hook: each process keeps its share of the module alone."""
    module.reshard()  # type: ignore[operator]


def clip_grad_norm_(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Shrink the gradients so that their common norm, over all shares, is at most `max_norm`; None
    leaves them as they are.

    Returns:
        the norm as it was before, the same on every process.
    """
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    norm = full_tensor(norm)
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def full_tensor(x: Tensor) -> Tensor:
    """A tensor of which every process has a share, gathered; all processes must call this."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def full_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """A state dict of full tensors on the CPU; all processes must call this, the main one gets it.

    One tensor is gathered at a time, so it works where a device could not hold the whole module.
    """
    whole = ((name, full_tensor(x.detach())) for name, x in module.state_dict().items())
    return {name: x.cpu() for name, x in whole if is_main()}
