"""Weights of others give the same features here, and files are read and written safely."""

import argparse
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dinolite.checkpointer import sha256
from dinolite.config import (
    IMAGENET_STD,
    ConfigError,
    StudentConfig,
    load_config,
    parse_override,
)
from dinolite.explore.gallery import training_data
from dinolite.models import pretrained
from dinolite.models.keymaps import (
    ZEROS,
    WeightsError,
    from_ours,
    huggingface_names,
    meta_names,
    pieces,
    timm_names,
)
from dinolite.models.keymaps import check as check_names
from dinolite.models.pretrained import (
    architecture,
    from_huggingface,
    from_meta,
    from_timm,
    infer_architecture,
    is_released,
    load,
    pixel_statistics,
    read_state_dict,
    save_backbone,
    save_huggingface,
    save_timm,
    start_from,
    to_huggingface,
    to_timm,
)
from dinolite.models.vision_transformer import SIZES, DinoVisionTransformer, build_backbone

SAME = 1e-5  # largest difference of features that are of order 1

NANO = StudentConfig(
    embed_dim=16,
    depth=2,
    num_heads=2,
    ffn_ratio=4.0,
    patch_size=4,
    drop_path_rate=0.0,
    norm_layer="layernormbf16",
    n_storage_tokens=3,
    mask_k_bias=True,
)


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Numbers far from any start value in every parameter, so that a mix-up shows."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        std = 0.1 if parameter.ndim > 1 else 0.5
        parameter.data = torch.randn(parameter.shape, generator=generator) * std


def nano(**changes: Any) -> DinoVisionTransformer:
    """A very small backbone with scrambled weights, in eval mode."""
    model = build_backbone(NANO.model_copy(update=changes))
    scramble(model)
    return model.eval()


UNSEEN = ("num_heads", "norm_layer", "pos_embed_rope_base", "pos_embed_rope_normalize_coords")


def describe(folder: Path, *names: str, **changes: Any) -> None:
    """Write config.json with these settings of a nano, which shapes do not tell."""
    settings = NANO.model_copy(update=changes)
    said = {name: getattr(settings, name) for name in names}
    (folder / "config.json").write_text(json.dumps(said))


def all_tokens(model: DinoVisionTransformer, x: Tensor) -> Tensor:
    """CLS, storage and patch tokens [B, T, D] in one tensor, as timm returns them."""
    with torch.no_grad():
        out = model.forward_features(x)
    assert isinstance(out, dict)
    parts = out["x_norm_clstoken"][:, None], out["x_storage_tokens"], out["x_norm_patchtokens"]
    return torch.cat(parts, dim=1)


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[key], right[key]) for key in left)


# --- timm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_dinov3_qkvb",
        "vit_small_patch16_dinov3",
        "vit_small_patch16_dinov3_qkvb",
        "vit_small_plus_patch16_dinov3_qkvb",
    ],
)
def test_same_features_as_timm_and_back(name: str) -> None:
    import timm

    theirs = timm.create_model(name, pretrained=False, num_classes=0, depth=2).eval()
    scramble(theirs)
    ours = from_timm(architecture(name).model_copy(update={"depth": 2}), theirs.state_dict())
    for size in [(64, 64), (48, 112)]:
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = theirs.forward_features(x)
        assert expected.std() > 0.3
        assert difference(all_tokens(ours, x), expected) < SAME

    back = to_timm(ours)
    scramble(theirs, seed=1)
    theirs.load_state_dict(back, strict=True)
    with torch.no_grad():
        assert difference(theirs.forward_features(x), expected) < SAME


def test_every_dinov3_vit_of_timm_has_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number of blocks, and names and shapes of one, up to the 7B's: on the meta device."""
    import timm

    depths, make = [], timm.models.eva.Eva.__init__

    def shallow(self: nn.Module, *, depth: int, **arguments: Any) -> None:
        depths.append(depth)
        make(self, depth=1, **arguments)

    monkeypatch.setattr("timm.models.eva.Eva.__init__", shallow)
    names = timm.list_models("vit_*_dinov3*")
    assert len(names) >= 12
    for name in names:
        settings = architecture(name)
        with torch.device("meta"):
            theirs = timm.create_model(name, num_classes=0)
            ours = build_backbone(settings.model_copy(update={"depth": 1}))
        assert depths.pop() == SIZES[settings.arch].depth
        check_names(ours.state_dict(), theirs.state_dict(), timm_names, name)


def test_timm_cannot_hold_a_key_bias_or_an_own_cls_norm() -> None:
    with pytest.raises(WeightsError, match="bias of the keys"):
        to_timm(nano(mask_k_bias=False))
    with pytest.raises(WeightsError, match="cls_norm"):
        to_timm(nano(untie_cls_and_patch_norms=True))


# --- Hugging Face -------------------------------------------------------------------------------


def huggingface_state(gated: bool = False) -> dict[str, Tensor]:
    """What a DINOv3ViTModel of the size of NANO holds, written down by hand."""
    d, hidden, p, r = 16, 64, 4, 3
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.mask_token": (1, 1, d),
        "embeddings.register_tokens": (1, r, d),
        "embeddings.patch_embeddings.weight": (d, 3, p, p),
        "embeddings.patch_embeddings.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    widen = ["gate_proj", "up_proj"] if gated else ["up_proj"]
    for i in range(2):
        block = f"layer.{i}"
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (d,), f"{block}.{norm}.bias": (d,)}
        for x in "qkvo":
            shapes[f"{block}.attention.{x}_proj.weight"] = (d, d)
            if x != "k":
                shapes[f"{block}.attention.{x}_proj.bias"] = (d,)
        shapes |= {f"{block}.layer_scale{n}.lambda1": (d,) for n in (1, 2)}
        for layer in widen:
            shapes |= {f"{block}.mlp.{layer}.weight": (hidden, d)}
            shapes |= {f"{block}.mlp.{layer}.bias": (hidden,)}
        shapes |= {
            f"{block}.mlp.down_proj.weight": (d, hidden),
            f"{block}.mlp.down_proj.bias": (d,),
        }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("gated", [False, True])
def test_huggingface_and_back(gated: bool) -> None:
    state = huggingface_state(gated)
    changes = {"ffn_layer": "swiglu", "ffn_ratio": 6.0} if gated else {}
    model = from_huggingface(NANO.model_copy(update=changes), state)
    ours = model.state_dict()
    attention = "layer.1.attention"
    qkv = [state[f"{attention}.{x}_proj.weight"] for x in "qkv"]
    assert torch.equal(ours["blocks.1.attn.qkv.weight"], torch.cat(qkv))
    q, v = (state[f"{attention}.{x}_proj.bias"] for x in "qv")
    assert torch.equal(ours["blocks.1.attn.qkv.bias"], torch.cat([q, torch.zeros(16), v]))
    assert torch.equal(ours["mask_token"], state["embeddings.mask_token"][0])
    assert torch.equal(ours["blocks.0.ls2.gamma"], state["layer.0.layer_scale2.lambda1"])
    gate, value = ("w1", "gate_proj"), ("w2", "up_proj")
    for mine, theirs in [gate, value, ("w3", "down_proj")] if gated else [("fc1", "up_proj")]:
        there = state[f"layer.0.mlp.{theirs}.weight"]
        assert torch.equal(ours[f"blocks.0.mlp.{mine}.weight"], there)

    back = {key.removeprefix("model."): value for key, value in to_huggingface(model).items()}
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize(
    "newer",
    [
        lambda key: key.replace("layer.", "model.layer."),
        lambda key: "model." + key.replace("layer.", "model.layer."),
    ],
)
def test_newer_names_of_transformers(newer: Callable[[str], str]) -> None:
    state = huggingface_state()
    renamed = {newer(key): value for key, value in state.items()}
    assert_same_weights(from_huggingface(NANO, renamed), from_huggingface(NANO, state))


def test_huggingface_and_timm_agree_with_the_official_layout() -> None:
    model, x = nano(), torch.randn(2, 3, 8, 12)
    expected = all_tokens(model, x)
    assert difference(all_tokens(from_timm(NANO, to_timm(model)), x), expected) < SAME
    assert difference(all_tokens(from_huggingface(NANO, to_huggingface(model)), x), expected) < SAME


# --- Meta ---------------------------------------------------------------------------------------


def test_stored_periods_are_used_as_they_are() -> None:
    """Meta's files hold periods that were rounded to bfloat16."""
    model, x = nano(), torch.randn(1, 3, 16, 16)
    exact, periods = all_tokens(model, x), torch.tensor([1.0, 10.04])  # computed ones: 1, 10
    model.rope_embed.load_state_dict({"periods": periods})
    stored = all_tokens(model, x)
    state = model.state_dict() | {"rope_embed.periods": periods.bfloat16()}
    loaded = from_meta(NANO, state)
    assert loaded.rope_embed.periods.tolist() == [1.0, 10.0625]  # 8 bits: steps of 1/16
    assert loaded.rope_embed.periods.dtype == torch.float32
    exactly = from_meta(NANO, model.state_dict())
    assert torch.equal(all_tokens(exactly, x), stored) and not torch.equal(stored, exact)


def test_the_teacher_of_a_training_checkpoint(tmp_path: Path) -> None:
    model = nano(untie_global_and_local_cls_norm=True)
    teacher = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    heads = {
        "dino_head.last_layer.weight": torch.zeros(2, 2),
        "ibot_head.mlp.0.bias": torch.ones(2),
    }
    torch.save({"teacher": teacher | heads}, tmp_path / "teacher_checkpoint.pth")
    describe(tmp_path, "norm_layer", "pos_embed_rope_normalize_coords")
    loaded = load(tmp_path / "teacher_checkpoint.pth")
    assert_same_weights(loaded, model)
    assert "local_cls_norm.weight" in loaded.state_dict()


def test_masked_biases_stay_masked() -> None:
    """Released distilled models store a mask of zeros: they have no q, k or v bias at all."""
    model, x = nano(), torch.randn(1, 3, 8, 8)
    state = {k: v * 0 if k.endswith("bias_mask") else v for k, v in model.state_dict().items()}
    without = nano(qkv_bias=False)
    fitting = {k: v for k, v in state.items() if k in without.state_dict()}
    without.load_state_dict(fitting)
    assert difference(all_tokens(from_meta(NANO, state), x), all_tokens(without, x)) < SAME
    assert not to_timm(from_meta(NANO, state))["blocks.0.attn.q_bias"].any()


# --- which architecture -------------------------------------------------------------------------


def test_three_names_of_one_model() -> None:
    meta = architecture("dinov3_vith16plus")
    assert meta == architecture("facebook/dinov3-vith16plus-pretrain-lvd1689m")
    assert meta == architecture("vit_huge_plus_patch16_dinov3_qkvb.lvd1689m")
    assert meta == architecture("timm/vit_huge_plus_patch16_dinov3_qkvb.lvd1689m")
    assert not architecture("vit_huge_plus_patch16_dinov3").qkv_bias
    assert architecture("vit_7b_patch16_dinov3.sat493m") == architecture("dinov3_vit7b16")


@pytest.mark.parametrize(
    "name", ["dinov3_vitx16", "vit_small_patch14_dinov2", "dinov3_convnext_tiny", ""]
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(WeightsError, match="dinov3_vits16"):
        architecture(name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embed_dim": 64, "num_heads": 8, "depth": 3, "patch_size": 8, "n_storage_tokens": 0},
        {"ffn_layer": "swiglu", "ffn_ratio": 6.0},
        {"ffn_layer": "swiglu64", "ffn_ratio": 3.0},
        {"embed_dim": 1152, "num_heads": 18, "depth": 1, "ffn_ratio": 3.777777778},
        {"qkv_bias": False, "proj_bias": False, "ffn_bias": False},
        {"mask_k_bias": False, "layerscale": None, "norm_layer": "rmsnorm"},
        {"untie_cls_and_patch_norms": True, "untie_global_and_local_cls_norm": True},
    ],
)
def test_architecture_from_shapes(changes: dict[str, Any], tmp_path: Path) -> None:
    model = nano(**changes)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    describe(tmp_path, "norm_layer", "pos_embed_rope_normalize_coords", **changes)
    loaded = load(tmp_path / "weights.pt")
    assert_same_weights(loaded, model)
    x = torch.randn(1, 3, 16, 16)
    assert difference(all_tokens(loaded, x), all_tokens(model, x)) < SAME


# --- mistakes -----------------------------------------------------------------------------------


def test_missing_unexpected_and_misshapen_entries_are_all_named() -> None:
    state = to_timm(nano())
    del state["reg_token"]
    state["pos_embed"] = torch.zeros(10, 16)
    state["norm.weight"] = torch.zeros(15)
    with pytest.raises(ValueError) as error:
        from_timm(NANO, state)
    assert re.search("1 missing: reg_token;", str(error.value))
    assert re.search("1 unexpected: pos_embed;", str(error.value))
    assert "1 of the wrong shape: norm.weight [15] instead of [16]" in str(error.value)


def test_long_lists_are_cut() -> None:
    state = nano().state_dict()
    few = {key: value for key, value in state.items() if not key.startswith("blocks.1.")}
    with pytest.raises(WeightsError, match=r"15 missing: blocks\.1\.") as error:
        from_meta(NANO, few)
    assert str(error.value).count("blocks.1.") == 5


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"fc.weight": torch.zeros(2)}, "hold no DINOv3 ViT.*fc.weight"),
        ({"cls_token": torch.zeros(1, 1, 4)}, "hold no DINOv3 ViT"),
        ({"cls_token": "text"}, "cls_token are not tensors"),
        ({"model": {"cls_token": None}}, "cls_token are not tensors"),
        ({"cls_token": torch.ones(2).to_sparse()}, "cls_token are not tensors that hold numbers"),
        ({"cls_token": torch.ones(2, device="meta")}, "are not tensors that hold numbers"),
        ([torch.zeros(2)], "holds a list"),
    ],
)
def test_other_files(state: Any, sentence: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=sentence):
        load(tmp_path / "x.pth")


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "marker"
    if kind == "torch":
        torch.save({"cls_token": Bomb(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(WeightsError, match="would run code") as error:
        load(path)
    assert "\n" not in str(error.value)
    assert not marker.exists()
    if kind == "pickle":
        pickle.loads(path.read_bytes())  # the bomb is live
        assert marker.exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.pt"])
@pytest.mark.parametrize("content", ["whole", "half", "nothing", "noise"])
def test_damaged_files(name: str, content: str, tmp_path: Path) -> None:
    path, state = tmp_path / name, nano().state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    whole = path.read_bytes()
    damaged = {"half": whole[: len(whole) // 2], "nothing": b"", "noise": b"\x80noise" * 50}
    path.write_bytes(damaged.get(content, whole))
    if content == "whole":
        assert read_state_dict(path).keys() == state.keys()
        return
    with pytest.raises(WeightsError, match=name) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file .*gone\.safetensors"):
        load(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match=r"has no teacher\.safetensors"):
        load(tmp_path)
    with pytest.raises(WeightsError, match=r"no data/weights/dinolite_huge.safetensors"):
        load("dinolite_huge")
    torch.jit.script(nn.Identity()).save(tmp_path / "script.pt")
    with pytest.raises(WeightsError, match=r"script\.pt cannot be read: .*TorchScript") as error:
        load(tmp_path / "script.pt")
    assert "False" not in str(error.value), "no advice to run the code in a file"
    (tmp_path / "weights.npz").touch()
    with pytest.raises(WeightsError, match=r"ending in \.safetensors, .*\.ckpt or \.tar"):
        load(tmp_path / "weights.npz")


# --- our own files ------------------------------------------------------------------------------


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = nano()
    save_backbone(model, NANO, tmp_path / "m.safetensors", {"dataset": "windows"})
    loaded = load(tmp_path / "m.safetensors")
    assert_same_weights(loaded, model)
    assert not loaded.training


def test_the_file_can_be_read_by_anyone(tmp_path: Path) -> None:
    settings = NANO.model_copy(update={"resume_from_teacher_chkpt": "secret/path.pth"})
    save_backbone(nano(), settings, tmp_path / "m.safetensors", {"dataset": "windows"})
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        head, keys = file.metadata(), list(file.keys())
    config = json.loads(head["config"])
    assert (config["embed_dim"], config["depth"], config["patch_size"]) == (16, 2, 4)
    assert head["dataset"] == "windows"
    assert "secret" not in head["config"]
    assert {"cls_token", "blocks.1.attn.qkv.bias_mask", "rope_embed.periods"} <= set(keys)


def test_float16_is_half_the_size_and_read_as_float32(tmp_path: Path) -> None:
    model, x = nano(), torch.randn(1, 3, 16, 16)
    save_backbone(model, NANO, tmp_path / "m.safetensors", dtype=torch.float16)
    stored = load_file(tmp_path / "m.safetensors")
    assert stored["norm.weight"].dtype == torch.float16
    loaded = load(tmp_path / "m.safetensors")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.rope_embed.periods, model.rope_embed.periods)
    assert torch.equal(loaded.norm.weight, model.norm.weight.half().float())
    assert difference(all_tokens(loaded, x), all_tokens(model, x)) < 2e-2


def test_settings_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"do not fit the given settings.*blocks\.1\."):
        save_backbone(nano(), NANO.model_copy(update={"depth": 1}), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", ["{}", '{"patch_size": 4, "colour": 1}', "no JSON"])
def test_settings_that_do_not_fit_are_not_loaded(config: str, tmp_path: Path) -> None:
    save_file(nano().state_dict(), tmp_path / "m.safetensors", {"config": config})
    with pytest.raises(WeightsError, match=r"m\.safetensors"):
        load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("where", ["safetensors.torch.save_file", "os.replace"])
def test_a_failure_leaves_the_previous_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    save_backbone(nano(), NANO, path)
    before = path.read_bytes()

    def full_disk(tensors: Any, target: Path, *_: Any) -> None:
        Path(target).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    def not_moved(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(where, full_disk if "save" in where else not_moved)
    other = nano()
    scramble(other, seed=2)
    with pytest.raises(OSError, match="could not be written"):
        save_backbone(other, NANO, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


# --- load ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["meta", "timm", "huggingface"])
def test_the_layout_of_a_file_is_recognised(layout: str, tmp_path: Path) -> None:
    model = nano(embed_dim=128)
    describe(tmp_path, *UNSEEN, embed_dim=128)
    model.mask_token.data.zero_()  # which timm does not keep
    state = {
        "meta": model.state_dict,
        "timm": lambda: to_timm(model),
        "huggingface": lambda: to_huggingface(model),
    }[layout]()
    save_file(state, tmp_path / "x.safetensors")
    loaded, x = load(str(tmp_path / "x.safetensors")), torch.randn(1, 3, 8, 12)
    assert not loaded.training
    assert difference(all_tokens(loaded, x), all_tokens(model, x)) < SAME


def test_run_folders_and_packaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_backbone(nano(), NANO, tmp_path / "teacher.safetensors")
    save_backbone(nano(), NANO, tmp_path / "dinolite_nano.safetensors")
    monkeypatch.setattr(pretrained, "OWN_WEIGHTS", tmp_path)
    assert_same_weights(load(tmp_path), nano())
    assert_same_weights(load("dinolite_nano"), nano())


def test_loaded_weights_are_copies_and_no_random_number_is_drawn() -> None:
    state = {k: nn.Parameter(v) for k, v in nano().state_dict().items()}
    before = torch.get_rng_state()
    model = from_meta(NANO, state)
    assert torch.equal(torch.get_rng_state(), before)
    model.norm.weight.data.zero_()
    assert state["norm.weight"].any()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub that has one file, and the list of what it was asked for; "small" means NANO here."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    path, asked = tmp_path / "model.safetensors", []
    save_file(to_timm(nano(mask_k_bias=True)), path)

    def download(repository: str, file: str, local_files_only: bool) -> str:
        asked.append((repository, file, local_files_only))
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setitem(
        pretrained.RELEASED, "vits16", NANO.model_dump(exclude={"pos_embed_rope_rescale_coords"})
    )
    return asked


def test_released_weights_are_fetched_by_name(hub: list[tuple[Any, ...]]) -> None:
    loaded, x = load("vit_small_patch16_dinov3_qkvb"), torch.randn(2, 3, 8, 12)
    assert difference(all_tokens(loaded, x), all_tokens(nano(), x)) < SAME
    repository = "timm/vit_small_patch16_dinov3_qkvb.lvd1689m"
    assert hub == [(repository, "model.safetensors", local) for local in (True, False)]


def test_no_network_is_used_unless_allowed(hub: list[tuple[Any, ...]]) -> None:
    for name in ("facebook/dinov3-vits16-pretrain-lvd1689m", "vit_small_patch16_dinov3_qkvb"):
        with pytest.raises(WeightsError, match="could not be downloaded"):
            load(name, allow_network=False)
    assert all(local for _, _, local in hub)


def test_timm_offers_no_such_weights() -> None:
    for name in ("vit_small_patch16_dinov3.wrong", "vit_large_plus_patch16_dinov3"):
        with pytest.raises(WeightsError, match="timm does not offer"):
            load(name, allow_network=False)


def test_gated_weights_of_meta(
    hub: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"https://ai\.meta\.com.*vit_small_patch16_dinov3"):
        load("dinov3_vits16")
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"
    torch.save(nano().state_dict(), file)
    with pytest.raises(WeightsError, match="not the file that was offered"):
        load("dinov3_vits16")
    file.rename(file.with_name(f"dinov3_vits16_pretrain_lvd1689m-{sha256(file)[:8]}.pth"))
    assert_same_weights(load("dinov3_vits16"), nano())


# --- files as people have them ------------------------------------------------------------------

WRAPPERS: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "a trainer's": lambda s: {"model": s, "optimizer": {"state": {0: {"step": 1}}}, "epoch": 3},
    "Lightning's": lambda s: {
        "state_dict": {f"net.backbone.{k}": v for k, v in s.items()}
        | {"net.head.weight": s["norm.weight"]},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {},
    },
    "DDP's": lambda s: {f"module.{k}": v for k, v in s.items()},
    "torch.compile's": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "compiled blocks'": lambda s: {
        re.sub(r"(blocks\.\d\.)", r"\1_orig_mod.", k): v for k, v in s.items()
    },
    "a student alone": lambda s: {"student": {f"module.backbone.{k}": v for k, v in s.items()}},
    "the teacher's of two": lambda s: {
        "student": {f"backbone.{k}": v * 0 for k, v in s.items()},
        "teacher": {f"backbone.{k}": v for k, v in s.items()},
    },
    "one dictionary of both": lambda s: {
        **{f"module.student.backbone.{k}": v * 0 for k, v in s.items()},
        **{f"module.teacher.backbone.{k}": v for k, v in s.items()},
    },
    "AveragedModel's": lambda s: (
        {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in s.items()}
    ),
    "with options": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1)},
}


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize("layout", ["meta", "timm", "huggingface"])
def test_what_stands_around_a_backbone_is_taken_off(kind: str, layout: str, tmp_path: Path) -> None:
    model = nano()
    model.mask_token.data.zero_()
    state = {"meta": nn.Module.state_dict, "timm": to_timm, "huggingface": to_huggingface}[layout](
        model
    )
    torch.save(WRAPPERS[kind](dict(state)), tmp_path / "x.ckpt")
    describe(tmp_path, *UNSEEN)
    x = torch.randn(1, 3, 8, 12)
    assert torch.equal(all_tokens(load(tmp_path / "x.ckpt"), x), all_tokens(model, x))


def test_two_backbones_of_equal_right_are_refused(tmp_path: Path) -> None:
    state = nano().state_dict()
    torch.save({"model": state, "model_ema": state}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth.*2 backbones.*model\., model_ema\.") as error:
        load(tmp_path / "x.pth")
    assert "\n" not in str(error.value)


def test_the_head_of_a_classifier_of_timm_is_left_out(tmp_path: Path) -> None:
    model = nano()
    model.mask_token.data.zero_()
    state = to_timm(model) | {"head.weight": torch.zeros(10, 16), "head.bias": torch.zeros(10)}
    x = torch.randn(1, 3, 8, 12)
    assert torch.equal(all_tokens(from_timm(NANO, state), x), all_tokens(model, x))


def test_a_compiled_model_is_saved_under_plain_names(tmp_path: Path) -> None:
    model = nano()
    compiled = nn.ModuleDict({"_orig_mod": model})  # as torch.compile wraps it
    assert "_orig_mod.cls_token" in compiled.state_dict()
    save_backbone(compiled, NANO, tmp_path / "m.safetensors")
    assert "cls_token" in load_file(tmp_path / "m.safetensors")
    assert_same_weights(load(tmp_path / "m.safetensors"), model)
    assert from_ours(compiled.state_dict(), timm_names, "timm").keys() == to_timm(model).keys()


def test_folders_of_a_hub(tmp_path: Path) -> None:
    """A snapshot, the cache folder above it, and weights in two files with an index."""
    model = nano(qkv_bias=False)
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    save_huggingface(model, snapshot)
    for place in (snapshot, tmp_path / "models--a--b"):
        assert_same_weights(load(place), model)
    state = list(load_file(snapshot / "model.safetensors").items())
    (snapshot / "model.safetensors").unlink()
    for name, part in (("1", state[:9]), ("2", state[9:])):
        save_file(dict(part), snapshot / f"{name}.safetensors")
    index = {key: "1.safetensors" if i < 9 else "2.safetensors" for i, (key, _) in enumerate(state)}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert_same_weights(load(snapshot), model)
    (snapshot / "model.safetensors.index.json").write_text('{"weight_map": ["1"]}')
    with pytest.raises(WeightsError, match=r"index\.json names no files with weights"):
        load(snapshot)
    save_huggingface(model, tmp_path / "models--a--b" / "snapshots" / "4567")
    with pytest.raises(WeightsError, match=r"several places.*name one of them"):
        load(tmp_path / "models--a--b")


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    model = nano()
    for value, key in ((torch.nan, "norm.weight"), (torch.inf, "blocks.1.ls2.gamma")):
        state = {k: v.clone() for k, v in model.state_dict().items()}
        state[key][3] = value
        torch.save(state, tmp_path / "m.pth")
        describe(tmp_path, *UNSEEN)
        with pytest.raises(WeightsError, match=rf"m\.pth.* hold NaN or infinity in {key}"):
            load(tmp_path / "m.pth")
        with pytest.raises(WeightsError, match=rf"not written: NaN or infinity in {key}"):
            save_backbone(state, NANO, tmp_path / "m.safetensors")
    model.norm.weight.data[0] = 1e6  # more than half precision holds
    with pytest.raises(WeightsError, match=r"not written: NaN or infinity in norm\.weight"):
        save_backbone(model, NANO, tmp_path / "m.safetensors", dtype=torch.float16)
    assert not (tmp_path / "m.safetensors").exists()
    with pytest.raises(
        WeightsError, match=r"rope_embed\.periods .* \[0\.0, 0\.0\]; allowed: above 0"
    ):
        from_meta(NANO, model.state_dict() | {"rope_embed.periods": torch.zeros(2)})
    too_large = model.state_dict() | {"norm.bias": torch.full((16,), 1e300, dtype=torch.float64)}
    with pytest.raises(WeightsError, match=r"infinity in norm\.bias"):
        from_meta(NANO, too_large)
    quantised = model.state_dict() | {"norm.bias": torch.ones(16, dtype=torch.int8)}
    with pytest.raises(WeightsError, match=r"1 not of real numbers: norm\.bias \(int8\)"):
        from_meta(NANO, quantised)


# --- what leaves no trace in shapes -------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(pretrained.RELEASED))
def test_released_shapes_are_known(name: str) -> None:
    """Also without periods, which tell the heads."""
    with torch.device("meta"):
        own = build_backbone(StudentConfig(**pretrained.COMMON | pretrained.RELEASED[name]))
        state = own.state_dict()
        for names in (meta_names, timm_names, huggingface_names):
            theirs = {part: x for part, x in pieces(state, names) if part != ZEROS}
            narrow = infer_architecture(theirs, names)
            assert is_released(narrow) and narrow.num_heads == own.num_heads
            assert not is_released(narrow.model_copy(update={"n_storage_tokens": 0}))


UNUSUAL = {
    "num_heads": 4,
    "norm_layer": "layernorm",
    "pos_embed_rope_base": 50.0,
    "n_storage_tokens": 0,
    "layerscale": None,
    "embed_dim": 128,
}


@pytest.mark.parametrize("changes", [UNUSUAL, {"qkv_bias": False}, {"ffn_layer": "swiglu"}])
def test_exports_tell_what_shapes_do_not(changes: dict[str, Any], tmp_path: Path) -> None:
    """Four heads of 32 came back as two of 64, with eps 1e-5."""
    model, x = nano(**changes), torch.randn(1, 3, 8, 12)
    model.pixel_mean = (0.1, 0.2, 0.3)
    model.mask_token.data.zero_()
    save_timm(model, tmp_path / "x.safetensors")
    save_huggingface(model, tmp_path / "hub")
    save_backbone(model, NANO.model_copy(update=changes), tmp_path / "own.safetensors")
    for place in ("x.safetensors", "hub", "own.safetensors"):
        back = load(tmp_path / place)
        assert torch.equal(all_tokens(back, x), all_tokens(model, x)), place
        assert (back.num_heads, back.norm.eps) == (model.num_heads, model.norm.eps), place
        assert back.pixel_mean == (0.1, 0.2, 0.3), place


@pytest.mark.parametrize("layout", ["timm", "huggingface", "meta"])
def test_without_a_word_they_are_refused(layout: str, tmp_path: Path) -> None:
    """The sentence says what to write, and written there it is read."""
    model, x = nano(**UNUSUAL), torch.randn(1, 3, 8, 12)
    model.mask_token.data.zero_()
    state = {"meta": nn.Module.state_dict, "timm": to_timm, "huggingface": to_huggingface}[layout](
        model
    )
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"norm_layer.*config\.json") as error:
        load(tmp_path / "x.safetensors")
    example = json.loads(str(error.value)[str(error.value).index("{") :])
    assert example.keys() == set(UNSEEN) - (
        {"num_heads", "pos_embed_rope_base"} if layout == "meta" else set()
    )
    example |= {name: UNUSUAL[name] for name in example if name in UNUSUAL}
    (tmp_path / "config.json").write_text(json.dumps(example))
    assert torch.equal(all_tokens(load(tmp_path / "x.safetensors"), x), all_tokens(model, x))


def test_settings_beside_weights_of_timm(tmp_path: Path) -> None:
    """As timm.models.save_for_hf writes them."""
    model, x = nano(num_heads=4, pos_embed_rope_base=50.0), torch.randn(1, 3, 8, 12)
    model.mask_token.data.zero_()
    save_file(to_timm(model), tmp_path / "model.safetensors")
    arguments = {
        "embed_dim": 16,
        "depth": 2,
        "num_heads": 4,
        "rope_temperature": 50.0,
        "img_size": 64,
    }
    said = {"architecture": "vit_small_patch16_dinov3", "model_args": arguments}
    said["pretrained_cfg"] = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    (tmp_path / "config.json").write_text(json.dumps(said))
    back = load(tmp_path)
    assert torch.equal(all_tokens(back, x), all_tokens(model, x))
    assert (back.pixel_mean, back.pixel_std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    (tmp_path / "config.json").write_text(json.dumps(said | {"model_args": {"act_layer": "relu"}}))
    with pytest.raises(WeightsError, match=r"config\.json: model_args has act_layer"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "eva02_small_patch14_224"}')
    with pytest.raises(WeightsError, match=r"config\.json: 'eva02_small.* is not a released"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_act": "gelu_new"}, 'hidden_act = "gelu_new"; dinolite has "gelu"'),
        ({"key_bias": True}, "key_bias = true"),
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps = 1e-12; dinolite has 1e-05 or 1e-06"),
        ({"layer_norm_eps": [1e-6]}, r"layer_norm_eps = \[1e-06\]; dinolite has 1e-05 or 1e-06"),
        ({"num_attention_heads": 3}, "describes it cannot be built: embed_dim = 16 with num_heads"),
        ({"num_attention_heads": "four"}, r"config\.json: num_heads"),
        ({"hidden_size": 32}, "do not fit"),
        ({"num_hidden_layers": 3}, r"do not fit.*layer\.2\."),
    ],
)
def test_what_a_backbone_cannot_do_is_refused(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    save_file(huggingface_state(), tmp_path / "model.safetensors")
    said = {"model_type": "dinov3_vit", "hidden_size": 16, "num_hidden_layers": 2}
    said |= {"num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(said))
    assert load(tmp_path).num_heads == 4
    (tmp_path / "config.json").write_text(json.dumps(said | change))
    with pytest.raises(WeightsError, match=sentence) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_that_others_cannot_carry_out_is_not_exported() -> None:
    for export in (to_timm, to_huggingface):
        with pytest.raises(
            WeightsError, match="no place for pos_embed_rope_normalize_coords = max"
        ):
            export(nano(pos_embed_rope_normalize_coords="max"))
        model = nano()
        model.rope_embed.periods.mul_(1.1)
        with pytest.raises(WeightsError, match="no place for the RoPE periods"):
            export(model)
    with pytest.raises(WeightsError, match="rmsnorm"):
        to_huggingface(nano(norm_layer="rmsnorm"))


def test_files_of_ours_are_safetensors(tmp_path: Path) -> None:
    for save in (save_timm, lambda model, path: save_backbone(model, NANO, path)):
        with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
            save(nano(), tmp_path / "x.bin")
    assert not list(tmp_path.iterdir())


def test_settings_that_contradict_the_model_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="norm_layer = layernorm, the model has layernormbf16"):
        other = NANO.model_copy(update={"norm_layer": "layernorm"})
        save_backbone(nano(), other, tmp_path / "m.safetensors")


@pytest.mark.slow  # its import takes seconds
def test_todays_transformers_loads_our_names_both_ways(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", minversion="5.0")
    for changes in ({"ffn_layer": "swiglu", "ffn_ratio": 6.0}, UNUSUAL):
        model, x = nano(**changes), torch.randn(1, 3, 8, 12)
        save_huggingface(model, tmp_path)
        opened = transformers.AutoModel.from_pretrained(tmp_path).eval()
        filled = transformers.DINOv3ViTModel(opened.config).eval()
        filled.load_state_dict(to_huggingface(model))
        save_file(to_huggingface(model), tmp_path / "model.safetensors", {"format": "pt"})
        again = transformers.AutoModel.from_pretrained(tmp_path).eval()
        with torch.no_grad():
            for theirs in (opened, filled, again):
                assert difference(theirs(x).last_hidden_state, all_tokens(model, x)) < SAME
        again.save_pretrained(tmp_path / "theirs")
        assert torch.equal(all_tokens(load(tmp_path / "theirs"), x), all_tokens(model, x))


# --- colours, channels, a run that starts from other weights ------------------------------------


@pytest.mark.parametrize(
    ("name", "red"),
    [
        ("dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth", 0.43),
        ("dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", 0.485),
        ("sat493m/lvd1689m.pth", 0.485),
        ("models--facebook--dinov3-vitl16-pretrain-sat493m/snapshots/1/model.safetensors", 0.43),
        ("vit_7b_patch16_dinov3.sat493m", 0.43),
        ("vit_7b_patch16_dinov3", 0.485),
    ],
)
def test_satellite_models_bring_their_colours(name: str, red: float) -> None:
    mean, std = pixel_statistics(Path(name), {})
    assert mean[0] == red and std == ((0.213, 0.156, 0.143) if red == 0.43 else IMAGENET_STD)


def test_the_colours_of_a_run_come_with_its_weights(tmp_path: Path) -> None:
    crops = {"crops": {"rgb_mean": [0.4, 0.5, 0.6], "rgb_std": [0.1, 0.1, 0.1]}}
    save_backbone(nano(), NANO, tmp_path / "teacher.safetensors", {"settings": json.dumps(crops)})
    assert load(tmp_path).pixel_mean == (0.4, 0.5, 0.6)
    assert load("dinolite_tiny").pixel_std == (0.2, 0.2, 0.2)
    for broken in ("{", "[]", '{"crops": {"rgb_mean": [1, 2, "x"], "rgb_std": [1, 1, 1]}}'):
        save_backbone(nano(), NANO, tmp_path / "teacher.safetensors", {"settings": broken})
        with pytest.raises(WeightsError, match=r"teacher\.safetensors: the mean of its colours"):
            load(tmp_path)
    for mean, std in (([127.5] * 3, [50.0] * 3), ([0.5] * 3, [0.5, 0.5, 0.0])):
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({"image_mean": mean, "image_std": std})
        )
        with pytest.raises(WeightsError, match=r"colours cannot be read.*from 0 to 1"):
            pixel_statistics(tmp_path / "x.pth", {})


def test_words_in_the_header_of_a_stranger_are_not_ours(tmp_path: Path) -> None:
    words = {"recipe": "imagenet", "settings": "lr=1", "rgb_mean": "[9]", "rgb_std": "[9]"}
    save_file(nano().state_dict(), tmp_path / "x.safetensors", words)
    describe(tmp_path, *UNSEEN)
    assert load(tmp_path / "x.safetensors").pixel_std == IMAGENET_STD
    assert not training_data(tmp_path / "x.safetensors").grey


def test_other_channels_than_three(tmp_path: Path) -> None:
    model, x = nano(in_chans=5), torch.randn(1, 5, 8, 8)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    describe(tmp_path, *UNSEEN)
    assert torch.equal(all_tokens(load(tmp_path / "x.pth"), x), all_tokens(model, x))
    with pytest.raises(ConfigError, match=r"student\.in_chans = 5.*a run needs 3"):
        load_config("demo", ["student.in_chans=5"])


def test_weights_that_do_not_fit_a_run_name_its_settings(tmp_path: Path) -> None:
    """And with the named settings they fit."""
    changes = {"qkv_bias": False, "n_storage_tokens": 0, "ffn_layer": "swiglu", "depth": 1}
    source = nano(**changes)
    save_backbone(source, NANO.model_copy(update=changes), tmp_path / "m.safetensors")
    settings = NANO.model_copy(update={"norm_layer": "layernorm"})
    with pytest.raises(WeightsError, match=r"it needs student\.depth = 1 \(now 2\)") as error:
        start_from(build_backbone(settings), str(tmp_path / "m.safetensors"))
    named = re.findall(r"student\.(\w+) = (\S+) \(now", str(error.value))
    assert "\n" not in str(error.value) and ("qkv_bias", "false") in named
    overrides = [f"student.{name}={value}" for name, value in named]
    base = {f"student.{k}": v for k, v in settings.model_dump().items()}
    base |= dict(parse_override(text) for text in overrides)
    backbone = build_backbone(load_config(None, base).student)
    start_from(backbone, str(tmp_path / "m.safetensors"))
    assert_same_weights(backbone, source)


def test_timm_s_default_has_no_biases_of_q_and_v(tmp_path: Path) -> None:
    save_timm(nano(qkv_bias=False), tmp_path / "m.safetensors")
    with pytest.raises(WeightsError, match=r"needs student\.qkv_bias = false \(now true\)$"):
        start_from(nano(), str(tmp_path / "m.safetensors"))


def test_the_norm_for_local_crops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Left out by a student that has none; without it in the file, a copy of what did its work."""
    untied = {"untie_global_and_local_cls_norm": True}
    for there in ({}, untied, {"untie_cls_and_patch_norms": True}):
        source, x = nano(**there), torch.randn(1, 3, 8, 8)
        save_backbone(source, NANO.model_copy(update=there), tmp_path / "m.safetensors")
        for here in (False, True):
            backbone = nano(**there | {"untie_global_and_local_cls_norm": here})
            scramble(backbone, seed=3)
            start_from(backbone, str(tmp_path / "m.safetensors"))
            assert torch.equal(all_tokens(backbone, x), all_tokens(source, x))
            if here:
                given = source.local_cls_norm or source.cls_norm or source.norm
                assert torch.equal(backbone.local_cls_norm.weight, given.weight)
    assert not capsys.readouterr().err


def test_a_run_with_other_colours_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = nano()
    source.pixel_mean = (0.43, 0.411, 0.296)
    save_backbone(source, NANO, tmp_path / "m.safetensors")
    start_from(nano(), str(tmp_path / "m.safetensors"))
    said = capsys.readouterr().err
    assert "crops.rgb_mean = [0.43, 0.411, 0.296]" in said and said.count("\n") == 1
