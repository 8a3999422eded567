"""A pretraining step of LightlyTrain's method `dinov2` beside dinolite's: the same pictures, sizes,
crops, heads and losses, each started as its users start it. Whole short runs take turns, and their
first steps do not count. A step lasts until the next one starts, so the next batch is part of it.

    python -m benchmarks.lightly [--batch 8] [--steps 8]

Needs the extra `lightly`, and no network: nothing is downloaded, and its telemetry is off.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import typer
from PIL import Image
from torch import nn

from benchmarks.record import Table, device, print_table, start
from benchmarks.timing import Timing, ratios, synchronize
from dinolite.config import Config, load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.demo_pictures.scenes import make_scenes
from dinolite.data.loaders import ssl_batches
from dinolite.run_folder import data_settings
from dinolite.train.train import make_state, train_step

PICTURES, SIDE = 200, 128  # at least so many pictures, of so many pixels
PATCH, REGISTERS, LAYERSCALE, DROP_PATH = 14, 4, 1e-5, 0.3  # 0.1 or less: theirs drops no work
GLOBAL, LOCAL, LOCALS = 98, 42, 8  # pixels, pixels, crops: as 224 to 98, in patches of 14
PROTOTYPES, HIDDEN, BOTTLENECK = 4096, 2048, 256
BLUR = (1.0, 0.1, 0.5)  # probabilities for the global crops and the local ones, LightlyTrain's
RUNS, WARM_UP = 2, 2  # turns of each; steps of a run that do not count
ENVIRONMENT = {
    "LIGHTLY_TRAIN_EVENTS_DISABLED": "1",  # telemetry
    "LIGHTLY_TRAIN_LOG_LEVEL": "ERROR",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # else it asks for a newer version when imported
}
QUIET = {
    "callbacks": [],
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
NOTE = (
    "Alike: pictures, crops and what may happen to them, LayerScale, dropped samples, two 3-layer "
    "heads, DINO + iBOT + KoLeo, Sinkhorn-Knopp, masked share, AdamW with layer-wise decay, 0 data "
    "workers; no logs, no checkpoints. Different, dinolite / LightlyTrain: RoPE in every block / a "
    "table of positions; PyTorch's fused attention / products and softmax, or xformers; plain / "
    "weight-normed prototypes; pictures decoded once, crops made of a batch, on the device, "
    "bicubic / decoded each time, cropped one by one, on the CPU, by area; blur of 9 x 9 / as wide "
    "as sigma needs; masks drawn together / crop by crop; AdamW fused / foreach; gradients clipped "
    "by network / all at once; target entropies and a look for NaN / Lightning's loop with its log "
    "calls; on CUDA compiled / not."
)


class Run(NamedTuple):
    """Seconds of each step that counts; how many numbers are trained."""

    seconds: list[float]
    parameters: int


def write_pictures(folder: Path, n: int) -> None:
    """n PNG files in `train`, one in `test`: without it dinolite would hold out every tenth."""
    for i, picture in enumerate(make_scenes(n + 1, 0, size=SIDE).images):
        place = folder / ("train" if i < n else "test")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(place / f"{i:05}.png")


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def stamp(starts: list[float]) -> None:
    """Write down that a batch is there and its step starts."""
    synchronize()
    starts.append(time.perf_counter())


def counted(starts: list[float]) -> list[float]:
    """Seconds from start to start, without the warm-up."""
    return [after - before for before, after in pairwise(starts[WARM_UP:])]


def our_config(folder: Path, batch: int, iterations: int) -> Config:
    """dinolite's settings. Rates cost no time, so they are constant."""
    head = {
        "head_n_prototypes": PROTOTYPES,
        "head_hidden_dim": HIDDEN,
        "head_bottleneck_dim": BOTTLENECK,
    }
    tree: dict[str, dict[str, Any]] = {
        "data": {"dataset": f"folder:{folder}"},
        "student": {
            "arch": "vit_small",
            "patch_size": PATCH,
            "n_storage_tokens": REGISTERS,
            "layerscale": LAYERSCALE,
            "drop_path_rate": DROP_PATH,
        },
        "dino": head,
        "ibot": head,
        "crops": {
            "global_crops_size": GLOBAL,
            "local_crops_size": LOCAL,
            "local_crops_number": LOCALS,
            "blur_prob": BLUR,
        },
        "optim": {"lr": {"peak": 1e-3}},
        "teacher": {"temp": {"peak": 0.04}, "centering": "sinkhorn_knopp"},
        "train": {"iterations": iterations, "batch_size_per_gpu": batch, "num_workers": 0},
    }
    return load_config(None, {f"{s}.{k}": v for s, part in tree.items() for k, v in part.items()})


def their_settings() -> dict[str, Any]:
    """The same in LightlyTrain's words."""
    return {
        "model": "dinov2/vits14-notpretrained",
        "model_args": {
            "img_size": GLOBAL,
            "num_register_tokens": REGISTERS,
            "init_values": LAYERSCALE,
            "drop_path_rate": DROP_PATH,
        },
        "method": "dinov2",
        "method_args": {
            "ibot_separate_head": True,
            "output_dim": PROTOTYPES,
            "hidden_dim": HIDDEN,
            "dino_bottleneck_dim": BOTTLENECK,
            "ibot_bottleneck_dim": BOTTLENECK,
            "center_method": "sinkhorn_knopp",
        },
        "transform_args": {
            "image_size": (GLOBAL, GLOBAL),
            "local_view": {"num_views": LOCALS, "view_size": (LOCAL, LOCAL)},
        },
    }


def run_dinolite(folder: Path, batch: int, iterations: int) -> Run:
    """The inside of `dinolite train`."""
    config, starts = our_config(folder, batch, iterations), list[float]()
    state = make_state(config, device())
    data = load_pictures(split="train", **data_settings(config))
    for crops in ssl_batches(data, config, state.device):
        stamp(starts)
        train_step(state, crops)
    return Run(counted(starts), trainable(state.model.student))


def run_lightly(folder: Path, batch: int, iterations: int) -> Run:
    """`lightly_train.pretrain`, without progress bar, logs and checkpoints. It takes no callback of
    ours, but a strategy, and Lightning tells the strategy of every batch."""
    import lightly_train
    from pytorch_lightning.strategies import SingleDeviceStrategy

    starts, parameters = list[float](), list[int]()

    class Clock(SingleDeviceStrategy):
        def on_train_start(self) -> None:
            assert self.lightning_module is not None
            parameters.append(trainable(self.lightning_module))

        def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
            stamp(starts)

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    cuda = device().type == "cuda"
    with TemporaryDirectory() as out:
        lightly_train.pretrain(
            out=out,
            overwrite=True,
            data=folder / "train",
            epochs=1,
            batch_size=batch,
            devices=1,
            num_workers=0,
            precision="bf16-mixed" if cuda else "32-true",
            accelerator="gpu" if cuda else "cpu",
            strategy=Clock("cuda:0" if cuda else "cpu"),
            trainer_args={"max_steps": iterations, **QUIET},
            **their_settings(),
        )
    return Run(counted(starts), parameters[0])


def measure(batch: int = 8, steps: int = 8) -> Table:
    """Milliseconds of a step; `steps` of them count in each run. ImportError: no LightlyTrain."""
    if find_spec("lightly_train") is None:
        raise ImportError("LightlyTrain is missing: python -m pip install -e '.[lightly]'")
    iterations = WARM_UP + steps + 1  # the last one only ends the one before
    ways, runs = {"dinolite": run_dinolite, "LightlyTrain": run_lightly}, dict[str, list[Run]]()
    with TemporaryDirectory() as temporary:
        write_pictures(Path(temporary), max(PICTURES, batch * iterations))
        with patch.dict(os.environ, ENVIRONMENT, LIGHTLY_TRAIN_CACHE_DIR=f"{temporary}/cache"):
            for name in RUNS * list(ways):
                runs.setdefault(name, []).append(ways[name](Path(temporary), batch, iterations))
                gc.collect()  # a trainer and its model hold each other
    times = {name: Timing([s for r in done for s in r.seconds]) for name, done in runs.items()}
    rows = [
        [
            name,
            *(1e3 * s for s in (t.median, *t.quartiles)),
            batch / t.median,
            runs[name][0].parameters / 1e6,
            ratios(times, "dinolite")[name],
        ]
        for name, t in times.items()
    ]
    sizes = (
        f"ViT-S/{PATCH}, {REGISTERS} registers, K = {PROTOTYPES}, batch {batch}, 2 x {GLOBAL} "
        f"px and {LOCALS} x {LOCAL} px, {RUNS} x {steps} steps"
    )
    columns = [
        "implementation",
        "median ms a step",
        "quartile 1",
        "quartile 3",
        "pictures a second",
        "trained, M",
        "x dinolite's time",
    ]
    note = f"LightlyTrain {version('lightly-train')}. {NOTE}"
    return Table("lightly", sizes, columns, rows, note)


def main(batch: int = 8, steps: int = 8) -> None:
    try:
        print_table(measure(batch, steps))
    except ImportError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    start(main)
