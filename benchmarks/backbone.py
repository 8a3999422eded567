"""The ViT forward, and forward + backward, beside the DINOv3 of timm and of Hugging Face.

python -m benchmarks.backbone [--size vit_small] [--batch 4] [--side 224] [--rounds 25]
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from benchmarks.record import Table, device, print_table, start
from benchmarks.timing import alternate, ratios
from dinolite.config import StudentConfig
from dinolite.models.vision_transformer import SIZES, build_backbone

TIMM = {
    "vit_small": "vit_small_patch16_dinov3",
    "vit_base": "vit_base_patch16_dinov3",
    "vit_large": "vit_large_patch16_dinov3",
}


def ours(size: str) -> nn.Module:
    """dinolite's, with the settings of the released models."""
    config = StudentConfig(
        arch=size,
        n_storage_tokens=4,
        layerscale=1e-5,
        mask_k_bias=True,
        drop_path_rate=0.0,
        norm_layer="layernormbf16",
    )
    return build_backbone(config)


def timms(size: str) -> nn.Module:
    """timm's, without its classifier."""
    import timm

    return timm.create_model(TIMM[size], pretrained=False, num_classes=0)


def huggingfaces(size: str) -> nn.Module:
    """transformers' DINOv3ViTModel with PyTorch's own attention."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    s = SIZES[size]
    config = DINOv3ViTConfig(
        hidden_size=s.embed_dim,
        num_hidden_layers=s.depth,
        num_attention_heads=s.num_heads,
        intermediate_size=int(s.embed_dim * s.ffn_ratio),
        num_register_tokens=4,
        patch_size=16,
        attn_implementation="sdpa",
    )
    return DINOv3ViTModel(config)


BESIDE = ("timm", "transformers")


def models(size: str, to: torch.device, beside: Sequence[str] = BESIDE) -> dict[str, nn.Module]:
    """dinolite's, and those beside it that are installed."""
    made = {"dinolite": ours(size)}
    if "timm" in beside and size in TIMM:
        made["timm"] = timms(size)
    if "transformers" in beside and importlib.util.find_spec("transformers"):
        made["transformers"] = huggingfaces(size)
    return {name: model.to(to) for name, model in made.items()}


def forward(name: str, model: nn.Module, x: Tensor) -> Callable[[], object]:
    """One pass without gradients, to one vector per picture; bfloat16 on CUDA."""
    call = autocast_call(model, x)

    def go() -> None:
        with torch.inference_mode():
            call()

    return go


def forward_backward(name: str, model: nn.Module, x: Tensor) -> Callable[[], object]:
    """One pass and the gradients of all weights."""
    call = autocast_call(model, x)

    def go() -> None:
        model.zero_grad(set_to_none=True)
        call().float().square().mean().backward()

    return go


def autocast_call(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """The model's vector of each picture [B, D]."""

    def call() -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            out = model(x)
        return out if isinstance(out, Tensor) else out.pooler_output

    return call


def measure(
    size: str = "vit_small",
    batch: int = 4,
    side: int = 224,
    rounds: int = 25,
    beside: Sequence[str] = BESIDE,
) -> Table:
    """Milliseconds (median, quartiles) and the ratio to timm."""
    to = device()
    torch.manual_seed(0)
    nets, x = models(size, to, beside), torch.randn(batch, 3, side, side, device=to)
    rows = []
    for what, how in (("forward", forward), ("forward + backward", forward_backward)):
        for net in nets.values():
            net.train(what != "forward")
        timings = alternate({n: how(n, net, x) for n, net in nets.items()}, rounds)
        over = ratios(timings, "timm" if "timm" in nets else "dinolite")
        for name, timing in timings.items():
            low, high = timing.quartiles
            rows.append([what, name, 1e3 * timing.median, 1e3 * low, 1e3 * high, over[name]])
    columns = [
        "pass",
        "implementation",
        "median ms",
        "lower quartile",
        "upper quartile",
        "ratio to timm",
    ]
    return Table("backbone", f"{size}/16, {batch} pictures of {side} px", columns, rows)


def main(
    size: Annotated[str, typer.Option(help="vit_small, vit_base or vit_large")] = "vit_small",
    batch: int = 4,
    side: int = 224,
    rounds: int = 25,
) -> None:
    print_table(measure(size, batch, side, rounds))


if __name__ == "__main__":
    start(main)
