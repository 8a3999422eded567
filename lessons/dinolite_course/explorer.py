"""The explorer in a notebook: move a patch with two sliders, see what is like it, in this and in
other pictures, to raw pixels, to the net untrained and trained; or load a picture.

DINOv3 Fig. 3; the same as a page of its own, where one points at the patch: `dinolite explore`.
"""

from __future__ import annotations

from typing import Any, get_args

import ipywidgets as widgets
import torch
from jaxtyping import UInt8
from torch import Tensor

from dinolite.explore.gallery import (
    GRID,
    UPLOADS,
    Gallery,
    Question,
    Source,
    View,
    open_sources,
)
from dinolite.viz.style import laid_over, smooth
from dinolite_course.figures.explorers import Explorer, explore
from dinolite_course.figures.overlays import ASKED, FOUND, frame, mosaic_png

SIDE = 384  # pixels
VIEWS: tuple[View, ...] = get_args(View)
MEAN, END = "mean", "end"


def patch_explorer(
    pictures: dict[str, UInt8[Tensor, "3 _ _"]],
    sources: dict[str, Source] | None = None,
    side: int = SIDE,
    width: int = 900,
) -> Explorer:
    """Controls over rows of pictures: as they are; then as raw pixels, a net untrained, trained.

    Blue frame: the chosen patch; white: the most like it in each picture, to the last source.
    An own picture may be loaded: at most 8 MB, kept in memory only.

    Args:
        sources: weights by name; None = `open_sources(["dinolite_tiny"])`.
        side, width: pixels of the squares that pictures are scaled to, and of what is drawn.

    Raises:
        ValueError: no pictures, or a patch size that does not divide `side`.
    """
    gallery = Gallery(sources or open_sources(["dinolite_tiny"]), pictures, side)
    shown = gallery.sources.values()
    depth, heads = max(one.layers for one in shown), max(one.heads for one in shown)
    steps = sorted({step for one in shown for step in one.steps})
    down, across = gallery.start(next(iter(pictures)))
    seen: set[tuple[str, int]] = set()

    def view(upload: Any, **chosen: Any) -> bytes:
        take_upload(gallery, upload, seen)
        return mosaic_png(*draw(gallery, question_of(gallery, **chosen)), width)

    return explore(
        view,
        view=list(VIEWS),
        picture=(0, len(pictures) + UPLOADS - 1, 1, 0),
        row=(0, GRID - 1, 1, int(down * GRID)),
        column=(0, GRID - 1, 1, int(across * GRID)),
        layer=(1, depth, 1, depth),
        step=[END, *map(str, steps)],
        head=[MEAN, *map(str, range(heads))],
        upload=widgets.FileUpload(accept="image/*", multiple=False, description="own picture"),
    )


def take_upload(gallery: Gallery, upload: Any, seen: set[tuple[str, int]]) -> None:
    """Take what the upload control holds, once."""
    for file in upload:
        name, data = str(file["name"]), bytes(file["content"])
        if (name, len(data)) not in seen:
            gallery.upload(data, name)
            seen.add((name, len(data)))


def question_of(
    gallery: Gallery,
    view: View,
    picture: int,
    row: int,
    column: int,
    layer: int,
    step: str,
    head: str,
) -> Question:
    """What the controls ask. Their `layer` counts from 1."""
    return Question(
        weights=gallery.first,
        view=view,
        picture=min(picture, len(gallery.pictures) - 1),
        down=row / GRID,
        across=column / GRID,
        layer=layer - 1,
        step=None if step == END else int(step),
        head=None if head == MEAN or view != "attention" else int(head),
    )


def draw(gallery: Gallery, question: Question) -> tuple[list[list[Tensor]], list[str]]:
    """The rows of the explorer and their names; one scale for all."""
    answers = {}
    for name, source in gallery.sources.items():
        if question.view == "attention" and not source.heads:
            continue
        own = {"weights": name, "layer": min(question.layer, source.layers - 1)}
        step = question.step if question.step in source.steps else None
        answers[name] = gallery.ask(question.model_copy(update={**own, "step": step}))
    if not answers:
        raise ValueError("raw pixels have no attention; choose another view")
    images = list(gallery.pictures.values())
    high = max(answer.high for answer in answers.values())
    rows = [list(images)]
    for name, answer in answers.items():
        grid = gallery.side // gallery.sources[name].patch_size
        maps = zip(images, answer.maps, strict=True)
        rows.append([seen_through(image, values, question.view, high) for image, values in maps])
        for row in (rows[0], rows[-1]) if name == list(answers)[-1] else rows[-1:]:
            picture, r, c = answer.asked
            row[picture] = frame(row[picture], r, c, grid, ASKED)
    for picture, r, c in answer.best:
        rows[0][picture] = frame(rows[0][picture], r, c, grid, FOUND)
    return rows, ["picture", *answers]


def seen_through(
    image: UInt8[Tensor, "3 H W"], values: Tensor, view: View, high: float
) -> UInt8[Tensor, "3 H W"]:
    """The picture under the map of one source, or its PCA colours; pale where there is no map."""
    if view == "PCA":
        rgb = torch.stack([values >> 16, values >> 8 & 255, values & 255])
        return smooth(rgb[None], (image.shape[1], image.shape[2]))[0].round().to(torch.uint8)
    if bool(values.isnan().any()):
        return (0.3 * image.float().mean(0).expand(3, -1, -1) + 178).to(torch.uint8)
    return (255 * laid_over(image, values, high)).round().to(torch.uint8)
