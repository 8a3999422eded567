"""Do patch features decay when the global loss pulls at them, and does Gram anchoring hold them?
On purpose: from a good early backbone on, a second global loss asks every patch for the answer of
its whole picture. Half way the run is copied, and goes on in three ways with the same crops:
without Gram loss, with it, and with it on crops of twice the size for the Gram teacher. Before
that, the snapshots of a run that nobody spoiled, also by segmentation without labels.

    python -m benchmarks.gram [SEEDS]     0: only the run that nobody spoiled

DINOv3 Sec. 4.2, 4.3; what came out is in docs/gram.md.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from types import MethodType
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from benchmarks.record import Table, print_table, start
from dinolite.config import Config, load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.demo_pictures.photographs import CLASSES, make_windows
from dinolite.data.loaders import ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.eval.features import extract_features, extract_patches, preprocess
from dinolite.eval.knn import knn_accuracy
from dinolite.eval.segmentation import patch_labels, segmentation_probe
from dinolite.models.pretrained import load
from dinolite.train.ssl_meta_arch import SSLMetaArch, StudentOutput, TeacherOutput
from dinolite.train.train import TrainState, make_state, train_step
from dinolite_course.measures.collages import (
    auc_at_same_distance,
    make_collages,
    make_uneven_collages,
    miou_without_labels,
    patch_similarity_auc,
)

EARLY = "dinolite_tiny_step02000"
PULL, GRAM, BEFORE, AFTER = 4.0, 10.0, 100, 100  # weights, steps
CPU = torch.device("cpu")
HOW: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
COLUMNS = ["seed", "run", "steps", "k-NN", "AUC", "same distance", "mIoU", "to CLS", "to others"]
STEPS = (500, 1000, 2000, 6000)  # of the snapshots
GROUPED = 200  # collages for segmentation without labels


def settings(seed: int) -> Config:
    """The recipe `tiny`, smaller, without iBOT and without holes, at a constant rate."""
    n = BEFORE + AFTER
    return load_config(
        "tiny",
        {
            "student.resume_from_teacher_chkpt": EARLY,
            "ibot.loss_weight": 0.0,
            "ibot.mask_sample_probability": 0.0,
            "gram.use_loss": True,
            "gram.img_level": True,
            "gram.ckpt": EARLY,
            "gram.rep_update": False,
            "gram.loss_weight": GRAM,
            "crops.gram_teacher_crops_size": 128,
            "crops.local_crops_number": 2,
            "optim.lr": {"kind": "warmup_cosine", "peak": 2e-3, "warmup": 20},
            "teacher.momentum": {"peak": 0.95},
            "train.iterations": n,
            "train.batch_size_per_gpu": 16,
            "train.seed": seed,
            "train.device": "cpu",
        },
    )


def pull(model: SSLMetaArch, weight: float) -> None:
    """Add a loss: each patch of the student is to give the teacher's answer for the picture."""

    def compute_losses(
        self: SSLMetaArch,
        teacher: TeacherOutput,
        student: StudentOutput,
        batch: SSLBatch,
        gram: Tensor | None = None,
    ) -> dict[str, Tensor]:
        losses = SSLMetaArch.compute_losses(self, teacher, student, batch, gram)
        scores = self.student["dino_head"](student.patch_pre_head) / 0.1  # [2B, N, K]
        wanted = teacher.cls_centered.flatten(0, 1)[:, None]  # [2B, 1, K]
        losses["pull_loss"] = -(wanted * scores.log_softmax(dim=-1)).sum(dim=-1).mean()
        return losses

    def combine(self: SSLMetaArch, losses: dict[str, Tensor], local: float, gram: float) -> Tensor:
        total = SSLMetaArch.combine(self, losses, local, gram)
        return total + weight * losses["pull_loss"]

    model.compute_losses = MethodType(compute_losses, model)  # type: ignore[method-assign]
    model.combine = MethodType(combine, model)  # type: ignore[method-assign]


def branch(state: TrainState, gram: bool) -> TrainState:
    """A copy of a run that goes on with the Gram loss or without."""
    other = copy.deepcopy(state)
    other.schedules.gram = [GRAM if gram else 0.0] * (BEFORE + AFTER)
    return other


class Judge:
    """Measures a backbone on parts of the photographs that training does not touch; percent, and
    mean cosines of a picture's patches with its CLS token and with each other."""

    def __init__(self) -> None:
        self.bank = make_windows(3000, "train", 1, 64)
        self.queries = make_windows(1000, "test", 1_000_002, 64)
        self.sets = []
        for n, split, seed in ((200, "train", 21), (100, "test", 22)):
            images, tiles = make_collages(n, split, seed, 64)
            masks = tiles.repeat_interleave(64, dim=1).repeat_interleave(64, dim=2)
            self.sets.append((images, masks))

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> list[float]:
        bank, queries = (extract_features(net, x[0], **HOW).cls for x in (self.bank, self.queries))
        knn = knn_accuracy(bank, self.bank[1], queries, self.queries[1], ks=(20,))[20]
        (train_x, train_y), (test_x, test_y) = self.sets
        train, test = (extract_patches(net, x, **HOW) for x in (train_x, test_x))
        labels = patch_labels(test_y, (16, 16), len(CLASSES))
        miou = segmentation_probe(train, train_y, test, test_y, len(CLASSES)).miou
        out = net(preprocess(test_x, **HOW), is_training=True)
        patches = F.normalize(out["x_norm_patchtokens"], dim=-1)  # [n, N, D]
        cls = F.normalize(out["x_norm_clstoken"], dim=-1)[:, :, None]
        centred = test - test.mean(dim=(2, 3), keepdim=True)
        shares = (knn, patch_similarity_auc(test, labels), auc_at_same_distance(centred), miou)
        cosines = ((patches @ cls).mean(), (patches @ patches.mT).mean())
        return [100 * s for s in shares] + [float(c) for c in cosines]


def take(state: TrainState, data: TensorPictures, until: int, large: bool = False) -> None:
    """Steps up to `until`; not `large`: the Gram teacher reads the student's own crops."""
    for batch in ssl_batches(data, state.config, CPU, start=state.iteration):
        if state.iteration == until:
            return
        own = dataclasses.replace(batch, gram_teacher_crops=None)
        train_step(state, batch if large else own)


def one_seed(seed: int, judge: Judge, data: TensorPictures) -> Iterator[list[Any]]:
    """The rows of the table."""
    config = settings(seed)
    runs = {True: branch(make_state(config, CPU), gram=False)}
    runs[False] = branch(runs[True], gram=False)
    pull(runs[True].model, PULL)

    def row(name: str, state: TrainState) -> list[Any]:
        return [seed, name, state.iteration, *judge(state.model.teacher["backbone"])]

    yield row("early teacher", runs[True])
    take(runs[True], data, BEFORE)
    yield row("pulled", runs[True])
    ways = {"no Gram": (False, False), "Gram": (True, False), "Gram, larger": (True, True)}
    for name, (gram, large) in ways.items():
        state = branch(runs[True], gram)
        take(state, data, BEFORE + AFTER, large)
        yield row(f"pulled, then {name}", state)
    take(runs[False], data, BEFORE + AFTER)
    yield row("never pulled", runs[False])


def undisturbed() -> Table:
    """k-NN beside segmentation without labels, of collages whose tiles meet in the middle and of
    those that meet anywhere, at steps of the run whose snapshots come with the course; with the
    standard error of the latter."""
    judge = Judge()
    images, tiles = make_collages(GROUPED, "test", 22, 64)
    middle = (images, tiles.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2))
    anywhere = make_uneven_collages(GROUPED, "test", 22, 128, 8)
    columns = ["step", *COLUMNS[3:7], "no labels, middle", "no labels, anywhere", "standard error"]
    rows: list[list[Any]] = []
    for step in STEPS:
        net = load(f"dinolite_tiny_step{step:05d}")
        found = [
            100 * miou_without_labels(extract_patches(net, x, **HOW), y)
            for x, y in (middle, anywhere)
        ]
        error = float(found[1].std() / GROUPED**0.5)
        rows.append([step, *judge(net)[:4], *(float(x.mean()) for x in found), error])
    return Table("a run that nobody spoiled", f"{GROUPED} collages of 128 px", columns, rows)


def measure(seeds: int = 3) -> Table:
    """Every seed has its own heads, crops and order; all begin with the same backbone."""
    judge = Judge()
    data = TensorPictures(*make_windows(4000, "train", 5, 96), CLASSES)
    rows = []
    for seed in range(seeds):
        for row in one_seed(seed, judge, data):
            rows.append(row)
            print(*(f"{x:.3f}" if isinstance(x, float) else x for x in row), flush=True)
    sizes = f"{BEFORE} + {AFTER} steps of 16 pictures, pull {PULL}, Gram {GRAM}, from {EARLY}"
    return Table("gram", sizes, COLUMNS, rows)


def main(seeds: Annotated[int, typer.Argument(help="how many")] = 3) -> None:
    print_table(undisturbed())
    if seeds:
        print_table(measure(seeds))


if __name__ == "__main__":
    start(main)
