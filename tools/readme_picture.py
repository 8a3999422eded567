"""Draw the README's pictures: the neighbours from a finished demo run, and what the patches of the
small weights see.

    python -m tools.readme_picture runs/demo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from dinolite.config import load_config
from dinolite.data.photographs import photographs
from dinolite.data.samplers import seed_of
from dinolite.eval.features import extract_patches
from dinolite.models.pretrained import OWN_WEIGHTS, load
from dinolite.models.sizes import build_backbone
from dinolite.models.weight_files import read_metadata
from dinolite.show import class_figures, square
from dinolite.summary import open_finished
from dinolite.train.state import INIT
from dinolite.viz.pca import pca_figure
from dinolite.viz.style import save_png

TARGETS = Path(__file__).resolve().parents[1] / "data" / "pictures"
PICTURES = ("chelsea", "coins", "coffee", "camera", "astronaut")
SIDE = 320  # pixels, 40 patches


def patches_picture(name: str = "dinolite_tiny") -> None:
    """PCA of the patch features of photographs, trained and untrained."""
    words, config = read_metadata(OWN_WEIGHTS / f"{name}.safetensors"), load_config("tiny")
    how: dict[str, Any] = {key: tuple(json.loads(words[f"rgb_{key}"])) for key in ("mean", "std")}
    torch.manual_seed(seed_of(config.train.seed, INIT))
    nets = {"untrained": build_backbone(config.student, teacher=True).eval(), "trained": load(name)}
    images = torch.cat([square(photographs()[p], SIDE) for p in PICTURES])
    grey = images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    patches = {which: extract_patches(net, grey, **how) for which, net in nets.items()}
    save_png(pca_figure(grey, patches), TARGETS / "tiny_pca.png", dpi=80)


def main(folder: str) -> None:
    """The nearest neighbours of some test windows, untrained and trained; then the patches."""
    ((_, figure),) = class_figures(open_finished(Path(folder)))
    save_png(figure, TARGETS / "demo_neighbours.png", dpi=80)
    patches_picture()


if __name__ == "__main__":
    main(sys.argv[1])
