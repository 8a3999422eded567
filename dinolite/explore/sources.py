"""What can be looked at in the explorer: nets, each beside the same net untrained, and raw pixels.
A source turns pictures into patch vectors, layer by layer, and one of its tokens into attention.

No counterpart in the official code, whose notebooks look at one picture and one layer each.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dinolite.config import load_config
from dinolite.eval.features import IMAGENET_MEAN, IMAGENET_STD, Rgb, preprocess
from dinolite.eval.segmentation import pixel_patches
from dinolite.models.pretrained import OWN_WEIGHTS, load
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.models.weight_files import read_metadata
from dinolite.train.run_folder import CONFIG

GREY_DATA = {"windows", "mosaics"}  # who saw only grey pictures is shown only grey ones
UNTRAINED, PIXELS = "untrained", "raw pixels"


@runtime_checkable
class Source(Protocol):
    """Anything that sees patches. `layers` and `heads` are counts; without heads no attention."""

    patch_size: int
    layers: int
    heads: int

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """The patch vectors after each layer."""

    def attention(
        self, picture: UInt8[Tensor, "3 H W"], layer: int, row: int, column: int
    ) -> Float[Tensor, "heads h w"]:
        """How much the patch (row, column) attends to each patch, per head."""


@dataclass(eq=False)
class NetSource:
    """A backbone with the colours it was trained on."""

    net: DinoVisionTransformer
    mean: Rgb = IMAGENET_MEAN
    std: Rgb = IMAGENET_STD
    grey: bool = False

    def __post_init__(self) -> None:
        self.net.eval()
        self.patch_size, self.layers = self.net.patch_size, self.net.n_blocks
        self.heads = self.net.num_heads

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """After each block and the final norm, which was trained for the last block only."""
        with torch.inference_mode():
            layers = self.net.get_intermediate_layers(
                self.prepared(picture), self.layers, reshape=True
            )
        return [x[0].float() for x in layers]

    def attention(
        self, picture: UInt8[Tensor, "3 H W"], layer: int, row: int, column: int
    ) -> Float[Tensor, "heads h w"]:
        """One row of the attention table of a block, without CLS and storage tokens."""
        x = self.prepared(picture)
        first = 1 + self.net.n_storage_tokens
        h, w = (side // self.patch_size for side in x.shape[2:])
        table = self.net.get_attention_maps(x, [layer])[0][0]  # [heads, T, T]
        return table[:, first + row * w + column, first:].unflatten(1, (h, w)).float()

    def prepared(self, picture: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "1 3 H W"]:
        """As the net reads it."""
        if self.grey:
            mean = picture.float().mean(0, keepdim=True)
            picture = mean.round().to(torch.uint8).expand(3, -1, -1)
        return preprocess(picture[None], self.mean, self.std)

    def untrained(self) -> NetSource:
        """The same net with start values, seed 0."""
        net = copy.deepcopy(self.net)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net.init_weights()
        return NetSource(net, self.mean, self.std, self.grey)


@dataclass(eq=False)
class PixelSource:
    """Patches as the pixels they are made of, less their mean over the picture."""

    patch_size: int
    layers: int = 1
    heads: int = 0

    def features(self, picture: UInt8[Tensor, "3 H W"]) -> list[Float[Tensor, "D h w"]]:
        """One layer: D = 3 patch_size^2 numbers in [0, 1]."""
        return [pixel_patches(picture[None], self.patch_size)[0]]

    def attention(
        self, picture: UInt8[Tensor, "3 H W"], layer: int, row: int, column: int
    ) -> Float[Tensor, "heads h w"]:
        """There is none.

        Raises:
            ValueError: always.
        """
        raise ValueError("raw pixels have no attention; choose another metric or other weights")


def open_sources(names: list[str | Path], *, allow_network: bool = False) -> dict[str, Source]:
    """The named weights, then the first of them untrained, then raw pixels.

    Args:
        names: as for `models.pretrained.load`: names, files, or folders of runs.
        allow_network: may released weights be downloaded?

    Raises:
        WeightsError: there is no such thing, or it cannot be read.
        ValueError: `names` is empty.
    """
    if not names:
        raise ValueError("names is empty; name at least one file, folder or released model")
    sources: dict[str, Source] = {
        str(name): NetSource(load(name, allow_network=allow_network), **colours(name))
        for name in names
    }
    first = next(iter(sources.values()))
    assert isinstance(first, NetSource)
    return {**sources, UNTRAINED: first.untrained(), PIXELS: PixelSource(first.patch_size)}


def colours(name: str | Path) -> dict[str, Any]:
    """How pictures are shown to these weights: mean, std, grey. Empty (ImageNet's statistics, in
    colour) unless they come from a run of ours, which tells."""
    if (Path(name) / CONFIG).is_file():
        config = load_config(Path(name) / CONFIG)
        mean, std, recipe = config.crops.rgb_mean, config.crops.rgb_std, config
    else:
        path = Path(name) if Path(name).is_file() else OWN_WEIGHTS / f"{name}.safetensors"
        words = read_metadata(path) if path.is_file() else {}
        if "rgb_mean" not in words:
            return {}
        mean, std = (tuple(json.loads(words[key])) for key in ("rgb_mean", "rgb_std"))
        recipe = load_config(words["recipe"])
    return {"mean": mean, "std": std, "grey": set(recipe.data.dataset.split("+")) <= GREY_DATA}
