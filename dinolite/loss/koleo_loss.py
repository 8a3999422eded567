"""Keep features apart: every feature pushes away from its nearest neighbour in the batch, by the
log of the distance, so that all of them spread over the sphere (an estimate of differential
entropy).

KoLeo, arXiv 1806.03198; DINOv2 Sec. 4 "KoLeo regularizer"; DINOv3 Sec. 3.2; official
`loss/koleo_loss.py::KoLeoLoss` and `KoLeoLossDistributed`, one class here.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.parallel import all_gather, rank, world_size


class KoLeoLoss(nn.Module):
    """-mean log(distance to the `topk` nearest neighbours), on the unit sphere, in float32.

    Args:
        topk: number of neighbours, at least 1.
        distributed: search among the samples of all processes, not only one's own.
        loss_group_size: samples in a search; None = all. A multiple of the local batch that
            divides the batch of all processes.
        eps: added to distances, so that equal features give a finite loss (about 16).
    """

    def __init__(
        self,
        topk: int = 1,
        distributed: bool = False,
        loss_group_size: int | None = None,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        if topk < 1:
            raise ValueError(f"topk = {topk}; it must be at least 1")
        self.topk, self.distributed = topk, distributed
        self.loss_group_size, self.eps = loss_group_size, eps

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """The loss of this process's samples; the gradient reaches their neighbours, too."""
        with torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1, eps=self.eps)
            bank, mine = self.search_group(x)
            with torch.no_grad():
                similarity = x @ bank.T  # [B, G]
                similarity.scatter_(1, mine[:, None], -2.0)  # not its own neighbour
                neighbours = similarity.topk(self.topk, dim=1).indices  # [B, topk]
            near = bank[neighbours]  # [B, topk, D]
            distance = F.pairwise_distance(x[:, None], near, p=2, eps=self.eps)  # [B, topk]
            return -torch.log(distance + self.eps).mean()

    def search_group(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The samples [G, D] among which to search, and where this process's own are [B]."""
        own, size = torch.arange(len(x), device=x.device), self.search_size(len(x))
        if not self.distributed:
            return x, own
        everyone, first = all_gather(x), rank() * len(x)
        start = first // size * size
        return everyone[start : start + size], own + first - start

    def search_size(self, batch: int) -> int:
        """Samples in a search, if every process has so many.

        Raises:
            ValueError: they are too few, or cannot be shared out.
        """
        everyone = batch * world_size() if self.distributed else batch
        size = (self.distributed and self.loss_group_size) or everyone
        if size % batch or everyone % size:
            raise ValueError(
                f"koleo_distributed_loss_group_size = {size} must be a multiple of the local batch "
                f"{batch} and divide the batch of all {world_size()} processes, {everyone}"
            )
        if size <= self.topk:
            raise ValueError(f"KoLeo has {size} sample(s), too few for topk = {self.topk}")
        return size
