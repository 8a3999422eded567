"""Draw the pictures of the README: the neighbours from a finished demo run, what the patches of the
small weights see, and how they came to see it.

    python -m tools.readme_picture runs/demo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from dinolite.data.demo_pictures.photographs import photographs
from dinolite.eval.features import extract_patches, square
from dinolite.models.pretrained import OWN_WEIGHTS, load, read_metadata, untrained_twin
from dinolite.report import class_figures, open_finished
from dinolite.viz.pca import pca_figure
from dinolite.viz.style import png_bytes
from dinolite_course.figures.pca import film_figure

TARGETS = Path(__file__).resolve().parents[1] / "data" / "pictures"
PICTURES = ("chelsea", "coins", "coffee", "camera", "astronaut")
SIDE = 320  # pixels, 40 patches
FILM_PICTURES, FILM_SIDE = ("chelsea", "coins", "camera"), 256
FILM_STEPS = (100, 500, 1000, 2000, 6000)


def patches_picture(name: str = "dinolite_tiny") -> None:
    """PCA of the patch features of photographs, trained and untrained."""
    words = read_metadata(OWN_WEIGHTS / f"{name}.safetensors")
    how: dict[str, Any] = {key: tuple(json.loads(words[f"rgb_{key}"])) for key in ("mean", "std")}
    trained = load(name)
    nets = {"untrained": untrained_twin(trained), "trained": trained}
    images = torch.cat([square(photographs()[p], SIDE) for p in PICTURES])
    grey = images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    patches = {which: extract_patches(net, grey, **how) for which, net in nets.items()}
    (TARGETS / "tiny_pca.png").write_bytes(png_bytes(pca_figure(grey, patches), dpi=80))


def film_picture(name: str = "dinolite_tiny") -> None:
    """PCA of three photographs' patches after ever more steps of one run."""
    words = read_metadata(OWN_WEIGHTS / f"{name}.safetensors")
    how: dict[str, Any] = {key: tuple(json.loads(words[f"rgb_{key}"])) for key in ("mean", "std")}
    nets = {"step 0": untrained_twin(load(name))}
    nets |= {f"step {i}": load(f"{name}_step{i:05d}") for i in FILM_STEPS}
    images = torch.cat([square(photographs()[p], FILM_SIDE) for p in FILM_PICTURES])
    grey = images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    patches = {step: extract_patches(net, grey, **how) for step, net in nets.items()}
    (TARGETS / "tiny_film.png").write_bytes(png_bytes(film_figure(grey, patches), dpi=80))


def main(folder: str) -> None:
    """The nearest neighbours of some test windows, untrained and trained; then the patches."""
    film_picture()
    ((_, figure),) = class_figures(open_finished(Path(folder)))
    (TARGETS / "demo_neighbours.png").write_bytes(png_bytes(figure, dpi=80))
    patches_picture()


if __name__ == "__main__":
    main(sys.argv[1])
