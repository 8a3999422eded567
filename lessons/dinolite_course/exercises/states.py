"""Dictionaries of tensors: ways to try an answer that gets and returns some (lessons 14, 22)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dinolite_course.checking import Remark

State = dict[str, Tensor]
CHANGED = "that changes a dictionary or a tensor it was given; make new ones"


def by_name(function: Callable[..., State], *arguments: Any) -> list[tuple[str, Tensor]] | None:
    """Names and tensors, whatever their order.

    Raises:
        Remark: the answer is no dictionary, or one that it was given is another one afterwards.
    """
    given = [(a, list(a.items())) for a in arguments if isinstance(a, dict)]
    copies = [[w.clone() for _, w in items] for _, items in given]
    found = function(*arguments)
    for (state, items), old in zip(given, copies, strict=True):
        intact = [(n, id(w)) for n, w in state.items()] == [(n, id(w)) for n, w in items]
        if not intact or not all(torch.equal(w, c) for (_, w), c in zip(items, old, strict=True)):
            raise Remark(CHANGED)
    if found is not None and not isinstance(found, dict):
        raise Remark("return a dictionary from names to tensors")
    return None if found is None else sorted(found.items())


def with_dtypes(
    function: Callable[..., State], state: State
) -> list[tuple[str, str, Tensor]] | None:
    """As `by_name`; what each tensor is stored as counts, too."""
    found = by_name(function, state)
    return None if found is None else [(name, str(w.dtype), w) for name, w in found]
