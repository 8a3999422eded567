"""Windows and mosaics of photographs: how many, how large, each from where it should be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import windows_of_photographs as tool


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three: vertical stripes of 12 px, horizontal ones, and a flat one, which shows nothing."""
    stripes = (np.arange(400) // 12 % 2 * 200).astype(np.uint8)
    shapes = {"v": np.tile(stripes, (400, 1)), "h": np.tile(stripes[:, None], (1, 400))}
    shapes["flat"] = np.full((400, 400), 90, np.uint8)
    (tmp_path / "photographs").mkdir()
    for name, pixels in shapes.items():
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{name}.png")
    return tmp_path / "photographs"


def pictures(folder: Path) -> list[np.ndarray]:
    files = sorted((folder / "train").iterdir())
    return [np.asarray(Image.open(file).convert("RGB")).astype(float) for file in files]


def test_windows_and_mosaics(photographs: Path, tmp_path: Path) -> None:
    tool.write_pictures(photographs, tmp_path / "out", 12, size=48)
    found = pictures(tmp_path / "out")
    assert [p.shape for p in found] == 12 * [(48, 48, 3)]
    both = 0
    for i, picture in enumerate(found):
        grey = picture.mean(2)
        assert grey.std() > 10  # the flat photograph gives no window
        # In a window of stripes all rows are alike, or all columns; in most mosaics neither.
        unlike = min(grey.std(axis).max() for axis in (0, 1))
        if i % 2 == 0:
            assert unlike < 1
        both += unlike > 10
    assert both >= 3


def test_the_same_again_and_another_seed(photographs: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tool.write_pictures(photographs, tmp_path / name, 4, size=24, seed=seed)
    a, b, c = (pictures(tmp_path / name) for name in "abc")
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert any((x != y).any() for x, y in zip(a, c, strict=True))


def test_refusals(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already"):
        tool.write_pictures(photographs, tmp_path, 4)
    with pytest.raises(ValueError, match="number = 0"):
        tool.write_pictures(photographs, tmp_path / "new", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no readable picture"):
        tool.write_pictures(tmp_path / "empty", tmp_path / "new", 4)
