"""dinolite is quick to import: one waits for torch. Heavy helpers load where they are used."""

import subprocess
import sys

import pytest

HEAVY = ("timm", "torchvision", "matplotlib", "skimage", "sklearn")
MODULES = ("dinolite", "dinolite.models.vision_transformer")
ALLOWED = 0.3  # seconds on top of `import torch`
TRIES = 4


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def seconds(module: str) -> float:
    """CPU seconds that importing `module` takes in a fresh interpreter.

    CPU time, so that other programs on the machine do not count.
    """
    return float(
        python(
            f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
        )
    )


@pytest.mark.slow
def test_import_costs_little_more_than_torch() -> None:
    torch, ours = [], []
    for _ in range(TRIES):  # in turn, so that a slow spell hits both
        torch.append(seconds("torch"))
        ours.append(seconds(MODULES[-1]))
    assert min(ours) <= min(torch) + ALLOWED, (
        f"import torch {min(torch):.2f} s, {MODULES[-1]} {min(ours):.2f} s: "
        f"find the culprit with python -X importtime -c 'import {MODULES[-1]}'"
    )


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_load_where_they_are_used(module: str) -> None:
    loaded = python(f"import sys, {module}; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert loaded == "", f"import {module} also imports {loaded}: move the import into a function"
