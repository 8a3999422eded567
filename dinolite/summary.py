"""What a run has come to: a table of figures, each beside raw pixels and an untrained net, and a
report with pictures. The untrained net is the same backbone as it was at iteration 0.

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
from dinolite.data.datasets import load_pictures
from dinolite.data.samplers import seed_of
from dinolite.data.scenes import make_scenes
from dinolite.distributed import pick_device
from dinolite.eval.features import extract_features, extract_patches, pixel_patches
from dinolite.eval.knn import best_pixel_knn, knn_accuracy
from dinolite.eval.linear import ridge_probe
from dinolite.eval.online import evaluation_pictures, evaluation_side
from dinolite.eval.segmentation import segmentation_probe
from dinolite.models.pretrained import load
from dinolite.models.sizes import build_backbone
from dinolite.train.run_folder import CONFIG, TEACHER
from dinolite.train.state import INIT

SCENES = (800, 400)  # pictures for fitting and for testing the segmentation probe
GRID = 16  # patches per side of a scene, whatever the patch size


@dataclass
class Row:
    """One line of the table; percent, or None where it does not apply."""

    what: str
    pixels: float | None
    untrained: float
    trained: float


def open_finished(folder: Path) -> tuple[Config, nn.Module, nn.Module]:
    """Settings, untrained backbone and teacher of a finished run, on the run's device."""
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    if not (folder / TEACHER).is_file():
        raise CheckpointError(
            f"{folder} has no {TEACHER}: its run is not finished; the same `dinolite train` command "
            "with the same --out continues it"
        )
    config = load_config(folder / CONFIG)
    device = pick_device(config.train.device)
    torch.manual_seed(seed_of(config.train.seed, INIT))
    untrained = build_backbone(config.student, teacher=True).eval()
    return config, untrained.to(device), load(folder / TEACHER).to(device)


def evaluate_run(folder: Path) -> list[Row]:
    """k-NN and linear probe where there are labels; patch segmentation of the scenes always.

    Also written to `evaluation.json` in the folder.
    """
    config, untrained, trained = open_finished(folder)
    rows = [*classification(config, untrained, trained), *segmentation(config, untrained, trained)]
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (folder / "evaluation.json").write_text(text, "utf8")
    return rows


def classification(config: Config, untrained: nn.Module, trained: nn.Module) -> list[Row]:
    pictures = evaluation_pictures(config)
    if pictures is None:
        return []
    labels = [p.labels for p in pictures]
    k, side = config.evaluation.knn_k, evaluation_side(config, pictures[0])
    how: dict[str, Any] = {"size": side, **normalisation(config)}
    figures = []
    for net in (untrained, trained):
        bank, queries = (extract_features(net, p, **how) for p in pictures)
        near = knn_accuracy(bank.cls, labels[0], queries.cls, labels[1], ks=(k,))[k]
        both = [torch.cat([f.cls, f.patch_mean], 1) for f in (bank, queries)]
        figures.append((near, ridge_probe(both[0], labels[0], both[1], labels[1]).accuracy))
    pixels = best_pixel_knn(*pictures, k=k)
    name = f"{len(pictures[0])} -> {len(pictures[1])} pictures, {len(pictures[0].classes)} classes"
    return [
        Row(f"k-NN, {name}", 100 * pixels, 100 * figures[0][0], 100 * figures[1][0]),
        Row("linear probe (ridge)", None, 100 * figures[0][1], 100 * figures[1][1]),
    ]


def segmentation(config: Config, untrained: nn.Module, trained: nn.Module) -> list[Row]:
    patch = config.student.patch_size
    train, test = (make_scenes(n, seed, GRID * patch) for n, seed in zip(SCENES, (11, 12)))
    how = normalisation(config)

    def score(features: tuple[Tensor, Tensor]) -> float:
        return segmentation_probe(features[0], train.masks, features[1], test.masks).miou

    nets = [
        score((extract_patches(net, train.images, **how), extract_patches(net, test.images, **how)))
        for net in (untrained, trained)
    ]
    pixels = score((pixel_patches(train.images, patch), pixel_patches(test.images, patch)))
    what = "patch segmentation of scenes, mIoU"
    return [Row(what, 100 * pixels, 100 * nets[0], 100 * nets[1])]


def normalisation(config: Config) -> dict[str, Any]:
    return {"mean": config.crops.rgb_mean, "std": config.crops.rgb_std}


def print_table(rows: list[Row]) -> None:
    """The rows on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table("percent", "best of raw pixels", "untrained", "trained")
    for row in rows:
        numbers = (row.pixels, row.untrained, row.trained)
        table.add_row(row.what, *("-" if x is None else f"{x:.1f}" for x in numbers))
    Console().print(table)
