"""Stop before a step that would spoil the weights: a loss or a gradient that is not finite.

The check costs no waiting on a GPU: a flag on the device makes the optimiser skip this and all
later steps, and is read when the log is written. The official code steps anyway and stops at the
third such iteration.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


class NonFiniteError(RuntimeError):
    """A loss term or a gradient norm became NaN or infinite; no step was taken with it."""


class FiniteGuard:
    """Looks at the numbers of each step and blocks the optimiser from the first bad one on.

    `everywhere` makes the flags of all processes their maximum, so that all stop or none.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        device: torch.device,
        everywhere: Callable[[Tensor], Tensor] = lambda flags: flags,
    ) -> None:
        self.device, self.everywhere = device, everywhere
        self.stopped = torch.zeros((), device=device)  # 1 from the first bad step on
        self.iteration = torch.tensor(-1, device=device)
        self.names: list[str] = []
        self.bad = torch.zeros(0, dtype=torch.bool, device=device)
        optimizer.found_inf = self.stopped  # type: ignore[attr-defined]  # fused AdamW reads it

    def look(self, iteration: int, values: Mapping[str, Tensor]) -> None:
        """Call after backward and before the optimiser's step; on the CPU it raises at once."""
        if list(values) != self.names:
            self.check()
            self.names = list(values)
            self.bad = torch.zeros(len(values), dtype=torch.bool, device=self.device)
        bad = ~torch.stack([v.detach().float() for v in values.values()]).isfinite()  # [n]
        bad = self.everywhere(bad.float()) > 0
        earlier = self.stopped > 0
        self.bad = torch.where(earlier, self.bad, bad)
        self.iteration = torch.where(earlier, self.iteration, iteration)
        self.stopped.copy_(torch.maximum(self.stopped, bad.any().float()))
        if self.device.type == "cpu":
            self.check()

    def named(self) -> list[str]:
        """The numbers that were bad in the first bad step."""
        return [name for name, bad in zip(self.names, self.bad.tolist(), strict=True) if bad]

    def check(self) -> None:
        """Raise NonFiniteError, with the first bad iteration, if there was one."""
        if self.stopped.item() == 0:
            return
        raise NonFiniteError(
            f"iteration {int(self.iteration)}: {', '.join(self.named())} not finite; the run "
            "stopped before the optimiser's step, and the last checkpoint is good. Try a lower "
            "optim.lr.peak, a longer warm-up or a smaller optim.clip_grad"
        )
