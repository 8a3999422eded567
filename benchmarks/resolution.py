"""What helps a small net to read sizes that it was not trained on? Three trainings that differ in
the positions alone: the box [-1, 1] for every crop; the box, rescaled at random in training; and
places counted in patches from the middle. Each is then shown pictures once, twice and four times
as large as its global crops.

    python -m benchmarks.resolution [SEEDS]

DINOv3 Sec. 3.2 "Updated Model Architecture"; what came out is in docs/resolution.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from benchmarks.record import Table, print_table, start
from dinolite.config import Config, load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.demo_pictures.photographs import CLASSES, make_windows, photographs
from dinolite.data.demo_pictures.scenes import make_mosaics
from dinolite.data.loaders import ssl_batches
from dinolite.eval.features import extract_features, extract_patches, square
from dinolite.eval.knn import knn_accuracy
from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.train.train import TrainState, make_state, train_step
from dinolite_course.measures.collages import auc_at_same_distance, make_collages
from dinolite_course.measures.resolution import agreement

SIDE, GRID, STEPS = 48, 6, 600  # of a global crop: pixels, patches; steps of training
TIMES = (1, 2, 4)
CPU = torch.device("cpu")
HOW: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
COLUMNS = [
    "seed",
    "training",
    "read in",
    "k-NN 1x",
    "2x",
    "2x, bank 1x",
    "found 2x",
    "4x",
    "cosine 2x",
    "4x",
    "AUC 1x",
    "2x",
    "4x",
    "box / 2",
    "box x 2",
]


def settings(seed: int, rescale: float | None) -> Config:
    """The recipe `tiny` with smaller crops, fewer of them, and fewer steps."""
    return load_config(
        "tiny",
        {
            "student.pos_embed_rope_rescale_coords": rescale,
            "crops.global_crops_size": SIDE,
            "crops.local_crops_number": 2,
            "optim.lr": {"kind": "warmup_cosine", "peak": 2e-3, "end": 0.0, "warmup": 40},
            "train.iterations": STEPS,
            "train.batch_size_per_gpu": 24,
            "train.seed": seed,
            "train.device": "cpu",
        },
    )


def in_patches(rope: RopePositionEmbedding, H: int, W: int) -> Tensor:
    """Places [H W, 2] counted from the middle, one patch always as far as in a global crop."""
    rows, columns = ((torch.arange(n) + 0.5 - n / 2) * 2 / GRID for n in (H, W))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def count_in_patches(net: nn.Module, on: bool = True) -> None:
    """Give a backbone these places in place of the box, or the box again."""
    rope = net.rope_embed
    assert isinstance(rope, RopePositionEmbedding)
    coordinates = in_patches if on else RopePositionEmbedding.coordinates
    rope.coordinates = MethodType(coordinates, rope)  # type: ignore[method-assign]
    rope.reset_parameters()  # forgets the tables, too


class Judge:
    """Percent, but for the cosines: k-NN of CLS on windows, places found again, AUC of patches of a
    tile among pairs equally far apart, and how features bear another box."""

    def __init__(self) -> None:
        sides = [SIDE * n for n in TIMES]
        self.banks = [make_windows(2000, "train", 1, side) for side in sides[:2]]
        self.queries = [make_windows(1000, "test", 1_000_002, side) for side in sides[:2]]
        self.collages = [make_collages(60, "test", 22, side // 2)[0] for side in sides]
        grey = [
            torch.cat([square(p, side) for p in photographs().values()]).float().mean(1, True)
            for side in sides
        ]
        self.photos = [x.expand(-1, 3, -1, -1).to(torch.uint8) for x in grey]

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> list[float]:
        banks, queries = (
            [extract_features(net, x, **HOW).cls for x, _ in sets]
            for sets in (self.banks, self.queries)
        )
        bank_y, query_y = self.banks[0][1], self.queries[0][1]
        pairs = [*zip(banks, queries, strict=True), (banks[0], queries[1])]
        knn = [knn_accuracy(b, bank_y, q, query_y, ks=(20,))[20] for b, q in pairs]
        maps = [extract_patches(net, x, **HOW) for x in self.photos]
        again = [agreement(maps[0], larger) for larger in maps[1:]]
        found, cosine = [x.found for x in again], [x.cosine for x in again]
        tiles = [extract_patches(net, x, **HOW) for x in self.collages]
        auc = [auc_at_same_distance(x - x.mean(dim=(2, 3), keepdim=True)) for x in tiles]
        box = [agreement(maps[0], self.other_box(net, s)).cosine for s in (0.5, 2.0)]
        return [*(100 * x for x in [*knn, *found]), *cosine, *(100 * x for x in auc), *box]

    def other_box(self, net: nn.Module, factor: float) -> Tensor:
        """Patches of the smallest photographs with all coordinates times a factor."""
        rope = net.rope_embed
        assert isinstance(rope, RopePositionEmbedding)
        own = rope.coordinates
        rope.coordinates = lambda H, W: factor * own(H, W)  # type: ignore[method-assign]
        rope.reset_parameters()
        patches = extract_patches(net, self.photos[0], **HOW)
        rope.coordinates = own  # type: ignore[method-assign]
        rope.reset_parameters()
        return patches


def take(state: TrainState, data: TensorPictures) -> None:
    for batch in ssl_batches(data, state.config, CPU):
        train_step(state, batch)


def one_seed(seed: int, judge: Judge, data: TensorPictures) -> Iterator[list[Any]]:
    """The rows of the table."""
    for name, rescale in (("box", None), ("box, rescale 2", 2.0), ("patches", None)):
        state = make_state(settings(seed, rescale), CPU)
        teacher = state.model.teacher["backbone"]
        counted = name == "patches"
        if counted:
            for net in (teacher, state.model.student["backbone"]):
                count_in_patches(net)
        if name == "box":
            yield [seed, "untrained", "box", *judge(teacher)]
        take(state, data)
        yield [seed, name, "patches" if counted else "box", *judge(teacher)]
        count_in_patches(teacher, not counted)
        yield [seed, name, "box" if counted else "patches", *judge(teacher)]


def measure(seeds: int = 3) -> Table:
    """Trainings of a seed begin with the same weights."""
    judge = Judge()
    parts = [make_windows(4000, "train", 1, 96)[0], make_mosaics(4000, "train", 3, 96).images]
    images = torch.cat(parts)
    data = TensorPictures(images, torch.zeros(len(images), dtype=torch.int64), CLASSES)
    rows = []
    print(*COLUMNS, sep=" | ", flush=True)
    for seed in range(seeds):
        for row in one_seed(seed, judge, data):
            rows.append(row)
            print(*(f"{x:.3f}" if isinstance(x, float) else x for x in row), sep=" | ", flush=True)
    sizes = f"{STEPS} steps of 24 pictures, global crops of {SIDE} pixels, patches of 8"
    return Table("resolution", sizes, COLUMNS, rows)


def main(seeds: Annotated[int, typer.Argument(help="how many")] = 3) -> None:
    print_table(measure(seeds))


if __name__ == "__main__":
    start(main)
