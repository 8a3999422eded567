"""The teacher is a slow copy of the student: after every step it moves a little towards it.

DINO Sec. 3.1 "Teacher network"; official `SSLMetaArch.update_ema`.
"""

import torch
from torch import nn


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum x teacher + (1 - momentum) x student, for every parameter, in place.

    Buffers are left alone, as in the official code. One fused call, no loop over parameters.
    """
    mine, theirs = dict(teacher.named_parameters()), dict(student.named_parameters())
    if mine.keys() != theirs.keys():
        odd = sorted(mine.keys() ^ theirs.keys())
        raise ValueError(f"teacher and student differ in their parameters: {', '.join(odd[:5])}")
    torch._foreach_lerp_(list(mine.values()), [theirs[name] for name in mine], 1 - momentum)
