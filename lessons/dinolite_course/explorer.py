"""The explorer in a notebook: move a patch with two sliders, see where patches are like it, in this
picture and in others, by weights, layer, head and measure of your choice; or load a picture.

DINOv3 Fig. 3; the same as a page of its own, where the patch is clicked: `dinolite explore`.
"""

from __future__ import annotations

from typing import Any, get_args

import ipywidgets as widgets
from jaxtyping import UInt8
from torch import Tensor

from dinolite.explore.gallery import (
    SIDE,
    UNTRAINED,
    UPLOADS,
    Gallery,
    Metric,
    Question,
    Source,
    open_sources,
)
from dinolite_course.figures.explorers import Explorer, explore
from dinolite_course.figures.overlays import ASKED, FOUND, frame, mosaic_png, overlay

STEPS = 32  # of the sliders over a picture; patches of 8 pixels in 256
METRICS: tuple[Metric, ...] = get_args(Metric)
MEAN = "mean"


def patch_explorer(
    pictures: dict[str, UInt8[Tensor, "3 _ _"]],
    sources: dict[str, Source] | None = None,
    side: int = SIDE,
    width: int = 900,
) -> Explorer:
    """Controls over rows of pictures: as they are; as the chosen weights see them; and as the same
    net untrained does, if it is among the sources.

    Green frame: the chosen patch; white: the three most like it in each picture. An own picture
    may be loaded: at most 8 MB, kept in memory only.

    Args:
        sources: weights by name; None = `open_sources(["dinolite_tiny"])`.
        side, width: pixels of the squares that pictures are scaled to, and of what is drawn.

    Raises:
        ValueError: no pictures, or a patch size that does not divide `side`.
    """
    gallery = Gallery(sources or open_sources(["dinolite_tiny"]), pictures, side)
    depth = max(source.layers for source in gallery.sources.values())
    heads = max(source.heads for source in gallery.sources.values())
    seen: set[tuple[str, int]] = set()

    def view(upload: Any, **chosen: Any) -> bytes:
        take_upload(gallery, upload, seen)
        return mosaic_png(*draw(gallery, question_of(gallery, **chosen)), width)

    return explore(
        view,
        row=(0, STEPS - 1, 1, STEPS // 3),
        column=(0, STEPS - 1, 1, STEPS // 2),
        picture=(0, len(pictures) + UPLOADS - 1, 1, 0),
        weights=list(gallery.sources),
        layer=(1, depth, 1, depth),
        metric=list(METRICS),
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
    picture: int,
    row: int,
    column: int,
    weights: str,
    layer: int,
    metric: Metric,
    head: str,
) -> Question:
    """What the controls ask. Their `layer` counts from 1."""
    return Question(
        weights=weights,
        picture=min(picture, len(gallery.pictures) - 1),
        down=row / STEPS,
        across=column / STEPS,
        layer=layer - 1,
        metric=metric,
        head=None if head == MEAN or metric != "attention" else int(head),
    )


def draw(gallery: Gallery, question: Question) -> tuple[list[list[Tensor]], list[str]]:
    """The rows of the explorer and their names."""
    names = [question.weights, UNTRAINED] if UNTRAINED in gallery.sources else [question.weights]
    images = list(gallery.pictures.values())
    rows, labels, picture = [images], ["picture"], question.picture
    for name in dict.fromkeys(names):
        source = gallery.sources[name]
        if question.metric == "attention" and not source.heads:
            raise ValueError(f"{name} has no attention; choose another metric or other weights")
        last = min(question.layer, source.layers - 1)
        answer = gallery.ask(question.model_copy(update={"weights": name, "layer": last}))
        limits, grid = answer.limits(), answer.maps.shape[1]
        drawn = [overlay(x, m, limits) for x, m in zip(images, answer.maps, strict=True)]
        if name == question.weights:  # the places are shown on the pictures themselves
            rows[0] = [image.clone() for image in images]
            for i, r, c in answer.best:
                rows[0][i] = frame(rows[0][i], r, c, grid, FOUND)
        marked = [rows[0], drawn] if name == question.weights else [drawn]
        for line in marked:
            line[picture] = frame(line[picture], *answer.asked[1:], grid, ASKED)
        rows.append(drawn)
        labels.append(name)
    return rows, labels
