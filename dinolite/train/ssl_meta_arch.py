"""Student and teacher, and all that one wants of the other: one forward pass from a batch of crops
to the losses. The teacher sees the global crops uncovered and gets no gradient; the student sees
them with holes, and the small local crops. Each of the two is a backbone with two heads.

DINOv3 Sec. 3.2 Eq. (1), Sec. 4.2 Eq. (2); official `train/ssl_meta_arch.py::SSLMetaArch`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinolite.config import Config, HeadConfig
from dinolite.data.masking import SSLBatch
from dinolite.layers.dino_head import DINOHead
from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.models.vision_transformer import build_backbone
from dinolite.train.ema import update_ema
from dinolite.train.gram import anchor_features, chosen_patches, load_backbone
from dinolite.train.monitors import entropy, spread

N_GLOBAL = 2  # global crops per picture, as everywhere in the DINO family


class Views(NamedTuple):
    """What a network says of a batch; c crops per picture, M hidden patches."""

    cls: Float[Tensor, "c B D"]
    patches: Float[Tensor, "cB N D"]
    cls_logits: Float[Tensor, "c B K"]
    patch_logits: Float[Tensor, "M K"]


class Targets(NamedTuple):
    """What the teacher asks for, as probabilities over prototypes."""

    cls: Float[Tensor, "2 B K"]
    patches: Float[Tensor, "M K"]
    patch_features: Float[Tensor, "GB N D"]


class SSLMetaArch(nn.Module):
    """`student` and `teacher` (backbone, dino_head, ibot_head), `gram_teacher`, and the losses."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.student = build_network(config)
        self.teacher = build_network(config, teacher=True)
        if config.student.resume_from_teacher_chkpt is not None:
            load_backbone(self.student["backbone"], config.student.resume_from_teacher_chkpt)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        gram = config.gram
        self.gram_teacher: nn.ModuleDict | None = None
        if gram.use_loss and not gram.ema_teacher:
            self.gram_teacher = nn.ModuleDict(
                {"backbone": build_backbone(config.student, teacher=True)}
            )
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
        """The total loss and its terms (detached, unweighted, official names)."""
        targets, monitors = self.get_teacher_output(batch, teacher_temp)
        global_views, local_logits = self.get_student_output(batch)
        losses = self.compute_losses(targets, global_views, local_logits, batch)
        if self.config.gram.use_loss and gram_loss_weight > 0:
            losses["gram_loss"] = self.gram_term(targets, global_views, batch)
        total = self.combine(losses, local_loss_weight, gram_loss_weight)
        return total, {k: v.detach() for k, v in losses.items()} | monitors

    @torch.no_grad()
    def get_teacher_output(
        self, batch: SSLBatch, teacher_temp: float
    ) -> tuple[Targets, dict[str, Tensor]]:
        """Targets from the whole global crops."""
        out = self.teacher["backbone"](batch.global_crops, is_training=True)
        hidden = out["x_norm_patchtokens"].flatten(0, 1)[batch.mask_indices_list]  # [M, D]
        cls_logits = self.teacher["dino_head"](out["x_norm_clstoken"])  # [2B, K]
        patch_logits = self.teacher["ibot_head"](hidden)  # [M, K]
        if self.config.teacher.centering == "sinkhorn_knopp":
            cls = sinkhorn_knopp(cls_logits, teacher_temp)
            patches = sinkhorn_knopp(patch_logits, teacher_temp)
        else:
            cls = self.dino_center(cls_logits, teacher_temp)
            patches = self.ibot_center(patch_logits, teacher_temp)
            self.dino_center.update(cls_logits)
            self.ibot_center.update(patch_logits)
        monitors = {
            "dino_target_entropy": entropy(cls),
            "ibot_target_entropy": entropy(patches),
            "feature_spread": spread(out["x_norm_clstoken"]),
        }
        cls = cls.unflatten(0, (N_GLOBAL, -1))  # [2, B, K]
        return Targets(cls, patches, out["x_norm_patchtokens"]), monitors

    def get_student_output(self, batch: SSLBatch) -> tuple[Views, Float[Tensor, "L B K"]]:
        """What the student makes of the masked global crops, and of the local ones."""
        crops, masks = [batch.global_crops, batch.local_crops], [batch.masks, None]
        out, local = self.student["backbone"](crops, masks=masks, is_training=True)
        cls = torch.cat([out["x_norm_clstoken"], local["x_norm_clstoken"]])  # [(2 + L) B, D]
        logits = self.student["dino_head"](cls)  # [(2 + L) B, K]
        B = len(batch.global_crops) // N_GLOBAL
        logits = logits.unflatten(0, (-1, B))  # [2 + L, B, K]
        hidden = out["x_norm_patchtokens"].flatten(0, 1)[batch.mask_indices_list]  # [M, D]
        views = Views(
            out["x_norm_clstoken"].unflatten(0, (N_GLOBAL, B)),
            out["x_norm_patchtokens"],
            logits[:N_GLOBAL],
            self.student["ibot_head"](hidden),
        )
        return views, logits[N_GLOBAL:]

    def compute_losses(
        self, targets: Targets, views: Views, local_logits: Tensor, batch: SSLBatch
    ) -> dict[str, Tensor]:
        """Every term by its official name, not yet weighted."""
        ignore = self.config.dino.global_ignore_diagonal
        losses = {
            "dino_local_crops_loss": self.dino_loss(local_logits, targets.cls),
            "dino_global_crops_loss": self.dino_loss(views.cls_logits, targets.cls, ignore),
            "koleo_loss": torch.stack([self.koleo_loss(crop) for crop in views.cls]).mean(),
            "ibot_loss": self.ibot_patch_loss.forward_masked(
                views.patch_logits, targets.patches, batch.masks_weight, len(batch.masks)
            ),
        }
        return losses

    def gram_term(self, targets: Targets, views: Views, batch: SSLBatch) -> Tensor:
        """Student patches against the gram teacher's, or the teacher's where there is none."""
        gram, anchor = self.config.gram, targets.patch_features
        if self.gram_teacher is not None:
            anchor = anchor_features(self.gram_teacher["backbone"], batch, gram)
        chosen = chosen_patches(batch.masks, gram.tokens_used)
        if chosen is None:
            return self.gram_loss(views.patches, anchor)
        return self.gram_loss(views.patches[chosen], anchor[chosen])

    def combine(self, losses: dict[str, Tensor], local_weight: float, gram_weight: float) -> Tensor:
        """The weighted sum. Global and local DINO terms weigh as their numbers of pairs."""
        dino, G, L = self.config.dino, N_GLOBAL, self.config.crops.local_crops_number
        n_global = G * (G - 1) if dino.global_ignore_diagonal else G * G
        n_local = G * L
        local = local_weight * n_local / (n_global + n_local)
        total = dino.loss_weight * (
            local * losses["dino_local_crops_loss"]
            + n_global / (n_global + n_local) * losses["dino_global_crops_loss"]
        )
        total = total + dino.koleo_loss_weight * G * losses["koleo_loss"]
        total = total + self.config.ibot.loss_weight * losses["ibot_loss"]
        if "gram_loss" in losses:
            total = total + gram_weight * losses["gram_loss"]
        return total


def build_head(embed_dim: int, config: HeadConfig) -> DINOHead:
    """The projection head that `[dino]` or `[ibot]` describes."""
    return DINOHead(
        embed_dim,
        config.head_n_prototypes,
        config.head_nlayers,
        config.head_hidden_dim,
        config.head_bottleneck_dim,
        config.head_last_layer_std,
    )


def build_network(config: Config, *, teacher: bool = False) -> nn.ModuleDict:
    """`backbone`, `dino_head`, `ibot_head`; a teacher never drops samples."""
    backbone = build_backbone(config.student, teacher=teacher)
    dino, ibot = (build_head(backbone.embed_dim, c) for c in (config.dino, config.ibot))
    return nn.ModuleDict({"backbone": backbone, "dino_head": dino, "ibot_head": ibot})
