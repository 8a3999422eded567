"""Draw the pictures of the README: what the patches of the small weights see, how they came to see
it, and the neighbours from a finished demo run.

    python -m tools.readme_picture runs/demo dinolite_tiny
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.demo_pictures.photographs import photographs
from dinolite.eval.features import as_grey, extract_patches, square
from dinolite.eval.segmentation import pixel_patches
from dinolite.models.pretrained import OWN_WEIGHTS, load, untrained_twin
from dinolite.report import KINDS, class_figures, even_texture, open_finished, stored_rows
from dinolite.viz.film import film_figure
from dinolite.viz.groups import groups_figure, patch_groups
from dinolite.viz.style import png_bytes

TARGETS = Path(__file__).resolve().parents[1] / "data" / "pictures"
THINGS = (
    *("astronaut", "chelsea", "coffee", "motorcycle_left", "coins", "china", "camera", "flower"),
)
"""The bundled photographs of things; the other eight are surfaces, pages, or taken through a
telescope or a microscope."""
GROUPS, PATCHES = 8, 48  # groups, and patches per side of a photograph
FILES = {"hero": (100, 136), "film": (120, 240), "demo_neighbours": (80, 128)}
"""Dots per inch and colours of each file, so that it stays below 400 kB."""


def grey_photographs(patch: int) -> Tensor:
    """The photographs of things, grey, in squares [8, 3, side, side]."""
    side, every = PATCHES * patch, photographs()
    return as_grey(torch.cat([square(every[name], side) for name in THINGS]))


def hero_picture(name: str) -> Figure:
    """Groups of patches of all photographs of things: pixels, untrained, trained."""
    trained = load(name)
    images = grey_photographs(trained.patch_size)
    patches = {KINDS[0]: pixel_patches(images, trained.patch_size)}
    for kind, net in zip(KINDS[1:], (untrained_twin(trained), trained), strict=True):
        patches[kind] = extract_patches(net, images, batch_size=4)
    title = f"{GROUPS} groups of patches over eight photographs, found without any label"
    return groups_figure(images, patches, GROUPS, title, width=14.0)


def film_picture(name: str) -> Figure:
    """Groups, similarity and colours after ever more steps of one run of these weights, of the
    photograph whose groups become most compact."""
    steps = {0: untrained_twin(load(name))}
    for file in sorted(OWN_WEIGHTS.glob(f"{name}_step*.safetensors")):
        steps[int(file.stem[-5:])] = load(file.stem)
    images = grey_photographs(steps[0].patch_size)
    patches = {f"step {i}": extract_patches(n, images, batch_size=4) for i, n in steps.items()}
    first, *_, last = (patch_groups(x, GROUPS) for x in patches.values())
    early, late = borders(first), borders(last)
    shown = int((early - late).argmax())
    title = (
        f"Neighbouring patches in different groups: {100 * early[shown]:.0f} % before the first "
        f"step, {100 * late[shown]:.0f} % after {max(steps)}"
    )
    _, *patch = even_texture(images[shown : shown + 1], steps[0].patch_size)
    return film_figure(images, patches, (patch[0], patch[1]), GROUPS, shown, title)


def borders(groups: Tensor) -> Tensor:
    """For each picture the share of neighbouring patches, beside or below each other, that are in
    different groups."""
    beside = (groups[:, :, 1:] != groups[:, :, :-1]).flatten(1)
    below = (groups[:, 1:] != groups[:, :-1]).flatten(1)
    return torch.cat([beside, below], dim=1).double().mean(dim=1)


def main(folder: str, name: str = "dinolite_tiny") -> None:
    """The pictures of the weights of that name, and of the demo run in the folder."""
    run = open_finished(Path(folder))
    knn = next(row for row in stored_rows(run) if row.what.startswith("k-NN"))
    ((_, nearest),) = class_figures(run, knn)
    drawn = {"hero": hero_picture(name), "film": film_picture(name), "demo_neighbours": nearest}
    for target, (dpi, colors) in FILES.items():
        (TARGETS / f"{target}.png").write_bytes(png_bytes(drawn[target], dpi, colors))


if __name__ == "__main__":
    main(*sys.argv[1:])
