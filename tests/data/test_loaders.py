"""Which pictures an iteration gets, what happens to each and what is hidden of it: the same for any
number of processes, and after a resume."""

import itertools
from pathlib import Path

import pytest
import torch
from PIL import Image
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
@pytest.mark.parametrize("more", [(), ("crops.share_color_jitter=true",), ("per_image",)])
def test_batches_are_parts_of_the_whole(world: int, more: tuple[str, ...]) -> None:
    more = ("crops.pipeline=per_image",) if more == ("per_image",) else more
    photos = load_pictures("photos", "train", image_size=64)

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
