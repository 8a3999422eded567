"""Which patches are like this one, for these weights, after this layer and so many steps? A source
(raw pixels, a net untrained, the net) turns pictures into patch vectors, layer by layer; a gallery
holds some sources and some pictures, and answers questions about them.

DINOv3 Fig. 3 (cosine similarity maps); DINO Fig. 1 (attention). The official notebooks look at one
picture and one layer each.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import max_pool2d

from dinolite.checkpointer import META, checkpoints, read_meta
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
from dinolite.viz.groups import patch_groups, renumbered
from dinolite.viz.pca import pca_rgb
from dinolite.viz.similarity import unit_patches
from dinolite.viz.style import largest

UNTRAINED, PIXELS = "untrained", "raw pixels"

# --- sources: what turns a picture into patch vectors ---


@dataclass(eq=False)
class NetSource:
    """A backbone, and how it was shown colours: their mean and spread (none = those that came with
    the net), or all in grey. `steps`: its weights after so many steps of training, by name."""

    net: DinoVisionTransformer
    mean: Rgb | None = None
    std: Rgb | None = None
    grey: bool = False
    steps: dict[int, str | Path] = field(default_factory=dict)

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

    def attention(self, picture: UInt8[Tensor, "3 H W"], layer: int) -> Float[Tensor, "heads T T"]:
        """The attention table of a block in 16 bits; CLS and storage tokens come first."""
        with torch.inference_mode():
            return self.net.get_attention_maps(self.prepared(picture), [layer])[0][0].half()

    def prepared(self, picture: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "1 3 H W"]:
        """The picture as the net was trained to read it."""
        pictures = as_grey(picture[None]) if self.grey else picture[None]
        colours = self.mean or self.net.pixel_mean, self.std or self.net.pixel_std
        return preprocess(pictures, *colours)

    def untrained(self) -> NetSource:
        """The same net before its first step."""
        return NetSource(untrained_twin(self.net), self.mean, self.std, self.grey)

    def after(self, step: int) -> NetSource:
        """The net after one of its `steps`, read anew."""
        net = load(self.steps[step], allow_network=False)
        return NetSource(net, self.mean, self.std, self.grey)


@dataclass(eq=False)
class PixelSource:
    """Patches as the pixels they are made of; without heads there is no attention."""

    patch_size: int
    grey: bool = False
    layers: int = 1
    heads: int = 0
    steps: dict[int, str | Path] = field(default_factory=dict)

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """One layer: D = 3 patch_size^2 numbers in [0, 1]."""
        pictures = as_grey(picture[None]) if self.grey else picture[None]
        return [pixel_patches(pictures, self.patch_size)[0]]


Source = NetSource | PixelSource
"""What has `patch_size`, counts of `layers` and `heads`, earlier `steps`, and patch vectors."""


def open_sources(names: list[str | Path], *, allow_network: bool = False) -> dict[str, Source]:
    """Raw pixels and the first of the named nets untrained, both as that net sees pictures, in grey
    or not; then the named weights.

    Args:
        names: as for `models.pretrained.load`, at least one: names, files, or folders of runs.
        allow_network: may released weights be downloaded?

    Raises:
        WeightsError: there is no such thing, or it cannot be read.
    """
    if not names:
        raise ValueError("names is empty; name at least one file, folder or released model")
    nets = {}
    for name in names:
        net = load(name, allow_network=allow_network)
        nets[str(name)] = NetSource(net, None, None, training_data(name).grey, earlier_steps(name))
    first = next(iter(nets.values()))
    pixels = PixelSource(first.patch_size, first.grey)
    return {PIXELS: pixels, UNTRAINED: first.untrained(), **nets}


def earlier_steps(name: str | Path) -> dict[int, str | Path]:
    """Weights from the training of these, by the number of steps: checkpoints that a run kept, or
    files `NAME_step00100.safetensors` beside NAME."""
    path = Path(name)
    if (path / CONFIG).is_file():
        return {int(place.name): place for place in checkpoints(path)}
    file = path if path.is_file() else OWN_WEIGHTS / f"{name}.safetensors"
    files = sorted(file.parent.glob(f"{escape(file.stem)}_step*.safetensors"))
    steps = {file.stem.rpartition("_step")[2]: file for file in files}
    return {int(step): file for step, file in steps.items() if step.isdecimal()}


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

PHOTOGRAPHS = ("astronaut", "camera", "coffee", "china", "chelsea", "coins")
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


CONVINCING = {"astronaut": (0.62, 0.36)}  # the spacesuit
AROUND, FAINT = 7, 8.0  # patches, grey values


def textured_place(picture: UInt8[Tensor, "3 H W"], patch_size: int) -> tuple[float, float]:
    """Where the explorer starts in a picture, down and across as shares of its size: in the middle
    of the most evenly textured square of 7 x 7 patches. With the standard deviation of the grey
    values in each patch, that is the square with the largest min / (max + 8)."""
    p = patch_size
    grey = as_grey(picture[None])[0, 0].float()
    spread = grey.unfold(0, p, p).unfold(1, p, p).flatten(2).std(2)[None]  # [1, h, w]
    size = min(AROUND, *spread.shape[1:])
    least, most = -max_pool2d(-spread, size, 1)[0], max_pool2d(spread, size, 1)[0]
    place = divmod(int((least / (most + FAINT)).argmax()), least.shape[1])
    down, across = ((x + size // 2 + 0.5) * p for x in place)
    return down / grey.shape[0], across / grey.shape[1]


# --- questions and answers ---

View = Literal["similarity", "groups", "PCA", "attention"]
GRID = 48  # patches on a side of a picture: 384 pixels for patches of 8, 768 for 16
UPLOAD_BYTES = 8 * 2**20  # JupyterLab's own channel breaks at 10 MB
UPLOADS = 4  # the oldest makes room
APART = 3  # patches; what is nearer to the chosen one is no discovery
GROUPS = 8  # of k-means, over all pictures together
KEPT = 2**31  # bytes of features and what is made of them
ALL_LAYERS = 2**26  # bytes; of a picture whose layers are larger, only the one asked for is kept


class Question(BaseModel):
    """What to show of which weights. The place of the chosen patch is a share of the picture's
    height and width, so that weights with other patch sizes can be asked the same."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weights: str
    picture: int = Field(default=0, ge=0)
    down: float = Field(default=0.5, ge=0, lt=1)
    across: float = Field(default=0.5, ge=0, lt=1)
    layer: int = -1  # the last
    step: int | None = None  # of training; None = the weights themselves
    view: View = "similarity"
    centre: bool = True  # similarity: of what patches have beyond the mean of all
    head: int | None = Field(default=None, ge=0)  # of attention; None = mean of all


@dataclass
class Answer:
    """A number per patch of every picture: similarity (cosine) or attention; the number of its
    group; or its PCA colour, 65536 red + 256 green + blue. Where attention does not reach, NaN.

    `asked`: picture, row and column of the chosen patch; `best`: the same for the most alike patch
    of each picture, in falling order, the neighbourhood of the chosen one left out; `high`: the
    99 % quantile in the chosen patch's picture, the bright end of a scale from 0.
    """

    maps: Float[Tensor, "n h w"] | Int64[Tensor, "n h w"]
    asked: tuple[int, int, int]
    best: list[tuple[int, int, int]] = field(default_factory=list)
    high: float = 1.0


class Memory(OrderedDict[tuple, Tensor]):
    """Tensors by what they are; those not used for longest go when all are over `KEPT` bytes."""

    def recall(self, key: tuple, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of that key, made where there is none."""
        if key not in self:
            self[key] = make()
        self.move_to_end(key)
        while len(self) > 1 and sum(x.nbytes for x in self.values()) > KEPT:
            self.popitem(last=False)
        return self[key]


class Gallery:
    """Some sources and some pictures, all squares of `side` pixels; features are computed once. The
    sources are in the order raw pixels, untrained, trained.

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
        trained = [name for name in sources if name not in (PIXELS, UNTRAINED)]
        order = [name for name in (PIXELS, UNTRAINED) if name in sources] + trained
        self.sources, self.side = {name: sources[name] for name in order}, side
        self.first = (trained or order)[0]
        self.pictures = {name: square(picture, side)[0] for name, picture in pictures.items()}
        self.uploads: list[str] = []
        self.earlier: dict[tuple[str, int], NetSource] = {}
        self.features, self.made = Memory(), Memory()

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
            for key in [key for key in self.features if key[0] == oldest]:
                del self.features[key]
        self.made.clear()  # of all pictures together
        self.pictures[name] = picture
        self.uploads.append(name)
        return name

    def start(self, name: str) -> tuple[float, float]:
        """Where to begin in a picture: on the astronaut's spacesuit, else `textured_place`."""
        p = self.sources[self.first].patch_size
        return CONVINCING.get(name) or textured_place(self.pictures[name], p)

    def ask(self, question: Question) -> Answer:
        """Compare the chosen patch with all others, or group or colour them all.

        Raises:
            ValueError: there are no such weights, layer, step, head or picture.
        """
        grid = self.side // self.source(question).patch_size
        row, column = (int(share * grid) for share in (question.down, question.across))
        asked = (question.picture, row, column)
        if question.view == "groups":
            return Answer(self.groups(question), asked)
        if question.view == "PCA":
            return Answer(self.colours(question), asked)
        seen = self.attention if question.view == "attention" else self.similarity
        maps = seen(question, asked)
        return Answer(maps, asked, best_patches(maps, asked), largest([maps[question.picture]]))

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
        if q.view == "attention" and q.head is not None and q.head >= source.heads:
            raise ValueError(f"head = {q.head}; {q.weights} has {source.heads}, from 0 on")
        if q.step is None:
            return source
        if isinstance(source, PixelSource) or q.step not in source.steps:
            there = ", ".join(map(str, source.steps)) or "none"
            raise ValueError(f"step = {q.step}; earlier steps of {q.weights}: {there}")
        if (q.weights, q.step) not in self.earlier:
            self.earlier[q.weights, q.step] = source.after(q.step)
        return self.earlier[q.weights, q.step]

    def layer(self, question: Question, name: str) -> Float[Tensor, "D h w"]:
        """The features of one picture after the layer that is asked, from memory if they are there;
        those after the other layers are kept, too, where they are small."""
        source = self.source(question)
        rest, asked = (question.weights, question.step), question.layer % source.layers

        def make() -> Tensor:
            after = source.features(self.pictures[name])
            if sum(x.nbytes for x in after) <= ALL_LAYERS:
                self.features.update({(name, *rest, i): x for i, x in enumerate(after)})
            return after[asked]

        return self.features.recall((name, *rest, asked), make)

    def of_all(
        self, kind: str, question: Question, make: Callable[[Float[Tensor, "n D h w"]], Tensor]
    ) -> Tensor:
        """What is made of the features of all pictures together, once."""
        layer = question.layer % self.sources[question.weights].layers  # -1 is a number, too
        key = (kind, question.weights, question.step, layer)
        return self.made.recall(
            key, lambda: make(torch.stack([self.layer(question, name) for name in self.pictures]))
        )

    def similarity(self, question: Question, asked: tuple[int, int, int]) -> Float[Tensor, "n h w"]:
        """Cosine of every patch with the chosen one."""
        centre = question.centre
        unit = self.of_all(f"unit {centre}", question, lambda x: unit_patches(x, centre))
        picture, row, column = asked
        return torch.einsum("ndhw,d->nhw", unit, unit[picture, :, row, column])

    def groups(self, question: Question) -> Int64[Tensor, "n h w"]:
        """The group of every patch, numbered as far as possible as in the first trained net."""

        def grouped(x: Tensor) -> Tensor:
            return patch_groups(x, min(GROUPS, x[:, 0].numel()))

        found = self.of_all("groups", question, grouped)
        of_first = self.of_all("groups", Question(weights=self.first), grouped)
        return renumbered(found, of_first) if found.shape == of_first.shape else found

    def colours(self, question: Question) -> Int64[Tensor, "n h w"]:
        """The PCA colour of every patch in one number."""
        rgb = (255 * self.of_all("PCA", question, pca_rgb)).round().long()
        return rgb[:, 0] * 65536 + rgb[:, 1] * 256 + rgb[:, 2]

    def attention(self, question: Question, asked: tuple[int, int, int]) -> Float[Tensor, "n h w"]:
        """Within the chosen picture; NaN elsewhere: attention does not cross pictures."""
        source = self.source(question)
        if isinstance(source, PixelSource):
            raise ValueError("raw pixels have no attention; choose another view or other weights")
        name, (picture, row, column) = list(self.pictures)[question.picture], asked
        layer = question.layer % source.layers
        key = (name, question.weights, question.step, "attention", layer)
        table = self.features.recall(key, lambda: source.attention(self.pictures[name], layer))
        grid = self.side // source.patch_size
        query = table.shape[-1] - grid**2 + row * grid + column
        heads = attention_grid(table, (grid, grid), query).float()
        one = heads.mean(0) if question.head is None else heads[question.head]
        maps = one.new_full((len(self.pictures), *one.shape), torch.nan)
        maps[picture] = one
        return maps


def best_patches(
    maps: Float[Tensor, "n h w"], asked: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Picture, row and column of the most alike patch of each picture, the best first."""
    values, (picture, row, column) = maps.nan_to_num(-torch.inf), asked
    rows, columns = (slice(max(x - APART, 0), x + APART + 1) for x in (row, column))
    values[picture, rows, columns] = -torch.inf
    top, places = values.flatten(1).max(1)
    order, width = top.argsort(descending=True).tolist(), maps.shape[2]
    found = [(i, *divmod(int(places[i]), width)) for i in order]
    return [place for place in found if values[place].isfinite()]
