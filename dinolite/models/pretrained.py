"""Weights in and out: `load` takes a name, a file or a run folder and returns a backbone ready to
look at images. Our own files are safetensors: official parameter names, and the settings inside.

DINOv3 model card; official `hub/backbones.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dinolite.config import StudentConfig
from dinolite.layers.attention import LinearKMaskedBias
from dinolite.models import keymaps
from dinolite.models.keymaps import Names, State, WeightsError
from dinolite.models.released import architecture, infer_architecture
from dinolite.models.sizes import build_backbone
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.models.weight_files import fetch, read_metadata, read_state_dict, write_safetensors

OWN_WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights"
TEACHER = "teacher.safetensors"  # what a run leaves in its folder


def load(name_or_path: str | Path, *, allow_network: bool = True) -> DinoVisionTransformer:
    """A backbone with its weights, in eval mode, float32, on the CPU.

    Args:
        name_or_path: a .safetensors, .pth or .pt file (ours, Meta's, timm's or Hugging Face's; the
            architecture is read from it), the folder of a run, a name in `data/weights`, or a
            released name such as vit_small_patch16_dinov3_qkvb, which is downloaded once.
        allow_network: may it be downloaded? Without, only what was downloaded before is used.

    Raises:
        WeightsError (a ValueError): there is no such thing, it cannot be read, or it does not fit.
    """
    name, path = str(name_or_path), Path(name_or_path)
    own = OWN_WEIGHTS / f"{name}.safetensors"
    if path.is_dir():
        path = path / TEACHER
        if not path.is_file():
            raise WeightsError(f"{path.parent} has no {TEACHER}; a run writes it at its end")
    if not path.is_file() and own.is_file():
        path = own
    if path.is_file():
        return load_file(path)
    if path.suffix in (".safetensors", ".pth", ".pt"):
        raise WeightsError(f"there is no file {path}")
    try:
        config = architecture(name)
    except WeightsError as error:
        raise WeightsError(
            f"there is no file or folder {name}, no data/weights/{own.name}, and {error}"
        ) from None
    state = keymaps.unwrapped(read_state_dict(fetch(name, allow_network)))
    return fitted(config, state, keymaps.recognise(state), name)


def load_file(path: Path) -> DinoVisionTransformer:
    """A backbone from a file of any layout; the architecture is read from the file."""
    if "config" in read_metadata(path):
        return load_published(path)
    tensors = read_state_dict(path)
    try:
        state = keymaps.unwrapped(tensors)
        names = keymaps.recognise(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return fitted(infer_architecture(state, names), state, names, f"the model in {path}")


def from_meta(name: str | StudentConfig, state_dict: Mapping[str, Any]) -> DinoVisionTransformer:
    """Meta's weights: a released backbone, or the teacher of a training checkpoint.

    Args:
        name: of a released model (`released.architecture`), or the settings of another one.
        state_dict: official names; the stored (rounded) RoPE periods are used, not recomputed.

    Raises:
        WeightsError: naming every missing, unexpected or misshapen entry.
    """
    return named(name, state_dict, keymaps.meta_names)


def from_timm(name: str | StudentConfig, state_dict: Mapping[str, Any]) -> DinoVisionTransformer:
    """timm's weights: no mask token (here zero), no RoPE periods (computed). See `from_meta`."""
    return named(name, state_dict, keymaps.timm_names)


def from_huggingface(
    name: str | StudentConfig, state_dict: Mapping[str, Any]
) -> DinoVisionTransformer:
    """Weights of transformers' DINOv3ViTModel, old or new names. See `from_meta`."""
    return named(name, state_dict, keymaps.huggingface_names)


def to_timm(model: DinoVisionTransformer) -> dict[str, Tensor]:
    """The weights for timm's model of the same size; load them there with strict=True.

    timm computes its RoPE periods, so features differ a little where ours were stored rounded.

    Raises:
        WeightsError: timm has no place for something that changes the features.
    """
    return keymaps.from_ours(model.state_dict(), keymaps.timm_names, "timm")


def to_huggingface(model: DinoVisionTransformer) -> dict[str, Tensor]:
    """The weights for transformers' DINOv3ViTModel, as its published files name them."""
    return keymaps.from_ours(model.state_dict(), keymaps.huggingface_names, "transformers")


def named(
    name: str | StudentConfig, state_dict: Mapping[str, Any], names: Names
) -> DinoVisionTransformer:
    """A model of a known architecture from weights of a known layout."""
    config, what = (architecture(name), name) if isinstance(name, str) else (name, "these settings")
    return fitted(config, keymaps.unwrapped(state_dict), names, what)


def fitted(config: StudentConfig, state: State, names: Names, what: str) -> DinoVisionTransformer:
    """The model that `config` describes, filled with a state dict, in eval mode."""
    model = skeleton(config, state, names).to_empty(device="cpu")
    model.rope_embed.reset_parameters()
    nn.init.zeros_(model.mask_token)
    for module in model.modules():
        if isinstance(module, LinearKMaskedBias):
            module.reset_bias_mask()
    keymaps.fill(model.state_dict(), state, names, what)
    return model.eval()


def skeleton(config: StudentConfig, state: State, names: Names) -> DinoVisionTransformer:
    """The model that `config` describes, without memory for its numbers.

    The norm for local crops is of use in training only; there is one if the weights have it.
    """
    local = keymaps.shape_in(state, names, "local_cls_norm.weight") is not None
    config = config.model_copy(update={"untie_global_and_local_cls_norm": local})
    with torch.device("meta"):  # draws no random numbers either
        return build_backbone(config, teacher=True)


def save_backbone(
    model_or_state: nn.Module | State,
    config: StudentConfig,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a backbone and its settings to a safetensors file that anyone can read.

    The head of the file holds the settings as JSON under "config", beside `metadata`. What was at
    `path` stays as it is until the new file is whole.

    Args:
        model_or_state: a backbone, or its state dict.
        config: the settings that build it.
        path: ends in .safetensors; its folder exists.
        metadata: further texts.
        dtype: of the stored weights, such as torch.float16 for half the size (RoPE periods, whose
            rounding would show, stay float32); None = as they are.

    Raises:
        WeightsError: the weights are not those of a backbone with these settings.
        OSError: it could not be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"path = {path}; it must end in .safetensors")
    state = model_or_state if isinstance(model_or_state, Mapping) else model_or_state.state_dict()
    own = skeleton(config, state, keymaps.meta_names).state_dict()
    keymaps.check(own, state, keymaps.meta_names, "the given settings")
    tensors = {
        key: value.detach().to("cpu", torch.float32 if "periods" in key else dtype).contiguous()
        for key, value in state.items()
    }
    shared = config.model_copy(update={"resume_from_teacher_chkpt": ""})  # a path on this machine
    head = {"format": "pt", **(metadata or {}), "config": shared.model_dump_json()}
    write_safetensors(tensors, path, head)


def load_published(path: Path) -> DinoVisionTransformer:
    """A backbone that `save_backbone` wrote, as float32, in eval mode.

    Raises WeightsError if the file is not one of ours, or does not fit its own settings.
    """
    try:
        config = StudentConfig.model_validate_json(read_metadata(path).get("config", ""))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}" for e in error.errors())
        raise WeightsError(f"{path} holds no settings that dinolite understands: {wrong}") from None
    try:
        return fitted(config, read_state_dict(path), keymaps.meta_names, f"the settings in {path}")
    except (RuntimeError, TypeError) as error:  # sizes that no tensor can have
        raise WeightsError(f"{path} holds settings that cannot be built: {error}") from None
