"""Which pictures an iteration gets, what happens to each and what is hidden of it: the same for any
number of processes, and after a resume."""

import copy
import functools
import itertools
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from dinolite.config import Config, load_config, seed_of
from dinolite.data import loaders
from dinolite.data.batched_augmentations import SharedGenerator, rand
from dinolite.data.datasets import (
    FilePictures,
    ListPictures,
    PictureDataset,
    TensorPictures,
    load_pictures,
)
from dinolite.data.demo_pictures.photographs import CLASSES, make_windows, photograph_path
from dinolite.data.loaders import (
    InfiniteBatchSampler,
    ReadAndCut,
    check_workers,
    generator_of,
    ssl_batches,
)
from dinolite.data.masking import SSLBatch
from tests.processes import prepare

B = 4  # pictures of all processes together


def config(world: int, *more: str) -> Config:
    changes = [
        f"train.batch_size_per_gpu={B // world}",
        "train.iterations=3",
        "optim.lr.warmup=0",
        "crops.local_crops_number=3",
        "crops.gram_teacher_crops_size=48",
        "dino.koleo_loss_weight=0",
        "crops.saturation=0.2",
        "crops.hue=0.1",
        "crops.grayscale_prob=0.3",
        "crops.solarize_prob=0.5",
        "ibot.mask_random_circular_shift=true",
    ]
    return load_config("demo", [*changes, *more])


@functools.cache
def pictures_of(spec: str) -> PictureDataset:
    if spec == "photos":
        return load_pictures("photos", image_size=64)
    return TensorPictures(*make_windows(100, "test", 1, 32), CLASSES)


def joined(parts: list[SSLBatch], name: str) -> Tensor:
    """The processes' crops, as one process would have them: picture b is on process b mod world."""
    per_crop = [getattr(p, name).unflatten(0, (-1, B // len(parts))) for p in parts]
    return torch.stack(per_crop, dim=2).flatten(0, 2)


DIFFERENT_SIZES = [[], ["crops.share_color_jitter=true"], ["crops.pipeline=per_image"]]


@pytest.mark.parametrize(
    ("world", "spec", "more"),
    [
        (4, "windows", []),  # of one size
        (
            2,
            "windows",
            ["crops.localcrops_subset_of_globalcrops=true", "crops.local_crops_number=4"],
        ),
        *((n, "photos", more) for n in (2, 4) for more in DIFFERENT_SIZES),
    ],
)
def test_batches_are_parts_of_the_whole(world: int, spec: str, more: list[str]) -> None:
    photos = pictures_of(spec)

    def stream(n: int, rank: int) -> list[SSLBatch]:
        who = {"rank": rank, "world_size": n}
        return list(ssl_batches(photos, config(n, *more), torch.device("cpu"), **who))

    whole, parts = stream(1, 0), [stream(world, rank) for rank in range(world)]
    assert not torch.equal(whole[1].masks, whole[2].masks)
    for i, batch in enumerate(whole):
        mine = [p[i] for p in parts]
        assert torch.equal(joined(mine, "masks"), batch.masks)
        # Equal but for the order in which a matrix product of another size adds up.
        for name in ("global_crops", "local_crops", "gram_teacher_crops"):
            assert torch.allclose(joined(mine, name), getattr(batch, name), atol=1e-4), name


def test_cut_by_workers_has_the_statistics_of_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = pictures_of("windows").subset(range(80))
    c = config(1, "train.batch_size_per_gpu=80", "train.iterations=1")
    at_once = next(ssl_batches(windows, c, torch.device("cpu")))
    monkeypatch.setattr(loaders, "CANVAS_BYTES", 0)
    by_workers = next(ssl_batches(windows, c, torch.device("cpu")))
    for name in ("global_crops", "local_crops", "gram_teacher_crops"):
        a, b = getattr(at_once, name), getattr(by_workers, name)
        assert a.shape == b.shape
        assert a.mean().item() == pytest.approx(b.mean().item(), abs=0.08)
        assert a.std().item() == pytest.approx(b.std().item(), rel=0.08)


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [
        ([], "cpu", "batched"),
        (["crops.global_crops_size=224", "crops.local_crops_size=96"], "cpu", "per_image"),
        (["crops.global_crops_size=[224, 192]"], "cpu", "batched"),
        (["crops.global_crops_size=[224, 240]"], "cpu", "per_image"),
        (["crops.global_crops_size=224", "crops.local_crops_size=96"], "cuda", "batched"),
        (["crops.global_crops_size=224", "crops.pipeline=batched"], "cpu", "batched"),
        (["crops.pipeline=per_image"], "cuda", "per_image"),
    ],
)
def test_the_pipeline_that_is_faster_unless_one_is_set(
    changes: list[str], device: str, expected: str
) -> None:
    crops = load_config("demo", changes).crops
    assert loaders.pipeline_of(crops, torch.device(device)) == expected


def test_crops_that_are_not_square() -> None:
    sizes = ["global_crops_size=[24, 16]", "local_crops_size=[8, 12]"]
    c = config(1, "crops.gram_teacher_crops_size=[48, 32]", *(f"crops.{size}" for size in sizes))
    batch = next(ssl_batches(pictures_of("windows"), c, torch.device("cpu")))
    assert batch.global_crops.shape == (2 * B, 3, 24, 16) and batch.masks.shape == (2 * B, 6 * 4)
    assert batch.local_crops.shape == (3 * B, 3, 8, 12)
    assert batch.gram_teacher_crops is not None
    assert batch.gram_teacher_crops.shape == (2 * B, 3, 48, 32)


def test_masks_of_a_large_batch_come_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [loaders.n_mask_groups(n) for n in (32, 511, 512, 768, 4096)] == [1, 1, 2, 2, 16]
    together = loaders.own_masks(config(1), 0, (0, 1))
    monkeypatch.setattr(loaders, "MASK_GROUP", 2)
    whole = loaders.own_masks(config(1), 0, (0, 1))
    assert not torch.equal(whole, together)
    for world in (2, 4):
        parts = [loaders.own_masks(config(world), 0, (r, world)) for r in range(world)]
        per_crop = [p.unflatten(0, (2, -1)) for p in parts]
        assert torch.equal(torch.stack(per_crop, dim=2).flatten(0, 2), whole)
    # Each group of two pictures has its own ladder: half of its four crops are masked.
    assert whole.any(1).unflatten(0, (2, 2, 2)).sum((0, 1)).tolist() == [2, 2]


def test_each_keeps_its_own_rows_of_one_draw() -> None:
    whole = torch.rand(2, 12, 3, generator=torch.Generator().manual_seed(7))  # 2 crops of 6
    parts = [rand(2, 4, 3, generator=SharedGenerator(7, 2, r, 3), dim=1) for r in range(3)]
    for r, part in enumerate(parts):
        assert torch.equal(part, whole[:, [r, r + 3, 6 + r, 6 + r + 3]])
    assert torch.equal(rand(5, generator=torch.Generator().manual_seed(7)), whole.flatten()[:5])


# --- files that turn out to be broken ---


@pytest.mark.parametrize("pipeline", ["batched", "per_image"])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_broken_files_are_recorded_by_whoever_finds_them(
    tmp_path: Path, pipeline: str, workers: int
) -> None:
    """In a set too large for memory, once each, while the data set of this process knows none."""
    for i in range(12):
        pixels = torch.randint(256, (16, 16, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    for i in (3, 4, 7):
        (tmp_path / f"{i:02}.png").write_bytes(b"broken")
    data = load_pictures(f"folder:{tmp_path}", cache_bytes=10)
    data.record = tmp_path / "skipped.txt"
    settings = config(1, f"crops.pipeline={pipeline}", f"train.num_workers={workers}")
    for batch in ssl_batches(data, settings, torch.device("cpu")):  # 12 of 11: each is drawn
        assert len(batch.global_crops) == 2 * B
    lines = data.record.read_text().splitlines()
    assert sorted(line.split(":")[0][-6:] for line in lines) == ["03.png", "04.png", "07.png"]
    assert len(data.skipped) == (0 if workers else 3)


# --- which pictures an iteration gets ---


def test_a_pass_has_every_picture_once() -> None:
    sampler = InfiniteBatchSampler(10, 4, seed=3)
    stream = torch.cat([sampler.indices(i) for i in range(10)])  # four passes
    for k in range(4):
        assert sorted(stream[10 * k : 10 * k + 10].tolist()) == list(range(10))
    assert stream[:10].tolist() != stream[10:20].tolist()


def test_batch_larger_than_the_set() -> None:
    indices = InfiniteBatchSampler(3, 7).indices(0)
    assert torch.bincount(indices).tolist() in ([2, 2, 3], [2, 3, 2], [3, 2, 2])


def test_processes_share_one_stream() -> None:
    whole = InfiniteBatchSampler(20, 8, seed=1).indices(2)
    parts = [InfiniteBatchSampler(20, 4, seed=1, rank=r, world_size=2).indices(2) for r in (0, 1)]
    assert torch.equal(torch.stack(parts, 1).flatten(), whole)


def test_resume_goes_on() -> None:
    whole = list(itertools.islice(InfiniteBatchSampler(9, 4, seed=5), 12))
    rest = list(InfiniteBatchSampler(9, 4, seed=5, start=7, stop=12))
    assert rest == whole[7:12]


def test_seeds_are_spread() -> None:
    seeds = {seed_of(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    assert torch.equal(
        torch.rand(3, generator=generator_of(1, 2)), torch.rand(3, generator=generator_of(1, 2))
    )


def test_empty() -> None:
    with pytest.raises(ValueError, match="0 pictures"):
        InfiniteBatchSampler(0, 4)


# --- workers that are spawned ---


def many_sizes(n: int) -> ListPictures:
    pixels = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (3, 20 + i % 3, 24), generator=pixels).byte() for i in range(n)]
    return ListPictures(images, torch.zeros(n).long(), ["a"])


def sets() -> dict[str, PictureDataset]:
    """One of each kind."""
    tensor = TensorPictures(torch.zeros(4, 3, 30, 20).byte(), torch.zeros(4).long(), ["a"])
    paths = [photograph_path(name) for name in ("coins", "coffee", "camera", "chelsea")]
    files = FilePictures(paths, torch.zeros(4).long(), ["a"], image_size=32)
    return {"one size": tensor, "many": many_sizes(9).subset([8, 2, 5, 0]), "files": files}


AGAIN: dict[str, Callable[[Any], Any]] = {
    "pickled": lambda x: pickle.loads(pickle.dumps(x)),
    "copied": copy.deepcopy,
}
KINDS_OF_CROPS = [
    (),
    ("crops.share_color_jitter=true", "crops.blur_prob=[1.0,1.0,1.0]"),
    ("crops.gram_teacher_no_distortions=true", "crops.local_crops_size=4"),
]


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("kind", sets())
def test_what_a_worker_gets_can_be_handed_over(kind: str, again: str) -> None:
    data, keys = sets()[kind], [(0, 1), (0, 3)]
    for more in KINDS_OF_CROPS:
        for per_image in (True, False):
            work = ReadAndCut(data, config(2, *more), (1, 2), per_image)
            first, crops = work[keys]
            iteration, copied = AGAIN[again](work)[keys]
            assert first == iteration and crops.keys() == copied.keys()
            assert all(torch.equal(x, copied[name]) for name, x in crops.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "pipeline"),
    [("spawn", "per_image"), ("forkserver", "batched")],
)
def test_workers_that_share_nothing(
    method: str, pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of macOS, of Windows and of Python 3.14; more pictures than files may be open."""
    resource = pytest.importorskip("resource")
    prepare()
    data = many_sizes(200)

    def batches(workers: int) -> list[SSLBatch]:
        c = config(1, f"crops.pipeline={pipeline}", f"train.num_workers={workers}")
        return list(ssl_batches(data, c, torch.device("cpu")))

    alone = batches(0)
    start = functools.partial(loaders.DataLoader, multiprocessing_context=method)
    monkeypatch.setattr(loaders, "DataLoader", start)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").glob("*")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 100, hard))
    try:
        spawned = batches(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for a, b in zip(alone, spawned, strict=True):
        assert all(torch.equal(x, getattr(b, name)) for name, x in vars(a).items())


HAND_OVER = """
import torch
from dinolite.config import load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import check_workers, ssl_batches
from tests.tiny_run import QUICK

check_workers(1)
config = load_config("demo", [*QUICK, "train.num_workers=1"])
data = load_pictures("photos", image_size=64)
print(len(next(ssl_batches(data, config, torch.device("cpu"))).masks))
"""


def test_a_temporary_folder_that_workers_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + 80 * "x")
    check_workers(0)
    with pytest.raises(ValueError, match=r"at most 71 bytes: set TMPDIR \(now /xxx"):
        check_workers(1)


@pytest.mark.slow
def test_workers_hand_over_in_the_longest_one_that_is_accepted() -> None:
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as short:
        longest = Path(short, "x" * (71 - len(f"{short}/")))
        longest.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", HAND_OVER],
            env={**os.environ, "TMPDIR": str(longest)},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.stdout == "8\n", done.stderr
