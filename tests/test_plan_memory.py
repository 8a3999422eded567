"""The plan on paper against what small runs really keep."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dinolite.config import Config, load_config
from dinolite.data.loaders import generator_of
from dinolite.data.masking import SSLBatch, draw_masks, mask_positions
from dinolite.layers.block import SelfAttentionBlock
from dinolite.models.vision_transformer import build_backbone
from dinolite.parallel import COSTLY
from dinolite.train.ssl_meta_arch import SSLMetaArch
from tools.plan_memory import (
    activation_bytes,
    block_bytes,
    memory,
    networks,
    product_bytes,
    score_bytes,
    student_tokens,
    table,
    tokens_per_crop,
    traffic,
)

SMALL = [
    "student.embed_dim=64",
    "student.depth=3",
    "student.num_heads=2",
    "student.n_storage_tokens=2",
    "train.batch_size_per_gpu=6",
    "crops.local_crops_number=3",
    "crops.global_crops_size=48",
    "crops.local_crops_size=24",
    "student.layerscale=1e-5",
]


def small(*more: str) -> Config:
    return load_config("demo", [*SMALL, *more])


class Kept:
    """Counts what autograd keeps, each piece of memory once, without what `ignored` holds."""

    def __init__(self, ignored: nn.Module) -> None:
        self.ignored = {p.untyped_storage().data_ptr() for p in ignored.parameters()}
        self.tensors: dict[int, Tensor] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.note, lambda x: x)

    def note(self, x: Tensor) -> Tensor:
        place = x.untyped_storage().data_ptr()
        if place not in self.ignored:
            self.tensors.setdefault(place, x)
        return x

    def bytes(self, last: int | None = None) -> int:
        """Of all, or of those whose last axis has `last` entries."""
        wanted = [x for x in self.tensors.values() if last is None or x.shape[-1] == last]
        return sum(x.untyped_storage().nbytes() for x in wanted)


def test_parameters_of_the_official_7b() -> None:
    """The backbone as counted in Meta's code, heads by hand."""
    n = networks(load_config("official_vit7b_pretrain"))["student"]
    assert sum(n.blocks) + n.others[0] == 6_716_043_264
    dino = 4096 * 8192 + 8192 + 8192 * 8192 + 8192 + 8192 * 512 + 512 + 512 * 262_144
    ibot = 4096 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 384 + 384 + 384 * 98_304
    assert n.others[1:] == [dino, ibot]


@pytest.mark.parametrize("low", [4, 2])
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("student.ffn_layer=swiglu",),
        ("student.layerscale=none", "student.num_heads=4"),
        ("student.drop_path_rate=0.5",),
    ],
)
def test_what_a_block_keeps(more: tuple[str, ...], low: int) -> None:
    """Exactly, for the second half of the samples: weights and tables are kept once for all."""
    c, T = small(*more), 38
    kept = []
    for B in (4, 8):
        backbone = build_backbone(c.student)
        block = backbone.blocks[0]
        assert isinstance(block, SelfAttentionBlock)
        kept.append(Kept(block))
        x, rope = torch.randn(B, T, 64, requires_grad=True), backbone.rope_embed(H=6, W=6)
        with kept[-1].hooks, torch.autocast("cpu", torch.bfloat16, enabled=low == 2):
            block(x, rope)
    indices = 2 * 8 * 2 if c.student.drop_path_rate else 0  # two more of 8 bytes, both branches
    more_kept = kept[1].bytes() - kept[0].bytes()
    assert more_kept == pytest.approx(4 * T * block_bytes(c, low) + indices, abs=2 * indices)


class Products(TorchDispatchMode):
    """Adds up the bytes of the results of matrix products and attention."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in COSTLY:
            self.bytes += sum(x.nbytes for x in tree_leaves(out) if isinstance(x, Tensor))
        return out


@pytest.mark.parametrize("low", [4, 2])
@pytest.mark.parametrize("more", [(), ("student.ffn_layer=swiglu", "student.drop_path_rate=0.5")])
def test_what_selective_recomputation_keeps(more: tuple[str, ...], low: int) -> None:
    c, T, counted = small("train.checkpointing=true", *more), 38, Products()
    backbone = build_backbone(c.student)
    x, rope = torch.randn(4, T, 64), backbone.rope_embed(H=6, W=6)
    with counted, torch.autocast("cpu", torch.bfloat16, enabled=low == 2):
        backbone.blocks[0](x, rope)
    assert counted.bytes == 4 * T * product_bytes(c, low)
    tokens, depth = sum(student_tokens(c)), 3
    full = activation_bytes(small("train.checkpointing_full=true", *more), low)
    assert activation_bytes(c, low) == full + tokens * depth * product_bytes(c, low)


@pytest.mark.parametrize("recompute", ["true", "false"])
@pytest.mark.parametrize("low", [4, 2])
def test_what_all_blocks_keep(recompute: str, low: int) -> None:
    """Within 15 %: the plan leaves out patches, RoPE's tables and the last norm."""
    c = small(f"train.checkpointing_full={recompute}")
    B, crops = c.train.batch_size_per_gpu, c.crops
    model = build_backbone(c.student)
    for block in model.blocks:
        block.recompute = c.train.checkpointing_full  # type: ignore[assignment]
    images = [torch.randn(2 * B, 3, 48, 48), torch.randn(3 * B, 3, 24, 24)]
    counted = Kept(model)
    with counted.hooks, torch.autocast("cpu", torch.bfloat16, enabled=low == 2):
        model(images, masks=[None, None], is_training=True)
    planned = activation_bytes(c, low)
    rest = 4 * 64 * 2 * sum(len(x) * tokens_per_crop(c, x.shape[-1]) for x in images)
    if c.train.checkpointing_full:  # the hooks see the forward pass alone
        planned -= 2 * B * tokens_per_crop(c, crops.global_crops_size) * block_bytes(c, low)
        assert planned <= counted.bytes() <= planned + 2 * rest
    else:
        assert counted.bytes() == pytest.approx(planned, rel=0.15)


def test_what_the_losses_keep() -> None:
    K = 1000
    c = small(f"dino.head_n_prototypes={K}", f"ibot.head_n_prototypes={K}")
    B = c.train.batch_size_per_gpu
    masks = draw_masks(2 * B, (12, 12), c.ibot, generator_of(0))
    crops = torch.randn(2 * B, 3, 48, 48), torch.randn(3 * B, 3, 24, 24)
    batch = SSLBatch(*crops, masks, *mask_positions(masks))
    model = SSLMetaArch(c)
    counted = Kept(model)
    with counted.hooks:
        model(batch, 0.05)
    hidden, planned = int(masks.sum()), score_bytes(c)
    gradients = 4 * K * (5 * B + hidden)  # come later
    assert counted.bytes(last=K) == pytest.approx(planned - gradients, rel=0.15)


def test_a_table_by_hand() -> None:
    """Two GPUs: half of everything is kept, half of everything arrives."""
    c = small("gram.use_loss=true", "gram.it_load_ema_teacher=0", "gram.img_level=true")
    model = SSLMetaArch(c)

    def n(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    student, gram = n(model.student), n(model.gram_teacher)  # type: ignore[arg-type]
    blocks = n(model.student["backbone"].blocks)  # type: ignore[arg-type]
    parts, moved = memory(c, 2), traffic(c, 2)
    assert parts["AdamW, two moments, float32 shares"] == 4 * student
    assert parts["teacher, float32 shares"] == 2 * student
    assert parts["Gram teacher, float32 shares"] == 2 * gram
    assert moved["student, gathered"] == 4 * blocks + 2 * (student - blocks)
    assert moved["teacher, gathered"] == student and moved["gram_teacher, gathered"] == gram
    assert moved["student's gradients, summed"] == 2 * student
    assert "Gram teacher" in table(c, 2)
    assert memory(c, 1)["student, float32 shares"] == 4 * student


def test_the_page_says_what_the_planner_says() -> None:
    page = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text("utf8")

    def plan(gpus: int, *changes: str) -> dict[str, float]:
        return memory(load_config("official_vit7b_pretrain", changes), gpus)

    hows = (
        "train.checkpointing=false",
        "train.checkpointing=true",
        "train.checkpointing_full=true",
    )
    plans = [plan(n, how) for n in (8, 32, 256) for how in hows]
    for name in plans[0]:
        cells = " | ".join(f"{p[name] / 2**30:.1f}" for p in plans)
        assert f"| {name} | {cells} |" in page
    sums = " | ".join(f"**{sum(p.values()) / 2**30:.1f}**" for p in plans)
    assert f"| **sum** | {sums} |" in page
    for name, size in traffic(load_config("official_vit7b_pretrain"), 256).items():
        assert f"| {name} | {size / 2**30:.1f} |" in page
