"""From a data set to the batches of a run: which pictures come next, reading them, their crops and
masks. Everything random depends only on the seed, the iteration and the picture's place in the
batch of all processes: a resumed run draws what the uninterrupted one would have drawn, whatever
the number of workers and of processes.

Official `data/loaders.py` and `data/samplers.py`, where a resumed run draws other data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from dinolite.config import Config
from dinolite.data.augmentations import Crops, DataAugmentationDINO
from dinolite.data.batched_augmentations import BatchedAugmentation, SharedGenerator
from dinolite.data.datasets import PictureDataset, TensorPictures
from dinolite.data.masking import SSLBatch, draw_masks, mask_positions

CROPS, MASKS = 2, 3  # streams of random numbers within an iteration
MASK_GROUP = 256  # pictures whose masks are drawn together


def ssl_batches(
    dataset: PictureDataset,
    config: Config,
    device: torch.device,
    *,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
) -> Iterator[SSLBatch]:
    """The batches of iterations `start`, ..., `train.iterations` - 1, on the device.

    With the batched pipeline workers only read pictures, and crops are made on the device; with the
    per-image pipeline workers do it all.
    """
    t = config.train
    if len(dataset) < 1:
        raise ValueError(f"data set {config.data.dataset!r} has no pictures to train on")
    sampler = InfiniteBatchSampler(
        len(dataset),
        t.batch_size_per_gpu,
        seed=t.seed,
        rank=rank,
        world_size=world_size,
        start=start,
        stop=t.iterations,
    )
    process = (rank, world_size)
    if config.crops.pipeline == "per_image":
        for batch in loader(ReadAndAugment(dataset, config, process), sampler, config, device):
            yield batch.to(device)
        return
    augment = BatchedAugmentation(config.crops)
    for iteration, canvas, sizes in read_canvases(dataset, sampler, config, device):
        canvas = canvas.to(device, non_blocking=True)
        seed = seed_of(t.seed, 0, iteration, CROPS)
        crops = augment(canvas, sizes, SharedGenerator(seed, t.batch_size_per_gpu, *process))
        yield make_batch(config, crops, iteration, process).to(device)


def read_canvases(
    dataset: PictureDataset, sampler: InfiniteBatchSampler, config: Config, device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(iteration, uint8 canvas, sizes); pictures that are one tensor live on the device."""
    if not isinstance(dataset, TensorPictures):
        yield from loader(ReadPictures(dataset), sampler, config, device)
        return
    images = dataset.images.to(device)
    size = torch.tensor(images.shape[-2:])
    for iteration in range(sampler.start, config.train.iterations):
        indices = sampler.indices(iteration).to(device, non_blocking=True)
        yield iteration, images.index_select(0, indices), size.expand(len(indices), 2)


def loader(
    dataset: Dataset[Any], sampler: InfiniteBatchSampler, config: Config, device: torch.device
) -> DataLoader[Any]:
    """A DataLoader whose workers get the indices of a whole batch."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=sampler,
        num_workers=config.train.num_workers,
        pin_memory=device.type == "cuda",
    )


class ReadPictures(Dataset[Any]):
    """What a worker does in the batched pipeline: (iteration, canvas, sizes)."""

    def __init__(self, dataset: PictureDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, keys: list[tuple[int, int]]) -> tuple[int, Tensor, Tensor]:
        canvas, sizes = self.dataset.batch([index for _, index in keys])
        return keys[0][0], canvas, sizes


class ReadAndAugment(Dataset[Any]):
    """What a worker does in the per-image pipeline: read, augment, mask; a batch in the end."""

    def __init__(self, dataset: PictureDataset, config: Config, process: tuple[int, int]) -> None:
        self.dataset, self.config, self.process = dataset, config, process
        self.augment = DataAugmentationDINO(config.crops)

    def __getitem__(self, keys: list[tuple[int, int]]) -> SSLBatch:
        (rank, world_size), iteration = self.process, keys[0][0]
        samples = []
        with torch.random.fork_rng(devices=[]):
            for place, (_, index) in enumerate(keys):
                place = place * world_size + rank  # in the batch of all processes
                torch.manual_seed(seed_of(self.config.train.seed, iteration, CROPS, place))
                samples.append(self.augment(self.dataset[index]))
        stacked = {name: torch.stack([s[name] for s in samples], dim=1) for name in samples[0]}
        crops = {name: x.flatten(0, 1) for name, x in stacked.items()}  # crop-major
        return make_batch(self.config, crops, iteration, self.process)


class InfiniteBatchSampler:
    """Indices [batch_size] for every iteration from `start` on, for one process.

    The passes' permutations stand one after another; iteration i takes the next
    batch_size x world_size of them, and process r every world_size-th from r on.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"{n} pictures and batch size {batch_size}: both must be at least 1")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.start, self.stop = start, stop
        self._pass: tuple[int, Tensor] | None = None

    def permutation(self, number: int) -> Int64[Tensor, "n"]:
        """The order of the pictures in pass `number`."""
        if self._pass is None or self._pass[0] != number:
            order = torch.randperm(self.n, generator=generator_of(self.seed, 1, number))
            self._pass = (number, order)
        return self._pass[1]

    def indices(self, iteration: int) -> Int64[Tensor, "B"]:
        """This process's pictures in an iteration."""
        size = self.batch_size * self.world_size
        position, parts, missing = iteration * size, [], size
        while missing:
            number, offset = divmod(position, self.n)
            part = self.permutation(number)[offset : offset + missing]
            parts.append(part)
            position, missing = position + len(part), missing - len(part)
        return torch.cat(parts)[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches as (iteration, index) pairs, as a DataLoader's batch_sampler."""
        iteration = self.start
        while self.stop is None or iteration < self.stop:
            yield [(iteration, int(i)) for i in self.indices(iteration)]
            iteration += 1


def make_batch(config: Config, crops: Crops, iteration: int, process: tuple[int, int]) -> SSLBatch:
    """Add masks to the crops of `process` = (rank, number of processes)."""
    masks = own_masks(config, iteration, process)
    indices, weight = mask_positions(masks)
    return SSLBatch(masks=masks, mask_indices_list=indices, masks_weight=weight, **crops)


def own_masks(config: Config, iteration: int, process: tuple[int, int]) -> Bool[Tensor, "GB N"]:
    """This process's part of the masks for the batch of all processes; True = hidden.

    A large batch is drawn in groups, picture p in group p mod n, so that the work does not grow
    with the number of processes. The official code draws for each process apart, and so each has
    the same number of masked crops.
    """
    t, (rank, world_size) = config.train, process
    side = config.crops.global_crops_size // config.student.patch_size
    total = t.batch_size_per_gpu * world_size
    groups = n_mask_groups(total)
    places = torch.arange(rank, total, world_size)  # of this process's pictures [B]
    masks = torch.zeros(2, len(places), side * side, dtype=torch.bool)
    for group in (places % groups).unique().tolist():
        generator = generator_of(t.seed, 0, iteration, MASKS, *([group] if groups > 1 else []))
        drawn = draw_masks(2 * total // groups, (side, side), config.ibot, generator)
        here = places % groups == group
        masks[:, here] = drawn.unflatten(0, (2, -1))[:, places[here] // groups]
    return masks.flatten(0, 1)


def n_mask_groups(total: int) -> int:
    """The largest power of two that divides a batch into groups of at least `MASK_GROUP`."""
    groups = 1
    while total % (2 * groups) == 0 and total // (2 * groups) >= MASK_GROUP:
        groups *= 2
    return groups


def seed_of(*numbers: int) -> int:
    """One well-mixed seed from several small numbers (seed, rank, iteration, ...)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def generator_of(*numbers: int) -> Generator:
    """A generator on the CPU with that seed."""
    return Generator().manual_seed(seed_of(*numbers))
