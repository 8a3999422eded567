"""Which pictures an iteration gets, what happens to each and what is hidden of it: the same for any
number of processes, and after a resume."""

import itertools

import pytest
import torch
from torch import Tensor

from dinolite.config import Config, load_config
from dinolite.data import loaders
from dinolite.data.batched_augmentations import SharedGenerator, rand
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import InfiniteBatchSampler, generator_of, seed_of, ssl_batches
from dinolite.data.masking import SSLBatch

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


def joined(parts: list[SSLBatch], name: str) -> Tensor:
    """The processes' crops, as one process would have them: picture b is on process b mod world."""
    per_crop = [getattr(p, name).unflatten(0, (-1, B // len(parts))) for p in parts]
    return torch.stack(per_crop, dim=2).flatten(0, 2)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize(
    ("spec", "more"),
    [
        ("windows", []),  # of one size
        ("windows", ["crops.localcrops_subset_of_globalcrops=true", "crops.local_crops_number=4"]),
        ("photos", []),  # of different sizes
        ("photos", ["crops.share_color_jitter=true"]),
        ("photos", ["crops.pipeline=per_image"]),
    ],
)
def test_batches_are_parts_of_the_whole(world: int, spec: str, more: list[str]) -> None:
    photos = load_pictures(spec, "test", image_size=64 if spec == "photos" else 32)

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
    windows = load_pictures("windows", "test").subset(range(80))
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
    batch = next(ssl_batches(load_pictures("windows", "test"), c, torch.device("cpu")))
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
