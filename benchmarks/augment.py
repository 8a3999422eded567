"""Making crops: one batch as tensors; boxes cut picture by picture and only coloured as a batch, as
for pictures of different sizes; and torchvision picture by picture, as the official code does it.
The same crops, the same probabilities; `LARGE_CROPS` in `data/loaders.py` stands on this table.

    python -m benchmarks.augment [--batch 64] [--rounds 9]
"""

from __future__ import annotations

import time

import torch

from benchmarks.record import Table, device, print_table, start
from benchmarks.timing import alternate
from dinolite.config import CropsConfig
from dinolite.data.augmentations import DataAugmentationDINO
from dinolite.data.batched_augmentations import BatchedAugmentation
from dinolite.data.demo_pictures.scenes import make_scenes

# picture side, global crops, local crops (pixels)
SIZES = ((32, 24, 12), (96, 64, 24), (128, 96, 48), (256, 128, 64), (256, 160, 64), (256, 224, 96))
LOCALS = 8


def measure(batch: int = 64, rounds: int = 9) -> Table:
    """Milliseconds for all crops of one picture, and how many times faster the batch is than
    torchvision."""
    rows, to = [], device()
    for side, large, small in SIZES:
        crops = CropsConfig(
            global_crops_size=large, local_crops_size=small, local_crops_number=LOCALS
        )
        pictures = make_scenes(batch, 0, side).images
        sizes = torch.tensor([side, side]).expand(batch, 2)
        on_device, batched = pictures.to(to), BatchedAugmentation(crops)
        one_by_one = DataAugmentationDINO(crops)
        timings = alternate(
            {
                "batched": lambda x=on_device, s=sizes, f=batched: f(x, s),
                "cut one by one": lambda x=pictures, f=batched, g=one_by_one: cut_apart(x, f, g),
                "per picture": lambda x=pictures, f=one_by_one: [f(p) for p in x],
            },
            rounds,
            warm_up=1,
            clock=time.perf_counter if to.type == "cuda" else time.process_time,
        )
        ms = {name: 1e3 * t.median / batch for name, t in timings.items()}
        rows.append(
            [
                f"{side} -> 2 x {large} + {LOCALS} x {small}",
                *ms.values(),
                ms["per picture"] / ms["batched"],
            ]
        )
    columns = [
        "pixels",
        "batched, ms a picture",
        "cut one by one, ms a picture",
        "torchvision, ms a picture",
        "times faster",
    ]
    return Table(
        "augment", f"batch {batch}, official probabilities, time of the processor", columns, rows
    )


def cut_apart(
    pictures: torch.Tensor, batched: BatchedAugmentation, one_by_one: DataAugmentationDINO
) -> None:
    """As a worker cuts pictures of different sizes, and the colours as a batch on the device."""
    samples = [{k: torch.stack(one_by_one.cut(p, k)) for k in one_by_one.cuts} for p in pictures]
    cuts = {k: torch.stack([s[k] for s in samples], 1).flatten(0, 1) for k in one_by_one.cuts}
    batched.distort({k: x.to(device()) / 255 for k, x in cuts.items()}.__getitem__, len(pictures))


def main(batch: int = 64, rounds: int = 9) -> None:
    print_table(measure(batch, rounds))


if __name__ == "__main__":
    start(main)
