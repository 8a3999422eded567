"""Student and teacher, each a backbone with two heads, and one forward pass from a batch of crops
to the losses. The teacher sees the global crops uncovered and gets no gradient; the student sees
them with masked patches, and the small local crops. A Gram teacher may join late in training.

DINOv3 Sec. 3.2 Eq. (1), Sec. 4.2 Eq. (2); official `train/ssl_meta_arch.py::SSLMetaArch`.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.config import Config
from dinolite.data.masking import SSLBatch
from dinolite.layers.dino_head import DINOHead
from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.models.vision_transformer import DinoVisionTransformer, build_backbone
from dinolite.train.ema import update_ema
from dinolite.train.gram import compared_patches, load_backbone, resize_patches
from dinolite.train.handover import load_teacher
from dinolite.train.monitors import entropy, spread

N_GLOBAL = 2  # global crops per picture, as everywhere in the DINO family


class TeacherOutput(NamedTuple):
    """From the G = 2 global crops of B pictures, uncovered: features before the heads, and what the
    heads and Sinkhorn-Knopp (or centering) make of them, probabilities over K prototypes. M masked
    patches of all crops, in the order of `batch.mask_indices_list`."""

    cls_pre_head: Float[Tensor, "G B D"]
    cls_centered: Float[Tensor, "G B K"]
    patch_pre_head: Float[Tensor, "GB N D"]
    masked_patch_centered: Float[Tensor, "M K"]


class StudentOutput(NamedTuple):
    """From the G global crops with mask tokens, and the L local crops: features before the heads,
    and scores for K prototypes after them. M masked patches, as of the teacher."""

    cls_pre_head: Float[Tensor, "G B D"]
    cls_after_head: Float[Tensor, "G B K"]
    local_cls_after_head: Float[Tensor, "L B K"]
    patch_pre_head: Float[Tensor, "GB N D"]
    masked_patch_after_head: Float[Tensor, "M K"]


class SSLMetaArch(nn.Module):
    """`student` and `teacher` (backbone, dino_head, ibot_head), `gram_teacher`, and the losses."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.student = build_network(config)
        self.teacher = build_network(config, teacher=True)
        start = config.student.resume_from_teacher_chkpt
        self.started_from = load_teacher(self.student, config, start) if start is not None else ""
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        gram = config.gram
        self.gram_teacher: nn.ModuleDict | None = None
        if gram.use_loss and not gram.ema_teacher:
            self.gram_teacher = nn.ModuleDict({"backbone": backbone_of(config, teacher=True)})
            self.gram_teacher.requires_grad_(False)
            if gram.ckpt is not None:
                load_backbone(self.gram_teacher["backbone"], gram.ckpt)
        self.dino_loss, self.ibot_patch_loss = DINOLoss(), iBOTPatchLoss()
        if config.teacher.centering == "centering":
            self.dino_center = SoftmaxCenter(config.dino.head_n_prototypes)
            self.ibot_center = SoftmaxCenter(config.ibot.head_n_prototypes)
        dino = config.dino
        self.koleo_loss = KoLeoLoss(
            dino.koleo_topk, dino.koleo_loss_distributed, dino.koleo_distributed_loss_group_size
        )
        self.gram_loss = GramLoss(
            gram.normalized, gram.img_level, gram.remove_neg, gram.remove_only_teacher_neg
        )
        self.train()

    def train(self, mode: bool = True) -> "SSLMetaArch":
        """Only the student ever trains: teachers have no dropped samples and no RoPE jitter."""
        super().train(mode)
        self.teacher.eval()
        if self.gram_teacher is not None:
            self.gram_teacher.eval()
        return self

    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student; after the optimiser's step."""
        update_ema(self.teacher, self.student, momentum)

    def update_gram_teacher(self) -> None:
        """Make the gram teacher a copy of the teacher as it is now."""
        assert self.gram_teacher is not None
        self.gram_teacher["backbone"].load_state_dict(self.teacher["backbone"].state_dict())

    def forward(
        self,
        batch: SSLBatch,
        teacher_temp: float,
        local_loss_weight: float = 1.0,
        gram_loss_weight: float = 0.0,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The total loss and its terms (detached, unweighted, official names); a term of weight 0
        is not computed."""
        if self.config.ibot.loss_weight == 0:  # then its heads have no patches to answer for
            indices, weights = batch.mask_indices_list[:0], batch.masks_weight[:0]
            batch = replace(batch, mask_indices_list=indices, masks_weight=weights)
        teacher = self.get_teacher_output(batch, teacher_temp)
        student = self.get_student_output(batch)
        if local_loss_weight == 0:
            student = student._replace(local_cls_after_head=student.local_cls_after_head[:0])
        gram = None
        if self.config.gram.use_loss and gram_loss_weight > 0:
            gram = self.get_gram_output(batch, teacher)
        losses = self.compute_losses(teacher, student, batch, gram)
        total = self.combine(losses, local_loss_weight, gram_loss_weight)
        return total, {k: v.detach() for k, v in losses.items()} | self.monitors(teacher)

    @torch.no_grad()
    def get_teacher_output(self, batch: SSLBatch, teacher_temp: float) -> TeacherOutput:
        """Targets from the uncovered global crops; with `centering`, the centers move here, too."""
        out = self.teacher["backbone"](batch.global_crops, is_training=True)
        cls, patches = out["x_norm_clstoken"], out["x_norm_patchtokens"]
        masked = patches.flatten(0, 1)[batch.mask_indices_list]  # [M, D]
        cls_logits = self.teacher["dino_head"](cls)  # [2B, K]
        patch_logits = self.teacher["ibot_head"](masked)  # [M, K]
        if self.config.teacher.centering == "sinkhorn_knopp":
            cls_probs = sinkhorn_knopp(cls_logits, teacher_temp)
            patch_probs = sinkhorn_knopp(patch_logits, teacher_temp)
        else:
            cls_probs = self.dino_center(cls_logits, teacher_temp)
            patch_probs = self.ibot_center(patch_logits, teacher_temp)
            self.dino_center.update(cls_logits)
            self.ibot_center.update(patch_logits)
        return TeacherOutput(
            cls_pre_head=cls.unflatten(0, (N_GLOBAL, -1)),
            cls_centered=cls_probs.unflatten(0, (N_GLOBAL, -1)),
            patch_pre_head=patches,
            masked_patch_centered=patch_probs,
        )

    def get_student_output(self, batch: SSLBatch) -> StudentOutput:
        """Answers from the masked global crops, and from the local ones."""
        crops, masks = [batch.global_crops, batch.local_crops], [batch.masks, None]
        out, local = self.student["backbone"](crops, masks=masks, is_training=True)
        cls = torch.cat([out["x_norm_clstoken"], local["x_norm_clstoken"]])  # [(2 + L) B, D]
        logits = self.student["dino_head"](cls)  # [(2 + L) B, K]
        B = len(batch.global_crops) // N_GLOBAL
        logits = logits.unflatten(0, (-1, B))  # [2 + L, B, K]
        patches = out["x_norm_patchtokens"]  # [2B, N, D]
        masked = patches.flatten(0, 1)[batch.mask_indices_list]  # [M, D]
        return StudentOutput(
            cls_pre_head=out["x_norm_clstoken"].unflatten(0, (N_GLOBAL, B)),
            cls_after_head=logits[:N_GLOBAL],
            local_cls_after_head=logits[N_GLOBAL:],
            patch_pre_head=patches,
            masked_patch_after_head=self.student["ibot_head"](masked),
        )

    @torch.no_grad()
    def get_gram_output(self, batch: SSLBatch, teacher: TeacherOutput) -> Float[Tensor, "GB N D"]:
        """Patches of the Gram teacher, from its larger crops if there are some, on the student's
        grid. With `gram.ema_teacher` the teacher is the Gram teacher."""
        if self.gram_teacher is None:
            return teacher.patch_pre_head
        crops = batch.global_crops if batch.gram_teacher_crops is None else batch.gram_teacher_crops
        out = self.gram_teacher["backbone"](crops, is_training=True)
        h, w = (side // self.config.student.patch_size for side in batch.global_crops.shape[-2:])
        return resize_patches(out["x_norm_patchtokens"], (h, w), self.config.gram)

    def compute_losses(
        self,
        teacher: TeacherOutput,
        student: StudentOutput,
        batch: SSLBatch,
        gram: Float[Tensor, "GB N D"] | None = None,
    ) -> dict[str, Tensor]:
        """Every term by its official name, not yet weighted, but for those of weight 0 and, without
        local crops, theirs; the Gram loss if `gram` is given."""
        dino, ibot, losses = self.config.dino, self.config.ibot, {}
        if dino.loss_weight > 0:
            targets, local = teacher.cls_centered, student.local_cls_after_head
            if len(local):
                losses["dino_local_crops_loss"] = self.dino_loss(local, targets)
            losses["dino_global_crops_loss"] = self.dino_loss(
                student.cls_after_head, targets, dino.global_ignore_diagonal
            )
        if dino.koleo_loss_weight > 0:
            spread_out = [self.koleo_loss(x) for x in student.cls_pre_head]
            losses["koleo_loss"] = torch.stack(spread_out).mean()
        if ibot.loss_weight > 0:
            scores, probs = student.masked_patch_after_head, teacher.masked_patch_centered
            how = batch.masks_weight, len(batch.masks)
            losses["ibot_loss"] = self.ibot_patch_loss.forward_masked(scores, probs, *how)
        if gram is not None:
            which = batch.masks, self.config.gram.tokens_used
            losses["gram_loss"] = self.gram_loss(
                compared_patches(student.patch_pre_head, *which), compared_patches(gram, *which)
            )
        return losses

    def combine(self, losses: dict[str, Tensor], local_weight: float, gram_weight: float) -> Tensor:
        """The weighted sum of the terms that there are. Global and local DINO terms weigh as their
        numbers of pairs."""
        dino, G, L = self.config.dino, N_GLOBAL, self.config.crops.local_crops_number
        n_global = G * (G - 1) if dino.global_ignore_diagonal else G * G
        n_local = G * L
        n_all = n_global + n_local
        # Logged as a mean over the global crops, KoLeo counts as their sum: the features of each
        # crop are spread with the full weight, as in the official code, which has this very name.
        koleo_scale = G
        weights = {
            "dino_local_crops_loss": dino.loss_weight * local_weight * n_local / n_all,
            "dino_global_crops_loss": dino.loss_weight * n_global / n_all,
            "koleo_loss": dino.koleo_loss_weight * koleo_scale,
            "ibot_loss": self.config.ibot.loss_weight,
            "gram_loss": gram_weight,
        }
        terms = [weight * losses[name] for name, weight in weights.items() if name in losses]
        return sum(terms[1:], start=terms[0])

    def monitors(self, teacher: TeacherOutput) -> dict[str, Tensor]:
        """Signs of collapse: how sharp the targets are, and how spread the features."""
        return {
            "dino_target_entropy": entropy(teacher.cls_centered.flatten(0, 1)),
            "ibot_target_entropy": entropy(teacher.masked_patch_centered),
            "feature_spread": spread(teacher.cls_pre_head.flatten(0, 1)),
        }


def build_network(config: Config, *, teacher: bool = False) -> nn.ModuleDict:
    """`backbone`, `dino_head`, `ibot_head`; a teacher never drops samples."""
    backbone = backbone_of(config, teacher)
    parts: dict[str, nn.Module] = {"backbone": backbone}
    for name, c in (("dino_head", config.dino), ("ibot_head", config.ibot)):
        sizes = c.head_n_prototypes, c.head_nlayers, c.head_hidden_dim, c.head_bottleneck_dim
        parts[name] = DINOHead(backbone.embed_dim, *sizes, c.head_last_layer_std)
    return nn.ModuleDict(parts)


def backbone_of(config: Config, teacher: bool) -> DinoVisionTransformer:
    """A backbone that knows the colours which the run shows it."""
    backbone = build_backbone(config.student, teacher=teacher)
    backbone.pixel_mean, backbone.pixel_std = config.crops.rgb_mean, config.crops.rgb_std
    return backbone
