"""Exercise 17.4, a net that hides behind balanced targets: an answer, which of them are right, and
what people get wrong.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.train.monitors import entropy
from dinolite_course.checking import Remark


def hidden(n: int) -> Tensor:
    scores = 20 * torch.eye(n)
    scores[:, 0] += 100
    return scores


def first_only(n: int) -> Tensor:
    scores = torch.zeros(n, n)
    scores[:, 0] = 100
    return scores


def in_pairs(n: int) -> Tensor:
    """Two pictures prefer the same two prototypes."""
    scores = 20 * torch.eye(n // 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    scores[:, 0] += 100
    return scores


EVEN = "these raw answers are even, not for one prototype"
SEVERAL = "raw, pictures name different prototypes already; lift one column for all of them"
ALIKE = (
    "the targets have nothing to tell pictures apart by: all rows are alike, or nearly, so "
    "Sinkhorn makes them even"
)
SHARED = "raw, all is hidden; but not every target is sure of a prototype of its own"


def whose(function: Callable[[int], Tensor], n: int) -> str:
    """Tries the scores; a list of lists is fine, too.

    Raises:
        Remark: what raw answers or targets have wrong, or another shape, or infinite scores.
    """
    found = function(n)
    if found is None:
        raise Remark("it returned None; does the last line say return?")
    scores = torch.as_tensor(found).float()
    if scores.shape != (n, n):
        raise Remark(f"the shape is {list(scores.shape)}, wanted is [{n}, {n}]")
    if not scores.isfinite().all():
        raise Remark("some scores are infinite or nan; large ones will do")
    raw, target = scores.softmax(dim=1), sinkhorn_knopp(scores, 1.0)
    if entropy(raw.mean(dim=0, keepdim=True)).exp() > 1.1:
        raise Remark(EVEN if raw.amax() < 0.5 else SEVERAL)
    if target.amax() < 0.45:
        raise Remark(ALIKE)
    if len(target.argmax(dim=1).unique()) < n or target.amax(dim=1).min() < 0.6:
        raise Remark(SHARED)
    return "hidden"


MISTAKES = (
    (ALIKE, first_only),
    (SEVERAL, lambda n: 20 * torch.eye(n)),
    (EVEN, lambda n: torch.zeros(n, n)),
    (SHARED, in_pairs),
)
