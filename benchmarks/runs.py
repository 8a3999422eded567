"""A recipe made ready to be measured, for every benchmark that takes whole steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import torch
import typer

from benchmarks.record import device
from dinolite.config import load_config
from dinolite.data.datasets import PictureDataset, load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.run_folder import data_settings
from dinolite.train.train import TrainState, make_state

Recipe = Annotated[str, typer.Argument(help="a recipe's name, or a TOML file")]
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value")]


class Run(NamedTuple):
    """A run at iteration 0, its training pictures and its batches."""

    state: TrainState
    pictures: PictureDataset
    batches: Iterator[SSLBatch]


def open_recipe(
    recipe: str = "demo",
    overrides: Sequence[str] | None = None,
    to: torch.device | None = None,
) -> Run:
    """On the GPU where there is one and no other device is named, as `dinolite train` begins it."""
    config = load_config(recipe, overrides or [])
    state = make_state(config, to or device())
    pictures = load_pictures(split="train", **data_settings(config))
    return Run(state, pictures, iter(ssl_batches(pictures, config, state.device)))


def table_name(benchmark: str, recipe: str) -> str:
    """Tables of the recipe `demo` go into the pages under the benchmark's own name."""
    return benchmark if recipe == "demo" else f"{benchmark} {recipe}"


def sizes_of(run: Run, recipe: str, overrides: Sequence[str] | None = None) -> str:
    """What a table says of the run: recipe, changes, batch and crops."""
    t, c = run.state.config.train, run.state.config.crops
    return (
        f"recipe {' '.join([recipe, *(overrides or [])])}: batch {t.batch_size_per_gpu}, "
        f"2 x {c.global_crops_size} and {c.local_crops_number} x {c.local_crops_size} px"
    )
