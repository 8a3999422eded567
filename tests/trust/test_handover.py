"""A run that is to begin with something broken, foreign or of another size: one sentence that names
the file, before the first step, and no code of strangers is run."""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

from dinolite.checkpointer import CONTENTS, CheckpointError, PlainUnpickler, checkpoints, quiet
from dinolite.config import load_config
from dinolite.models.keymaps import WeightsError
from dinolite.models.pretrained import HANDOVER, load
from dinolite.run_folder import publish, save
from dinolite.train.ssl_meta_arch import SSLMetaArch
from dinolite.train.train import make_state
from tests.tiny_run import TINY
from tests.trust.conftest import Faults

Change = Callable[[dict[str, torch.Tensor]], object]
LAST = "dino_head.last_layer.weight"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's published files and a checkpoint, the official file, and official shares."""
    place, state = tmp_path_factory.mktemp("shelf"), make_state(load_config("demo", TINY))
    tensors = state.model.teacher.state_dict()
    publish(place, state.config, 1, tensors)
    save(place, state.config, 1, state.model, state.optimizer)
    torch.save({"teacher": tensors}, place / "teacher_checkpoint.pth")
    with quiet():
        dcp.save({"model": tensors}, checkpoint_id=place / "shares")
    return place


def refused(source: Path) -> str:
    """What is said of a run that begins there."""
    with pytest.raises((WeightsError, CheckpointError)) as error:
        SSLMetaArch(load_config("demo", [*TINY, f"student.resume_from_teacher_chkpt={source}"]))
    said = str(error.value)
    assert str(source) in said and "\n" not in said and len(said) < 600
    return said


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch evil",)


NONSENSE = [b"", b"not a pickle", pickle.dumps(3), pickle.dumps({"state_dict_metadata": 1})]


@pytest.mark.parametrize("which", ["shares", "ckpt/0000001"])
def test_code_in_a_checkpoint_is_not_run(
    which: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    monkeypatch.chdir(tmp_path)
    place = shutil.copytree(shelf / which, tmp_path / "x")
    for list_of_sums in place.glob("*.sha256"):
        list_of_sums.unlink()
    (place / "meta.json").unlink(missing_ok=True)
    for protocol in range(2, 6):
        (place / CONTENTS).write_bytes(pickle.dumps(Evil(), protocol))
        assert "which was refused" in refused(place)
    for data in NONSENSE:
        (place / CONTENTS).write_bytes(data)
        refused(place)
    assert not Path("evil").exists()
    faults.survived("a checkpoint to begin with that holds code", "refused", 4)
    faults.survived("a checkpoint to begin with that is none", "one sentence", len(NONSENSE))


class ByName:
    """Pickled as an attribute of something, as Python 3.11.2 does the members of an enum."""

    def __init__(self, kind: object, name: str) -> None:
        self.place = kind, name

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, str]]:
        return getattr, self.place


def test_members_of_enums_are_read_and_no_other_attributes() -> None:
    kind = _MEM_FORMAT_ENCODING

    def read(kind: object, name: str) -> object:
        return PlainUnpickler(io.BytesIO(pickle.dumps(ByName(kind, name)))).load()

    assert all(read(kind, member.name) is member for member in kind)
    for other, name in ((kind, "mro"), (torch.Size, "numel"), (kind, "__class__")):
        with pytest.raises(pickle.UnpicklingError, match="was refused"):
            read(other, name)


@pytest.mark.parametrize("which", [HANDOVER, "teacher_checkpoint.pth"])
def test_a_file_to_begin_with_is_cut_short(which: str, shelf: Path, tmp_path: Path) -> None:
    data = (shelf / which).read_bytes()
    for share in (0, 0.01, 0.5, 0.99):
        (tmp_path / which).write_bytes(data[: int(len(data) * share)])
        refused(tmp_path / which)


def test_a_bit_of_what_a_run_hands_over_is_flipped(
    shelf: Path, tmp_path: Path, faults: Faults
) -> None:
    """Be it a head's: `load`, which needs the backbone alone, says so, too."""
    data, place = bytearray((shelf / HANDOVER).read_bytes()), tmp_path / HANDOVER
    spots = [len(data) // 2, len(data) - 5, len(data) // 3]
    for spot in spots:
        place.write_bytes(data[:spot] + bytes([data[spot] ^ 4]) + data[spot + 1 :])
        refused(place)
        with pytest.raises(WeightsError, match="damaged"):
            load(place)
    data_file = next(shutil.copytree(shelf / "ckpt", tmp_path / "ckpt").glob("*/*.distcp"))
    data_file.write_bytes(data_file.read_bytes()[:-9])
    assert "is damaged" in refused(checkpoints(tmp_path)[-1])
    faults.survived("weights to begin with that are damaged", "one sentence", len(spots) + 1)


CHANGES: dict[str, Change] = {
    "NaN": lambda t: t[LAST].view(-1)[3:4].fill_(torch.nan),
    "infinity": lambda t: t["ibot_head.mlp.0.bias"].fill_(torch.inf),
    "a tensor is missing": lambda t: t.pop(LAST),
    "an extra tensor": lambda t: t.update({"dino_head.more": torch.zeros(1)}),
    "weight norm, as in DINOv2": lambda t: t.update({"dino_head.last_layer.weight_g": t.pop(LAST)}),
    "a turned matrix": lambda t: t.update({LAST: t[LAST].T.contiguous()}),
    "other prototypes": lambda t: t.update({LAST: torch.zeros(9, 32)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_head_that_does_not_fit(change: str, shelf: Path, tmp_path: Path, faults: Faults) -> None:
    whole = torch.load(shelf / "teacher_checkpoint.pth", weights_only=True)["teacher"]
    CHANGES[change](whole)
    torch.save({"teacher": whole}, tmp_path / "teacher_checkpoint.pth")
    said = refused(tmp_path / "teacher_checkpoint.pth")
    assert "_head in" in said
    assert "NaN or infinity" in said if change in ("NaN", "infinity") else "does not fit" in said
    faults.survived("a head to begin with that does not fit", "one sentence with the settings")
