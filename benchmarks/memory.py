"""Memory of a pass, counted and not guessed: weights, gradients, AdamW's two moments, and what
autograd keeps for the backward pass (every tensor that is saved, each storage once).

    python -m benchmarks.memory [--size vit_small] [--batch 4] [--side 224]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.backbone import BESIDE, autocast_call, models
from benchmarks.record import Table, device, print_table, start

MEGA = 1e6


def saved_bytes(model: nn.Module, x: Tensor) -> int:
    """Bytes that one forward pass keeps alive for the backward pass, weights not counted."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = autocast_call(model, x)()
    del out
    return sum(kept.values())


def parameter_bytes(model: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def measure(
    size: str = "vit_small", batch: int = 4, side: int = 224, beside: Sequence[str] = BESIDE
) -> Table:
    """Megabytes of each implementation."""
    to = device()
    torch.manual_seed(0)
    x, rows = torch.randn(batch, 3, side, side, device=to), []
    for name, model in models(size, to, beside).items():
        weights = parameter_bytes(model)
        kept = saved_bytes(model, x)
        rows.append([name, weights / MEGA, weights / MEGA, 2 * weights / MEGA, kept / batch / MEGA])
    columns = ["implementation", "weights MB", "gradients MB", "AdamW MB", "saved MB a picture"]
    return Table(
        "memory", f"{size}/16, {side} px, float32 on CPU, bfloat16 autocast on CUDA", columns, rows
    )


def main(size: str = "vit_small", batch: int = 4, side: int = 224) -> None:
    print_table(measure(size, batch, side))


if __name__ == "__main__":
    start(main)
