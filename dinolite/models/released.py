"""Which backbone is it? From the name of a released model, or from the shapes of weights, to the
settings that build it.

DINOv3 Table 2 and Fig. 16a; official `hub/backbones.py`.
"""

import math
import re
from typing import Any

from dinolite.config import StudentConfig
from dinolite.models.keymaps import Names, State, WeightsError, meta_names, shape_in

PLUS = {"ffn_layer": "swiglu", "ffn_ratio": 6.0}
RELEASED: dict[str, dict[str, Any]] = {
    "vitt16": {"arch": "vit_tiny"},  # not Meta's DINOv3: EUPE, at timm only
    "vits16": {"arch": "vit_small"},
    "vits16plus": {"arch": "vit_small", **PLUS},
    "vitb16": {"arch": "vit_base"},
    "vitl16": {"arch": "vit_large"},
    "vitl16plus": {"arch": "vit_large", **PLUS},
    "vith16plus": {"arch": "vit_huge2", **PLUS},
    "vit7b16": {"arch": "vit_7b", "ffn_layer": "swiglu64", "qkv_bias": False},
}
COMMON: dict[str, Any] = {
    "drop_path_rate": 0.0,
    "layerscale": 1e-5,
    "norm_layer": "layernormbf16",  # eps 1e-5
    "n_storage_tokens": 4,
    "mask_k_bias": True,
    "pos_embed_rope_rescale_coords": 2.0,
}
META_NAME = re.compile(r"dinov3_(vit(?!t)\w+)")
HUGGINGFACE_NAME = re.compile(r"facebook/dinov3-(vit\w+)-pretrain-\w+")
TIMM_NAME = re.compile(r"vit_([a-z0-9]+)(_plus)?_patch16_dinov3(_qkvb)?(\.\w+)?")


def architecture(name: str) -> StudentConfig:
    """The settings of a released backbone, by its name at Meta, Hugging Face or timm.

    timm's names without `_qkvb` mean no bias of q and v (it is zero in Meta's distilled models).

    Raises:
        WeightsError: no such name.
    """
    changes: dict[str, Any] = {}
    if match := META_NAME.fullmatch(name) or HUGGINGFACE_NAME.fullmatch(name):
        key = match[1]
    elif match := TIMM_NAME.fullmatch(name.removeprefix("timm/")):
        size = match[1] if match[1] == "7b" else match[1][0]
        key = f"vit{size}16{'plus' if match[2] else ''}"
        changes["qkv_bias"] = match[3] is not None
    else:
        key = ""
    if key not in RELEASED:
        meta = [n for k in RELEASED if META_NAME.fullmatch(n := f"dinov3_{k}")]
        raise WeightsError(
            f"{name!r} is not a released DINOv3 ViT: {', '.join(meta)}, or their names at timm "
            "(vit_small_patch16_dinov3, ...) and Hugging Face (facebook/dinov3-...)"
        )
    return StudentConfig(**COMMON | RELEASED[key] | changes)


def infer_architecture(state: State, names: Names = meta_names) -> StudentConfig:
    """The settings that a state dict was made with, read from its shapes.

    Two things leave no trace: eps of the norms (taken as in every released model, 1e-5), and the
    number of heads where the RoPE periods are not stored (64 channels each; 128 from width 4096).
    """

    def shape(key: str) -> tuple[int, ...]:
        return shape_in(state, names, key) or ()

    patches, tokens = shape("patch_embed.proj.weight"), shape("storage_tokens")
    depth = next(i for i in range(len(state) + 1) if not shape(f"blocks.{i}.norm1.weight"))
    if len(patches) != 4 or not depth:
        raise WeightsError("these weights hold no DINOv3 ViT: patch_embed or blocks are missing")
    dim, periods = patches[0], shape("rope_embed.periods")
    head_dim = 4 * periods[0] if periods else 64 if dim < 4096 else 128
    mlp = "blocks.0.mlp.w1" if (gated := shape("blocks.0.mlp.w1.weight")) else "blocks.0.mlp.fc1"
    hidden = gated[0] * 3 // 2 if gated else (shape(f"{mlp}.weight") or (4 * dim,))[0]
    ratio = hidden / dim
    inferred = {
        "embed_dim": dim,
        "depth": depth,
        "num_heads": max(dim // head_dim, 1),
        "patch_size": patches[-1],
        "ffn_layer": "swiglu" if gated else "mlp",
        "ffn_ratio": ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf),
        "n_storage_tokens": tokens[1] if tokens else 0,
        "layerscale": COMMON["layerscale"] if shape("blocks.0.ls1.gamma") else None,
        "norm_layer": COMMON["norm_layer"] if shape("norm.bias") else "rmsnorm",
        "qkv_bias": bool(shape("blocks.0.attn.qkv.bias")),
        "mask_k_bias": bool(shape(mask := "blocks.0.attn.qkv.bias_mask")) or not names(mask),
        "proj_bias": bool(shape("blocks.0.attn.proj.bias")),
        "ffn_bias": bool(shape(f"{mlp}.bias")),
        "untie_cls_and_patch_norms": bool(shape("cls_norm.weight")),
        "untie_global_and_local_cls_norm": bool(shape("local_cls_norm.weight")),
    }
    return StudentConfig(**COMMON | inferred)
