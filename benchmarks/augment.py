"""Making crops: one batch as tensors, as dinolite does it, beside torchvision picture by picture,
as the official code does it; the same crops, the same probabilities.

    python -m benchmarks.augment [--batch 64] [--rounds 9]
"""

from __future__ import annotations

import torch

from benchmarks.record import Table, device, print_table, start
from benchmarks.timing import alternate
from dinolite.config import CropsConfig
from dinolite.data.augmentations import DataAugmentationDINO
from dinolite.data.batched_augmentations import BatchedAugmentation
from dinolite.data.scenes import make_scenes

# picture side, global crops, local crops (pixels)
SIZES = ((32, 24, 12), (96, 64, 24), (256, 224, 96))
LOCALS = 8


def measure(batch: int = 64, rounds: int = 9) -> Table:
    """Milliseconds for all crops of one picture, and how many times faster the batch is."""
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
                "per picture": lambda x=pictures, f=one_by_one: [f(p) for p in x],
            },
            rounds,
            warm_up=1,
        )
        ms = {name: 1e3 * t.median / batch for name, t in timings.items()}
        rows.append(
            [
                f"{side} -> 2 x {large} + {LOCALS} x {small}",
                ms["batched"],
                ms["per picture"],
                ms["per picture"] / ms["batched"],
            ]
        )
    columns = ["pixels", "batched, ms a picture", "torchvision, ms a picture", "times faster"]
    return Table("augment", f"batch {batch}, official probabilities", columns, rows)


def main(batch: int = 64, rounds: int = 9) -> None:
    print_table(measure(batch, rounds))


if __name__ == "__main__":
    start(main)
