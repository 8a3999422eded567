"""A model that no process holds whole: each has a share of every layer (FSDP2), gathers a layer
from the others right before it computes with it, and lets go right after. The model does not know.

ZeRO, arXiv 1910.02054, stage 3; DINOv3 App. C; official `fsdp/ac_compile_parallelize.py`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from dinolite.distributed import is_main, world_size


def can_share_on_cpu() -> bool:
    """torch 2.6 cannot, later ones can."""
    return hasattr(torch.cpu.Stream, "record_event")


def shard(networks: Iterable[nn.Module], device: torch.device, bfloat16: bool) -> None:
    """Leave each process its share of every block, of the rest of every backbone and of every head.

    FSDP2, in place, if there are several processes: whoever computes gathers a part right before
    it and lets go right after. Networks alike are shared out alike. With `bfloat16` that is what
    is gathered; shares, gradients between processes and what the optimiser keeps stay float32.
    """
    if world_size() == 1:
        return
    if device.type == "cpu" and not can_share_on_cpu():
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
            part.register_forward_hook(let_go)


def let_go(module: nn.Module, inputs: object, output: object) -> None:
    """A forward hook: back to shares."""
    assert isinstance(module, FSDPModule)
    module.reshard()


def clip_grad_norm_(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Shrink the gradients so that their common norm, over all shares, is at most `max_norm`.

    Returns:
        the norm as it was before, the same on every process.
    """
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    norm = whole(norm)
    nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def whole(x: Tensor) -> Tensor:
    """A tensor of which everyone has a share, put together; all processes must call this."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def whole_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """A state dict without shares, on the CPU; all processes must call this, the main one gets it.

    One tensor is put together at a time, so it fits where the module alone would not.
    """
    out = {}
    for name, x in module.state_dict().items():
        x = whole(x.detach())
        if is_main():
            out[name] = x.cpu()
    return out
