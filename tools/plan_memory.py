"""What a run needs on each GPU, planned on paper: bytes by part and bytes between GPUs per step,
from the settings alone, before anyone rents the machines.

    python -m tools.plan_memory official_vit7b_pretrain --gpus 256 train.checkpointing_full=true

Parameters are counted on the meta device, so no memory is needed for them. What a block keeps for
its backward pass is counted operation by operation; tests/test_plan_memory.py holds all of it
against small runs on the CPU. Nothing here was measured on a GPU.
"""

import argparse
import math
from typing import NamedTuple

import torch
from torch import nn

from dinolite.config import Config, Size, height_width, load_config
from dinolite.layers.block import SelfAttentionBlock
from dinolite.models.vision_transformer import build_backbone
from dinolite.train.ssl_meta_arch import build_network

GIB = 2**30


class Counts(NamedTuple):
    """Parameters of a network by what is gathered as one: blocks, rest of the backbone, heads."""

    blocks: list[int]
    others: list[int]

    @property
    def all(self) -> int:
        return sum(self.blocks) + sum(self.others)


def count(network: nn.ModuleDict) -> Counts:
    """Parameters of a backbone with or without heads."""

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    backbone = network["backbone"]
    blocks = [size(block) for block in backbone.blocks]  # type: ignore[union-attr]
    heads = [size(module) for name, module in network.items() if name != "backbone"]
    return Counts(blocks, [size(backbone) - sum(blocks), *heads])


def networks(config: Config) -> dict[str, Counts]:
    """`student`, `teacher`, and `gram_teacher` if the settings have one."""
    with torch.device("meta"):
        student = count(build_network(config))
        out = {"student": student, "teacher": student}
        if config.gram.use_loss and not config.gram.ema_teacher:
            gram = nn.ModuleDict({"backbone": build_backbone(config.student, teacher=True)})
            out["gram_teacher"] = count(gram)
    return out


def tokens_per_crop(config: Config, size: Size) -> int:
    patches = math.prod(height_width(size)) // config.student.patch_size**2
    return 1 + config.student.n_storage_tokens + patches


def student_tokens(config: Config) -> list[int]:
    """Tokens of all crops of one process, global and local."""
    c, B = config.crops, config.train.batch_size_per_gpu
    return [
        2 * B * tokens_per_crop(config, c.global_crops_size),
        c.local_crops_number * B * tokens_per_crop(config, c.local_crops_size),
    ]


def block_bytes(config: Config, low: int) -> float:
    """Bytes that a block keeps of each token for its backward pass; `low` = bytes of a number in
    the matrix products, 4 or 2 (autocast). Samples that are dropped keep nothing."""
    with torch.device("meta"):
        backbone = build_backbone(config.student)
    D, h, block = backbone.embed_dim, backbone.num_heads, backbone.blocks[0]
    assert isinstance(block, SelfAttentionBlock)
    scaled = 0 if isinstance(block.ls1, nn.Identity) else 2 * low * D  # both branches, unscaled
    norms = 2 * (4 * D + 8)  # float32 input, mean and spread
    attention = low * D * (1 + 2 + 3 + 1) + 4 * h  # input; turned q, k; q, k, v; output; log-sums
    widths = {n: m.out_features for n, m in block.mlp.named_children() if isinstance(m, nn.Linear)}
    if "fc1" in widths:
        ffn = low * (D + 2 * widths["fc1"])  # input; before and after GELU
    else:  # input, once more for w2 where it is rounded; w1 x, its silu, w2 x, their product
        ffn = low * ((1 if low == 4 else 2) * D + 4 * widths["w1"])
    rate = config.student.drop_path_rate
    added = 2 * 4 * D if rate else 0  # float32 results of both branches, kept by index_add
    return (norms + attention + ffn + scaled + added) * (1 - rate)


def product_bytes(config: Config, low: int) -> float:
    """The results of matrix products and attention in a block, of each token: what selective
    recomputation keeps beside the input."""
    with torch.device("meta"):
        backbone = build_backbone(config.student)
    D, block = backbone.embed_dim, backbone.blocks[0]
    products = [m.out_features for m in block.modules() if isinstance(m, nn.Linear)]
    kept = low * (sum(products) + D) + 4 * backbone.num_heads  # attention, its log-sums
    return kept * (1 - config.student.drop_path_rate)


def activation_bytes(config: Config, low: int) -> float:
    """Kept by all blocks of the student; with recomputation their inputs, products and attention if
    it is selective, and the insides of one (for the larger of the crop sizes, one at a time)."""
    with torch.device("meta"):
        backbone = build_backbone(config.student)
    tokens, inside, c = student_tokens(config), block_bytes(config, low), config.train
    if not (c.checkpointing_full or c.checkpointing):
        return sum(tokens) * inside * backbone.n_blocks
    each = 4.0 * backbone.embed_dim
    if not c.checkpointing_full:
        each += product_bytes(config, low)
    return each * sum(tokens) * backbone.n_blocks + max(tokens) * inside


def score_bytes(config: Config) -> float:
    """Teacher targets, the student's log-probabilities and the gradient of these, all float32."""
    B, c, ibot = config.train.batch_size_per_gpu, config.crops, config.ibot
    patches = math.prod(height_width(c.global_crops_size)) // config.student.patch_size**2
    hidden = 2 * B * ibot.mask_sample_probability * patches * sum(ibot.mask_ratio_min_max) / 2
    dino = config.dino.head_n_prototypes * (2 * B + 2 * (2 + c.local_crops_number) * B)
    return 4.0 * (dino + ibot.head_n_prototypes * 3 * hidden)


def gather_bytes(nets: dict[str, Counts], low: int) -> float:
    """The largest part, whole: now, the next one on its way, its gradient, and that in float32 on
    its way to the others."""
    largest = max(max(*n.blocks, *n.others) for n in nets.values())
    return float(largest * (3 * low + 4))


def memory(config: Config, gpus: int, low: int = 2) -> dict[str, float]:
    """Bytes on each of `gpus` GPUs by part, with FSDP2 (`low`: see `block_bytes`)."""
    nets = networks(config)
    share = nets["student"].all / gpus
    parts = {
        "student, float32 shares": 4 * share,
        "gradients, float32 shares": 4 * share,
        "AdamW, two moments, float32 shares": 8 * share,
        "teacher, float32 shares": 4 * nets["teacher"].all / gpus,
    }
    if "gram_teacher" in nets:
        parts["Gram teacher, float32 shares"] = 4 * nets["gram_teacher"].all / gpus
    return parts | {
        "gathered parts and their gradients": gather_bytes(nets, low),
        "activations of the student's blocks": activation_bytes(config, low),
        "scores of the prototypes": score_bytes(config),
    }


def traffic(config: Config, gpus: int, low: int = 2) -> dict[str, float]:
    """Bytes that each GPU receives in a step. Students' blocks are gathered once for each crop size
    and again backwards; tests/test_parallel.py counts these calls."""
    away = (gpus - 1) / gpus
    out = {}
    for name, n in networks(config).items():
        blocks, others = sum(n.blocks), sum(n.others)
        times = (4, 2) if name == "student" else (1, 1)
        out[f"{name}, gathered"] = away * low * (times[0] * blocks + times[1] * others)
    out["student's gradients, summed"] = away * 4 * networks(config)["student"].all
    return out


def table(config: Config, gpus: int) -> str:
    """Both as Markdown."""
    lines = [f"| on each of {gpus} GPUs | GiB |", "|---|---:|"]
    parts = memory(config, gpus)
    lines += [f"| {name} | {size / GIB:.2f} |" for name, size in parts.items()]
    lines += [f"| **sum** | **{sum(parts.values()) / GIB:.2f}** |", ""]
    lines += ["| received by each GPU in a step | GiB |", "|---|---:|"]
    moved = traffic(config, gpus)
    lines += [f"| {name} | {size / GIB:.2f} |" for name, size in moved.items()]
    return "\n".join([*lines, f"| **sum** | **{sum(moved.values()) / GIB:.2f}** |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--gpus", type=int, default=8)
    arguments = parser.parse_intermixed_args()
    print(table(load_config(arguments.recipe, arguments.overrides), arguments.gpus))


if __name__ == "__main__":
    main()
