"""Which parameters learn how fast: deeper blocks faster than shallow ones, the patch embedding
slowest, no weight decay on biases, norms and LayerScale. The prototypes are groups of their own,
since their schedule freezes them at first.

DINOv2 Table 16, DINOv3 App. C (layer-wise decay); official `train/param_groups.py`.
"""

import re
from typing import Any

from torch import nn


def multipliers(
    name: str, n_blocks: int, layerwise_decay: float, patch_embed_lr_mult: float
) -> tuple[float, float, bool]:
    """(lr multiplier, weight decay multiplier, is it the prototypes) of a parameter.

    `n_blocks` is 0 for the heads, whose multiplier is 1. CLS, storage and mask tokens are decayed,
    as in the official code, though a comment there says otherwise.
    """
    layer = n_blocks + 1
    if n_blocks:
        block = re.search(r"\bblocks\.(\d+)\.", name)
        if block:
            layer = int(block[1]) + 1
        elif re.search(r"(cls_token|storage_tokens|mask_token|patch_embed)", name):
            layer = 0
    lr = layerwise_decay ** (n_blocks + 1 - layer)
    if "patch_embed" in name:
        lr *= patch_embed_lr_mult
    undecayed = name.endswith("bias") or "norm" in name or "gamma" in name
    return lr, 0.0 if undecayed else 1.0, "last_layer" in name


def get_params_groups(
    student: nn.ModuleDict, layerwise_decay: float, patch_embed_lr_mult: float
) -> list[dict[str, Any]]:
    """Optimiser groups, one for each module and combination of multipliers.

    Each has `params`, `lr_multiplier`, `wd_multiplier`, `is_last_layer`; `set_rates` turns these
    into lr and weight decay at every iteration.
    """
    groups: dict[Any, dict[str, Any]] = {}
    for module_name, module in student.items():
        blocks = dict(module.named_children()).get("blocks")
        n_blocks = len(list(blocks.children())) if blocks is not None else 0
        for name, param in module.named_parameters():
            lr, wd, last = multipliers(name, n_blocks, layerwise_decay, patch_embed_lr_mult)
            group = groups.setdefault(
                (module_name, lr, wd, last),
                {"params": [], "lr_multiplier": lr, "wd_multiplier": wd, "is_last_layer": last},
            )
            group["params"].append(param)
    return list(groups.values())


def set_rates(
    groups: list[dict[str, Any]], lr: float, last_layer_lr: float, weight_decay: float
) -> None:
    """Write this iteration's learning rate and weight decay into the optimiser's groups."""
    for group in groups:
        group["lr"] = (last_layer_lr if group["is_last_layer"] else lr) * group["lr_multiplier"]
        group["weight_decay"] = weight_decay * group["wd_multiplier"]
