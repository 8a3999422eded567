"""From teacher scores to targets that use every prototype equally: each sample spreads one unit of
mass over the prototypes, each prototype receives the same share, and three rounds of rescaling get
close.

SwAV Sec. 3.1 Eq. (5); DINOv2 Sec. 4 "Sinkhorn-Knopp centering"; DINOv3 Sec. 3.2. Official
`DINOLoss.sinkhorn_knopp_teacher` and `iBOTPatchLoss.SinkhornKnoppTeacher`: one function here, in
log space, so that large scores do not overflow.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dinolite.parallel import all_reduce, world_size


@torch.no_grad()
def sinkhorn_knopp(
    teacher_logits: Float[Tensor, "n K"], teacher_temp: float, n_iterations: int = 3
) -> Float[Tensor, "n K"]:
    """Targets of all samples of all processes, found together.

    Args:
        teacher_logits: scores of this process's n samples (n may differ between processes).
        teacher_temp: > 0; smaller is sharper.
        n_iterations: rounds, at least 1.

    Returns:
        float32 probabilities: rows sum to 1; columns sum to about (samples of all processes) / K.
    """
    if teacher_temp <= 0 or n_iterations < 1:
        raise ValueError(
            f"teacher_temp = {teacher_temp} must be above 0 and n_iterations = {n_iterations} at "
            "least 1"
        )
    log_q = teacher_logits.float() / teacher_temp  # [n, K]
    for _ in range(n_iterations):
        log_q = log_q - logsumexp_over_samples(log_q)  # every prototype: one unit of mass
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)  # every sample: one unit of mass
    return log_q.exp()


def logsumexp_over_samples(log_q: Float[Tensor, "n K"]) -> Float[Tensor, "1 K"]:
    """log of the column sums over the samples of all processes."""
    if world_size() == 1:
        return log_q.logsumexp(dim=0, keepdim=True)
    empty = log_q.new_full((1, log_q.shape[1]), -torch.inf)
    peak = all_reduce(torch.cat([empty, log_q]).amax(dim=0), "max")  # [K]; n may be 0 here
    return (all_reduce((log_q - peak).exp().sum(dim=0)).log() + peak)[None]
