"""Data sets by name: what each gives, what is refused and how; splits, batches, memory or files."""

import pickle
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dinolite.data.datasets import (
    SPECS,
    FilePictures,
    ListPictures,
    PictureDataset,
    ScenePictures,
    TensorPictures,
    load_files,
    load_pictures,
)
from dinolite.data.demo_pictures import photographs
from dinolite.data.demo_pictures import scenes as scenes_module
from tests.small_sets import FEW


def save(path: Path, value: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    """A picture of one grey value, (width, height) in pixels, exactly kept by PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def values(pictures: PictureDataset) -> list[int]:
    """The grey value of each picture: which files these are."""
    return [int(picture[0, 0, 0]) for picture in pictures]  # type: ignore[attr-defined]


# --- specs ---


def test_windows_and_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "WINDOW_COUNT_AND_SEED", {"test": (60, 1)})
    monkeypatch.setattr(scenes_module, "SCENE_COUNT_AND_SEED", {"test": (70, 1)})
    windows = load_pictures("windows", "test")
    assert isinstance(windows, TensorPictures) and windows.images.shape == (60, 3, 32, 32)
    assert len(windows.classes) == 16 and windows.labels.max() == 15
    assert load_pictures("windows", "test", image_size=24).images.shape == (60, 3, 24, 24)  # type: ignore[attr-defined]
    scenes = load_pictures("scenes", "test", image_size=32)
    assert isinstance(scenes, ScenePictures)
    assert scenes.images.shape == (70, 3, 32, 32) and scenes.masks.shape == (70, 32, 32)
    part = scenes.subset([5, 2])
    assert isinstance(part, ScenePictures) and torch.equal(part.masks, scenes.masks[[5, 2]])


def test_photos_are_whole_and_can_be_shrunk() -> None:
    photos = load_pictures("photos", image_size=64)
    assert len(photos) == 16 and photos.labels.tolist() == list(range(16))
    assert all(max(photos[i].shape) == 64 for i in range(16))
    assert photos[photos.classes.index("coffee")].shape == (3, round(400 * 64 / 600), 64)


@pytest.mark.parametrize(
    ("spec", "hint"), [("window", "windows"), ("cifar", "cifar10"), ("ImageNet", "imagenet")]
)
def test_misspelt_specs_get_a_hint(spec: str, hint: str) -> None:
    with pytest.raises(ValueError, match=rf"spec='{spec}'.*allowed: windows.*did you mean {hint}"):
        load_pictures(spec)


def test_unlike_anything_gets_the_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed") as error:
        load_pictures("zzzzzz")
    assert "did you mean" not in str(error.value)
    assert all(spec in str(error.value) for spec in SPECS)
    with pytest.raises(ValueError, match="did you mean 'folder:"):
        load_pictures(str(tmp_path))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"split='val'.*allowed"):
        load_pictures("windows", "val")
    with pytest.raises(ValueError, match=r"image_size=0.*allowed"):
        load_pictures("windows", image_size=0)
    with pytest.raises(ValueError, match=r"'folder:' names no folder; allowed"):
        load_pictures("folder:")


@pytest.mark.parametrize("spec", ["cifar10", "cifar100", "stl10", "imagenette"])
def test_nothing_is_downloaded_unasked(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        load_pictures(spec, root=tmp_path / "here")
    said = str(error.value)
    assert spec in said and str(tmp_path / "here") in said and "download=True" in said
    assert not (tmp_path / "here").exists()


def test_a_failed_download_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(RuntimeError, match=r"cifar10.*could not be downloaded.*no network here"):
        load_pictures("cifar10", root=tmp_path, download=True)


def test_cifar10_as_its_files_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five training files and a test file, each a pickle of 2 pictures as rows R.. G.. B..."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.repeat(np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8), 1024, axis=1)
    rows[1, 1024 + 32 * 2 + 5] = 200  # the second picture's green, row 2, column 5
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        (folder / name).write_bytes(pickle.dumps({"data": rows + k, "labels": [k, 9]}))
    names = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    train = load_pictures("cifar10", root=tmp_path)
    assert isinstance(train, TensorPictures) and train.images.shape == (10, 3, 32, 32)
    assert train[2].flatten(1).unique(dim=1).flatten().tolist() == [11, 21, 31]
    assert train[3][:, 2, 5].tolist() == [41, 201, 61] and train[3][1].sum() == 51 * 1023 + 201
    assert train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9] and train.classes[9] == "class 9"
    test = load_pictures("cifar10", "test", image_size=8, root=tmp_path)
    assert test[0].shape == (3, 8, 8) and test[0][:, 4, 4].tolist() == [15, 25, 35]


def test_stl10_takes_the_unlabelled_part_along(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stl10(root: str, split: str, download: bool) -> types.SimpleNamespace:
        asked.append(split)
        data = np.zeros((2, 3, 96, 96), dtype=np.uint8)
        return types.SimpleNamespace(data=data, labels=np.array([3, -1]), classes=["a"] * 10)

    monkeypatch.setattr("torchvision.datasets.STL10", stl10)
    assert load_pictures("stl10").labels.tolist() == [3, -1]
    load_pictures("stl10", "test")
    assert asked == ["train+unlabeled", "test"]


def test_imagenette_by_its_words(tmp_path: Path) -> None:
    for part, value in (("train", 1), ("val", 101)):
        for k, wnid in enumerate(("n01440764", "n03888257")):
            save(tmp_path / "imagenette2-160" / part / wnid / "x.JPEG", value + k)
    train = load_pictures("imagenette", image_size=128, root=tmp_path)
    assert train.classes == ("tench", "parachute") and train.labels.tolist() == [0, 1]
    assert values(train) == [1, 2]
    assert values(load_pictures("imagenette", "test", 160, tmp_path)) == [101, 102]
    with pytest.raises(ValueError, match="imagenette"):  # larger pictures lie elsewhere
        load_pictures("imagenette", image_size=320, root=tmp_path)


def test_imagenet_needs_its_folders(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(ValueError, match=r"imagenet.*train and val"):
            load_pictures("imagenet", root=root)
    save(tmp_path / "train" / "n01" / "a.png", 1)
    save(tmp_path / "val" / "n01" / "b.png", 2)
    assert values(load_pictures("imagenet", root=tmp_path)) == [1]
    assert values(load_pictures("imagenet", "test", root=tmp_path)) == [2]


def test_torchvision_stays_out_until_needed() -> None:
    source = Path(sys.modules["dinolite.data.datasets"].__file__ or "").read_text()
    assert "\nimport torchvision" not in source and "\nfrom torchvision" not in source


# --- folders: layouts and splits ---


def test_flat_folder_has_no_labels_and_every_tenth_is_for_the_test(tmp_path: Path) -> None:
    for i in range(25):
        save(tmp_path / f"{i:02}.png", i)
    train = load_pictures(f"folder:{tmp_path}")
    test = load_pictures(f"folder:{tmp_path}", "test")
    assert values(test) == [9, 19]
    assert values(train) == [i for i in range(25) if i not in (9, 19)]
    assert train.labels.tolist() == [-1] * 23 and train.classes == ()


def test_class_folders(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "cat" / f"{i}.png", i)
    for i in range(10):
        save(tmp_path / "ant" / "deeper" / f"{i}.png", 100 + i)
    save(tmp_path / "loose.png", 200)
    train = load_pictures(f"folder:{tmp_path}")
    test = load_pictures(f"folder:{tmp_path}", "test")
    assert train.classes == test.classes == ("ant", "cat")
    seen = dict(zip(values(train), train.labels.tolist(), strict=True))
    seen |= dict(zip(values(test), test.labels.tolist(), strict=True))
    assert len(seen) == 21 and len(test) == 2  # nothing in both, nothing lost
    assert all(seen[i] == 1 and seen[100 + i] == 0 for i in range(10)) and seen[200] == -1


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_split_folders(tmp_path: Path, held_out: str) -> None:
    save(tmp_path / "train" / "b" / "1.png", 1)
    save(tmp_path / held_out / "a" / "2.png", 2)
    save(tmp_path / held_out / "b" / "3.png", 3)
    train = load_pictures(f"folder:{tmp_path}")
    test = load_pictures(f"folder:{tmp_path}", "test")
    assert values(train) == [1] and values(test) == [2, 3]
    # A class seen in one split only must not shift the numbers of the other.
    assert train.classes == test.classes == ("a", "b")
    assert train.labels.tolist() == [1] and test.labels.tolist() == [0, 1]


def layout(tmp_path: Path, *files: str, n: int = 1) -> Path:
    """Pictures (n of each name), other files, and folders (a "/" at the end), by their paths."""
    for k, file in enumerate(files):
        path = tmp_path / file
        if file.endswith("/"):
            path.mkdir(parents=True)
        elif path.suffix == ".png":
            for i in range(n):
                save(path.with_stem(f"{path.stem}{i}" if n > 1 else path.stem), 10 * k + i)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("no picture")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "understood"),
    [
        (
            ["train/a/1", "train/b/2", "valid/a/3", "valid/b/4"],
            "2 train, 2 valid, 2 classes (a, b)",
        ),
        (["Training/a/1", "TEST/a/2"], "1 train, 1 TEST, 1 class (a)"),
        (["train/a/1", "Validation/a/2"], "1 train, 1 Validation, 1 class (a)"),
        (["train/a/1", "Dev/a/2"], "1 train, 1 Dev, 1 class (a)"),
        (["train/a/1", "eval/a/2", "test/a/3"], "1 train, 1 test, 1 class (a); eval: 1 pict"),
        (["train2017/1", "val2017/2", "annotations/"], "1 train, 1 val2017, no labels"),
        (["train_set/a/1", "test-images/a/2"], "1 train, 1 test-images, 1 class (a)"),
        # A flat test part does not hide the one with labels; ImageNet's val is flat.
        (
            ["train/a/1", "val/a/2", "test/3"],
            "1 train, 1 val, 1 class (a); test: 1 pictures left out, since val/ is for testing",
        ),
        (["train/a/1", "test/a/2", "val/a/3"], "1 train, 1 test, 1 class (a); val: 1 pict"),
        (["train/n01/1", "train/n02/2", "val/3"], "2 train, 1 val, 2 classes (n01, n02), val wit"),
        (
            ["train/a/1", "test/b/2"],
            "1 train, 1 test, 1 class (a), test also has 1 other class (b)",
        ),
        (
            ["train/a/1", "val/a/2", "extra/3"],
            "a); extra: 1 pictures left out, beside train/ and val",
        ),
        (["train/a/1", "val/a/2", "3"], "(a); .: 1 pictures left out, beside train/ and val/"),
        # A wrapping is no class, whatever its name, nor is what stands beside it without pictures.
        (["data/train/a/1", "data/val/a/2"], "1 train, 1 val, 1 class (a); read in data/"),
        (["x/y/a/1", "x/y/b/2"], "2 train, no test part, 2 classes (a, b); read in x/y/"),
        (["images/train/1", "images/val/2", "labels/train/1.txt"], "no labels; read in images/"),
        (["train/a/1", "train/b/2"], "2 train, no test part, 2 classes (a, b); read in train/"),
        (["cat/1"], "1 train, no test part, no labels; read in cat/"),
        # Masks beside images are no pictures of another class.
        (
            ["images/1", "masks/1"],
            "no labels; read in images/; masks: 1 pictures left out, beside im",
        ),
        (["JPEGImages/1", "SegmentationClass/1"], "read in JPEGImages/; SegmentationClass: 1 pict"),
        (
            ["train/images/1", "train/masks/1", "val/images/2"],
            "val, no labels; train/masks: 1 pict",
        ),
        (
            ["a/images/1", "a/masks/1", "b/images/2"],
            "2 train, no test part, 2 classes (a, b); a/masks: 1 pict",
        ),
        (["train/a/1", "train_masks/1", "test/a/2"], "1 class (a); train_masks: 1 pictures left"),
        (["masks/1", "hats/2"], "2 train, no test part, 2 classes (hats, masks)"),
        # Words that are classes as well.
        (["bus/1", "train/2", "car/3"], "3 classes (bus, car, train); train is taken for a class"),
        (["valid/1", "invalid/2"], "2 classes (invalid, valid); valid is taken for a class"),
        (["a/1", "b/2", "test/a/3", "test/b/4"], "2 train, 2 test, 2 classes (a, b)"),
        (["1", "2", "test/3"], "2 train, 1 test, no labels"),
        (
            ["a/1", "b/2", "3"],
            "3 train, no test part, 2 classes (a, b), 1 of train without a label",
        ),
        (["a/1", "b/2", "c/", "d/notes.txt"], "2 train, no test part, 2 classes (a, b)"),
    ],
)
def test_names_of_sub_folders(tmp_path: Path, files: list[str], understood: str) -> None:
    """One line says what was made of them, and what is left out has a sentence of its own."""
    names = [f if f.endswith(("/", ".txt")) else f"{f}.png" for f in files]
    pictures = load_pictures(f"folder:{layout(tmp_path, *names)}")
    assert understood in pictures.understood
    n_out = understood.count(": 1 pict")
    assert pictures.understood.count("left out") == n_out
    assert sum("left out" in sentence for sentence in pictures.skipped) == n_out
    for empty in ("annotations", "labels", "c", "d"):
        if any(name.startswith(f"{empty}/") for name in names if not name.endswith("png")):
            assert any(f"{empty}: skipped, a folder without" in s for s in pictures.skipped)


def test_many_pictures_are_counted_for_people(tmp_path: Path) -> None:
    files = [f"train/{name}/x.png" for name in "abcde"]
    layout(tmp_path, *files, *(f.replace("train", "val") for f in files), n=2)
    line = load_pictures(f"folder:{tmp_path}").understood
    assert line == "10 train, 10 val, 5 classes (a, b, c, ...)"


def test_a_flat_folder_is_divided_as_before_with_masks_left_out(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / "images" / f"{i:02}.png", i)
        save(tmp_path / "masks" / f"{i:02}.png", 100)
    assert values(load_pictures(f"folder:{tmp_path}", "test")) == [9, 19]
    assert 100 not in values(load_pictures(f"folder:{tmp_path}"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["s/train/a/1", "s/val/a/2", "t/train/b/3", "t/test/b/4"], "2 whole data sets inside"),
        (["s/train/a/1", "s/val/a/2", "cover"], "1 whole data sets inside"),
        (["val/a/1", "test/a/2"], "test and val and no train"),
    ],
)
def test_whole_sets_are_not_taken_for_classes(tmp_path: Path, files: list[str], said: str) -> None:
    layout(tmp_path, *(f"{file}.png" for file in files))
    with pytest.raises(ValueError, match=rf"{said}; allowed: .*folder:{tmp_path}/\w+") as error:
        load_pictures(f"folder:{tmp_path}")
    way_out = str(error.value).split("joined: ")[1]
    assert len(load_pictures(way_out)) >= 1


def test_a_class_of_broken_pictures_is_named(tmp_path: Path) -> None:
    layout(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png")
    (tmp_path / "train" / "b" / "2.png").write_bytes(b"broken")
    train = load_pictures(f"folder:{tmp_path}")
    said = (
        "2 train, 2 val, 1 class (a), val also has 1 other class (b); 1 of the train pictures can"
    )
    assert train.understood.startswith(said)
    assert any("class b: skipped, none of its train pictures can" in s for s in train.skipped)
    test = load_pictures(f"folder:{tmp_path}", "test")
    assert test.labels.tolist() == [0, 1] and train.labels.tolist() == [0]


def test_a_folder_under_two_names_is_told(tmp_path: Path) -> None:
    """Training pictures linked as a test part would all be known by heart."""
    layout(tmp_path, "train/a/1.png", "train/b/2.png")
    (tmp_path / "val").symlink_to(tmp_path / "train")
    train = load_pictures(f"folder:{tmp_path}")
    assert "2 train, no test part" in train.understood
    assert any("val: skipped, its pictures were found under" in s for s in train.skipped)


# --- zips, tars, several folders ---


def pack(folder: Path, archive: Path) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
            for path in reversed(sorted(folder.rglob("*"))):
                z.write(path, path.relative_to(folder.parent))
            z.writestr("__MACOSX/._a.png", b"what a Mac adds")
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as t:
            t.add(folder, folder.name)
    return archive


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("cache", [2**31, 10])
def test_archives_are_read_as_what_they_unpack_to(tmp_path: Path, suffix: str, cache: int) -> None:
    folder = tmp_path / "photos"
    layout(folder, "a/x.png", "b/y.png", "b/deeper/z.png", n=9)
    (folder / "notes.txt").write_text("hello")
    (folder / "a" / "bad.png").write_bytes(b"broken")
    pack(folder, tmp_path / f"photos{suffix}")
    skipped = []
    for split in ("train", "test"):
        spec = f"folder:{tmp_path}/photos"
        there = load_pictures(spec, split, cache_bytes=cache)
        packed = load_pictures(f"{spec}{suffix}", split, cache_bytes=cache)
        assert values(packed) == values(there) and packed.classes == there.classes
        assert torch.equal(packed.labels, there.labels)
        assert {Path(s.split(":")[0]).name for s in there.skipped} <= {
            Path(s.split(":")[0]).name for s in packed.skipped
        }
        again = pickle.loads(pickle.dumps(packed))  # as a worker that is spawned gets it
        assert values(again) == values(there)
        skipped += packed.skipped
    assert any(f"photos{suffix}/photos/a/bad.png: skipped" in s for s in skipped)


@pytest.mark.parametrize("kind", ["compressed", "text", "-40.zip", "5130.tar", "3600.tar", "none"])
def test_archives_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    layout(tmp_path / "photos", "a.png", "b.png")
    name = f"photos.{'tar.gz' if kind == 'compressed' else 'tar' if 'tar' in kind else 'zip'}"
    path = pack(tmp_path / "photos", tmp_path / name)
    if kind.endswith((".zip", ".tar")):  # cut there: in a picture, in the head of the second
        path.write_bytes(path.read_bytes()[: int(kind[:-4])])
    if kind == "text":
        path.write_text("no archive")
    if kind == "none":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("a.txt", "hello")
    with pytest.raises(ValueError, match=rf"{name}.*allowed: ") as error:
        load_pictures(f"folder:{path}")
    assert "\n" not in str(error.value)
    assert ("is compressed" in str(error.value)) == (kind == "compressed")
    assert ("whole" in str(error.value)) == (kind != "none")


@pytest.mark.parametrize("cache", [2**31, 10])
def test_folders_are_joined(tmp_path: Path, cache: int) -> None:
    layout(tmp_path / "one", "a/x.png", "b/y.png", n=5)
    layout(tmp_path / "two + more", "c/z.png", n=10)
    save(tmp_path / "two + more" / "c" / "z0.png", 99, size=(9, 9))
    pack(tmp_path / "one", tmp_path / "three.zip")
    one, two, three = (f"folder:{tmp_path / n}" for n in ("one", "two + more", "three.zip"))
    joined = load_pictures(f"{one}+{two}+{three}", cache_bytes=cache)
    apart = [load_pictures(spec) for spec in (one, two, three)]
    assert values(joined) == [v for part in apart for v in values(part)] and 99 in values(joined)
    assert joined.classes == () and joined.labels.tolist() == [-1] * 27
    assert joined.understood.endswith("; joined, without labels")
    assert len(load_pictures(f"{one}+{two}", "test", cache_bytes=cache)) == 2
    with pytest.raises(ValueError, match=r"folders alone \(folder:A\+folder:B\)"):
        load_pictures(f"{one}+photos")
    with pytest.raises(ValueError, match=rf"folder:{tmp_path}/gone is not a folder"):
        load_pictures(f"{one}+folder:{tmp_path}/gone")


def test_unreadable_pictures_do_not_move_the_splits(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / f"{i:02}.png", i)
    (tmp_path / "03.png").write_bytes(b"")
    assert values(load_pictures(f"folder:{tmp_path}", "test")) == [9, 19]


@pytest.mark.parametrize("make", ["missing", "empty", "text only", "broken only", "too few"])
def test_folders_that_give_nothing(tmp_path: Path, make: str) -> None:
    folder, split = tmp_path / "pictures", "train"
    if make != "missing":
        folder.mkdir()
    if make == "text only":
        (folder / "notes.txt").write_text("hello")
    if make == "broken only":
        (folder / "a.jpg").write_bytes(b"no picture")
    if make == "too few":
        save(folder / "a.png")
        split = "test"
    with pytest.raises(ValueError, match="allowed") as error:
        load_pictures(f"folder:{folder}", split)
    assert str(folder) in str(error.value)


def test_what_is_no_picture_is_skipped_by_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / ".thumbnails" / "b.png", 2)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "c.jpg").mkdir()
    (tmp_path / "no suffix").write_bytes((tmp_path / "a.png").read_bytes())
    pictures = load_pictures(f"folder:{tmp_path}")
    assert values(pictures) == [1] and pictures.labels.tolist() == [-1]
    assert len(pictures.skipped) == 4
    for name in ("notes.txt", ".thumbnails", "no suffix", "c.jpg"):
        assert sum(name in sentence for sentence in pictures.skipped) == 1


def test_circles_of_links_end(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", 1)
    save(tmp_path / "elsewhere" / "2.png", 2)
    home = tmp_path / "a"
    (home / "round").symlink_to(home)
    (home / "up").symlink_to(tmp_path / "a" / "round")
    (home / "away").symlink_to(tmp_path / "elsewhere")
    (home / "broken.png").symlink_to(home / "gone.png")
    pictures = load_pictures(f"folder:{home}")
    assert sorted(values(pictures)) == [1, 2]  # each once, links followed
    assert len(pictures.skipped) == 1 and "broken.png" in pictures.skipped[0]


# --- memory, files, batches ---


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    for i in range(9):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", 10 + i, size=(4 + i, 12 - i))
    return tmp_path


def test_files_on_each_access_are_the_same_as_in_memory(mixed: Path) -> None:
    held = load_pictures(f"folder:{mixed}", image_size=8)
    lazy = load_pictures(f"folder:{mixed}", image_size=8, cache_bytes=100)
    assert isinstance(held, ListPictures) and isinstance(lazy, FilePictures)
    assert len(held) == len(lazy) == 9 and held.classes == lazy.classes
    assert torch.equal(held.labels, lazy.labels)
    assert all(torch.equal(held[i], lazy[i]) for i in range(9))
    for a, b in zip(held.pictures([3, 1, 4]), lazy.pictures([3, 1, 4]), strict=True):
        assert torch.equal(a, b)
    part = lazy.subset([2, 0])
    assert isinstance(part, FilePictures) and torch.equal(part[1], held[0])


def test_one_size_goes_into_one_tensor(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"{i}.png", i)
    pictures = load_pictures(f"folder:{tmp_path}")
    assert isinstance(pictures, TensorPictures) and pictures.images.shape == (5, 3, 4, 6)
    assert [int(x[0, 0, 0]) for x in pictures.pictures([4, 0])] == [4, 0]
    part = pictures.subset(torch.tensor([3, 1]))
    assert values(part) == [3, 1]


def test_unreadable_files_are_left_out_or_replaced(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / "ab"[i // 3] / f"{i}.png", i)
    (tmp_path / "a" / "2.png").write_bytes(b"broken")
    held = load_pictures(f"folder:{tmp_path}")
    assert values(held) == [0, 1, 3, 4] and held.labels.tolist() == [0, 0, 1, 1]
    assert len(held.skipped) == 1 and "2.png" in held.skipped[0]
    lazy = load_pictures(f"folder:{tmp_path}", cache_bytes=10)
    assert isinstance(lazy, FilePictures) and len(lazy) == 5 and not lazy.skipped
    for _ in range(2):  # told once, however often it is asked for
        assert int(lazy[2][0, 0, 0]) == 3
        assert [int(x[0, 0, 0]) for x in lazy.pictures([2, 0])] == [3, 0]
    assert len(lazy.skipped) == 1 and "2.png" in lazy.skipped[0]
    assert lazy.labels.tolist() == [0, 0, 1, 1, 1]  # the label of the picture that is shown


@pytest.mark.parametrize("cache", [2**31, 10])
def test_pictures_that_use_little_of_their_range_are_noted(tmp_path: Path, cache: int) -> None:
    for i, most in enumerate((4095, 65535, 6000, 7000)):  # a tenth is 6554
        Image.fromarray(np.array([[0, most]], np.uint16)).save(tmp_path / f"{i}.png")
    for value_range, dark in ((None, ["0.png", "2.png"]), ((0, 4095), [])):
        pictures = load_pictures(f"folder:{tmp_path}", cache_bytes=cache, value_range=value_range)
        for _ in range(2):
            pictures.pictures(range(4))
        assert [Path(s.split(":")[0]).name for s in pictures.notes] == dark
        assert all("data.value_range = [0, 4095]" in s for s in pictures.notes)
        assert not pictures.skipped


def test_a_misleading_probe_still_ends_within_memory(tmp_path: Path) -> None:
    """Of 1100 files one in 17 is probed; those have one pixel, the others 400."""
    paths = [tmp_path / f"{i:04}.png" for i in range(1100)]
    for i, path in enumerate(paths):
        save(path, i % 250, size=(1, 1) if i % 17 == 0 else (20, 20))
    paths[1].write_bytes(b"")
    labels, skipped = torch.arange(1100), ["before"]
    pictures = load_files(paths, labels, (), skipped, cache_bytes=500_000)
    assert isinstance(pictures, FilePictures) and len(pictures) == 1099
    assert len(pictures.skipped) == 2 and "0001.png" in pictures.skipped[1]
    assert pictures.labels.tolist() == [0, *range(2, 1100)]
    assert values(pictures.subset([0, 1, 1098])) == [0, 2, 1099 % 250]


def test_index_out_of_range(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", size=(9, 9))
    for cache in (2**31, 10):
        pictures = load_pictures(f"folder:{tmp_path}", cache_bytes=cache)
        assert torch.equal(pictures[-1], pictures[1])
        with pytest.raises(IndexError):
            pictures[2]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).long()),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long()),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long()),
    ],
)
def test_wrong_tensors_are_refused(images: Tensor, labels: Tensor) -> None:
    with pytest.raises(Exception, match=r"images|labels"):
        TensorPictures(images, labels, ("a",))


def test_sets_of_one_size_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "WINDOW_COUNT_AND_SEED", {"test": (60, 1)})
    monkeypatch.setattr(scenes_module, "SCENE_COUNT_AND_SEED", {"test": (70, 1)})
    joined = load_pictures("windows+scenes", "test", 32)
    windows, scenes = (load_pictures(name, "test", 32) for name in ("windows", "scenes"))
    assert len(joined) == len(windows) + len(scenes) and joined.classes == ()
    assert (joined.labels == -1).all()
    assert torch.equal(joined[len(windows)], scenes[0])
    with pytest.raises(ValueError, match="different sizes"):
        load_pictures("windows+scenes", "test")  # 32 and 64 pixels
    with pytest.raises(ValueError, match="different sizes"):
        load_pictures("windows+photos", "test", 32)


def test_a_folder_of_one_size_joins_made_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photographs, "WINDOW_COUNT_AND_SEED", FEW)
    save(tmp_path / "a.png", 7, size=(32, 32))
    (tmp_path / "bad.png").write_bytes(b"broken")
    for spec in (f"folder:{tmp_path}+windows", f"windows+folder:{tmp_path}"):
        joined = load_pictures(spec)
        assert len(joined) == 81 and joined.understood == "81 train, no labels"
        assert len(joined.skipped) == len(joined.notes) == 1
