"""Embeddings of a folder: the right rows under the right names, whatever interrupts the writing;
and the pictures most like one."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from dinolite.data.decoding import read_picture
from dinolite.eval import embeddings
from dinolite.eval.embeddings import (
    Reading,
    asked_row,
    most_alike,
    read_embeddings,
    write_embeddings,
)
from dinolite.eval.features import extract_features, extract_patches
from dinolite.models.vision_transformer import DinoVisionTransformer

torch.manual_seed(0)
NET = DinoVisionTransformer(patch_size=4, embed_dim=16, depth=1, num_heads=1).eval()
CLS = Reading("cls", 8)
NAMES = ["flat.png", "test/a/3.png", "train/a/0.png", "train/b/1.png", "train/b/ü 2.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of several sizes in splits and classes, a broken one, a text."""
    root = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (8 + i, 20 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "train" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "notes.txt").write_text("no picture")
    return root


def pictures(folder: Path) -> list[Tensor]:
    return [read_picture(folder / name) for name in NAMES]


def beside(out: Path) -> set[str]:
    return {path.name for path in out.parent.iterdir()}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("what", ["cls", "mean", "patches"])
def test_rows_are_the_features_of_all_pictures_under_their_names(
    what, half: bool, folder: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "new" / "f.safetensors", list[tuple[int, int]]()
    how = Reading(what, 8, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0), half=half)
    n, skipped = write_embeddings(
        NET, folder, out, how, 2, {"model": "m"}, lambda *x: said.append(x)
    )
    assert n == 5 and said == [(0, 6), (2, 6), (4, 6), (6, 6)]
    assert len(skipped) == 2 and "notes.txt" in skipped[0] and "bad.jpg" in skipped[1]
    assert beside(out) == {"f.safetensors", "f.safetensors.skipped.txt"}
    colours = {"mean": how.mean, "std": how.std}
    features = extract_features(NET, pictures(folder), size=8, **colours)
    maps = extract_patches(NET, pictures(folder), size=8, **colours)
    wanted = {"cls": features.cls, "mean": features.patch_mean, "patches": maps}[what]
    found = read_embeddings(out)
    assert found.names == NAMES and found.how == how and found.words["model"] == "m"
    assert found.rows.dtype == (torch.float16 if half else torch.float32)
    close = 2e-3 if half else 1e-5
    torch.testing.assert_close(found.rows.float(), wanted, atol=close, rtol=close)
    plain = load_file(out)  # as anybody reads it
    assert torch.equal(plain["embeddings"], found.rows)
    assert bytes(plain["names"].numpy()).decode().split("\0") == NAMES


def test_a_net_of_grey_pictures_is_shown_grey_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.safetensors"
    write_embeddings(NET, folder, out, Reading("cls", 8, grey=True))
    grey = [embeddings.as_grey(CLS.picture(folder / name))[0] for name in NAMES]
    wanted = extract_features(NET, grey).cls
    torch.testing.assert_close(read_embeddings(out).rows, wanted)


def test_files_of_12_bits_are_read_as_in_training(tmp_path: Path) -> None:
    """Otherwise they are nearly black."""
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65
    Image.fromarray(deep).save(tmp_path / "a.png")
    how, out = Reading("cls", 8, value_range=(0, 4095)), tmp_path / "f.safetensors"
    write_embeddings(NET, tmp_path, out, how)
    found = read_embeddings(out)
    assert found.how == how and how.picture(tmp_path / "a.png").aminmax() == (0, 255)
    pictures = [read_picture(tmp_path / "a.png", value_range=(0, 4095))]
    torch.testing.assert_close(found.rows, extract_features(NET, pictures).cls)


class Killed(BaseException):
    """As if the process were gone."""


def killed_at(write: int, cut: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write of this number ends after a share of its bytes."""
    real, numbers = embeddings.append, iter(range(100))

    def append(path: Path, data: bytes) -> None:
        if next(numbers) == write:
            real(path, data[: int(len(data) * cut)])
            raise Killed
        real(path, data)

    monkeypatch.setattr(embeddings, "append", append)


def test_a_kill_at_any_write_loses_one_batch_and_changes_no_bit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes a batch, and one of the names; each ends in the middle of its bytes, or after."""
    write_embeddings(NET, folder, tmp_path / "whole.safetensors", CLS, 2)
    wanted = (tmp_path / "whole.safetensors").read_bytes()
    for write in (0, 1, 2, 3, 6):  # rows and line of the first two batches, and the names
        for cut in (0.5, 1):
            out = tmp_path / f"{write} {cut}.safetensors"
            with monkeypatch.context() as patch, pytest.raises(Killed):
                killed_at(write, cut, patch)
                write_embeddings(NET, folder, out, CLS, 2)
            assert not out.exists() and Path(f"{out}.part").exists()
            said: list[int] = []
            write_embeddings(NET, folder, out, CLS, 2, show=lambda done, n, s=said: s.append(done))
            assert out.read_bytes() == wanted
            assert said[0] == min(2 * ((write + (cut == 1)) // 2), 6)
            assert not list(tmp_path.glob(f"{out.name}.[pl]*"))


def test_rows_that_never_reached_the_disk_are_made_anew(folder: Path, tmp_path: Path) -> None:
    """The lines say more than there is: after a power failure, or half a clean-up."""
    out, part = tmp_path / "f.safetensors", tmp_path / "f.safetensors.part"
    write_embeddings(NET, folder, out, CLS, 2)
    wanted = out.read_bytes()
    for rest in (None, b"", b" " * 100):
        out.unlink()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            killed_at(5, 1, patch)
            write_embeddings(NET, folder, out, CLS, 2)
        part.unlink()
        if rest is not None:
            part.write_bytes(rest)
        write_embeddings(NET, folder, out, CLS, 2)
        assert out.read_bytes() == wanted


def test_a_whole_file_stays_and_another_is_not_overwritten(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.safetensors"
    first = write_embeddings(NET, folder, out, CLS)
    with monkeypatch.context() as patch:
        patch.setattr(Reading, "rows", lambda *_: pytest.fail("it was made again"))
        assert write_embeddings(NET, folder, out, CLS) == first
    torch.manual_seed(1)
    other = DinoVisionTransformer(patch_size=4, embed_dim=16, depth=1, num_heads=1).eval()
    before = out.read_bytes()
    for net, how, word in (
        (NET, Reading("mean", 8), "what was cls, is mean"),
        (NET, Reading("cls", 12), "size was 8, is 12"),
        (NET, Reading("cls", 8, half=True), "half"),
        (other, CLS, "weights was"),
    ):
        with pytest.raises(ValueError, match=word):
            write_embeddings(net, folder, out, how)
    new = folder / "train" / "new.png"
    Image.new("RGB", (8, 8)).save(new)
    try:
        with pytest.raises(ValueError, match=r"pictures was 6 .*, is 7"):
            write_embeddings(NET, folder, out, CLS)
    finally:
        new.unlink()
    assert out.read_bytes() == before


def test_pictures_that_changed_meanwhile_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.safetensors"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(2, 0, patch)
        write_embeddings(NET, folder, out, CLS, 2)
    stat = (folder / NAMES[0]).stat()
    os.utime(folder / NAMES[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    with pytest.raises(ValueError, match="pictures was"):
        write_embeddings(NET, folder, out, CLS, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": Path("f.bin")}, "must end in .safetensors"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"how": Reading("clss", 8)}, "what = 'clss'"),
        ({"how": Reading("cls", 10)}, "size = 10 .* patch_size = 4"),
        ({"how": Reading("cls", -4)}, "size = -4"),
        (
            {
                "net": DinoVisionTransformer(
                    patch_size=4, in_chans=1, embed_dim=4, depth=1, num_heads=1
                )
            },
            "of 1 chan",
        ),
        ({"folder": Path("nowhere")}, "nowhere is not a folder"),
        ({"folder": Path("empty")}, "empty has no picture"),
        ({"folder": Path("texts")}, "texts has no picture; texts/a.txt"),
        ({"folder": Path("broken")}, "no picture is readable; the first: broken/a.png"),
    ],
)
def test_a_mistake_gets_one_sentence(
    change: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, file in (("empty", ""), ("texts", "a.txt"), ("broken", "a.png")):
        Path(name).mkdir()
        if file:
            Path(name, file).write_text("a letter")
    given = {"net": NET, "folder": Path("broken"), "out": Path("f.safetensors"), "how": CLS}
    with pytest.raises(ValueError, match=message):
        write_embeddings(**given | change)  # type: ignore[arg-type]
    assert not Path("f.safetensors").exists()


# --- searching ---


@pytest.fixture(scope="module")
def shelf(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """What -> a file of embeddings."""
    here = tmp_path_factory.mktemp("shelf")
    files = {what: here / f"{what}.safetensors" for what in ("cls", "patches")}
    for what, out in files.items():
        write_embeddings(NET, folder, out, Reading(what, 8, half=what == "patches"))
    yield files


@pytest.mark.parametrize("at_once", [1, 40, 2**24])
@pytest.mark.parametrize("what", ["cls", "patches"])
def test_the_most_alike_are_those_of_highest_cosine(
    what: str, at_once: int, shelf: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "SEARCHED", at_once)
    found = read_embeddings(shelf[what])
    x = found.rows.float()
    x = x.flatten(2).mean(2) if what == "patches" else x
    cosines = F.normalize(x, dim=1) @ F.normalize(x[2], dim=0)
    alike = most_alike(found, found.rows[2], 3, NAMES[2])
    order = [i for i in cosines.argsort(descending=True).tolist() if i != 2][:3]
    assert [name for name, _ in alike] == [NAMES[i] for i in order]
    assert [c for _, c in alike] == pytest.approx(cosines[order].tolist(), abs=1e-5)
    itself = most_alike(found, found.rows[2], 99)
    assert len(itself) == 5 and itself[0][0] == NAMES[2]
    assert itself[0][1] == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="k = 0"):
        most_alike(found, found.rows[2], 0)


def test_a_picture_is_asked_for_by_its_name_or_as_a_file(
    folder: Path, shelf: dict[str, Path]
) -> None:
    found = read_embeddings(shelf["cls"])
    by_name = asked_row(found, NAMES[1], lambda: pytest.fail("no model is needed"))
    by_file = asked_row(found, str(folder / NAMES[1]), lambda: NET)
    assert torch.equal(by_name, found.rows[1])
    torch.testing.assert_close(by_file, by_name, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match=r"train/a/1.png is neither .* did you mean train/"):
        asked_row(found, "train/a/1.png", lambda: NET)
    with pytest.raises(ValueError, match=r"bad\.jpg"):
        asked_row(found, str(folder / "train" / "bad.jpg"), lambda: NET)
    torch.manual_seed(1)
    other = DinoVisionTransformer(patch_size=4, embed_dim=16, depth=1, num_heads=1).eval()
    with pytest.raises(ValueError, match="other weights"):
        asked_row(found, str(folder / NAMES[1]), lambda: other)


def test_what_is_no_file_of_embeddings_is_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "letter.safetensors").write_text("dear reader")
    save_file({"names": torch.zeros(1)}, tmp_path / "weights.safetensors")
    save_file(
        {"names": torch.zeros(1).byte(), "embeddings": torch.zeros(1, 1)},
        tmp_path / "bare.safetensors",
    )
    for name in ("letter", "weights", "bare", "nowhere"):
        with pytest.raises(ValueError, match=f"{name}[.]safetensors is no file of embeddings"):
            read_embeddings(tmp_path / f"{name}.safetensors")
