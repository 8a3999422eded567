"""The backbone's doors: block numbers, pixels, and the ways to run a model without running it."""

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dinolite.models.vision_transformer import DinoVisionTransformer


@pytest.fixture
def net() -> DinoVisionTransformer:
    return DinoVisionTransformer(patch_size=4, embed_dim=16, depth=4, num_heads=2).eval()


X = torch.linspace(-1, 1, 3 * 8 * 12).view(1, 3, 8, 12)


def same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("n", "blocks"),
    [
        (1, [3]),
        (4, [0, 1, 2, 3]),
        (np.int64(2), [2, 3]),
        (torch.tensor(2), [2, 3]),
        ([0, -1], [0, 3]),
        ((np.int32(1),), [1]),
        (np.array([0, 2]), [0, 2]),
        (torch.tensor([2]), [2]),
        (range(2), [0, 1]),
        ({3, 1}, [1, 3]),
        (reversed([1, 2]), [1, 2]),
        ((i for i in (2, 0)), [0, 2]),
    ],
)
def test_whole_numbers_of_any_kind_name_blocks(
    net: DinoVisionTransformer, n: Any, blocks: list[int]
) -> None:
    assert net.block_numbers(n) == blocks


NONE = [0, -1, 5, [], [4], [-5], [0, 0], [0, -4], True, [False, 2], np.True_, [np.True_]]
NONE += [torch.tensor(True), 2.0, [1.5], "3", ["1"], np.array([0.0]), [[0]], None, object()]


@pytest.mark.parametrize("n", NONE)
def test_what_names_no_block_is_refused(net: DinoVisionTransformer, n: Any) -> None:
    with pytest.raises(ValueError, match="this model has 4: give") as error:
        net.block_numbers(n)
    assert "\n" not in str(error.value)


def test_layers_and_maps_of_named_blocks(net: DinoVisionTransformer) -> None:
    all_layers, all_maps = net.get_intermediate_layers(X, 4), net.get_attention_maps(X, range(4))
    assert same(net.get_intermediate_layers(X, np.int64(2)), all_layers[2:])
    assert same(net.get_attention_maps(X, np.array([0, -1])), [all_maps[0], all_maps[3]])
    for n in (5, 0, [0, 0]):
        with pytest.raises(ValueError, match="asked for"):
            net.get_intermediate_layers(X, n)
    for layers in (0, 3, np.int64(2), torch.tensor(2)):
        with pytest.raises(ValueError, match=r"give a list of block numbers, such as \[0, -1\]"):
            inspect.unwrap(DinoVisionTransformer.get_attention_maps)(net, X, layers)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (X.to(torch.uint8), r"torch\.uint8, this model takes torch\.float32.*preprocess"),
        (X > 0, r"torch\.bool, this model takes"),
        (X.half(), r"torch\.float16, this model torch\.float32: convert.*autocast"),
        (X.double(), r"torch\.float64, this model torch\.float32"),
        (X[0], r"\[3, 8, 12\]; this model takes \[B, C, H, W\]"),
    ],
)
def test_pixels_of_another_type_get_a_sentence(
    net: DinoVisionTransformer, x: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        net.patch_embed.check(x)
    if x.is_floating_point() and x.ndim == 4:  # other shapes and types end at the tests' own checks
        for door in (net, net.get_intermediate_layers, net.get_attention_maps):
            with pytest.raises(ValueError, match=sentence):
                door(x)


def test_pixels_of_the_model_s_type_and_under_autocast(net: DinoVisionTransformer) -> None:
    whole = net(X)
    assert (net.double()(X.double()) - whole).abs().max() < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        for x in (X, X.bfloat16()):
            assert net.float()(x).isfinite().all()
        with pytest.raises(ValueError, match="uint8"):
            net.patch_embed.check(X.to(torch.uint8))
    assert net.bfloat16()(X.bfloat16()).dtype == torch.bfloat16


# --- position tables are computed in every pass: none can be stale ---


def test_changed_periods_and_scaling_change_the_features(net: DinoVisionTransformer) -> None:
    before = net(X)
    net.rope_embed.periods.mul_(1.5)
    changed = net(X)
    assert not torch.equal(changed, before)
    net.rope_embed.normalize_coords = "max"
    assert not torch.equal(net(X), changed)
    net.rope_embed.normalize_coords = "separate"
    net.rope_embed.reset_parameters()
    assert torch.equal(net(X), before)


@pytest.mark.slow  # what FakeTensorMode imports takes seconds
def test_a_model_survives_being_run_without_numbers(net: DinoVisionTransformer) -> None:
    before = net(X)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        assert net(fake.from_tensor(X)).shape == (1, 16)
    assert copy.deepcopy(net).to("meta")(X.to("meta")).shape == (1, 16)
    torch.func.functional_call(net, {k: v * 2 for k, v in net.state_dict().items()}, (X,))
    with torch.inference_mode():
        net(X)
    assert torch.equal(net(X), before)
    assert torch.equal(copy.deepcopy(net)(X), before)
    net(X.requires_grad_()).sum().backward()
    X.requires_grad_(False)


def test_names_of_timm_and_of_the_official_class(net: DinoVisionTransformer) -> None:
    assert net.num_features == net.embed_dim == 16
