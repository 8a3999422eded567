"""Ways to try an answer that see more than its numbers: an argument changed in place, 0 and 1 for
False and True, whole numbers kept as floats, a Python number where a tensor with one is meant.

What is to be refused becomes a word, so that a known mistake that does the same can be named.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


def keeping(function: Function, *arguments: Any) -> Any:
    """What a function returns, or a word if an argument is another one afterwards."""
    before = [a.clone() for a in arguments if isinstance(a, Tensor)]
    found = function(*arguments)
    after = [a for a in arguments if isinstance(a, Tensor)]
    return found if all(map(torch.equal, before, after)) else "changed an argument"


def as_number(function: Function, *arguments: Any) -> Any:
    """As `keeping`; a Python float is as good as a tensor []."""
    found = keeping(function, *arguments)
    return torch.tensor(found) if isinstance(found, float) else found


def as_bools(function: Function, *arguments: Any) -> Any:
    """What a function returns, or a word for a tensor of whole numbers."""
    found = function(*arguments)
    whole = isinstance(found, Tensor) and not found.is_floating_point()
    return "0 and 1" if whole and found.dtype != torch.bool else found


def as_ints(function: Function, *arguments: Any) -> Any:
    """What a function returns, or a word for a list of floats that are whole."""
    found = function(*arguments)
    listed = isinstance(found, tuple | list) and any(isinstance(x, float) for x in found)
    return "floats" if listed and all(x == int(x) for x in found) else found


def change(*arguments: Any) -> None:
    """The mistake itself."""
    for argument in arguments:
        if isinstance(argument, Tensor) and argument.is_floating_point():
            argument += 1


CHANGED = ("that changes an argument in place, and its caller loses it: make a new tensor", change)
