"""Recomputing a block in the backward pass, all of it or all but products and attention, saves
memory and changes nothing: the same loss and gradients, with dropped samples and RoPE augmentation,
compiled or not."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dinolite.config import load_config
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.parallel import recompute

pytestmark = pytest.mark.filterwarnings("ignore:A saved_tensors_hooks context")  # for `kept`
AUGMENTED = {
    "pos_embed_rope_shift_coords": 0.3,
    "pos_embed_rope_jitter_coords": 1.5,
    "pos_embed_rope_rescale_coords": 2.0,
}


HOW = {"all kept": [], "selective": ["train.checkpointing=true"]}
HOW |= {"full": ["train.checkpointing_full=true"]}
HOW |= {"both": HOW["selective"] + HOW["full"]}  # as the official code: full
AGAIN = [("selective", 1, 2), ("full", 2, 2), ("both", 2, 2)]


def backbone(how: str, depth: int = 3) -> DinoVisionTransformer:
    torch.manual_seed(0)
    model = DinoVisionTransformer(
        patch_size=4,
        embed_dim=32,
        depth=depth,
        num_heads=2,
        drop_path_rate=0.4,
        layerscale_init=0.5,
        ffn_layer="swiglu",
        n_storage_tokens=2,
        **AUGMENTED,
    )
    for block in model.blocks:
        recompute(block, load_config("demo", HOW[how]))
    return model


def step(model: DinoVisionTransformer) -> tuple[Tensor, dict[str, Tensor], int]:
    """Loss and gradients of two crop sizes, and the bytes kept for the backward pass."""
    torch.manual_seed(1)
    crops = [torch.randn(6, 3, 24, 24), torch.randn(9, 3, 12, 12)]
    masks = torch.rand(6, 36) < 0.4
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        out = model(crops, masks=[masks, None], is_training=True)
    loss = sum(o["x_norm_patchtokens"].square().mean() + o["x_norm_clstoken"].sum() for o in out)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, sum(kept.values())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("other", ["selective", "full"])
def test_same_loss_and_gradients(other: str, precision: torch.dtype) -> None:
    results = []
    for how in ("all kept", other):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            results.append(step(backbone(how)))
    (loss, gradients, kept), (loss2, gradients2, kept2) = results
    assert torch.equal(loss, loss2)
    assert gradients.keys() == gradients2.keys()
    assert all(torch.equal(gradients2[name], value) for name, value in gradients.items())
    assert all(v.abs().max() > 0 for v in gradients.values())
    assert kept2 < 0.6 * kept  # what "selective" keeps besides is no business of these hooks


class Calls(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("how", "attention", "norms"), [("all kept", 1, 1), *AGAIN])
def test_what_is_computed_once_more(how: str, attention: int, norms: int) -> None:
    """Per block and crop size: attention once, unless everything is done again."""
    model, calls = backbone(how), Calls()
    with calls:
        step(model)
    blocks = 3 * 2
    names = "_scaled_dot_product_flash_attention_for_cpu", "native_layer_norm"
    assert calls.counts[names[0]] == attention * blocks
    assert calls.counts[names[1]] == norms * 2 * blocks + 2  # and the last norm


def test_a_teacher_recomputes_nothing() -> None:
    model = backbone("full").eval()
    with torch.no_grad():
        assert not model(torch.randn(2, 3, 24, 24)).requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("other", ["selective", "full"])
def test_compiled(other: str) -> None:
    results = []
    for how in ("all kept", other):
        model = backbone(how, depth=1)
        model.blocks[0].compile(backend="aot_eager")
        torch.manual_seed(1)
        loss = model(torch.randn(6, 3, 24, 24)).square().sum()
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((loss.detach(), gradients))
    (loss, gradients), (loss2, gradients2) = results
    assert torch.allclose(loss, loss2, rtol=1e-6)
    assert gradients.keys() == gradients2.keys()
    for name, value in gradients.items():
        assert torch.allclose(gradients2[name], value, rtol=1e-4, atol=1e-5), name
