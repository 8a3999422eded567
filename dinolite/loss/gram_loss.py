"""Keep the relations between patches: the student's table of patch-to-patch similarities must stay
like that of an early teacher, while the features themselves may go on moving.

DINOv3 Sec. 4.2 Eq. (2); official `loss/gram_loss.py::GramLoss`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GramLoss(nn.Module):
    """Mean squared difference of two Gram matrices X X^T of patch features.

    Args:
        apply_norm: unit-length patches, so that entries are cosines.
        img_level: compare patches within one image; else among all patches of the batch.
        remove_neg: negative similarities count as 0 on both sides.
        remove_only_teacher_neg: only the teacher's negatives count as 0.
    """

    def __init__(
        self,
        apply_norm: bool = True,
        img_level: bool = True,
        remove_neg: bool = False,
        remove_only_teacher_neg: bool = False,
    ) -> None:
        super().__init__()
        if remove_neg and remove_only_teacher_neg:
            raise ValueError("remove_neg and remove_only_teacher_neg exclude each other")
        self.apply_norm, self.img_level = apply_norm, img_level
        self.remove_neg, self.remove_only_teacher_neg = remove_neg, remove_only_teacher_neg

    def forward(
        self, student: Float[Tensor, "*B N D"], teacher: Float[Tensor, "*B N D"]
    ) -> Float[Tensor, ""]:
        """Features [B, N, D], or a flat selection [n, D] where `img_level` is off."""
        with torch.autocast(student.device.type, enabled=False):
            student_gram, teacher_gram = self.gram(student), self.gram(teacher)
            if self.remove_neg:
                student_gram = student_gram.clamp(min=0)
            if self.remove_neg or self.remove_only_teacher_neg:
                # The official code also means to clear the student where both are negative, but
                # looks after the teacher was cleared, so nothing happens; the same here.
                teacher_gram = teacher_gram.clamp(min=0)
            return F.mse_loss(student_gram, teacher_gram)

    def gram(self, x: Tensor) -> Tensor:
        """[B, N, N], or [B N, B N] for the whole batch."""
        x = x.float()
        if self.apply_norm:
            x = F.normalize(x, dim=-1)
        if not self.img_level:
            x = x.reshape(-1, x.shape[-1])
        return x @ x.transpose(-1, -2)
