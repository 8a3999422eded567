"""Exercise 11.3, Sinkhorn-Knopp for scores of any size: the answer, scores that tell the ways to
compute it apart, and what people get wrong.
"""

import torch
from torch import Tensor

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp


def sinkhorn(logits: Tensor, temp: float, rounds: int) -> Tensor:
    return sinkhorn_knopp(logits, temp, rounds)


def crops_first(logits: Tensor, temp: float, rounds: int) -> Tensor:
    log_q = logits / temp
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
    return log_q.exp()


def still_logs(logits: Tensor, temp: float, rounds: int) -> Tensor:
    log_q = logits / temp
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q


def exp_form(logits: Tensor, temp: float, rounds: int) -> Tensor:
    q = (logits / temp).exp()
    for _ in range(rounds):
        q = q / q.sum(dim=0, keepdim=True)
        q = q / q.sum(dim=1, keepdim=True)
    return q


def own_maximum(logits: Tensor, temp: float, rounds: int) -> Tensor:
    """Harmless for a softmax, not for Sinkhorn-Knopp: a crop's constant changes the columns."""
    return sinkhorn_knopp(logits - logits.amax(dim=1, keepdim=True), temp, rounds)


def ordinary_and_large() -> list[tuple[Tensor, float, int]]:
    """Scores as a head gives them, some that are far above 88 times the temperature, and crops
    whose scores are all larger or smaller than those of others by 1000 temperatures.
    """
    draw = torch.Generator().manual_seed(2)
    scores = 0.3 * torch.randn(6, 4, generator=draw)
    apart = scores + torch.tensor([0.0, 0, 40, 0, -40, 0])[:, None]
    return [(scores, 0.1, 2), (20 * scores, 0.04, 2), (apart, 0.04, 4), (scores[:, :3] + 1, 0.1, 1)]
