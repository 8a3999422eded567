"""From a data set to the batches of a run: read pictures, augment, mask, collate.

With the batched pipeline workers only read pictures (data sets that are one tensor need none), and
crops are made on the training device. With the per-image pipeline workers do it all. Either way
everything random in iteration i depends on the seed, the process and i only. Official
`data/loaders.py`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dinolite.config import Config
from dinolite.data.augmentations import BatchedAugmentation, Crops, DataAugmentationDINO
from dinolite.data.collate import SSLBatch, draw_masks, mask_positions
from dinolite.data.pictures import PictureDataset, TensorPictures
from dinolite.data.samplers import InfiniteBatchSampler, generator_of, seed_of

CROPS, MASKS = 2, 3  # streams of random numbers within an iteration


def make_batch(config: Config, crops: Crops, seed: tuple[int, ...]) -> SSLBatch:
    """Add masks, drawn from `seed`, to the crops."""
    c = config.crops
    side = c.global_crops_size // config.student.patch_size
    generator = generator_of(*seed, MASKS)
    masks = draw_masks(len(crops["global_crops"]), (side, side), config.ibot, generator)
    indices, weight = mask_positions(masks)
    return SSLBatch(masks=masks, mask_indices_list=indices, masks_weight=weight, **crops)


class ReadPictures(Dataset[Any]):
    """What a worker does in the batched pipeline: (iteration, canvas, sizes)."""

    def __init__(self, dataset: PictureDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, keys: list[tuple[int, int]]) -> tuple[int, Tensor, Tensor]:
        canvas, sizes = self.dataset.batch([index for _, index in keys])
        return keys[0][0], canvas, sizes


class ReadAndAugment(Dataset[Any]):
    """What a worker does in the per-image pipeline: a whole SSLBatch."""

    def __init__(self, dataset: PictureDataset, config: Config, rank: int) -> None:
        self.dataset, self.config, self.rank = dataset, config, rank
        self.augment = DataAugmentationDINO(config.crops)

    def __getitem__(self, keys: list[tuple[int, int]]) -> SSLBatch:
        seed = (self.config.train.seed, self.rank, keys[0][0])
        samples = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(*seed, CROPS))
            samples = [self.augment(self.dataset[index]) for _, index in keys]
        crops = {name: torch.stack([s[name] for s in samples], dim=1) for name in samples[0]}
        crops = {name: x.flatten(0, 1) for name, x in crops.items()}  # crop-major
        return make_batch(self.config, crops, seed)


def ssl_batches(
    dataset: PictureDataset,
    config: Config,
    device: torch.device,
    *,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
) -> Iterator[SSLBatch]:
    """The batches of iterations `start`, ..., `train.iterations` - 1, on the device."""
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
    if config.crops.pipeline == "per_image":
        for batch in loader(ReadAndAugment(dataset, config, rank), sampler, config, device):
            yield batch.to(device)
        return
    augment = BatchedAugmentation(config.crops)
    for iteration, canvas, sizes in read_canvases(dataset, sampler, config, device):
        seed = (t.seed, rank, iteration)
        canvas = canvas.to(device, non_blocking=True)
        crops = augment(canvas, sizes, generator_of(*seed, CROPS))
        yield make_batch(config, crops, seed).to(device)


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
        yield iteration, images[indices], size.expand(len(indices), 2)


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
