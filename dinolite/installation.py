"""What `dinolite check` says of this machine and this installation."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

import torch

from dinolite import __version__
from dinolite.config import load_config, recipe_names
from dinolite.distributed import pick_device
from dinolite.models.sizes import build_backbone

LIBRARIES = ("torch", "torchvision", "timm")


def describe_installation() -> Iterator[str]:
    """One line each for versions, device, recipes and a picture sent through a small backbone.

    Raises:
        ValueError: a packaged recipe is damaged.
    """
    names = [f"{name} {version(name)}" for name in LIBRARIES]
    yield f"dinolite {__version__}, Python {platform.python_version()}, {', '.join(names)}"
    device = pick_device()
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
    )
    yield f"device: {device} ({name}, {torch.get_num_threads()} threads)"
    for recipe in recipe_names():
        load_config(recipe)
    yield f"recipes: {', '.join(recipe_names())}"
    backbone = build_backbone(load_config("demo").student, teacher=True).eval().to(device)
    feature = backbone(torch.zeros(1, 3, 32, 32, device=device))
    assert feature.shape == (1, backbone.embed_dim) and bool(feature.isfinite().all())
    yield "a picture went through the demo's backbone: ok"
