"""A fill-in-the-blanks game for patches: where the student saw a mask token, it must guess to which
prototypes the teacher, who saw the picture whole, assigns that patch.

iBOT Sec. 3.2; DINOv2 Sec. 4 "Patch-level objective"; official `loss/ibot_patch_loss.py`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class iBOTPatchLoss(nn.Module):
    """Cross-entropy at hidden patches: mean over the hidden patches of a crop, then over crops."""

    def __init__(self, student_temp: float = 0.1) -> None:
        super().__init__()
        self.student_temp = student_temp

    def cross_entropy(
        self, student_logits: Float[Tensor, "*n K"], teacher_probs: Float[Tensor, "*n K"]
    ) -> Float[Tensor, "*n"]:
        """-sum_k p[k] log q[k] for every patch, in float32."""
        log_q = F.log_softmax(student_logits.float() / self.student_temp, dim=-1)
        return -torch.sum(teacher_probs.float() * log_q, dim=-1)

    def forward(
        self,
        student_logits: Float[Tensor, "B N K"],
        teacher_probs: Float[Tensor, "B N K"],
        masks: Bool[Tensor, "B N"],
    ) -> Float[Tensor, ""]:
        """The loss from the scores of all patches; masks: True = hidden. Slow and plain to read."""
        loss = self.cross_entropy(student_logits, teacher_probs)  # [B, N]
        hidden = masks.float()
        return ((loss * hidden).sum(dim=1) / hidden.sum(dim=1).clamp(min=1)).mean()

    def forward_masked(
        self,
        student_logits: Float[Tensor, "M K"],
        teacher_probs: Float[Tensor, "M K"],
        masks_weight: Float[Tensor, "M"],
        n_images: int,
    ) -> Float[Tensor, ""]:
        """The same loss from the scores of the M hidden patches only.

        Args:
            masks_weight: 1 / (number of hidden patches in the crop that the patch is from).
            n_images: number of global crops, those without a mask included.
        """
        loss = self.cross_entropy(student_logits, teacher_probs)  # [M]
        return (loss * masks_weight).sum() / n_images
