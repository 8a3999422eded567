"""Exercise 23.4, several processes in one: each tensor knows which process holds it, and an answer
that would send more than one number for each prototype is noticed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


class NotSent(Exception):
    """Two processes' samples would have to meet in one place."""


class OfProcess(Tensor):
    """A tensor that knows which process holds it, None for all. Two that are held by different
    processes meet only where all but one have at most K numbers, for these can be sent.
    """

    home: int | None = None
    K: int = 0

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        mine = [x for x in tree_leaves((args, kwargs)) if isinstance(x, cls)]
        K = max((x.K for x in mine), default=0)
        homes: set[int | None] = {x.home for x in mine}
        with torch._C.DisableTorchFunctionSubclass():
            staying: set[int | None] = {
                x.home for x in mine if x.home is not None and x.numel() > K
            }
        if len(staying) > 1:
            raise NotSent
        result = super().__torch_function__(func, types, args, kwargs)
        for x in tree_leaves(result):
            if isinstance(x, cls):
                x.home = next(iter(staying or homes)) if len(staying or homes) == 1 else None
                x.K = K
        return result


def on_processes(function: Any, parts: list[Tensor]) -> Any:
    """What an answer makes of parts that lie on different processes."""
    held = []
    for process, part in enumerate(parts):
        own = part.as_subclass(OfProcess)
        own.home, own.K = process, part.shape[1]
        held.append(own)
    try:
        result = function(held)
    except NotSent:
        return "more than K numbers sent"
    return result.as_subclass(Tensor) if isinstance(result, Tensor) else result
