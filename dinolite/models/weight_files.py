"""Where weights lie: reading files without running what is in them, writing files so that a failure
spoils nothing, and fetching the released ones.
"""

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dinolite.files import sha256, whole
from dinolite.models.keymaps import WeightsError
from dinolite.models.released import HUGGINGFACE_NAME, META_NAME

SUM = "sha256"  # in the head of files that we write


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
    """The texts in the head of a safetensors file; none for other files."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from None


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
        with whole(path) as temporary:
            save_file(dict(tensors), temporary, {**metadata, SUM: digest(tensors, metadata)})
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} could not be written: {error}") from error


def digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A checksum of texts, names and numbers, whatever their order in a file."""
    texts = sorted((name, text) for name, text in metadata.items() if name != SUM)
    total = hashlib.sha256(repr(texts).encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


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
