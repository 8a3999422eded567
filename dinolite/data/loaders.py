"""From a data set to the batches of a run: which pictures come next, reading them, their crops and
masks. Everything random depends only on the seed, the iteration and the picture's place in the
batch of all processes: a resumed run draws what the uninterrupted one would have drawn, whatever
the number of workers and of processes.

Official `data/loaders.py` and `data/samplers.py`, where a resumed run draws other data.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from typing import Any, TypeGuard

import torch
from jaxtyping import Bool, Int64
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from dinolite.config import CROPS, MASKS, Config, CropsConfig, height_width, seed_of
from dinolite.data.augmentations import Crops, DataAugmentationDINO
from dinolite.data.batched_augmentations import BatchedAugmentation, SharedGenerator
from dinolite.data.datasets import PictureDataset, TensorPictures
from dinolite.data.masking import SSLBatch, draw_masks, mask_positions

MASK_GROUP = 256  # pictures whose masks are drawn together
# Pixels of all crops of a picture; from there on "auto" is per_image on a CPU.
LARGE_CROPS = 100_000
CANVAS_BYTES = 2**26  # of a batch of whole pictures on the device; they are made float, 4 x as many
SOCKET_NAME = 103  # bytes; 107 on Linux, 103 on macOS
READ_AT_ONCE = 8  # pictures that a worker holds


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

    With the batched pipeline crops are made on the device, of pictures that lie there; those of
    different or large sizes are cut by workers, so that memory holds crops and few pictures. With
    the per-image pipeline workers do it all.
    """
    t = config.train
    if len(dataset) < 1:
        raise ValueError(f"data set {config.data.dataset!r} has no pictures to train on")
    process, n, size = (rank, world_size), len(dataset), t.batch_size_per_gpu
    where = {"rank": rank, "world_size": world_size, "start": start, "stop": t.iterations}
    sampler = InfiniteBatchSampler(n, size, seed=t.seed, **where)
    for iteration, crops in crops_of_iterations(dataset, sampler, config, device, process):
        yield make_batch(config, crops, iteration, process).to(device)


def crops_of_iterations(
    dataset: PictureDataset,
    sampler: InfiniteBatchSampler,
    config: Config,
    device: torch.device,
    process: tuple[int, int],
) -> Iterator[tuple[int, Crops]]:
    """(iteration, crops) from whichever pipeline it is."""
    batch_size = config.train.batch_size_per_gpu
    per_image = pipeline_of(config.crops, device) == "per_image"
    augment = BatchedAugmentation(config.crops, config.student.patch_size)

    def draws(iteration: int) -> SharedGenerator:
        seed = seed_of(config.train.seed, 0, iteration, CROPS)
        return SharedGenerator(seed, batch_size, *process)

    if not per_image and fits_canvas(dataset, batch_size):
        images = dataset.images.to(device)
        sizes = torch.tensor(images.shape[-2:]).expand(batch_size, 2)
        for iteration in range(sampler.start, config.train.iterations):
            indices = sampler.indices(iteration).to(device, non_blocking=True)
            canvas = images.index_select(0, indices)
            yield iteration, augment(canvas, sizes, draws(iteration))
        return
    workers = ReadAndCut(dataset, config, process, per_image)
    how: Any = {"num_workers": config.train.num_workers, "pin_memory": device.type == "cuda"}
    for iteration, crops in DataLoader(workers, batch_size=None, sampler=sampler, **how):
        if not per_image:
            cuts = {name: x.to(device, non_blocking=True) / 255 for name, x in crops.items()}
            crops = augment.distort(cuts.__getitem__, batch_size, draws(iteration))
        yield iteration, crops


def check_workers(number: int) -> None:
    """Can loader workers hand over what they made? They meet at sockets in the temporary folder;
    where a name does not fit, they say so nowhere and wait for ever.

    Raises:
        ValueError: the path of that folder is too long.
    """
    folder, most = tempfile.gettempdir(), SOCKET_NAME - len("/pymp-12345678/listener-12345678")
    if number > 0 and os.name == "posix" and len(os.fsencode(folder)) > most:
        raise ValueError(
            f"train.num_workers = {number} needs a temporary folder whose path has at most {most} "
            f"bytes: set TMPDIR (now {folder}), or train.num_workers=0"
        )


def pipeline_of(crops: CropsConfig, device: torch.device) -> str:
    """`crops.pipeline`, where "auto" is the faster one. On a CPU batches of large crops do not fit
    into its caches (measured: `benchmarks/augment.py`); on other devices nothing was measured."""
    if crops.pipeline != "auto":
        return crops.pipeline
    pixels = 2 * math.prod(height_width(crops.global_crops_size))
    pixels += crops.local_crops_number * math.prod(height_width(crops.local_crops_size))
    return "per_image" if device.type == "cpu" and pixels >= LARGE_CROPS else "batched"


def fits_canvas(dataset: PictureDataset, batch_size: int) -> TypeGuard[TensorPictures]:
    """Are the pictures of one size, and small enough to be cut out of a batch of whole ones?"""
    if not isinstance(dataset, TensorPictures):
        return False
    return batch_size * dataset.images[0].numel() <= CANVAS_BYTES


class ReadAndCut(Dataset[Any]):
    """What a worker does with a few pictures at a time: read them and make their crops, or in the
    batched pipeline only cut them out, uint8. Gives the iteration and its crops, crop-major."""

    def __init__(
        self, dataset: PictureDataset, config: Config, process: tuple[int, int], per_image: bool
    ) -> None:
        self.dataset, self.seed, self.process = dataset, config.train.seed, process
        self.augment = DataAugmentationDINO(config.crops, config.student.patch_size)
        self.per_image = per_image

    def crops(self, picture: Tensor) -> Crops:
        if self.per_image:
            return self.augment(picture)
        return {name: torch.stack(self.augment.cut(picture, name)) for name in self.augment.cuts}

    def __getitem__(self, keys: list[tuple[int, int]]) -> tuple[int, Crops]:
        (rank, world_size), iteration = self.process, keys[0][0]
        samples: list[Crops] = []
        with torch.random.fork_rng(devices=[]):
            for first in range(0, len(keys), READ_AT_ONCE):
                few = [index for _, index in keys[first : first + READ_AT_ONCE]]
                for picture in self.dataset.pictures(few):
                    place = len(samples) * world_size + rank  # in the batch of all processes
                    torch.manual_seed(seed_of(self.seed, iteration, CROPS, place))
                    samples.append(self.crops(picture))
        stacked = {name: torch.stack([s[name] for s in samples], dim=1) for name in samples[0]}
        return iteration, {name: x.flatten(0, 1) for name, x in stacked.items()}


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
    t, c, (rank, world_size) = config.train, config.crops, process
    h, w = (side // config.student.patch_size for side in height_width(c.global_crops_size))
    total = t.batch_size_per_gpu * world_size
    groups = n_mask_groups(total)
    places = torch.arange(rank, total, world_size)  # of this process's pictures [B]
    masks = torch.zeros(2, len(places), h * w, dtype=torch.bool)
    for group in (places % groups).unique().tolist():
        generator = generator_of(t.seed, 0, iteration, MASKS, *([group] if groups > 1 else []))
        drawn = draw_masks(2 * total // groups, (h, w), config.ibot, generator)
        here = places % groups == group
        masks[:, here] = drawn.unflatten(0, (2, -1))[:, places[here] // groups]
    return masks.flatten(0, 1)


def n_mask_groups(total: int) -> int:
    """The largest power of two that divides a batch into groups of at least `MASK_GROUP`."""
    groups = 1
    while total % (2 * groups) == 0 and total // (2 * groups) >= MASK_GROUP:
        groups *= 2
    return groups


def generator_of(*numbers: int) -> Generator:
    """A generator on the CPU with that seed."""
    return Generator().manual_seed(seed_of(*numbers))
