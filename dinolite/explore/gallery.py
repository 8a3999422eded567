"""Pictures side by side, and the question of the explorer: which patches are like this one, in the
eyes of these weights, after this layer, by this measure?

DINOv3 Fig. 3 (cosine similarity maps); DINO Fig. 1 (attention).
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from dinolite.data.decoding import read_picture
from dinolite.eval.features import square
from dinolite.explore.sources import Source
from dinolite.viz.similarity import similarity_map

Metric = Literal["centred cosine", "cosine", "dot product", "distance", "attention"]
SIDE = 256  # pixels; every picture is shown as a square of so many
UPLOAD_BYTES = 8 * 2**20  # JupyterLab's own channel breaks at 10 MB
UPLOADS = 4  # the oldest makes room
BEST, KEPT = 3, 64  # framed patches per picture; (weights, picture) pairs whose features are kept


class Question(BaseModel):
    """A patch and how to compare it. Places are shares of the picture, so that weights with other
    patch sizes can be asked the same."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weights: str
    picture: int = Field(0, ge=0)
    down: float = Field(0.5, ge=0, lt=1)
    across: float = Field(0.5, ge=0, lt=1)
    layer: int = -1  # the last
    metric: Metric = "centred cosine"
    head: int | None = Field(None, ge=0)  # of attention; None = mean of all


@dataclass
class Answer:
    """A value per patch of every picture, high = alike, and the places of the best.

    `asked`: picture, row and column of the chosen patch; `best`: the same for the most alike ones
    of each picture, the chosen one left out. Where attention does not reach, maps hold NaN.
    """

    maps: Float[Tensor, "n h w"]
    asked: tuple[int, int, int]
    best: list[tuple[int, int, int]]

    def limits(self) -> tuple[float, float]:
        """Lowest and highest value; the chosen patch, always most like itself, is left out."""
        values = self.maps.clone()
        values[self.asked] = torch.nan
        values = values[values.isfinite()]
        if not len(values):
            return 0.0, 1.0
        return float(values.min()), float(values.max())


class Gallery:
    """Some sources and some pictures, all squares of `side` pixels; features are computed once.

    Raises:
        ValueError: no pictures, or a patch size that does not divide `side`.
    """

    def __init__(
        self, sources: dict[str, Source], pictures: dict[str, UInt8[Tensor, "3 _ _"]], side: int
    ) -> None:
        if not pictures:
            raise ValueError("pictures is empty; the explorer needs at least one")
        for name, source in sources.items():
            if side < source.patch_size or side % source.patch_size:
                raise ValueError(
                    f"side = {side} pixels is not a multiple of {source.patch_size}, the patch "
                    f"size of {name}"
                )
        self.sources, self.side = sources, side
        self.pictures = {name: square(picture, side)[0] for name, picture in pictures.items()}
        self.uploads: list[str] = []
        self.features: OrderedDict[tuple[str, str], list[Tensor]] = OrderedDict()

    def upload(self, data: bytes, name: str) -> str:
        """Add the picture in an image file; returns the name under which it stands.

        Raises:
            ValueError: it is too large, or no picture that can be read; the others stay.
        """
        if len(data) > UPLOAD_BYTES:
            raise ValueError(
                f"{name}: {len(data) / 2**20:.1f} MB are more than the "
                f"{UPLOAD_BYTES // 2**20} MB allowed"
            )
        picture = square(read_picture(io.BytesIO(data), name=name), self.side)[0]
        while name in self.pictures:
            name += "'"
        if len(self.uploads) == UPLOADS:
            oldest = self.uploads.pop(0)
            del self.pictures[oldest]
            for key in [key for key in self.features if key[1] == oldest]:
                del self.features[key]
        self.pictures[name] = picture
        self.uploads.append(name)
        return name

    def ask(self, question: Question) -> Answer:
        """Compare the chosen patch with all others.

        Raises:
            ValueError: there are no such weights, layer, head or picture.
        """
        source = self.source(question)
        grid = self.side // source.patch_size
        row, column = (int(share * grid) for share in (question.down, question.across))
        asked = (question.picture, row, column)
        if question.metric == "attention":
            maps = self.attention(source, question, row, column)
        else:
            x = torch.stack([self.layers(question.weights, name)[question.layer]
                             for name in self.pictures])  # fmt: skip
            maps = compare(x, asked, question.metric)
        return Answer(maps, asked, best_patches(maps, asked))

    def source(self, question: Question) -> Source:
        """The weights that are asked; all numbers of the question fit them."""
        q, n = question, len(self.pictures)
        if q.weights not in self.sources:
            raise ValueError(f"weights = {q.weights!r}; there are {', '.join(self.sources)}")
        source = self.sources[q.weights]
        if not -source.layers <= q.layer < source.layers:
            raise ValueError(f"layer = {q.layer}; {q.weights} has {source.layers}, from 0 on")
        if q.picture >= n:
            raise ValueError(f"picture = {q.picture}; there are {n}, from 0 on")
        if q.metric == "attention" and q.head is not None and q.head >= source.heads:
            raise ValueError(f"head = {q.head}; {q.weights} has {source.heads}, from 0 on")
        return source

    def layers(self, weights: str, name: str) -> list[Float[Tensor, "D h w"]]:
        """The features of one picture after every layer, from memory if they were asked before."""
        key = (weights, name)
        if key not in self.features:
            self.features[key] = self.sources[weights].features(self.pictures[name])
            while len(self.features) > KEPT:
                self.features.popitem(last=False)
        self.features.move_to_end(key)
        return self.features[key]

    def attention(
        self, source: Source, question: Question, row: int, column: int
    ) -> Float[Tensor, "n h w"]:
        """Within the chosen picture; NaN elsewhere: attention does not cross pictures."""
        picture = list(self.pictures.values())[question.picture]
        heads = source.attention(picture, question.layer, row, column)
        one = heads.mean(0) if question.head is None else heads[question.head]
        maps = one.new_full((len(self.pictures), *one.shape), torch.nan)
        maps[question.picture] = one
        return maps


def compare(
    x: Float[Tensor, "n D h w"], asked: tuple[int, int, int], metric: str
) -> Float[Tensor, "n h w"]:
    """Every patch with the chosen one; distances are negative, so that high means alike."""
    picture, row, column = asked
    if metric in ("cosine", "centred cosine"):
        return similarity_map(x, row, column, picture, center=metric == "centred cosine")
    one = x[picture, :, row, column, None, None]
    return (x * one).sum(1) if metric == "dot product" else -(x - one).norm(dim=1)


def best_patches(
    maps: Float[Tensor, "n h w"], asked: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Picture, row and column of the most alike patches of each picture."""
    values = maps.nan_to_num(-torch.inf).clone()
    values[asked] = -torch.inf
    found = []
    for picture, one in enumerate(values.flatten(1)):
        top = one.topk(min(BEST, len(one)))
        places = top.indices[top.values.isfinite()].tolist()
        found += [(picture, *divmod(place, maps.shape[2])) for place in places]
    return found
