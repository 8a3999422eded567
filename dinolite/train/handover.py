"""One run begins with what another has learnt: the student is filled with its teacher, backbone and
both heads, and a Gram teacher may join a run that had none. What was loaded is said.

DINOv3 App. C (three stages of training); official `checkpointer::init_fsdp_model_from_checkpoint`.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dinolite.checkpointer import CONTENTS, checkpoints, holds_gram_teacher, read_teacher
from dinolite.config import Config, ConfigError
from dinolite.models.keymaps import WeightsError, flat_names, plain_name
from dinolite.models.pretrained import HANDOVER, TEACHER, read_state_dict
from dinolite.parallel import is_main
from dinolite.train.gram import load_backbone

HEADS = ("dino_head", "ibot_head")


def load_teacher(student: nn.ModuleDict, config: Config, name_or_path: str) -> str:
    """Fill the student with the teacher of another run: backbone, and the heads that are there.

    Args:
        name_or_path: what `models.pretrained.load` knows; of the folder of a run its
            `teacher_checkpoint.safetensors`, else its newest checkpoint.

    Returns:
        in a sentence, what was loaded and what was not.

    Raises:
        WeightsError: backbone or heads do not fit these settings.
    """
    source = with_heads(name_or_path)
    load_backbone(student["backbone"], str(source))
    found = read_heads(source)
    for name, tensors in found.items():
        fill_head(student[name], tensors, name.removesuffix("_head"), config, source)
    missing = [name for name in HEADS if name not in found]
    words = f"the student starts with {' and '.join(['backbone', *found])} of {source}"
    return f"{words}; {' and '.join(missing)}, not in there, start anew" if missing else words


def with_heads(name_or_path: str) -> str | Path:
    """Where in the folder of a run the teacher is with its heads; anything else as it is."""
    path = Path(name_or_path)
    if (path / HANDOVER).is_file():
        return path / HANDOVER
    return next(reversed(checkpoints(path)), name_or_path)


def read_heads(source: str | Path) -> dict[str, dict[str, Tensor]]:
    """The teacher's heads in a file or a checkpoint, by name; none where there are none."""
    path, state = Path(source), dict[str, Any]()
    if (path / CONTENTS).is_file():
        state |= read_teacher(path, "|".join(HEADS))
    elif path.is_file():
        state = flat_names(read_state_dict(path))
    parts = {tuple(plain_name(name).split(".")): x for name, x in state.items()}
    if any("teacher" in part for part in parts):
        parts = {part: x for part, x in parts.items() if "teacher" in part}
    heads: dict[str, dict[str, Tensor]] = {}
    for part, x in parts.items():
        for head in set(HEADS).intersection(part):
            heads.setdefault(head, {})[".".join(part[part.index(head) + 1 :])] = x
    return {head: heads[head] for head in HEADS if head in heads}


def fill_head(
    head: nn.Module, tensors: Mapping[str, Tensor], section: str, config: Config, source: str | Path
) -> None:
    """Load a head; WeightsError names the settings that it needs, where it does not fit."""
    if broken := [name for name, x in tensors.items() if not x.isfinite().all()]:
        raise WeightsError(f"the {section}_head in {source} holds NaN or infinity in {broken[0]}")
    own = {name: x.shape for name, x in head.state_dict().items()}
    if own == {name: x.shape for name, x in tensors.items()}:
        head.load_state_dict(tensors)
        return
    layers = [x.shape for name, x in tensors.items() if re.fullmatch(r"mlp\..*weight", name)]
    last = tensors.get("last_layer.weight", torch.empty(0, 0)).shape
    theirs = {
        "head_n_prototypes": last[0],
        "head_bottleneck_dim": last[-1],
        "head_nlayers": len(layers),
        "head_hidden_dim": layers[0][0] if len(layers) > 1 else None,  # None: it shows nowhere
    }
    wrong = [
        f"{section}.{name} = {n} (now {now})"
        for name, n in theirs.items()
        if n not in (None, now := getattr(getattr(config, section), name))
    ]
    raise WeightsError(
        f"the {section}_head in {source} does not fit: it needs "
        f"{', '.join(wrong) or 'entries of other names or sizes'}. To start with new heads, give "
        f"the backbone alone, as a run's {TEACHER} is"
    )


def tell_start(model: nn.Module, config: Config, folder: Path, done: int) -> None:
    """Say on stderr with which weights of others a run begins, or that a Gram teacher joins it.

    Args:
        model: an `SSLMetaArch`, `done` iterations old.
        folder: of the run; its newest checkpoint is the one that the model was filled from.

    Raises:
        ConfigError: the checkpoint has no Gram teacher, and none would be loaded any more.
    """
    gram, words = config.gram, str(model.started_from) if done == 0 else ""
    if done > 0 and model.gram_teacher is not None:
        place = checkpoints(folder)[-1]
        if not holds_gram_teacher(place):
            if gram.ckpt is None and done > gram.it_load_ema_teacher:
                raise ConfigError(
                    f"gram.it_load_ema_teacher = {gram.it_load_ema_teacher} is over, and {place} "
                    f"has no Gram teacher: use {done} or more, or give gram.ckpt"
                )
            origin = gram.ckpt or f"the teacher at iteration {gram.it_load_ema_teacher}"
            words = f"{place} has no Gram teacher; it begins as {origin}"
    if words and is_main():
        print(words, file=sys.stderr)
