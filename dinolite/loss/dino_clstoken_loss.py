"""The student must guess, from a masked or a small view of a picture, to which prototypes the
teacher assigns another view of it: a cross-entropy between two distributions over K prototypes.

DINO Eq. (2), (3); DINOv3 Eq. (1); official `loss/dino_clstoken_loss.py::DINOLoss`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.parallel import all_reduce


class SoftmaxCenter(nn.Module):
    """Targets the older way: subtract a running mean of the scores, then sharpen (DINO Eq. (4))."""

    center: Tensor

    def __init__(self, out_dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("center", torch.zeros(1, out_dim))

    @torch.no_grad()
    def forward(
        self, teacher_logits: Float[Tensor, "n K"], teacher_temp: float
    ) -> Float[Tensor, "n K"]:
        """softmax((scores - center) / temperature), float32."""
        return ((teacher_logits.float() - self.center) / teacher_temp).softmax(dim=-1)

    @torch.no_grad()
    def update(self, teacher_logits: Float[Tensor, "n K"]) -> None:
        """Move the center towards the mean score of the samples of all processes, if any."""
        total = all_reduce(teacher_logits.float().sum(dim=0, keepdim=True))  # [1, K]
        count = all_reduce(total.new_full((1,), float(len(teacher_logits))))
        mean = torch.where(count > 0, total / count.clamp(min=1), self.center)
        self.center.lerp_(mean, 1 - self.momentum)


class DINOLoss(nn.Module):
    """Cross-entropy over pairs of a student crop and a teacher crop of the same picture."""

    def __init__(self, student_temp: float = 0.1) -> None:
        super().__init__()
        self.student_temp = student_temp

    def forward(
        self,
        student_logits: Float[Tensor, "s B K"],
        teacher_probs: Float[Tensor, "t B K"],
        ignore_diagonal: bool = False,
    ) -> Float[Tensor, ""]:
        """Mean of -sum_k p_t[k] log q_s[k] over pictures b and pairs (s, t) of crops.

        With `ignore_diagonal` the pairs with s = t, the same view on both sides, do not count.

        Raises:
            ValueError: no pair is left.
        """
        s, B, _ = student_logits.shape
        t = teacher_probs.shape[0]
        if s * t == (min(s, t) if ignore_diagonal else 0):
            raise ValueError(
                f"{s} student and {t} teacher crops make no pair to compare with ignore_diagonal = "
                f"{ignore_diagonal}; give one crop of each, two of one side without the diagonal"
            )
        log_q = F.log_softmax(student_logits.float() / self.student_temp, dim=-1)  # [s, B, K]
        pairs = -torch.einsum("sbk,tbk->st", log_q, teacher_probs.float())
        if not ignore_diagonal:
            return pairs.sum() / (B * s * t)
        return (pairs.sum() - pairs.diagonal().sum()) / (B * (s * t - min(s, t)))
