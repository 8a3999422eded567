"""The sixteen photographs that lie inside the wheels of scikit-image and scikit-learn: real
pictures without a download. data/README.md says where each comes from. No counterpart in the paper
or the official code.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from dinolite.data.decoding import to_tensor

# file inside the wheel -> class; the order of the lines is the order of the labels
_FILES = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/text.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/page.png"),
    ("skimage", "data/camera.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/retina.jpg"),
)
CLASSES: tuple[str, ...] = tuple(Path(file).stem for _, file in _FILES)
SHORT_SIDE = 384  # of the grey photographs that windows are cut from


def photograph_path(name: str) -> Path:
    """The file of photograph `name` (one of `CLASSES`) in the installed wheel.

    Raises ValueError for an unknown name, FileNotFoundError if the package or the file is missing.
    """
    if name not in CLASSES:
        raise ValueError(f"name={name!r} is no bundled photograph; allowed: {', '.join(CLASSES)}")
    package, file = _FILES[CLASSES.index(name)]
    wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    found = importlib.util.find_spec(package)  # looks the folder up without importing the package
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"photograph {name!r} is part of {wheel}; run: pip install {wheel}")
    path = Path(found.submodule_search_locations[0]) / file
    if not path.is_file():
        raise FileNotFoundError(
            f"photograph {name!r} is missing: the installed {wheel} does not ship {path}; "
            f"dinolite was tested with scikit-image 0.26 and scikit-learn 1.9"
        )
    return path


def photographs() -> dict[str, UInt8[Tensor, "3 _ _"]]:
    """The sixteen photographs whole, RGB, at their own sizes, in the order of `CLASSES`."""
    return {name: to_tensor(Image.open(photograph_path(name)).convert("RGB")) for name in CLASSES}


def grey_photographs() -> list[UInt8[Tensor, "_ _"]]:
    """The photographs as the windows see them: grey, short side 384 px, in order of `CLASSES`."""
    pictures = []
    for name in CLASSES:
        picture = Image.open(photograph_path(name)).convert("L")
        if name == "retina":  # cut the black frame around the round field of view away
            w, h = picture.size
            picture = picture.crop((w // 5, h // 5, w * 4 // 5, h * 4 // 5))
        scale = SHORT_SIDE / min(picture.size)
        w, h = (round(edge * scale) for edge in picture.size)
        how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        pictures.append(to_tensor(picture.resize((w, h), how))[0])
    return pictures
