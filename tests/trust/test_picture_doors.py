"""Every function that takes pictures, given what people have instead: floats, channels last, grey,
RGBA, one picture, a list. It is right, or refused in one sentence; the same at every door."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dinolite.data.datasets import ListPictures, TensorPictures
from dinolite.data.picture_checks import as_pictures
from dinolite.eval.features import (
    as_grey,
    extract_features,
    extract_patches,
    pixel_features,
    preprocess,
    scaled,
    square,
)
from dinolite.eval.knn import best_pixel_knn, knn_classify
from dinolite.eval.linear import ridge_probe
from dinolite.eval.segmentation import pixel_patches, segmentation_probe
from dinolite.explore.gallery import Gallery, NetSource, PixelSource
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.viz.attention import attention_figure
from dinolite.viz.pca import pca_figure
from dinolite.viz.similarity import nearest_figure, similarity_figure
from dinolite.viz.style import to_picture
from tests.trust.conftest import Faults

torch.manual_seed(0)
NET = DinoVisionTransformer(patch_size=4, embed_dim=16, depth=1, num_heads=1).eval()
GOOD = torch.randint(0, 256, (4, 3, 8, 12), dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])
MAP, ONE = torch.randn(1, 5, 2, 3), torch.tensor([0])  # for figures, of one picture
SEEN = "one sentence with the way out, at every function that takes pictures"


BATCHES: dict[str, Callable[[Any], Any]] = {
    "extract_features": lambda x: extract_features(NET, x),
    "extract_features, size": lambda x: extract_features(NET, x, size=8),
    "extract_patches": lambda x: extract_patches(NET, x),
    "preprocess": preprocess,
    "pixel_features": pixel_features,
    "pixel_patches": lambda x: pixel_patches(x, 4),
    "best_pixel_knn": lambda x: best_pixel_knn(x, LABELS, x, LABELS, (1,), (8,)),
    "scaled": lambda x: scaled(x, 8),
    "as_grey": as_grey,
    "TensorPictures": lambda x: TensorPictures(x, LABELS, "ab"),
    "pca_figure": lambda x: pca_figure(x, {"a": MAP}),
    "similarity_figure": lambda x: similarity_figure(x, {"a": MAP}, 0, 0),
    "nearest_figure": lambda x: nearest_figure(x, ONE, x, ONE, {"a": ONE[None]}),
}
SINGLE: dict[str, Callable[[Any], Any]] = {
    "square": lambda x: square(x, 8),
    "ListPictures": lambda x: ListPictures([x], LABELS[:1], "a"),
    "Gallery": lambda x: Gallery({"pixels": PixelSource(4)}, {"a": x}, 8),
    "NetSource": lambda x: NetSource(NET).features(x),
    "NetSource, grey": lambda x: NetSource(NET, grey=True).features(x),
    "PixelSource": lambda x: PixelSource(4).features(x),
    "to_picture": to_picture,
    "attention_figure": lambda x: attention_figure(x, {"a": torch.rand(1, 7, 7)}, (2, 3)),
}
UNIT = GOOD / 255
WRONG: dict[str, tuple[Any, str]] = {
    "floats, 0 to 255": (GOOD.float(), "float32"),
    "floats, normalised": (preprocess(GOOD), "float32"),
    "not finite": (UNIT + torch.nan, "float32"),
    "64-bit numbers": (GOOD.long(), "int64"),
    "channels last": (GOOD.permute(0, 2, 3, 1), "channels last"),
    "grey": (GOOD[:, :1], "grey"),
    "RGBA": (torch.cat([GOOD, GOOD[:, :1]], dim=1), "transparent"),
    "an array": (GOOD.numpy(), "ndarray"),
}


def refused(door: Callable[[Any], Any], given: Any, words: str) -> None:
    with pytest.raises(ValueError) as error:
        door(given)
    said = str(error.value)
    assert words in said and "allowed" in said and "\n" not in said and len(said) < 300, said


@pytest.mark.parametrize("name", [*BATCHES, *SINGLE])
def test_every_door_takes_pictures_and_nothing_else(name: str, faults: Faults) -> None:
    batch = name in BATCHES
    door = BATCHES[name] if batch else SINGLE[name]
    n = 1 if "figure" in name else 4
    door(GOOD[:n] if batch else GOOD[0])
    cases = {k: (x[:n] if batch else x[0], words) for k, (x, words) in WRONG.items()}
    if name in ("NetSource", "NetSource, grey", "PixelSource"):  # they add the batch themselves
        cases = {k: case for k, case in cases.items() if k != "an array"}
    cases["wrong number of axes"] = (GOOD[0], "one picture") if batch else (GOOD, "")
    cases["a grey plane"] = (GOOD[0, 0], "uint8")
    if "figure" in name or name == "to_picture":  # floats in [0, 1] are shown, as lessons do
        assert door(UNIT[:n] if batch else UNIT[0]) is not None
    else:
        cases["floats, 0 to 1"] = (UNIT if batch else UNIT[0], "float32")
    for given, words in cases.values():
        refused(door, given, words)
    plt.close("all")
    faults.survived("pictures of another type or layout", SEEN, len(cases))


WITH_RANGE: dict[str, Callable[..., Tensor]] = {
    "extract_features": lambda x, **how: extract_features(NET, x, **how).joined(),
    "extract_features, size": lambda x, **how: extract_features(NET, x, size=8, **how).joined(),
    "extract_patches": lambda x, **how: extract_patches(NET, x, **how),
    "preprocess": preprocess,
    "pixel_features": pixel_features,
    "pixel_patches": lambda x, **how: pixel_patches(x, 4, **how),
}


@pytest.mark.parametrize("name", WITH_RANGE)
def test_other_numbers_with_their_range_are_the_same_pictures(name: str, faults: Faults) -> None:
    """[0, 1], [-1, 1], 0 to 255, half precision, 12 bits: as the uint8 they stand for."""
    door = WITH_RANGE[name]
    rounded = 1.0 if name.endswith("size") else 0.0  # scaled uint8 are rounded, floats are not
    twelve = (GOOD.int() * 4095 / 255).round().to(torch.int16)
    cases = [
        (UNIT, (0, 1), 1e-5),
        (UNIT.double() * 2 - 1, (-1.0, 1.0), 1e-5),
        (GOOD.float(), (0, 255), 0.0),
        (GOOD, (0, 255), 0.0),
        (UNIT.half(), (0, 1), 1e-2),
        (twelve, (0, 4095), 1e-2),
    ]
    wanted = door(GOOD)
    for given, value_range, close in cases:
        got = door(given, value_range=value_range)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=0, atol=close + 0.05 * rounded)
    for wrong in ((0, 0.5), (0, 0), (1, 0), (0, torch.inf)):
        with pytest.raises(ValueError, match="value_range"):
            door(UNIT, value_range=wrong)
    with pytest.raises(ValueError, match="NaN"):
        door(UNIT.masked_fill(UNIT[0, 0, 0, 0] == UNIT, torch.nan), value_range=(0, 1))
    faults.survived("pictures in other numbers, their range said", "the right features", len(cases))


def test_a_list_of_pictures(faults: Faults) -> None:
    """Of one size as a batch; of several with `size`; no pictures at all in one sentence."""
    whole = extract_features(NET, GOOD).cls
    torch.testing.assert_close(extract_features(NET, list(GOOD)).cls, whole)
    floats = extract_features(NET, tuple(UNIT), value_range=(0, 1)).cls
    torch.testing.assert_close(floats, whole, atol=1e-5, rtol=0)
    assert torch.equal(preprocess(list(GOOD)), preprocess(GOOD))
    mixed = [GOOD[0], GOOD[1, :, :4]]
    assert extract_features(NET, mixed, size=8).cls.shape == (2, 16)
    with pytest.raises(ValueError, match="give size"):
        extract_features(NET, mixed)
    with pytest.raises(ValueError, match="one size"):
        as_pictures(mixed)
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for wrong in ([picture], [GOOD], [GOOD[0, 0]], [UNIT[0]], [None], picture, None, "a.png"):
        refused(lambda x: extract_features(NET, x, size=8), wrong, "")
    faults.survived("lists of pictures, and of other things", "features, or one sentence", 12)


def test_features_and_masks_have_their_doors_too(faults: Faults) -> None:
    """Pictures given to a probe, and masks as files have them."""
    refused(lambda x: ridge_probe(x, LABELS), GOOD, "pixel_features")
    refused(lambda x: ridge_probe(x, LABELS), GOOD.flatten(1), "uint8")
    refused(lambda y: ridge_probe(torch.randn(4, 2), y), LABELS[:3], "int64 [3]")
    refused(lambda y: ridge_probe(torch.randn(4, 2), y), LABELS.float(), "float32")
    refused(lambda x: knn_classify(x, LABELS, x), GOOD, "train_x is")
    maps, masks = torch.randn(4, 5, 2, 3), torch.randint(0, 2, (4, 8, 12))
    segmentation_probe(maps, masks, maps, masks)
    refused(lambda m: segmentation_probe(maps, m, maps, masks), masks.byte(), "255")
    refused(lambda m: segmentation_probe(maps, masks, maps, m), masks[0], "test_masks")
    refused(lambda m: segmentation_probe(maps, m, maps, masks), masks[:3], "[4, H, W]")
    refused(lambda x: segmentation_probe(x, masks, maps, masks), GOOD, "extract_patches")
    faults.survived("pictures or masks given to a probe", SEEN, 9)
