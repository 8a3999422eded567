"""What a run has come to, as a table of figures, each beside raw pixels and an untrained net: the
same backbone as it was at iteration 0.

DINOv3 Sec. 6 for the kinds of evaluation; the official `eval/` has one program for each.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dinolite.checkpointer import CheckpointError
from dinolite.config import Config, load_config
from dinolite.data.samplers import seed_of
from dinolite.data.scenes import make_scenes
from dinolite.distributed import pick_device
from dinolite.eval.features import extract_features, extract_patches, pixel_features
from dinolite.eval.knn import best_pixel_knn, knn_accuracy
from dinolite.eval.linear import ridge_probe
from dinolite.eval.online import evaluation_pictures, evaluation_side
from dinolite.eval.segmentation import confusion_matrix, miou, pixel_patches, segmentation_probe
from dinolite.files import write_text
from dinolite.models.pretrained import load
from dinolite.models.sizes import build_backbone
from dinolite.train.run_folder import CONFIG, TEACHER, origin
from dinolite.train.state import INIT

HEAD = ("percent", "raw pixels", "untrained", "trained")
EVALUATION = "evaluation.json"
SCENES = ((1600, 11), (800, 12))  # number x patch size, and seed, for fitting and for testing
SCENE_GRID = 16  # patches per side of a scene, whatever the patch size
PIXEL_SIDE = 16  # pictures are scaled to this many pixels for the linear probe on raw pixels


@dataclass
class Row:
    """One line of the table, in percent. Of several ways to use raw pixels the best counts."""

    what: str
    pixels: float
    untrained: float
    trained: float

    def words(self) -> list[str]:
        """The cells of the line."""
        return [self.what, *(f"{x:.1f}" for x in (self.pixels, self.untrained, self.trained))]


@dataclass
class FinishedRun:
    """A run's settings, its backbone as it was at iteration 0, and its teacher."""

    folder: Path
    config: Config
    untrained: nn.Module
    trained: nn.Module

    @property
    def normalisation(self) -> dict[str, Any]:
        """The colour statistics the nets were trained with: `mean` and `std`."""
        return {"mean": self.config.crops.rgb_mean, "std": self.config.crops.rgb_std}


def open_finished(folder: Path, device: str | None = None) -> FinishedRun:
    """Read a finished run, onto the device of its settings or another.

    Raises:
        CheckpointError: the folder holds no run, or one that has not come to its end.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    if not (folder / TEACHER).is_file():
        raise CheckpointError(
            f"{folder} has no {TEACHER}: its run is not finished; the same `dinolite train` "
            "command with the same --out continues it"
        )
    config = load_config(folder / CONFIG)
    where = pick_device(device or config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    untrained = build_backbone(config.student, teacher=True).eval()
    return FinishedRun(folder, config, untrained.to(where), load(folder / TEACHER).to(where))


def evaluate_run(run: FinishedRun, dataset: str | None = None) -> list[Row]:
    """k-NN and linear probe where there are labels; patch segmentation of the scenes always.

    Args:
        dataset: labelled pictures to classify, instead of those of the run's settings; only
            without it the rows are kept in `evaluation.json` in the run's folder.
    """
    config = run.config
    if dataset is not None:
        changed = config.evaluation.model_copy(update={"dataset": dataset})
        config = config.model_copy(update={"evaluation": changed})
    rows = [*classification(run, config), segmentation(run)]
    if dataset is None:
        text = {"rows": [asdict(row) for row in rows], **origin(run.config)}
        write_text(run.folder / EVALUATION, json.dumps(text, indent=1))
    return rows


def stored_rows(run: FinishedRun) -> list[Row]:
    """The rows of an earlier evaluation; evaluates now if there was none."""
    path = run.folder / EVALUATION
    if not path.is_file():
        return evaluate_run(run)
    try:
        return [Row(**row) for row in json.loads(path.read_text("utf8"))["rows"]]
    except (ValueError, KeyError, TypeError):  # damaged, or of an earlier version
        return evaluate_run(run)


def classification(run: FinishedRun, config: Config) -> list[Row]:
    """Which class is a picture of? Nothing if there are no labels."""
    pictures = evaluation_pictures(config)
    if pictures is None:
        return []
    train_y, test_y = (p.labels for p in pictures)
    k, side = config.evaluation.knn_k, evaluation_side(config, pictures[0])
    near, probe = [], []
    for net in (run.untrained, run.trained):
        bank, queries = (extract_features(net, p, size=side, **run.normalisation) for p in pictures)
        device = bank.cls.device
        labels = train_y.to(device), test_y.to(device)
        near.append(knn_accuracy(bank.cls, labels[0], queries.cls, labels[1], ks=(k,))[k])
        known = labels[0] >= 0
        fitted = ridge_probe(bank.joined()[known], labels[0][known])
        probe.append(fitted.accuracy(queries.joined(), labels[1]))
    pixels = best_pixel_knn(pictures[0], train_y, pictures[1], test_y, ks=(k,)).accuracy
    small = [pixel_features(p, PIXEL_SIDE) for p in pictures]
    of_pixels = ridge_probe(small[0][train_y >= 0], train_y[train_y >= 0])
    counts = f"{len(train_y)} -> {len(test_y)} pictures, {len(pictures[0].classes)} classes"
    return [
        Row(f"k-NN of the CLS token, {counts}", *percent(pixels, *near)),
        Row(
            "linear probe (CLS + mean patch)",
            *percent(of_pixels.accuracy(small[1], test_y), *probe),
        ),
    ]


def segmentation(run: FinishedRun) -> Row:
    """Which object does a patch of a scene show? mIoU of a linear probe."""
    patch = run.config.student.patch_size
    # Larger patches mean larger nets and scenes: fewer of them, so that it takes minutes at most.
    train, test = (make_scenes(max(n // patch, 8), s, SCENE_GRID * patch) for n, s in SCENES)

    def score(features: tuple[Tensor, Tensor]) -> float:
        return segmentation_probe(features[0], train.masks, features[1], test.masks).miou

    def read(net: nn.Module, images: Tensor) -> Tensor:
        return extract_patches(net, images, **run.normalisation).cpu()

    pixels = max(
        score((pixel_patches(train.images, patch, wide), pixel_patches(test.images, patch, wide)))
        for wide in (False, True)
    )
    nets = [
        score((read(net, train.images), read(net, test.images)))
        for net in (run.untrained, run.trained)
    ]
    # Every class weighs alike in the probes, so a weak one can do worse than this.
    n_classes = int(test.masks.max()) + 1
    nothing = miou(confusion_matrix(torch.zeros_like(test.masks), test.masks, n_classes))
    what = f"linear segmentation of scenes, mIoU (all background: {100 * nothing:.1f})"
    return Row(what, *percent(pixels, *nets))


def percent(*shares: float) -> list[float]:
    return [100 * share for share in shares]


def print_table(rows: list[Row]) -> None:
    """The rows on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(HEAD[0])
    for name in HEAD[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row.words())
    Console().print(table)
