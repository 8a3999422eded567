"""The same backbone under three sets of parameter names: Meta's (ours), timm's and Hugging Face's.
Each is a function from one of our names to theirs, from which both directions follow: reading their
weights into ours, and writing ours under their names.

Official `hub/backbones.py`; timm `models/eva.py`; transformers `models/dinov3_vit`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Names = Callable[[str], list[str]]
"""From the name of one of our tensors to their names of its parts along the first axis; an empty
list for a tensor that they do not store, because it can be computed."""
INSERTED = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
ZEROS = "zeros"
"""Instead of a name: they lack this part, because it is zero (the bias of the keys)."""

TIMM = {
    "storage_tokens": "reg_token",
    "ls1.gamma": "gamma_1",
    "ls2.gamma": "gamma_2",
    "mlp.w1.": "mlp.fc1_g.",
    "mlp.w2.": "mlp.fc1_x.",
    "mlp.w3.": "mlp.fc2.",
}
HUGGINGFACE = {
    "blocks.": "layer.",
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "storage_tokens": "embeddings.register_tokens",
    "patch_embed.proj.": "embeddings.patch_embeddings.",
    "attn.proj.": "attention.o_proj.",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1.": "mlp.up_proj.",
    "mlp.fc2.": "mlp.down_proj.",
    "mlp.w1.": "mlp.gate_proj.",
    "mlp.w2.": "mlp.up_proj.",
    "mlp.w3.": "mlp.down_proj.",
}


class WeightsError(ValueError):
    """Weights that cannot be found, read or fitted; the message is one sentence that says why."""


def meta_names(key: str) -> list[str]:
    """Ours are the official names."""
    return [key]


def timm_names(key: str) -> list[str]:
    """timm keeps no mask token and no RoPE periods (it computes them), and no bias of the keys."""
    if key in ("mask_token", "rope_embed.periods") or key.endswith("bias_mask"):
        return []
    key = rename(key, TIMM)
    if key.endswith("qkv.bias"):
        stem = key.removesuffix("qkv.bias")
        return [f"{stem}q_bias", ZEROS, f"{stem}v_bias"]
    return [key]


def huggingface_names(key: str) -> list[str]:
    """transformers has three projections for q, k, v, and computes the RoPE periods."""
    if key == "rope_embed.periods" or key.endswith("bias_mask"):
        return []
    key = rename(key, HUGGINGFACE)
    if ".attn.qkv." in key:
        q, k, v = (key.replace("attn.qkv", f"attention.{x}_proj") for x in "qkv")
        return [q, ZEROS if key.endswith("bias") else k, v]
    return [key]


def rename(key: str, table: Mapping[str, str]) -> str:
    """The key with every part that the table names replaced."""
    for ours, theirs in table.items():
        key = key.replace(ours, theirs)
    return key


def plain_name(key: str) -> str:
    """The name of a tensor without what torch.compile, DDP, FSDP and recomputation put into it."""
    return ".".join(part for part in key.split(".") if part not in INSERTED)


def flat_names(tree: Mapping[Any, Any], start: str = "") -> dict[str, Any]:
    """Dictionaries in dictionaries as one: {"model": {"a": 1}} becomes {"model.a": 1}."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{start}{key}"
        out |= flat_names(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return out


def find_backbone(tree: Mapping[str, Any]) -> State:
    """The tensors of the backbone in a file, under the names that they have inside of it. Taken off
    is what stands around ("state_dict", "teacher.backbone.", "module.", ...), and left out what
    lies beside: heads, an optimiser, the student where there is a teacher.

    Raises:
        WeightsError: it holds several, or something in it is not a tensor.
    """
    named = {plain_name(key): value for key, value in flat_names(tree).items()}
    marks = [key for key in named if key.split(".")[-1] == "cls_token"]
    starts = {key.removesuffix("cls_token").removesuffix("embeddings.") for key in marks}
    teachers = {s for s in starts if any(x.startswith("teacher") for x in s.split("."))}
    starts = teachers if len(teachers) == 1 else starts
    if len(starts) > 1:
        raise WeightsError(
            f"these weights hold {len(starts)} backbones, their names beginning with "
            f"{first_few(sorted(starts))}; save one of them alone"
        )
    start = starts.pop() if starts else ""
    inside = {k.removeprefix(start): v for k, v in named.items() if k.startswith(start)}
    # transformers 5 has model.layer.0 beside embeddings; a classifier of timm is no backbone, nor
    # is the count of torch's AveragedModel
    beside = ("head.", "n_averaged")
    inside = {k.removeprefix("model."): v for k, v in inside.items() if not k.startswith(beside)}
    if wrong := [key for key, value in inside.items() if not holds_numbers(value)]:
        raise WeightsError(
            f"not a state dict: {first_few(wrong)} are not tensors that hold numbers"
        )
    return {key: value for key, value in inside.items() if value.numel()}  # none: no registers


def holds_numbers(value: Any) -> bool:
    """Is it a tensor that can be copied: not sparse, nor without memory?"""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def recognise(state: State) -> Names:
    """Whose names these are; ours, unless something tells otherwise."""
    if "embeddings.cls_token" in state:
        return huggingface_names
    if {"reg_token", "blocks.0.gamma_1", "blocks.0.attn.q_bias"} & state.keys() or (
        "cls_token" in state and not {"mask_token", "rope_embed.periods"} & state.keys()
    ):
        return timm_names
    return meta_names


def shape_in(state: State, names: Names, key: str) -> tuple[int, ...] | None:
    """The shape that our `key` has in their state, by its first part; None = they lack it."""
    parts = names(key)
    return tuple(state[parts[0]].shape) if parts and parts[0] in state else None


def pieces(own: State, names: Names) -> Iterator[tuple[str, Tensor]]:
    """Their names (or `ZEROS`), each with the piece of our weights (a view) that it stands for."""
    for key, tensor in own.items():
        if parts := names(key):
            for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
                # transformers' mask token has the shape [1, 1, D], the official one [1, D]
                yield part, piece[None] if part == "embeddings.mask_token" else piece


def fill(own: State, state: State, names: Names, what: str) -> None:
    """Copy their weights, which `check` accepts, into ours, in place; what they do not store stays.

    Args:
        own: `state_dict()` of our model, with start values.
        state: their weights, any floating dtype.
        names: whose names those are.
        what: the architecture, for the message.

    Raises:
        WeightsError: some hold NaN or infinity, so that no feature would be a number.
    """
    broken = []
    for part, piece in pieces(own, names):
        if part == ZEROS:
            piece.zero_()
        elif not piece.copy_(state[part].detach()).isfinite().all():
            broken.append(part)
        elif "periods" in part and not (piece > 0).all():
            raise WeightsError(f"{part} for {what} are {piece.tolist()}; allowed: above 0")
    if broken:
        raise WeightsError(
            f"the weights for {what} hold NaN or infinity in {first_few(broken)}: take a copy that "
            "is whole, or a checkpoint from before the training broke"
        )


def check(own: State, state: State, names: Names, what: str) -> None:
    """Raise WeightsError unless names and shapes agree exactly, and numbers are real ones; it names
    every missing, unexpected or misshapen entry, by their names. Arguments as for `fill`."""
    expected = {part: list(piece.shape) for part, piece in pieces(own, names) if part != ZEROS}
    both = [(key, state[key], shape) for key, shape in expected.items() if key in state]
    mistakes = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of the wrong shape": [
            f"{key} {list(x.shape)} instead of {shape}"
            for key, x, shape in both
            if list(x.shape) != shape
        ],
        "not of real numbers": [
            f"{key} ({x.dtype})".replace("torch.", "")
            for key, x, _ in both
            if not x.is_floating_point()
        ],
    }
    if found := [f"{len(x)} {kind}: {first_few(x)}" for kind, x in mistakes.items() if x]:
        raise WeightsError(f"these weights do not fit {what}; {'; '.join(found)}")


def first_few(keys: Iterable[str]) -> str:
    """The first few of many names."""
    keys = list(keys)
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")


def from_ours(own: State, names: Names, whose: str) -> dict[str, Tensor]:
    """Our weights under their names, as copies.

    Raises:
        WeightsError: they have no place for something that changes the features.
    """
    own = {plain_name(key): value for key, value in own.items()}
    if any(key.startswith("cls_norm.") for key in own):
        raise WeightsError(f"{whose} has no place for cls_norm (untie_cls_and_patch_norms)")
    used = {
        key: value * own[f"{key}_mask"] if f"{key}_mask" in own else value  # bias x bias_mask
        for key, value in own.items()
        if not key.startswith("local_cls_norm.")  # in training only
    }
    out = {}
    for part, piece in pieces(used, names):
        if part != ZEROS:
            out[part] = piece.clone()
        elif piece.any():
            raise WeightsError(f"{whose} has no place for a bias of the keys (mask_k_bias = false)")
    return out
