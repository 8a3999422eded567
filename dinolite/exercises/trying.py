"""Ways to try an answer that see more than its numbers: an argument changed in place, 0 and 1 for
False and True, whole numbers kept as floats, a Python number where a tensor with one is meant.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dinolite.exercises.exercise import Remark

Function = Callable[..., Any]


def keeping(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: an argument is another one afterwards.
    """
    before = [a.clone() for a in arguments if isinstance(a, Tensor)]
    found = function(*arguments)
    after = [a for a in arguments if isinstance(a, Tensor)]
    if not all(map(torch.equal, before, after)):
        raise Remark(
            "that changes an argument in place, and its caller loses it: make a new tensor"
        )
    return found


@torch.no_grad()
def without_gradients(function: Function, *arguments: Any) -> Any:
    """As `keeping`, for a forward pass through trainable weights."""
    return keeping(function, *arguments)


def as_number(function: Function, *arguments: Any) -> Any:
    """As `keeping`; a Python float is as good as a tensor []."""
    found = keeping(function, *arguments)
    return torch.tensor(found) if isinstance(found, float) else found


def as_bools(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: a tensor of whole numbers.
    """
    found = function(*arguments)
    whole = isinstance(found, Tensor) and not found.is_floating_point()
    if whole and found.dtype != torch.bool:
        raise Remark("True and False are wanted, not 1 and 0")
    return found


def as_ints(function: Function, *arguments: Any) -> Any:
    """What a function returns.

    Raises:
        Remark: a list with floats in it.
    """
    found = function(*arguments)
    if isinstance(found, tuple | list) and any(isinstance(x, float) for x in found):
        raise Remark("whole numbers are wanted, not floats: a count is an int")
    return found
