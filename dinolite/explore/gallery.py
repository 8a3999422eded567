"""Which patches are like this one, for these weights, after this layer, by this measure? A source
(a net, the same net untrained, or raw pixels) turns pictures into patch vectors, layer by layer; a
gallery holds some sources and some pictures, and answers questions about them.

DINOv3 Fig. 3 (cosine similarity maps); DINO Fig. 1 (attention). The official notebooks look at one
picture and one layer each.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from dinolite.checkpointer import META, read_meta
from dinolite.config import DataConfig, Rgb, load_config
from dinolite.data.decoding import UnreadablePicture, read_picture, show_path, suffixes
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.data.folders import find_pictures
from dinolite.eval.features import as_grey, preprocess, square
from dinolite.eval.segmentation import pixel_patches
from dinolite.models.pretrained import OWN_WEIGHTS, load, read_metadata, untrained_twin
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.run_folder import CONFIG
from dinolite.viz.attention import attention_grid
from dinolite.viz.similarity import similarity_map

UNTRAINED, PIXELS = "untrained", "raw pixels"

# --- sources: what turns a picture into patch vectors ---


@dataclass(eq=False)
class NetSource:
    """A backbone, and how it was shown colours: their mean and spread (none = those that came with
    the net), or all in grey."""

    net: DinoVisionTransformer
    mean: Rgb | None = None
    std: Rgb | None = None
    grey: bool = False

    def __post_init__(self) -> None:
        self.net.eval()
        self.patch_size, self.layers = self.net.patch_size, self.net.n_blocks
        self.heads = self.net.num_heads

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """After each block and the final norm, which was trained for the last block only."""
        with torch.inference_mode():
            x = self.prepared(picture)
            layers = self.net.get_intermediate_layers(x, self.layers, reshape=True)
        return [x[0].float() for x in layers]

    def attention(
        self, picture: UInt8[Tensor, "3 H W"], layer: int, row: int, column: int
    ) -> Float[Tensor, "heads h w"]:
        """One row of the attention table of a block, without CLS and storage tokens."""
        x, p = self.prepared(picture), self.patch_size
        h, w = x.shape[2] // p, x.shape[3] // p
        query = 1 + self.net.n_storage_tokens + row * w + column
        table = self.net.get_attention_maps(x, [layer])[0][0]  # [heads, T, T]
        return attention_grid(table, (h, w), query).float()

    def prepared(self, picture: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "1 3 H W"]:
        """The picture as the net was trained to read it."""
        pictures = as_grey(picture[None]) if self.grey else picture[None]
        colours = self.mean or self.net.pixel_mean, self.std or self.net.pixel_std
        return preprocess(pictures, *colours)

    def untrained(self) -> NetSource:
        """The same net before its first step."""
        return NetSource(untrained_twin(self.net), self.mean, self.std, self.grey)


@dataclass(eq=False)
class PixelSource:
    """Patches as the pixels they are made of; without heads there is no attention."""

    patch_size: int
    layers: int = 1
    heads: int = 0

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """One layer: D = 3 patch_size^2 numbers in [0, 1]."""
        return [pixel_patches(picture[None], self.patch_size)[0]]


Source = NetSource | PixelSource
"""What has `patch_size`, counts of `layers` and `heads`, and vectors for each patch."""


def open_sources(names: list[str | Path], *, allow_network: bool = False) -> dict[str, Source]:
    """The named weights, then the first of them untrained, then raw pixels.

    Args:
        names: as for `models.pretrained.load`, at least one: names, files, or folders of runs.
        allow_network: may released weights be downloaded?

    Raises:
        WeightsError: there is no such thing, or it cannot be read.
    """
    if not names:
        raise ValueError("names is empty; name at least one file, folder or released model")
    nets = {
        str(name): NetSource(load(name, allow_network=allow_network), grey=training_data(name).grey)
        for name in names
    }
    first = next(iter(nets.values()))
    return {**nets, UNTRAINED: first.untrained(), PIXELS: PixelSource(first.patch_size)}


def training_data(name: str | Path) -> DataConfig:
    """How the pictures were read on which these weights were trained: a run of dinolite, its
    checkpoints and the files that it published say so in their settings; else the default."""
    path = Path(name)
    if (path / CONFIG).is_file():
        return load_config(path / CONFIG).data
    settings: dict[str, dict[str, object]] = {}
    if (path / META).is_file():
        settings = read_meta(path).get("settings", {})
    else:
        path = path if path.is_file() else OWN_WEIGHTS / f"{name}.safetensors"
        words = read_metadata(path) if path.is_file() else {}
        if "config" in words:  # in headers of others the same words mean other things
            settings = json.loads(words.get("settings", "{}"))
            if "recipe" in words and not settings:
                return load_config(words["recipe"]).data
    return DataConfig.model_validate(settings.get("data", {"dataset": "folder:unknown"}))


# --- pictures ---

PHOTOGRAPHS = ("chelsea", "coins", "coffee", "camera", "astronaut", "china")
SHOWN = 6  # pictures of a folder


def pictures_to_show(
    folder: Path | None, side: int, value_range: tuple[float, float] | None = None
) -> dict[str, UInt8[Tensor, "3 _ _"]]:
    """Six photographs, or six pictures of a folder by their paths in it, decoded to at most 2 x
    `side` pixels: the first readable one in each sixth of the folder and its sub-folders.

    Raises:
        ValueError: it is not a folder, or has no readable picture.
    """
    if folder is None:
        photos = photographs()
        return {name: photos[name] for name in PHOTOGRAPHS}
    if not folder.is_dir():
        raise ValueError(f"{show_path(folder)} is not a folder; allowed: one with pictures")
    files = [Path(path) for path in find_pictures(folder).paths]
    parts = min(len(files), SHOWN)
    chosen, reasons = {}, []
    for i in range(parts):
        for path in files[i * len(files) // parts : (i + 1) * len(files) // parts]:
            try:
                picture = read_picture(path, 2 * side, value_range=value_range)
                chosen[show_path(path.relative_to(folder))] = picture
                break
            except UnreadablePicture as error:
                reasons.append(str(error))
    if not chosen:
        reason = reasons[0] if reasons else f"allowed: {' '.join(suffixes())} files"
        raise ValueError(f"{show_path(folder)} has no readable picture; {reason}")
    return chosen


# --- questions and answers ---

Metric = Literal["centred cosine", "cosine", "dot product", "distance", "attention"]
SIDE = 256  # pixels; every picture is shown as a square of so many
UPLOAD_BYTES = 8 * 2**20  # JupyterLab's own channel breaks at 10 MB
UPLOADS = 4  # the oldest makes room
BEST, KEPT = 3, 64  # framed patches per picture; (weights, picture) pairs whose features are kept


class Question(BaseModel):
    """A patch and how to compare it. Its place is a share of the picture's height and width, so
    that weights with other patch sizes can be asked the same."""

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
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


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
            mb, most = len(data) / 2**20, UPLOAD_BYTES // 2**20
            raise ValueError(f"{name}: {mb:.1f} MB are more than the {most} MB allowed")
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
            after = [self.layers(question.weights, name)[question.layer] for name in self.pictures]
            maps = compare(torch.stack(after), asked, question.metric)
        return Answer(maps, asked, best_patches(maps, asked))

    def source(self, question: Question) -> Source:
        """The source that is asked, after a check that all numbers of the question fit it."""
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
        if isinstance(source, PixelSource):
            raise ValueError("raw pixels have no attention; choose another metric or other weights")
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
    values = maps.nan_to_num(-torch.inf)
    values[asked] = -torch.inf
    found = []
    for picture, one in enumerate(values.flatten(1)):
        top = one.topk(min(BEST, len(one)))
        places = top.indices[top.values.isfinite()].tolist()
        found += [(picture, *divmod(place, maps.shape[2])) for place in places]
    return found
