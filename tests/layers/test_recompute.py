"""Recomputing a block in the backward pass saves memory and changes nothing: the same loss, the
same gradients, with dropped samples and RoPE augmentation, compiled or not."""

import pytest
import torch
from torch import Tensor

from dinolite.models.vision_transformer import DinoVisionTransformer

AUGMENTED = {
    "pos_embed_rope_shift_coords": 0.3,
    "pos_embed_rope_jitter_coords": 1.5,
    "pos_embed_rope_rescale_coords": 2.0,
}


def backbone(recompute: bool, depth: int = 3) -> DinoVisionTransformer:
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
        block.recompute = recompute
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
def test_same_loss_and_gradients(precision: torch.dtype) -> None:
    results = []
    for recompute in (False, True):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            results.append(step(backbone(recompute)))
    (loss, gradients, kept), (loss2, gradients2, kept2) = results
    assert torch.equal(loss, loss2)
    assert gradients.keys() == gradients2.keys()
    assert all(torch.equal(gradients2[name], value) for name, value in gradients.items())
    assert all(v.abs().max() > 0 for v in gradients.values())
    assert kept2 < 0.6 * kept


def test_a_teacher_recomputes_nothing() -> None:
    model = backbone(True).eval()
    with torch.no_grad():
        assert not model(torch.randn(2, 3, 24, 24)).requires_grad


@pytest.mark.slow
def test_compiled() -> None:
    results = []
    for recompute in (False, True):
        model = backbone(recompute, depth=1)
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
