"""Photo windows: the splits share no pixel, and brightness and contrast give no class away."""

import importlib.util

import pytest
import torch
from torch import Tensor

from dinolite.data.demo_pictures import photographs as photographs_module
from dinolite.data.demo_pictures.photographs import (
    CLASSES,
    _resize_weights,
    grey_photographs,
    make_windows,
    photograph_path,
    photographs,
    window_boxes,
)

SHAPES = {name: tuple(p.shape) for name, p in zip(CLASSES, grey_photographs(), strict=True)}


@pytest.fixture(scope="module")
def splits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return make_windows(1000, "train", 1), make_windows(400, "test", 1_000_002)


def knn(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Accuracy of a vote of the 20 nearest, each feature brought to unit spread."""
    mean, std = train.mean(0), train.std(0)
    near = torch.cdist((test - mean) / std, (train - mean) / std).topk(20, 1, largest=False)
    votes = torch.nn.functional.one_hot(train_labels[near.indices], len(CLASSES)).sum(1)
    return float((votes.argmax(1) == test_labels).float().mean())


def test_the_sixteen_photographs_are_whole_and_in_colour() -> None:
    pictures = photographs()
    assert len(pictures) == len(CLASSES) == 16 and list(pictures) == list(CLASSES)
    assert pictures["astronaut"].shape == (3, 512, 512)
    assert pictures["china"].shape == (3, 427, 640)
    assert all(p.dtype == torch.uint8 for p in pictures.values())
    # A grey photograph stays grey, a colour one does not become so.
    assert torch.equal(pictures["brick"][0], pictures["brick"][2])
    assert not torch.equal(pictures["coffee"][0], pictures["coffee"][2])


def test_grey_photographs_have_the_short_side_of_384() -> None:
    assert all(min(shape) == 384 for shape in SHAPES.values())
    assert SHAPES["china"] == (384, round(640 * 384 / 427))


def test_shapes_types_and_grey() -> None:
    images, labels = make_windows(40, "train", 3, size=48)
    assert images.shape == (40, 3, 48, 48) and images.dtype == torch.uint8
    assert labels.shape == (40,) and labels.dtype == torch.int64
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_same_seed_same_windows() -> None:
    first, again, other = (make_windows(50, "test", seed) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_all_classes_come_up(splits: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    counts = torch.bincount(splits[0][1], minlength=16)
    # 1000 uniform draws: 62.5 each, standard deviation 7.7; five of those either way
    assert counts.min() > 62.5 - 38 and counts.max() < 62.5 + 38


@pytest.mark.parametrize("side", [(48, 100), (16, 24)])
def test_no_pixel_is_in_both_splits(side: tuple[int, int]) -> None:
    """Paint all test windows, then all training windows widened by 8 pixels: they never meet."""
    painted = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    for label, x, y, s in zip(*window_boxes(3000, "test", 2, side), strict=True):
        painted[CLASSES[label]][y : y + s, x : x + s] = True
    assert all(p.any() for p in painted.values())
    for label, x, y, s in zip(*window_boxes(3000, "train", 1, side), strict=True):
        rows = slice(max(0, int(y) - 8), int(y + s) + 8)
        columns = slice(max(0, int(x) - 8), int(x + s) + 8)
        assert not painted[CLASSES[label]][rows, columns].any()


@pytest.mark.parametrize("split", ["train", "test"])
def test_boxes_lie_inside_their_photograph(split: str) -> None:
    boxes = window_boxes(3000, split, 4)
    h, w = torch.tensor([SHAPES[name] for name in CLASSES])[boxes.labels].unbind(1)
    assert boxes.side.min() == 48 and boxes.side.max() == 100  # both ends come up in 3000 draws
    assert (boxes.x0 >= 0).all() and (boxes.x0 + boxes.side <= w).all()
    assert (boxes.y0 >= 0).all() and (boxes.y0 + boxes.side <= h).all()


def test_test_windows_lie_in_one_diagonal_cell() -> None:
    labels, x, y, s = window_boxes(2000, "test", 4)
    h, w = torch.tensor([SHAPES[name] for name in CLASSES])[labels].unbind(1)
    inside = [
        (x >= c * w / 3)
        & (x + s <= (c + 1) * w / 3)
        & (y >= c * h / 3)
        & (y + s <= (c + 1) * h / 3)
        for c in range(3)
    ]
    assert torch.stack(inside).sum(0).eq(1).all()
    assert all(cell.any() for cell in inside)


@pytest.mark.parametrize("size", [16, 120])
def test_a_window_is_its_box_resized(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """On a photograph that grows by one grey level a column, each window is a straight ramp."""
    # 256 columns of 0..255, then 0..127: the jump lies on the edge of a cell, in no test window.
    ramp = (torch.arange(384) % 256).to(torch.uint8).expand(384, 384)
    monkeypatch.setattr(
        "dinolite.data.demo_pictures.photographs.grey_photographs", lambda: [ramp] * 16
    )
    images, _ = make_windows(200, "test", 7, size=size)
    rows = images[:, 0].float()
    assert (rows - rows[:, :1]).abs().max() == 0  # nothing changes downwards
    first = rows[:, 0, 2:-2]  # enlarging flattens the outermost pixels
    steps = first.diff(dim=1)
    inside = (first > 0) & (first < 255)
    unclipped = inside[:, 1:] & inside[:, :-1]
    steepest = steps.masked_fill(~unclipped, -999).amax(1)
    flattest = steps.masked_fill(~unclipped, 999).amin(1)
    assert (steepest - flattest).max() <= 2  # straight, but for rounding and the pixels' own steps
    assert unclipped.float().mean() > 0.8
    assert 0.35 < (steps.sum(1) < 0).float().mean() < 0.65  # half of them mirrored


def test_brightness_and_contrast_do_not_tell_the_class(
    splits: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    (train, train_labels), (test, test_labels) = splits

    def statistics(images: Tensor) -> Tensor:
        x = images[:, 0].flatten(1).float()
        return torch.stack([x.mean(1), x.std(1)], 1)

    score = knn(statistics(train), train_labels, statistics(test), test_labels)
    assert score < 0.15  # chance is 0.0625
    means, stds = statistics(train).unbind(1)
    assert means.std() > 12 and stds.std() > 6  # drawn from 95..160 and about 30..65


def test_flat_places_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of standard deviation 255 / sqrt(12) = 74 right of column 160, one grey value left."""
    picture = torch.randint(0, 256, (384, 384), dtype=torch.uint8)
    picture[:, :160] = 90
    monkeypatch.setattr(
        "dinolite.data.demo_pictures.photographs.grey_photographs", lambda: [picture] * 16
    )
    _, x, _, s = window_boxes(500, "test", 1)
    assert (x + s > 160).all()  # none lies in the flat part, which has all of the first cell
    share = (x + s - 160).clamp(max=s) / s  # of the window that has noise
    # A share p of noise and the rest flat, both of mean m: std is at least 74 sqrt(p).
    assert (share > (6 / 74) ** 2 / 4).all()


def test_resizing_takes_each_pixel_of_the_box_and_no_other() -> None:
    smaller, larger = (_resize_weights(torch.tensor([48]), size, 60)[0] for size in (32, 96))
    for weights in (smaller, larger):
        assert torch.allclose(weights.sum(1), torch.ones(len(weights)))
        assert weights[:, 48:].abs().sum() == 0
    # Each of 48 pixels goes into 32 with the same total weight; 1.5 pixels go into each.
    assert torch.allclose(smaller[:, :48].sum(0), torch.full((48,), 32 / 48))
    assert torch.allclose(smaller[0, :3], torch.tensor([2 / 3, 1 / 3, 0]))
    # Twice as many: output 1 lies a quarter pixel right of pixel 0's centre, output 0 at the edge.
    assert torch.allclose(larger[1, :2], torch.tensor([0.75, 0.25]))
    assert torch.allclose(larger[0, :2], torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 0}, "n=0"),
        ({"split": "val"}, "split='val'"),
        ({"size": 2}, "size=2"),
        ({"side": (100, 48)}, "side=(100, 48)"),
        ({"side": (48, 128)}, "side=(48, 128)"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError) as error:
        make_windows(**({"n": 4, "split": "train", "seed": 0} | arguments))  # type: ignore[arg-type]
    assert said in str(error.value) and "allowed" in str(error.value)


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (("skimage", "data/no_such_photograph.png"), *photographs_module._FILES[1:])
    monkeypatch.setattr(photographs_module, "_FILES", files)
    with pytest.raises(FileNotFoundError, match=r"scikit-image.*no_such_photograph\.png"):
        photograph_path("astronaut")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        photograph_path("china")
