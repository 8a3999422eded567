"""More than three hundred bad inputs: each gets one sentence that names what is wrong, exit code 2
and no traceback. And odd pictures, which are read."""

import io
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file

from dinolite.cli import main
from dinolite.config import Config, load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.decoding import nearly_flat, read_picture
from dinolite.eval.online import evaluation_pictures
from dinolite.explore.gallery import Gallery, PixelSource
from dinolite.models.pretrained import OWN_WEIGHTS, load, read_metadata, read_state_dict
from dinolite.train.train import train
from tests.processes import dinolite
from tests.small_sets import SMALL
from tests.tiny_run import TINY
from tests.trust.conftest import Faults
from tests.trust.corpus import BROKEN, ODD, PNG, photo

Says = Callable[..., str]
SEEN = "one sentence; exit code 2"


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    """Run the command in an empty folder; what it said on stderr."""
    monkeypatch.chdir(tmp_path)
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    for place in ("dinolite.train.train.train_step", "dinolite.explore.server.bind_sockets"):
        monkeypatch.setattr(place, lambda *a: pytest.fail("it was taken for good"))

    def run(*arguments: str, mistakes: int = 3) -> str:
        monkeypatch.setattr(sys, "argv", ["dinolite", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr().err
        assert end.value.code == 2, (arguments, said)
        assert "Traceback" not in said and said.startswith("dinolite: "), (arguments, said)
        assert len(said.strip().splitlines()) <= mistakes, (arguments, said)
        return said

    return run


def leaves(model: type[BaseModel] = Config, above: str = "") -> Iterator[str]:
    """The dotted name of every setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{above}{name}.")
        else:
            yield above + name


SETTINGS = list(leaves())


def test_every_setting_misspelt_and_of_the_wrong_type(says: Says, faults: Faults) -> None:
    """All at once, one line each."""
    n = len(SETTINGS)
    assert n >= 100
    said = says("check", "demo", *(f"{name}x=1" for name in SETTINGS), mistakes=2 * n)
    assert all(f"{name}x is not a setting" in said for name in SETTINGS)
    said = says("check", "demo", *(f"{name}=[[[]]]" for name in SETTINGS), mistakes=2 * n)
    assert all(f"{name} = " in said or f"{name}." in said for name in SETTINGS), said
    faults.survived("a setting misspelt or of the wrong type", SEEN, 2 * n)


RANGES = [
    "student.patch_size=0",
    "student.patch_size=-4",
    "student.depth=-1",
    "student.num_heads=0",
    "student.drop_path_rate=1.0",
    "student.drop_path_rate=nan",
    "student.arch=vit_colossal",
    "student.ffn_layer=cake",
    "student.norm_layer=",
    "student.n_storage_tokens=-1",
    "train.iterations=0",
    "train.iterations=1e99",
    "train.batch_size_per_gpu=0",
    "train.num_workers=-1",
    "train.precision=float8",
    "train.parallel=telepathy",
    "train.log_every=0",
    "optim.lr.peak=-1",
    "optim.lr.peak=inf",
    "optim.clip_grad=-1",
    "optim.adamw_beta1=2",
    "optim.scaling_rule=cubic",
    "optim.lr.kind=zigzag",
    "teacher.temp.peak=0",
    "teacher.momentum.peak=2",
    "teacher.centering=sideways",
    "ibot.mask_ratio_min_max=[0.9, 0.1]",
    "ibot.mask_ratio_min_max=[0.1]",
    "ibot.mask_sample_probability=2",
    "crops.local_crops_number=-1",
    "crops.global_crops_size=0",
    "crops.global_crops_size=[24, 0]",
    "crops.local_crops_size=[12]",
    "crops.global_crops_scale=[0.5, 3]",
    "crops.rgb_std=[0, 0, 0]",
    "crops.pipeline=hand",
    "gram.tokens_used=some",
    "gram.use_loss=perhaps",
    "dino.koleo_topk=0",
    "dino.head_nlayers=0",
    "checkpointing.period=0",
    "checkpointing.max_to_keep=0",
    "evaluation.knn_k=0",
    "data.image_size=0",
    "train.seed=-1",
    "=",
    "=1",
    "train",
    "train.seed=",
    ".=1",
    "a.b.c.d=1",
]


@pytest.mark.parametrize("setting", RANGES)
def test_a_setting_out_of_range(setting: str, says: Says, faults: Faults) -> None:
    said = says("check", "demo", setting)
    assert any(part in said for part in setting.split("=")[0].split(".")[1:] or ["="])
    faults.survived("a setting out of range", SEEN)


RECIPES: dict[str, bytes] = {
    "empty name.toml": b"[]",
    "open bracket.toml": b"[train\nseed = 1",
    "twice.toml": b"[train]\nseed = 1\nseed = 2",
    "no value.toml": b"[train]\nseed =",
    "bytes.toml": b"\xff\xfe\x00\x01",
    "zero bytes inside.toml": b"[train]\x00",
    "unknown section.toml": b"[trian]\nseed = 1",
    "unknown key.toml": b"[train]\nsede = 1",
    "wrong type.toml": b"[train]\nseed = 'one'",
    "section is a number.toml": b"train = 3",
    "yaml.toml": b"train:\n  seed: 1\n",
    "json.toml": b'{"train": {"seed": 1}}',
    "half a string.toml": b'[data]\ndataset = "win',
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_none(name: str, says: Says, tmp_path: Path, faults: Faults) -> None:
    (tmp_path / name).write_bytes(RECIPES[name])
    says("check", name)
    faults.survived("a broken recipe file", SEEN)


COMMANDS = [
    ["train", "nothing.toml"],
    ["train", "demo.tom"],
    ["train", "/"],
    ["train", "../demo"],
    ["train", "--data", "folder:"],
    ["train", "--data", "folder:nowhere"],
    ["train", "--data", "folder:empty"],
    ["train", "--data", "folder:file"],
    ["train", "--data", "windoes"],
    ["train", "--data", "imagenet"],
    ["train", "--data", "windows+nothing"],
    ["train", "--data", ""],
    ["train", "--data", "+"],
    ["train", "demo", "train.device=cuda:99x"],
    ["train", "demo", "--out", "file"],
    ["train", "demo", "--out", "file/below"],
    ["eval", "nowhere"],
    ["eval", "empty"],
    ["eval", "file"],
    ["eval", "half"],
    ["show", "nowhere"],
    ["show", "empty"],
    ["show", "half"],
    ["lab", "nowhere"],
    ["lab", "file"],
    ["features", "nothing", "half", "--out", "f.safetensors"],
    ["features", "dinolite_tiny", "nowhere", "--out", "f.safetensors"],
    ["features", "dinolite_tiny", "empty", "--out", "f.safetensors"],
    ["features", "dinolite_tiny", "file", "--out", "f.safetensors"],
    ["features", "dinolite_tiny", "half", "--out", "f.safetensors"],
    ["features", "dinolite_tiny", "half", "--out", "f.bin"],
    ["features", "dinolite_tiny", "half", "--out", "f.safetensors", "--what", "all"],
    ["features", "dinolite_tiny", "half", "--out", "f.safetensors", "--size", "7"],
    ["features", "dinolite_tiny", "half", "--out", "f.safetensors", "--batch-size", "0"],
    ["search", "nowhere", "a.png"],
    ["search", "file", "a.png"],
    ["search", "empty", "a.png"],
    ["export", "nothing", "--onnx", "m.onnx"],
    ["export", "empty", "--onnx", "m.onnx"],
    ["export", "dinolite_tiny"],
    ["export", "dinolite_tiny", "--onnx", "m.bin"],
    ["export", "dinolite_tiny", "--program", "m.onnx"],
    ["explore", "nothing", "--no-browser"],
    ["explore", "empty", "--no-browser"],
    ["explore", "file", "--no-browser"],
    ["explore", "--pictures", "empty", "--no-browser"],
    ["explore", "--pictures", "nowhere", "--no-browser"],
    ["explore", "--pictures", "file", "--no-browser"],
    ["explore", "--side", "0", "--no-browser"],
    ["explore", "--side", "7", "--no-browser"],
    ["explore", "--port", "70000", "--no-browser"],
    ["explore", "--port", "-1", "--no-browser"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_that_names_what_is_not_there(
    arguments: list[str], says: Says, tmp_path: Path, faults: Faults
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a letter")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.toml").write_text("[train]\nseed = 0\n")
    said = says(*arguments, *(TINY if arguments[0] == "train" else []))
    if arguments[0] == "explore":  # the others name theirs in tests of their own
        assert arguments[-2] in said
    faults.survived("a folder, file or name that is not there", SEEN)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture(name: str, says: Says, tmp_path: Path, faults: Faults) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / name).write_bytes(BROKEN[name])
    said = says("train", "folder", "--data", "folder:photos", *TINY, "--out", "run")
    assert "photos" in said
    gallery = Gallery({"pixels": PixelSource(8)}, {"a": read_picture(io.BytesIO(PNG))}, 16)
    with pytest.raises(ValueError, match=name.split(".")[0]) as error:
        gallery.upload(BROKEN[name], name)
    assert "\n" not in str(error.value) and " at 0x" not in str(error.value)
    faults.survived("a broken picture, alone in a folder, and as an upload", SEEN, 2)


def test_a_folder_of_broken_pictures_is_one_line(tmp_path: Path, faults: Faults) -> None:
    """No word of the decoders beside it."""
    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    arguments = ["train", "folder", "--data", f"folder:{tmp_path}", *TINY, "--out", "run"]
    done = dinolite(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    faults.survived("a folder of nothing but broken pictures", SEEN)


def test_one_good_picture_among_broken_ones_is_found(tmp_path: Path, faults: Faults) -> None:
    for name, data in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a good.png").write_bytes(PNG)  # the first: every tenth is for tests
    found = load_pictures(f"folder:{tmp_path}", "train", 32)
    assert len(found) == 1 and len(found.skipped) >= len(BROKEN) * 0.8
    faults.survived("broken pictures among good ones", "they are skipped, counted and listed")


@pytest.mark.parametrize("name", ODD)
def test_an_odd_picture_is_read(name: str, tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / name
    path.write_bytes(ODD[name]())
    picture = read_picture(path, 64)
    assert picture.dtype == torch.uint8 and picture.shape[0] == 3 and max(picture.shape) <= 64
    if name.startswith("turned"):
        wide = name.split(".")[0] in {f"turned {i}" for i in (1, 2, 3, 4, 99)}
        assert (picture.shape[2] > picture.shape[1]) == wide
    if name not in ("one pixel.png", "a line.png", "ascii.ppm") and "animated" not in name:
        assert "pages" in name or nearly_flat(picture, path) is None  # what is odd darkens nothing
    assert {p.name for p in tmp_path.iterdir()} == {name}, "a name is never run"
    faults.survived("an odd picture (CMYK, 16 bits, animated, turned, ...)", "the picture")


UNREAD = {
    "IMG_0001.HEIC": (b"\0\0\0\x18ftypheic", "HEIC"),
    "from a telephone.jpg": (b"\0\0\0\x18ftypmif1", "HEIC"),
    "slice.dcm": (bytes(128) + b"DICM", "DICOM"),
    "scan.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "drawing.psd": (b"8BPS", "PSD"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_kind_of_picture_that_is_not_read(
    name: str, says: Says, tmp_path: Path, faults: Faults
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_bytes(UNREAD[name][0])
    said = says("train", "folder", "--data", "folder:photos", *TINY, "--out", "run")
    assert f"{name}: skipped, {UNREAD[name][1]} is not read here; convert it to" in said
    faults.survived("a kind of picture that is not read", "its name, and what to do")


NO_KNN = {  # in each, classes could be made up; that would be a number about nothing
    "splits named like classes": ["train/1", "train/2", "valid/1", "valid/2"],
    "a flat test part": ["train/a/1", "train/b/2", "test/3"],
    "no class in common": ["train/a/1", "train/b/2", "val/c/3"],
    "one class": ["train/a/1", "val/a/2"],
    "images and masks": ["train/images/1", "train/masks/1", "val/images/2", "val/masks/2"],
    "one class of broken files": ["train/a/1", "train/b/broken", "val/a/2", "val/b/3"],
    "a class without pictures": ["train/a/1", "train/b/notes.txt", "val/a/2", "val/b/3"],
}


def bank_and_queries(files: list[str], folder: Path) -> list[list[int]] | None:
    """The labels that k-NN would have, or None."""
    for file in files:
        path = folder / (file if file.endswith("txt") else f"{file}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"broken" if "broken" in file else PNG)
    found = evaluation_pictures(load_config("demo", [f"data.dataset=folder:{folder}"]))
    return found and [pictures.labels.tolist() for pictures in found]


@pytest.mark.parametrize("name", NO_KNN)
def test_no_number_without_labels(name: str, tmp_path: Path, faults: Faults) -> None:
    assert bank_and_queries(NO_KNN[name], tmp_path / "without") is None
    with_labels = ["train/a/1", "train/b/2", "train/b/broken", "val/b/3", "val/a/4", "val/c/5"]
    assert bank_and_queries(with_labels, tmp_path / "with") == [[0, 1], [0, 1]]
    faults.survived("folders that give no labels", "no k-NN; a line says what was understood")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_files_in_a_set_too_large_for_memory(
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faults: Faults,
) -> None:
    """Of both parts, by whichever process reads them; kept where the run goes on."""
    photos = tmp_path / "photos"
    for i, place in enumerate(["train/a", "train/b", "val/a", "val/b"] * 3):
        (photos / place).mkdir(parents=True, exist_ok=True)
        (photos / place / f"{i}.png").write_bytes(PNG)
    for place in ("train/a", "train/b", "val/b"):
        (photos / place / "bad.png").write_bytes(b"broken")
    (photos / "train" / "notes.txt").write_text("hello")
    for module in ("dinolite.train.train", "dinolite.eval.online"):
        monkeypatch.setattr(f"{module}.load_pictures", partial(load_pictures, cache_bytes=10))
    out = tmp_path / "run"
    settings = [*TINY, f"data.dataset=folder:{photos}", f"train.output_dir={out}"]
    settings += [f"train.num_workers={workers}", "optim.lr.warmup=0"]
    train(load_config("demo", [*settings, "train.iterations=3"]), show="lines")  # 12 of 8
    said = capsys.readouterr()
    assert said.out.startswith("data: 8 train, 7 val, 2 classes (a, b)\n")
    assert "1 file or folder was left out" in said.err
    assert "3 files or folders were left out" in said.err
    named = (out / "skipped.txt").read_text().splitlines()
    assert len(named) == 4 and sum("bad.png: skipped" in line for line in named) == 3
    train(load_config("demo", [*settings, "train.iterations=3"]))
    assert (out / "skipped.txt").read_text().splitlines() == named
    assert "skipped" not in capsys.readouterr().err
    faults.survived("broken files in a set too large for memory", "they are counted and listed")


def test_links_in_a_circle(says: Says, tmp_path: Path, faults: Faults) -> None:
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    os.symlink("..", folder / "a" / "up")
    os.symlink("loop.png", folder / "loop.png")
    os.symlink("nowhere.png", folder / "lost.png")
    says("train", "folder", "--data", "folder:photos", *TINY, "--out", "run")
    (folder / "a" / "good.png").write_bytes(PNG)
    assert len(load_pictures(f"folder:{folder}", "train", 32)) == 1
    faults.survived("links in a circle, and links to nowhere", "they are skipped", 3)


class Harm:
    """A pickle that would write a file if it were opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def weights() -> dict[str, torch.Tensor]:
    return read_state_dict(OWN_WEIGHTS / "dinolite_tiny.safetensors")


def written(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = weights()
    change(state)
    words = read_metadata(OWN_WEIGHTS / "dinolite_tiny.safetensors")
    words.pop("sha256", None)
    save_file(state, path, words)


NAMES = (
    "cls_token",
    "patch_embed.proj.weight",
    "blocks.0.attn.qkv.weight",
    "norm.weight",
    "blocks.3.mlp.fc2.bias",
    "storage_tokens",
    "mask_token",
    "rope_embed.periods",
)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_do_not_fit(name: str, says: Says, tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / "x.safetensors"
    changes: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
        "missing": lambda s: s.pop(name),
        "renamed": lambda s: s.update({f"{name}_": s.pop(name)}),
        "longer": lambda s: s.update({name: torch.cat([s[name], s[name]])}),
        "one number": lambda s: s.update({name: torch.zeros(1, 1, 1, 1, 1)}),
        "another beside": lambda s: s.update({f"{name}.more": torch.zeros(2)}),
    }
    for change in changes.values():
        written(path, change)
        assert name in says("explore", "x.safetensors", "--no-browser")
    faults.survived("weights with missing, extra or misshapen keys", SEEN, len(changes))


def files(harm: Path) -> dict[str, bytes]:
    def saved(value: object) -> bytes:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()

    good = saved({"cls_token": torch.zeros(1)})
    return {
        "code.pth": pickle.dumps(Harm(harm)),
        "code.pt": saved(Harm(harm)),
        "code inside.pth": saved({"model": Harm(harm)}),
        "code as a key.pth": saved({Harm(harm): 1}),
        "a module.pth": saved(torch.nn.Linear(2, 2)),
        "a list.pth": saved([1, 2]),
        "a number.pth": saved(3),
        "empty dict.pth": saved({}),
        "words.pth": saved({"a": "b"}),
        "zero bytes.pth": b"",
        "half.pth": good[: len(good) // 2],
        "letter.pth": b"dear reader",
        "zero bytes.safetensors": b"",
        "letter.safetensors": b"dear reader",
        "huge head.safetensors": (2**62).to_bytes(8, "little") + b"{}",
        "bad head.safetensors": (4).to_bytes(8, "little") + b"{{{{",
        "code.safetensors": pickle.dumps(Harm(harm)),
        "picture.safetensors": PNG,
        "weights.bin": good,
        "weights.npz": good,
    }


def test_files_that_are_no_weights_and_run_nothing(
    says: Says, tmp_path: Path, faults: Faults
) -> None:
    harm = tmp_path / "harm was done"
    cases = files(harm)
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        assert name in says("explore", name, "--no-browser")
        assert not harm.exists(), f"{name} ran code"
    faults.survived("files that are no weights; pickles that would run code", SEEN, len(cases))


def test_numbers_in_weights_that_are_none(says: Says, tmp_path: Path, faults: Faults) -> None:
    values = (torch.nan, torch.inf)
    for name in NAMES:
        for value in values:
            written(
                tmp_path / "x.safetensors", lambda s, n=name, v=value: s[n].view(-1)[-1:].fill_(v)
            )  # type: ignore[misc]
            said = says("explore", "x.safetensors", "--no-browser")
            assert f"x.safetensors hold NaN or infinity in {name}" in said
    faults.survived("NaN or infinity in a file of weights", SEEN, len(NAMES) * len(values))


def test_weights_that_do_not_say_which_model_they_are(
    says: Says, tmp_path: Path, faults: Faults
) -> None:
    """Without settings, and with those of another model or what no backbone here can do."""
    save_file(weights(), tmp_path / "x.safetensors")
    settings = {"norm_layer": "layernorm", "pos_embed_rope_normalize_coords": "separate"}
    beside: list[tuple[str, str]] = [
        ("", "norm_layer, pos_embed_rope_normalize_coords leave no trace"),
        ("[]", "norm_layer, pos_embed_rope_normalize_coords leave no trace"),
        ('{"model_type": "vit"}', "leave no trace"),
        ('{"model_type": "dinov3_vit", "num_attention_heads": 2}', "leave no trace"),
        ('{"norm_layer": "layernorm"}', "pos_embed_rope_normalize_coords leave no trace"),
        ("{", "config.json cannot be read"),
        (json.dumps(settings | {"norm_layer": "batchnorm"}), "config.json: norm_layer"),
        (json.dumps(settings | {"num_heads": 0}), "config.json: num_heads"),
        (json.dumps(settings | {"num_heads": 4}), "do not fit"),
        (json.dumps(settings | {"num_heads": 3}), "describes it cannot be built"),
        (json.dumps(settings | {"depth": 5}), "do not fit"),
    ]
    for text, sentence in beside:
        (tmp_path / "config.json").write_text(text) if text else None
        assert sentence in says("explore", "x.safetensors", "--no-browser"), text
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert load(tmp_path / "x.safetensors").num_heads == 2
    kind = "weights that do not say which model they are"
    faults.survived(kind, f"{SEEN}, with what to write where", len(beside))


def test_a_run_cannot_start_from_weights_of_another_model(says: Says, faults: Faults) -> None:
    """Each difference is named, as the setting that must change."""
    student = ["student.resume_from_teacher_chkpt=dinolite_tiny"]
    gram = ["gram.ckpt=dinolite_tiny", "gram.use_loss=true", "gram.rep_update=false"]
    changes = ["depth=3", "num_heads=4", "n_storage_tokens=3", "qkv_bias=false", "layerscale=1e-5"]
    changes += [
        "norm_layer=rmsnorm",
        "norm_layer=layernormbf16",
        "ffn_layer=swiglu",
        "embed_dim=96",
    ]
    changes += ["untie_cls_and_patch_norms=true", "pos_embed_rope_normalize_coords=max"]
    for i, change in enumerate(changes):
        said = says("train", "tiny", f"student.{change}", *(gram if i % 4 == 3 else student))
        sentence = (
            f"dinolite_tiny does not fit the student: it needs student.{change.split('=')[0]} = "
        )
        assert sentence in said, said
    kind = "a run that starts from weights of another model"
    faults.survived(kind, f"{SEEN}, with the settings to change", len(changes))


def test_settings_inside_weights_that_make_no_sense(
    says: Says, tmp_path: Path, faults: Faults
) -> None:
    config = json.loads(read_metadata(OWN_WEIGHTS / "dinolite_tiny.safetensors")["config"])
    heads: list[str] = [
        "",
        "{",
        "[]",
        "null",
        json.dumps(config | {"depth": -1}),
        json.dumps(config | {"depth": 5}),
        json.dumps(config | {"evil": 1}),
        json.dumps(config | {"embed_dim": 10**12}),
    ]
    for head in heads:
        save_file(weights(), tmp_path / "x.safetensors", {"config": head})
        assert "x.safetensors" in says("explore", "x.safetensors", "--no-browser")
    faults.survived("weights whose settings make no sense", SEEN, len(heads))


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dinolite", "--debug", "explore", "nothing"])
    with pytest.raises(ValueError, match="nothing"):
        main()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (["", "", ""], ["a batch of 4 is more than the data set has (3)", "no classes"]),
        ([*"aaaa", *"bbbb"], ["no k-NN: folder:few has no readable picture to test on"]),
    ],
    ids=["three flat ones", "two classes of four"],
)
def test_fewer_pictures_than_ten(
    classes: list[str],
    says: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faults: Faults,
) -> None:
    """No test part: said once, before training; the report draws what there is."""
    for i, name in enumerate(classes):
        (tmp_path / "few" / name).mkdir(parents=True, exist_ok=True)
        photo().rotate(i).save(tmp_path / "few" / name / f"{i}.png")
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "demo", "--data", "folder:few", "--out", "run", *TINY]
    arguments += ["optim.lr.warmup=0", "train.iterations=3"]
    monkeypatch.setattr(sys, "argv", ["dinolite", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 0 and (tmp_path / "run" / "report.html").is_file()
    assert all(said.err.count(sentence) == 1 for sentence in says), said.err
    assert len(said.err.splitlines()) == len(says) and "k-NN" not in said.out
    monkeypatch.setattr(sys, "argv", ["dinolite", "eval", "run", "--data", "folder:few"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "folder:few has no" in capsys.readouterr().err
    faults.survived("fewer than ten pictures", "`no k-NN: ...` before training; the report")
