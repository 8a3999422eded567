"""Weights in and out: `load` takes a name, a file or a folder and returns a backbone ready to look
at images. Which backbone it is follows from the name, the settings in the file or in `config.json`
beside it, and the shapes of the weights. Files are read without running what is in them.

DINOv3 Table 2, Fig. 16a and model card; official `hub/backbones.py`.
"""

import argparse
import copy
import hashlib
import json
import math
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import product
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
    write_text,
)
from dinolite.config import IMAGENET_MEAN, IMAGENET_STD, INIT, Rgb, StudentConfig, explain, seed_of
from dinolite.layers.attention import LinearKMaskedBias
from dinolite.layers.ffn_layers import SwiGLUFFN
from dinolite.models import keymaps
from dinolite.models.keymaps import Names, State, WeightsError, meta_names, shape_in
from dinolite.models.vision_transformer import DinoVisionTransformer, build_backbone, complete
from dinolite.parallel import is_main

OWN_WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights"
TEACHER = "teacher.safetensors"  # what a run leaves in its folder
HANDOVER = "teacher_checkpoint.safetensors"  # the same with both heads, for a run that starts there
SNAPSHOT = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")  # of a hub
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")  # .pth.tar
SUM = "sha256"  # in the header of files that we write


def load(
    name_or_path: str | Path, *, allow_network: bool = True, known: StudentConfig | None = None
) -> DinoVisionTransformer:
    """A backbone with its weights, in eval mode, float32, on the CPU. Its `pixel_mean` and
    `pixel_std` are those of the pictures that it was trained with.

    Args:
        name_or_path: a file (ours, Meta's, timm's, Hugging Face's or Lightning's; of more than a
            backbone, that part), the folder of a run, of a checkpoint or of a hub, a name in
            `data/weights`, or a released name, whose file is downloaded once.
        allow_network: may it be downloaded? Without, only what was downloaded before is used.
        known: settings that are right where weights of others leave no trace of theirs.

    Raises:
        WeightsError (a ValueError): there is no such thing, it cannot be read, it does not fit, or
            nothing says which of several models it is.
    """
    name, path = str(name_or_path), Path(name_or_path)
    own = OWN_WEIGHTS / f"{name}.safetensors"
    if path.is_dir() and not (path / CONTENTS).is_file():
        path = file_in(path)
    if not path.exists() and own.is_file():
        path = own
    if path.exists():
        return load_file(path, known)
    if path.suffix in SUFFIXES:
        raise WeightsError(f"there is no file {path}")
    try:
        config = architecture(name)
    except WeightsError as error:
        raise WeightsError(
            f"there is no file or folder {name}, no data/weights/{own.name}, and {error}"
        ) from None
    path = fetch(name, allow_network)
    state = keymaps.find_backbone(read_state_dict(path))
    model = build(config, state, keymaps.recognise(state), name)
    model.pixel_mean, model.pixel_std = pixel_statistics(path, {})
    return model


def file_in(folder: Path) -> Path:
    """The weights in the folder of a run, or in one as Hugging Face keeps it."""
    places = [folder, *folder.glob("snapshots/*")]
    files = [place / name for place in places for name in (TEACHER, *SNAPSHOT)]
    found = [file for file in files if file.is_file()]
    if not found:
        raise WeightsError(
            f"{folder} has no {TEACHER}; a run writes it at its end; nor has it {SNAPSHOT[0]}, as "
            "folders of a hub do: for other weights, name the file itself"
        )
    if len({file.parent for file in found}) > 1:
        shown = keymaps.first_few(sorted(map(str, found)))
        raise WeightsError(f"{folder} has weights in several places ({shown}): name one of them")
    return found[0]


def load_file(path: Path, known: StudentConfig | None) -> DinoVisionTransformer:
    """A backbone from a file of any layout, or from a checkpoint; see `load`."""
    if (path / CONTENTS).is_file():
        tensors, words = read_checkpoint(path)
    else:
        tensors, words = read_state_dict(path), read_metadata(path)
    ours = "config" in words
    try:
        state = keymaps.find_backbone(tensors)
        names = keymaps.recognise(state)
        if ours:
            config = StudentConfig.model_validate_json(words["config"])
        else:
            config = infer_architecture(state, names)
    except ValidationError as error:
        raise WeightsError(
            f"{path} holds no settings that dinolite understands: {one_line(error)}"
        ) from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    if ours:
        model = build(config, state, names, f"the settings in {path}")
    else:
        model = build_foreign(config, state, names, path, known)
    # In headers of others the same words mean other things.
    model.pixel_mean, model.pixel_std = pixel_statistics(path, words if ours else {})
    return model


def build_foreign(
    guess: StudentConfig, state: State, names: Names, path: Path, known: StudentConfig | None
) -> DinoVisionTransformer:
    """A backbone from the weights of others. What shapes do not tell is taken from `config.json`
    beside them, or `known`, or known where the shapes are of a released model.

    Raises:
        WeightsError: nothing tells it, or the weights are those of another model.
    """
    place, what, silent = path.parent / CONFIG, f"the model in {path}", unseen(state, names)
    try:
        said = settings_beside(place, names)
    except (TypeError, AttributeError) as error:  # a list where a number was expected
        raise WeightsError(f"{place} has settings of another kind: {error}") from None
    if known is not None:
        said = known.model_dump(include=set(silent)) | said
    try:
        config = StudentConfig(**guess.model_dump() | said)
    except ValidationError as error:
        raise WeightsError(f"{place}: {one_line(error)}") from None
    model = build(config, state, names, f"{what} as {place} describes it" if said else what)
    silent = [name for name in silent if name not in said]
    if silent and not is_released(guess):
        example = json.dumps({name: getattr(guess, name) for name in silent})
        raise WeightsError(
            f"{path} is none of the released models, and {', '.join(silent)} leave no trace in the "
            f"shapes of its weights: write them into {place}, such as {example}"
        )
    return model


def read_checkpoint(place: Path) -> tuple[State, dict[str, str]]:
    """The teacher's backbone in a checkpoint of a run, and its settings as in the header of a file;
    the official code's checkpoints have none."""
    try:
        state = read_teacher(place, "backbone")
        meta = read_meta(place) if (place / META).is_file() else {}
    except (CheckpointError, ValueError) as error:
        raise WeightsError(f"{place}: {error}") from None
    if "settings" not in meta:
        return state, {}
    settings = meta["settings"]
    return state, {"settings": json.dumps(settings), "config": json.dumps(settings["student"])}


def one_line(error: ValidationError) -> str:
    """What is wrong with settings."""
    return "; ".join(explain(error, StudentConfig, "config"))


def from_names(
    names: Names, name: str | StudentConfig, state_dict: Mapping[str, Any]
) -> DinoVisionTransformer:
    """Weights under the names of Meta, timm or transformers: a backbone, or a file around one.

    Args:
        name: of a released model (see `architecture`), or the settings of another one.
        state_dict: RoPE periods that it has (rounded, in Meta's) are used, not recomputed; a mask
            token that it lacks is zero.

    Raises:
        WeightsError: naming every missing, unexpected or misshapen entry.
    """
    config, what = (architecture(name), name) if isinstance(name, str) else (name, "these settings")
    return build(config, keymaps.find_backbone(state_dict), names, what)


from_meta = partial(from_names, keymaps.meta_names)
from_timm = partial(from_names, keymaps.timm_names)
from_huggingface = partial(from_names, keymaps.huggingface_names)


def build(config: StudentConfig, state: State, names: Names, what: str) -> DinoVisionTransformer:
    """The model that `config` describes, filled with a state dict, in eval mode."""
    model = skeleton(config, state, names, what).to_empty(device="cpu")
    model.rope_embed.reset_parameters()
    nn.init.zeros_(model.mask_token)
    for module in model.modules():
        if isinstance(module, LinearKMaskedBias):
            module.reset_bias_mask()
    keymaps.fill(model.state_dict(), state, names, what)
    return model.eval()


def skeleton(config: StudentConfig, state: State, names: Names, what: str) -> DinoVisionTransformer:
    """The model that `config` describes, without memory for its numbers. The norm for local crops
    is of use in training only; there is one if the weights have it.

    Raises:
        WeightsError: there is no such model, or it is not that of these weights.
    """
    local = keymaps.shape_in(state, names, f"{LOCAL}weight") is not None
    config = config.model_copy(update={"untie_global_and_local_cls_norm": local})
    try:
        with torch.device("meta"):  # draws no random numbers either
            model = build_backbone(config, teacher=True)
    except (ValueError, RuntimeError, TypeError) as error:  # sizes that no tensor can have, too
        raise WeightsError(f"{what} cannot be built: {error}") from None
    keymaps.check(model.state_dict(), state, names, what)
    return model


def start_from(backbone: DinoVisionTransformer, name_or_path: str) -> None:
    """Fill the backbone of a run with other weights, in place; see `load` for what they may be.

    A norm for local crops that they lack starts as a copy of the one that did its work; one that
    the backbone lacks is left out. WeightsError names the settings that would make them fit.
    """
    source = load(name_or_path, known=settings_of(backbone))
    if wrong := differences(source, backbone):
        raise WeightsError(f"{name_or_path} does not fit the student: it needs {', '.join(wrong)}")
    if is_main() and source.pixel_mean != backbone.pixel_mean:
        print(
            f"{name_or_path} was trained on colours with crops.rgb_mean = "
            f"{list(source.pixel_mean)}, crops.rgb_std = {list(source.pixel_std)}; here it gets "
            f"{list(backbone.pixel_mean)} and {list(backbone.pixel_std)}",
            file=sys.stderr,
        )
    start = {k: v for k, v in source.state_dict().items() if not k.startswith(LOCAL)}
    if backbone.local_cls_norm is not None:
        norm = source.local_cls_norm or source.cls_norm or source.norm
        start |= {f"{LOCAL}{name}": value for name, value in norm.state_dict().items()}
    backbone.load_state_dict(start)


def differences(source: DinoVisionTransformer, backbone: DinoVisionTransformer) -> list[str]:
    """The settings of a student that keep it from going on with the weights of another."""
    shapes = [infer_architecture(model.state_dict()).model_dump() for model in (source, backbone)]
    names = {name for name in shapes[0] if shapes[0][name] != shapes[1][name]} | set(SILENT)
    names |= FFN if names & FFN else set()
    theirs, ours = settings_of(source).model_dump(), settings_of(backbone).model_dump()
    return [
        f"student.{name} = {toml(value)} (now {toml(ours[name])})"
        for name, value in theirs.items()
        if name in names - {"untie_global_and_local_cls_norm"} and value != ours[name]
    ]


def toml(value: Any) -> str:
    """A value as one writes it after `student.NAME =`."""
    return "none" if value is None else json.dumps(value)


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
CONFIG, PIXELS = "config.json", "preprocessor_config.json"  # beside weights, in folders of a hub
SATELLITE: tuple[Rgb, Rgb] = ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))  # SAT-493M
SILENT = ("norm_layer", "pos_embed_rope_normalize_coords")  # leave no trace in our own weights
LOCAL = "local_cls_norm."
FFN = {"ffn_layer", "ffn_ratio"}  # which of them must change, only both can tell
EPS = {1e-5: "layernormbf16", 1e-6: "layernorm"}
TOLD = ("embed_dim", "depth", "num_heads", "pos_embed_rope_base")  # by config.json of others
HUGGINGFACE = {  # names of settings in a DINOv3ViTConfig
    "embed_dim": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "pos_embed_rope_base": "rope_theta",
    "pos_embed_rope_rescale_coords": "pos_embed_rescale",
    "in_chans": "num_channels",
    "patch_size": "patch_size",
    "n_storage_tokens": "num_register_tokens",
    "proj_bias": "proj_bias",
    "ffn_bias": "mlp_bias",
}
TIMM_ARGUMENTS = re.compile(  # those that are understood, show in shapes, or change no feature
    r"embed_dim|depth|num_heads|rope_temperature|patch_size|in_chans|mlp_ratio|qkv_bias|"
    r"init_values|swiglu_\w+|num_reg_tokens|num_classes|global_pool|(dynamic_)?img_size|drop_(path_)?rate"
)
META_NAME = re.compile(r"dinov3_(vit(?!t)\w+)")
HUGGINGFACE_NAME = re.compile(r"facebook/dinov3-(vit\w+)-pretrain-\w+")
TIMM_NAME = re.compile(r"vit_([a-z0-9]+)(?:_(plus))?_patch16_dinov3(_qkvb)?(\.\w+)?")


def architecture(name: str) -> StudentConfig:
    """The settings of a released backbone, by its name at Meta, Hugging Face or timm, whose names
    without `_qkvb` mean no bias of q and v (it is zero in Meta's distilled models).

    Raises:
        WeightsError: no such name.
    """
    key, changes = "", {}
    if match := META_NAME.fullmatch(name) or HUGGINGFACE_NAME.fullmatch(name):
        key = match[1]
    elif match := TIMM_NAME.fullmatch(name.removeprefix("timm/")):
        size = match[1] if match[1] == "7b" else match[1][0]
        key, changes = f"vit{size}16{match[2] or ''}", {"qkv_bias": match[3] is not None}
    if key not in RELEASED:
        meta = [n for k in RELEASED if META_NAME.fullmatch(n := f"dinov3_{k}")]
        raise WeightsError(
            f"{name!r} is not a released DINOv3 ViT: {', '.join(meta)}, or their names at timm "
            "(vit_small_patch16_dinov3, ...) and Hugging Face (facebook/dinov3-...)"
        )
    return StudentConfig(**COMMON | RELEASED[key] | changes)


def infer_architecture(state: State, names: Names = meta_names) -> StudentConfig:
    """The settings that a state dict was made with, read from its shapes. What leaves no trace
    there (see `unseen`) is taken as in the released models. WeightsError if it is none of a ViT."""

    def shape(key: str) -> tuple[int, ...]:
        return shape_in(state, names, key) or ()

    patches, tokens = shape("patch_embed.proj.weight"), shape("storage_tokens")
    depth = next(i for i in range(len(state) + 1) if not shape(f"blocks.{i}.norm1.weight"))
    if len(patches) != 4 or not depth:
        shown = f"their {len(state)} entries are named {keymaps.first_few(state)}"
        raise WeightsError(f"these weights hold no DINOv3 ViT: {shown}")
    dim, periods = patches[0], shape("rope_embed.periods")
    head_dim = 4 * periods[0] if periods else 64 if dim < 4096 else 128
    mlp = "blocks.0.mlp.w1" if (gated := shape("blocks.0.mlp.w1.weight")) else "blocks.0.mlp.fc1"
    hidden = gated[0] * 3 // 2 if gated else (shape(f"{mlp}.weight") or (4 * dim,))[0]
    ratio, qkv_bias = hidden / dim, bool(shape("blocks.0.attn.qkv.bias"))
    masked = not qkv_bias or bool(shape(mask := "blocks.0.attn.qkv.bias_mask")) or not names(mask)
    inferred: dict[str, Any] = {
        "embed_dim": dim,
        "depth": depth,
        "num_heads": max(dim // head_dim, 1),
        "in_chans": patches[1],
        "patch_size": patches[-1],
        "ffn_layer": "swiglu" if gated else "mlp",
        "ffn_ratio": ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf),
        "n_storage_tokens": tokens[1] if tokens else 0,
        "layerscale": COMMON["layerscale"] if shape("blocks.0.ls1.gamma") else None,
        "norm_layer": COMMON["norm_layer"] if shape("norm.bias") else "rmsnorm",
        "qkv_bias": qkv_bias,
        "mask_k_bias": masked,
        "proj_bias": bool(shape("blocks.0.attn.proj.bias")),
        "ffn_bias": bool(shape(f"{mlp}.bias")),
        "untie_cls_and_patch_norms": bool(shape("cls_norm.weight")),
        "untie_global_and_local_cls_norm": bool(shape("local_cls_norm.weight")),
    }
    return StudentConfig(**COMMON | inferred)


def unseen(state: State, names: Names) -> list[str]:
    """The settings that change features and leave no trace in the shapes of these weights."""
    stored, bias = (shape_in(state, names, key) for key in ("rope_embed.periods", "norm.bias"))
    hidden = [] if stored else ["num_heads", "pos_embed_rope_base"]
    return [*hidden, *(["norm_layer"] if bias else []), "pos_embed_rope_normalize_coords"]


def is_released(config: StudentConfig) -> bool:
    """Are these inferred settings those of a released backbone, so that the rest is known, too?"""
    found = config.model_dump(exclude={"arch", "qkv_bias", "untie_global_and_local_cls_norm"})
    for settings in RELEASED.values():
        known = complete(StudentConfig(**COMMON | settings)).model_dump()
        known["ffn_layer"] = known["ffn_layer"].rstrip("0123456789")  # alignment: in the width
        if found.items() <= known.items():
            return True
    return False


def settings_beside(place: Path, names: Names) -> dict[str, Any]:
    """What `config.json` beside weights says: settings of `StudentConfig`, or, for weights under
    their names, those of transformers or of timm, where defaults hold for what is left out; nothing
    if there is none, or it is about others. WeightsError if it asks for what is not here."""
    said = read_json(place)
    if said.get("model_type") == "dinov3_vit":
        if names is not keymaps.huggingface_names:
            return {}
        given, terms, known = said, HUGGINGFACE, architecture("dinov3_vits16")  # its defaults
        norm = huggingface_norm(said, place)
    elif "architecture" in said:
        if names is not keymaps.timm_names:
            return {}
        given, terms = said.get("model_args") or {}, {"pos_embed_rope_base": "rope_temperature"}
        known = timm_architecture(str(said["architecture"]), given, place)
        norm = known.norm_layer
    else:
        return said if said.keys() <= StudentConfig.model_fields.keys() else {}
    told = {k: given.get(terms.get(k, k), getattr(complete(known), k)) for k in TOLD}
    return told | {"norm_layer": norm, "pos_embed_rope_normalize_coords": "separate"}


def read_json(place: Path) -> dict[str, Any]:
    """The settings in a JSON file; none if there is no such file."""
    try:
        said = json.loads(place.read_text("utf8")) if place.is_file() else {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place} cannot be read: {error}") from None
    return said if isinstance(said, dict) else {}


def huggingface_norm(said: Mapping[str, Any], place: Path) -> str:
    """The norm that a DINOv3ViTConfig asks for; WeightsError if it asks for what is not here."""
    act = "silu" if said.get("use_gated_mlp") else "gelu"
    for name, default, allowed in (
        ("hidden_act", "gelu", [act]),
        ("key_bias", False, [False]),
        ("layer_norm_eps", 1e-5, list(EPS)),
    ):
        if (value := said.get(name, default)) not in allowed:
            here = " or ".join(map(toml, allowed))
            raise WeightsError(f"{place}: {name} = {toml(value)}; dinolite has {here}")
    return EPS[said.get("layer_norm_eps", 1e-5)]


def timm_architecture(name: str, changes: Mapping[str, Any], place: Path) -> StudentConfig:
    """The model that timm's settings start from; WeightsError if they ask for what is not here."""
    if strange := [name for name in changes if not TIMM_ARGUMENTS.fullmatch(name)]:
        names = keymaps.first_few(strange)
        raise WeightsError(f"{place}: model_args has {names}, which dinolite's backbone has not")
    try:
        return architecture(name)
    except WeightsError as error:
        raise WeightsError(f"{place}: {error}") from None


def pixel_statistics(path: Path, words: Mapping[str, str]) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of the colours that weights were trained with, as the header of
    the file or a file beside it tells, or its name (SAT-493M); else those of ImageNet."""
    kept = ("rgb_mean", "rgb_std", "settings")
    try:
        head = {name: json.loads(words[name]) for name in kept if name in words}
        for said, mean, std in (
            (head, "rgb_mean", "rgb_std"),
            (head.get("settings", {}).get("crops", {}), "rgb_mean", "rgb_std"),  # of a run
            (read_json(path.parent / PIXELS), "image_mean", "image_std"),  # transformers
            (read_json(path.parent / CONFIG).get("pretrained_cfg", {}), "mean", "std"),  # timm
        ):
            if mean in said and std in said and len(said[mean]) == len(said[std]) == 3:
                colours: Any = tuple(tuple(map(float, said[key])) for key in (mean, std))
                middle, spread = colours
                if not all(0 <= m <= 1 and 0 < s < 1e9 for m, s in zip(*colours, strict=True)):
                    raise ValueError(f"{middle}, {spread}; pictures are from 0 to 1")
                return colours
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: the mean of its colours cannot be read: {error}") from None
    names = [m[0] for part in path.parts[::-1] if (m := re.search("sat493m|lvd1689m", part))]
    return SATELLITE if names[:1] == ["sat493m"] else (IMAGENET_MEAN, IMAGENET_STD)


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """What is in a .safetensors, .pth, .pt, .bin or .ckpt file, or in those of an index; never runs
    code that a file contains.

    Raises:
        WeightsError: the file is damaged, of another kind, or wants to run code.
    """
    path = Path(path)
    if path.suffix == ".json":
        return read_parts(path)
    if path.suffix == ".safetensors":
        with opened(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            words = file.metadata() or {}
        if SUM in words and digest(tensors, words) != words[SUM]:
            raise WeightsError(f"{path} is damaged: it does not fit its checksum")
        return tensors
    if path.suffix not in SUFFIXES:
        endings = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise WeightsError(f"{path}: weights are files ending in {endings}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # options, in many files
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is not a file of plain tensors: it is damaged, or would run code when opened, "
            "which was refused; where you trust it, save its state dict alone to another file"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error) or "it ends too early").splitlines()[0].split(". ")[0]  # no advice
        raise WeightsError(f"{path} cannot be read: {reason}") from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict")
    return dict(state)


def read_parts(index: Path) -> dict[str, Any]:
    """The tensors in the several files that an index names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict):
        raise WeightsError(f"{index} names no files with weights (weight_map)")
    parts = sorted(set(places.values()))
    return {k: v for name in parts for k, v in read_state_dict(index.parent / name).items()}


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; none for other files."""
    if path.suffix != ".safetensors":
        return {}
    with opened(path) as file:
        return file.metadata() or {}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file; WeightsError if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
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
    """Write a backbone and its settings (JSON in the header, under "config") to a safetensors file
    that anyone can read.

    Args:
        model_or_state: a backbone, also one that was compiled or wrapped, or its state dict.
        config: the settings that build it.
        path: ends in .safetensors; its folder exists.
        metadata: further texts for the header.
        dtype: of the stored weights, such as torch.float16; None = as they are. RoPE periods, whose
            rounding would show, stay float32.

    Raises:
        WeightsError: the weights are not those of a backbone with these settings.
        OSError: it could not be written; what was at `path` is as it was.
    """
    if isinstance(model_or_state, Mapping):
        state, model = model_or_state, None
    else:
        state, inside = model_or_state.state_dict(), model_or_state.modules()
        model = next((m for m in inside if isinstance(m, DinoVisionTransformer)), None)
    state = {keymaps.plain_name(key): value for key, value in state.items()}
    own = skeleton(config, state, meta_names, "the given settings")
    for name in SILENT:
        here, said = getattr((model or own).architecture, name), getattr(own.architecture, name)
        if here != said:
            raise WeightsError(f"the given settings have {name} = {said}, the model has {here}")
    tensors = {
        key: value.detach().to("cpu", torch.float32 if "periods" in key else dtype).contiguous()
        for key, value in state.items()
    }
    write_safetensors(tensors, Path(path), header_of(model, config, metadata or {}))


def header_of(
    model: DinoVisionTransformer | None, config: StudentConfig, metadata: Mapping[str, str]
) -> dict[str, str]:
    """The texts in the header of a file of ours: settings, colours, and what else is given."""
    words = dict(metadata)
    if model is not None and not {"settings", "rgb_mean"} & words.keys():
        words |= {"rgb_mean": json.dumps(model.pixel_mean), "rgb_std": json.dumps(model.pixel_std)}
    shared = config.model_copy(update={"resume_from_teacher_chkpt": None})  # a path on this machine
    return {"format": "pt", **words, "config": shared.model_dump_json()}


def write_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write with a checksum in the header; what was at `path` stays until the new file is whole.

    Raises:
        WeightsError: `path` does not end in .safetensors, or the file could not be read again.
        OSError: it could not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if path.suffix != ".safetensors":
        raise WeightsError(f"path = {path}; it must end in .safetensors")
    if broken := [name for name, x in tensors.items() if not x.isfinite().all()]:
        raise WeightsError(f"{path} not written: NaN or infinity in {keymaps.first_few(broken)}")
    try:
        with write_atomically(path) as temporary:
            save_file(dict(tensors), temporary, {**metadata, SUM: digest(tensors, metadata)})
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} could not be written: {error}") from error


def settings_of(model: DinoVisionTransformer) -> StudentConfig:
    """The settings that build a model like this one."""
    settings = dict(vars(model.architecture))
    return StudentConfig(layerscale=settings.pop("layerscale_init"), **settings)


def untrained_twin(model: DinoVisionTransformer, seed: int = 0) -> DinoVisionTransformer:
    """A model like this one as it is before the first step of a run with that `train.seed`: what
    both show was not learnt."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, INIT))
        twin = build_backbone(settings_of(model), teacher=True).eval()
    twin.pixel_mean, twin.pixel_std = model.pixel_mean, model.pixel_std
    return twin.to(next(model.parameters()).device)


def to_timm(model: DinoVisionTransformer) -> dict[str, Tensor]:
    """The weights for timm's model of the same settings, whose features differ a little where RoPE
    periods were stored rounded: it computes them. WeightsError: see `check_rope`, `from_ours`."""
    check_rope(model, "timm")
    return keymaps.from_ours(model.state_dict(), keymaps.timm_names, "timm")


def to_huggingface(model: DinoVisionTransformer) -> dict[str, Tensor]:
    """The weights for `load_state_dict` of transformers' DINOv3ViTModel (5 or later) of the same
    settings. WeightsError: see `check_rope`, `from_ours`."""
    check_rope(model, "transformers")
    if model.architecture.norm_layer == "rmsnorm":
        raise WeightsError("transformers has no place for norm_layer = rmsnorm")
    state = keymaps.from_ours(model.state_dict(), keymaps.huggingface_names, "transformers")
    state = {re.sub("^layer", "model.layer", key): value for key, value in state.items()}
    D = model.embed_dim
    state.setdefault("embeddings.register_tokens", torch.empty(1, 0, D))
    for i, n in product(range(model.n_blocks), (1, 2)):
        state.setdefault(f"model.layer.{i}.layer_scale{n}.lambda1", torch.ones(D))
    return state


def check_rope(model: DinoVisionTransformer, whose: str) -> None:
    """WeightsError unless positions come from a base and axes are scaled separately, as others do
    it."""
    a, computed = model.architecture, copy.deepcopy(model.rope_embed)
    computed.reset_parameters()
    lacking = ""
    if a.pos_embed_rope_normalize_coords != "separate":
        lacking = f"pos_embed_rope_normalize_coords = {a.pos_embed_rope_normalize_coords}"
    elif a.pos_embed_rope_base is None or not torch.allclose(  # bfloat16 rounds by 0.4 %
        model.rope_embed.periods, computed.periods, rtol=1e-2
    ):
        base = f"pos_embed_rope_base = {a.pos_embed_rope_base}"
        lacking = f"the RoPE periods of this model, which are not those of {base}"
    if lacking:
        raise WeightsError(f"{whose} has no place for {lacking}")


def save_timm(model: DinoVisionTransformer, path: str | Path) -> None:
    """A .safetensors file with timm's names and our settings in its header. Errors as for `to_timm`
    and `save_backbone`."""
    write_safetensors(to_timm(model), Path(path), header_of(model, settings_of(model), {}))


def save_huggingface(model: DinoVisionTransformer, folder: str | Path) -> None:
    """A folder that transformers' `from_pretrained` opens: weights, config.json and
    preprocessor_config.json. Errors as for `to_huggingface` and `save_backbone`."""
    folder, state, said = Path(folder), to_huggingface(model), huggingface_config(model)
    config = settings_of(model).model_copy(update={"layerscale": said["layerscale_value"]})
    # the names of the published files, which earlier versions read, too
    state = {key.removeprefix("model."): value for key, value in state.items()}
    pixels = {
        "image_processor_type": "DINOv3ViTImageProcessor",
        "image_mean": model.pixel_mean,
        "image_std": model.pixel_std,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(state, folder / SNAPSHOT[0], header_of(model, config, {}))
    write_text(folder / CONFIG, json.dumps(said, indent=1))
    write_text(folder / PIXELS, json.dumps(pixels, indent=1))


def huggingface_config(model: DinoVisionTransformer) -> dict[str, Any]:
    """The settings of the same model as a DINOv3ViTConfig names them."""
    a, mlp = model.architecture, model.blocks.get_submodule("0.mlp")
    gated = isinstance(mlp, SwiGLUFFN)
    return {theirs: getattr(a, ours) for ours, theirs in HUGGINGFACE.items()} | {
        "model_type": "dinov3_vit",
        "architectures": ["DINOv3ViTModel"],
        "intermediate_size": len(next(mlp.parameters())),
        "use_gated_mlp": gated,
        "hidden_act": "silu" if gated else "gelu",
        "query_bias": a.qkv_bias,
        "key_bias": False,
        "value_bias": a.qkv_bias,
        "layer_norm_eps": next(eps for eps, name in EPS.items() if name == a.norm_layer),
        "layerscale_value": a.layerscale_init or 1.0,
    }


def fetch(name: str, allow_network: bool) -> Path:
    """The file of a released model: from an earlier download if there was one, else downloaded."""
    if META_NAME.fullmatch(name):
        return fetch_meta(name)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    repository = name if HUGGINGFACE_NAME.fullmatch(name) else timm_repository(name)
    file, page = SNAPSHOT[0], f"https://huggingface.co/{repository}"
    try:
        try:
            return Path(hf_hub_download(repository, file, local_files_only=True))
        except LocalEntryNotFoundError:
            new = hf_hub_download(repository, file, local_files_only=not allow_network)
            return check_download(Path(new))
    except GatedRepoError:
        licence = f"accept Meta's licence: do so at {page}, then `hf auth login`"
        raise WeightsError(f"{name} is given to those who {licence}") from None
    except (OSError, EntryNotFoundError) as error:
        raise WeightsError(
            f"{name} is not on this machine and could not be downloaded from {page} "
            f"({type(error).__name__}): check the network, or download {file} elsewhere and load "
            "it by its path"
        ) from None


def timm_repository(name: str) -> str:
    """Where timm keeps its weights of that name."""
    from timm.models import get_pretrained_cfg

    try:
        settings = get_pretrained_cfg(name.removeprefix("timm/"))
    except RuntimeError:
        settings = None
    if settings is None or settings.hf_hub_id is None:
        raise WeightsError(f"timm does not offer {name}")
    return settings.hf_hub_id


def fetch_meta(name: str) -> Path:
    """Where torch.hub would have put Meta's file. Meta gives the address only after a form."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if found := sorted(folder.glob(f"{name}_pretrain_*.pth")):
        return check_download(found[0])
    raise WeightsError(
        f"{name}: fill in the form at https://ai.meta.com/resources/models-and-libraries/"
        f"dinov3-downloads, save the file as {folder}/{name}_pretrain_....pth or load it by its "
        "path; the same weights under their timm name (vit_small_patch16_dinov3_qkvb, ...) need "
        "no form"
    )


def check_download(path: Path) -> Path:
    """The path, if the file has the checksum that its name promises: Hugging Face stores a large
    file under its sha256, Meta's names end in its first eight digits."""
    stored, ending = path.resolve().name, re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    promised = stored if re.fullmatch("[0-9a-f]{64}", stored) else ending[1] if ending else ""
    if promised and not sha256(path).startswith(promised):
        raise WeightsError(
            f"{path} is not the file that was offered: its sha256 is not {promised}...; delete it "
            "and download it again"
        )
    return path
