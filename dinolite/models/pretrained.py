"""Weights in and out: `load` takes a name, a file or a run folder and returns a backbone ready to
look at images. Which backbone it is follows from the name, the settings in the file, or the shapes
of the weights. Files are read without running what is in them; our own are safetensors.

DINOv3 Table 2, Fig. 16a and model card; official `hub/backbones.py`.
"""

import hashlib
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dinolite.checkpointer import (
    CONTENTS,
    META,
    CheckpointError,
    read_meta,
    read_teacher,
    sha256,
    write_atomically,
)
from dinolite.config import StudentConfig, explain
from dinolite.layers.attention import LinearKMaskedBias
from dinolite.models import keymaps
from dinolite.models.keymaps import Names, State, WeightsError, meta_names, shape_in
from dinolite.models.vision_transformer import DinoVisionTransformer, build_backbone

OWN_WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights"
TEACHER = "teacher.safetensors"  # what a run leaves in its folder
HANDOVER = "teacher_checkpoint.safetensors"  # the same with both heads, for a run that starts there
SUM = "sha256"  # in the header of files that we write


def load(name_or_path: str | Path, *, allow_network: bool = True) -> DinoVisionTransformer:
    """A backbone with its weights, in eval mode, float32, on the CPU.

    Args:
        name_or_path: a .safetensors, .pth or .pt file (ours, Meta's, timm's or Hugging Face's; the
            architecture is read from it), the folder of a run or of one of its checkpoints, a name
            in `data/weights`, or a released name such as vit_small_patch16_dinov3_qkvb, which is
            downloaded once.
        allow_network: may it be downloaded? Without, only what was downloaded before is used.

    Raises:
        WeightsError (a ValueError): there is no such thing, it cannot be read, or it does not fit.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if (path / CONTENTS).is_file():
        return load_from_checkpoint(path)
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


def load_published(path: Path) -> DinoVisionTransformer:
    """A backbone that `save_backbone` wrote, as float32, in eval mode.

    Raises WeightsError if the file is not one of ours, or does not fit its own settings.
    """
    try:
        config = StudentConfig.model_validate_json(read_metadata(path).get("config", ""))
    except ValidationError as error:
        wrong = "; ".join(explain(error, StudentConfig, "config"))
        raise WeightsError(f"{path} holds no settings that dinolite understands: {wrong}") from None
    try:
        state = keymaps.unwrapped(read_state_dict(path))
        return fitted(config, state, keymaps.meta_names, f"the settings in {path}")
    except (RuntimeError, TypeError) as error:  # sizes that no tensor can have
        raise WeightsError(f"{path} holds settings that cannot be built: {error}") from None


def load_from_checkpoint(place: Path) -> DinoVisionTransformer:
    """The teacher's backbone in a checkpoint of a run, or of the official code's, which has no
    `meta.json` with the settings: there the shapes tell the architecture.

    Raises WeightsError if the checkpoint cannot be read, or holds no teacher.
    """
    try:
        state = keymaps.unwrapped(read_teacher(place, "backbone"))
        names = keymaps.recognise(state)
        meta = read_meta(place) if (place / META).is_file() else {}
        if "settings" in meta:
            config = StudentConfig(**meta["settings"]["student"])
        else:
            config = infer_architecture(state, names)
    except (CheckpointError, ValueError) as error:
        raise WeightsError(f"{place}: {error}") from None
    return fitted(config, state, names, f"the settings in {place}")


def from_meta(name: str | StudentConfig, state_dict: Mapping[str, Any]) -> DinoVisionTransformer:
    """Meta's weights: a released backbone, or the teacher of a training checkpoint.

    Args:
        name: of a released model (see `architecture`), or the settings of another one.
        state_dict: official names; the stored (rounded) RoPE periods are used, not recomputed.

    Raises:
        WeightsError: naming every missing, unexpected or misshapen entry.
    """
    return with_names(name, state_dict, keymaps.meta_names)


def from_timm(name: str | StudentConfig, state_dict: Mapping[str, Any]) -> DinoVisionTransformer:
    """timm's weights: no mask token (here zero), no RoPE periods (computed). See `from_meta`."""
    return with_names(name, state_dict, keymaps.timm_names)


def from_huggingface(
    name: str | StudentConfig, state_dict: Mapping[str, Any]
) -> DinoVisionTransformer:
    """Weights of transformers' DINOv3ViTModel, old or new names. See `from_meta`."""
    return with_names(name, state_dict, keymaps.huggingface_names)


def with_names(
    name: str | StudentConfig, state_dict: Mapping[str, Any], names: Names
) -> DinoVisionTransformer:
    """A model of a known architecture from weights under known names."""
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


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """The tensors in a .safetensors, .pth or .pt file; never runs code that a file contains.

    Raises:
        WeightsError: the file is damaged, of another kind, or wants to run code.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file as load_safetensors

        try:
            tensors = load_safetensors(path)
            words = read_metadata(path)
            if SUM in words and digest(tensors, words) != words[SUM]:
                raise WeightsError(f"{path} is damaged: it does not fit its checksum")
            return tensors
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None
    if path.suffix not in (".pth", ".pt"):
        raise WeightsError(f"{path}: weights are files ending in .safetensors, .pth or .pt")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is not a file of plain tensors: it is damaged, or would run code when opened, "
            "which was refused"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error) or "it ends too early").splitlines()[0]
        raise WeightsError(f"{path} cannot be read: {reason}") from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict")
    return dict(state)


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; none for other files."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A checksum of texts, names and numbers, whatever their order in a file."""
    texts = sorted((name, text) for name, text in metadata.items() if name != SUM)
    total = hashlib.sha256(repr(texts).encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def save_backbone(
    model_or_state: nn.Module | State,
    config: StudentConfig,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a backbone and its settings to a safetensors file that anyone can read.

    The header of the file holds the settings as JSON under "config", beside `metadata`. What was at
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
    shared = config.model_copy(update={"resume_from_teacher_chkpt": None})  # a path on this machine
    header = {"format": "pt", **(metadata or {}), "config": shared.model_dump_json()}
    write_safetensors(tensors, path, header)


def write_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write beside `path`, then move there: what was there stays until the new file is whole.

    Raises:
        OSError: it could not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with write_atomically(path) as temporary:
            save_file(dict(tensors), temporary, {**metadata, SUM: digest(tensors, metadata)})
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} could not be written: {error}") from error


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


def fetch(name: str, allow_network: bool) -> Path:
    """The file of a released model: from an earlier download if there was one, else downloaded."""
    if META_NAME.fullmatch(name):
        return fetch_meta(name)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    repository = name if HUGGINGFACE_NAME.fullmatch(name) else timm_repository(name)
    file = "model.safetensors"
    try:
        try:
            return Path(hf_hub_download(repository, file, local_files_only=True))
        except LocalEntryNotFoundError:
            new = hf_hub_download(repository, file, local_files_only=not allow_network)
            return as_offered(Path(new))
    except GatedRepoError:
        raise WeightsError(
            f"{name} is given to those who accept Meta's licence: do so at "
            f"https://huggingface.co/{repository}, then `hf auth login`"
        ) from None
    except (OSError, EntryNotFoundError) as error:
        raise WeightsError(
            f"{name} is not on this machine and could not be downloaded from "
            f"https://huggingface.co/{repository} ({type(error).__name__}): check the network, or "
            f"download {file} elsewhere and load it by its path"
        ) from None


def timm_repository(name: str) -> str:
    """Where timm keeps its weights of that name."""
    from timm.models import get_pretrained_cfg

    try:
        settings = get_pretrained_cfg(name.removeprefix("timm/"))
    except RuntimeError as error:
        raise WeightsError(f"timm does not offer {name}: {error}") from None
    if settings is None or settings.hf_hub_id is None:
        raise WeightsError(f"timm does not offer {name}")
    return settings.hf_hub_id


def fetch_meta(name: str) -> Path:
    """Where torch.hub would have put Meta's file. Meta gives the address only after a form."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if found := sorted(folder.glob(f"{name}_pretrain_*.pth")):
        return as_offered(found[0])
    raise WeightsError(
        f"{name}: fill in the form at https://ai.meta.com/resources/models-and-libraries/"
        f"dinov3-downloads, save the file as {folder}/{name}_pretrain_....pth or load it by its "
        "path; the same weights under their timm name (vit_small_patch16_dinov3_qkvb, ...) need "
        "no form"
    )


def as_offered(path: Path) -> Path:
    """The path, if the file has the checksum that its name promises: Hugging Face stores a large
    file under its sha256, Meta's names end in its first eight digits.

    Raises:
        WeightsError: it has another.
    """
    stored, ending = path.resolve().name, re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    promised = stored if re.fullmatch("[0-9a-f]{64}", stored) else ending[1] if ending else ""
    if promised and not sha256(path).startswith(promised):
        raise WeightsError(
            f"{path} is not the file that was offered: its sha256 is not {promised}...; delete it "
            "and download it again"
        )
    return path
