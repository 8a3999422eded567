"""Procedural scenes: seeded, labelled by the largest object, with masks that fit, and not solved by
colour or raw pixels.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, one_hot

from dinolite.data.demo_pictures.scenes import SCENE_CLASSES, Scenes, make_scenes


@pytest.fixture(scope="module")
def train() -> Scenes:
    return make_scenes(1000, 1)


@pytest.fixture(scope="module")
def test() -> Scenes:
    return make_scenes(400, 1_000_002)


def vote(similarity: Tensor, train: Scenes, test: Scenes) -> float:
    """Accuracy of the 20 most similar training scenes' majority."""
    near = similarity.topk(20, 1).indices
    votes = one_hot(train.labels[near], len(SCENE_CLASSES)).sum(1)
    return float((votes.argmax(1) == test.labels).float().mean())


def test_shapes_types_and_classes() -> None:
    images, labels, masks = make_scenes(70, 3, size=48)  # more than one chunk, not a full one
    assert images.shape == (70, 3, 48, 48) and images.dtype == torch.uint8
    assert labels.shape == (70,) and labels.dtype == torch.int64
    assert masks.shape == (70, 48, 48) and masks.dtype == torch.int64
    assert len(set(SCENE_CLASSES)) == len(SCENE_CLASSES) == 8
    assert masks.min() == 0 and masks.max() == 8


def test_same_seed_same_scenes() -> None:
    first, again, other = (make_scenes(80, seed) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.images, other.images)


def test_no_scene_comes_twice(train: Scenes, test: Scenes) -> None:
    both = torch.cat([train.images, test.images])
    assert len({scene.numpy().tobytes() for scene in both}) == 1400


def test_each_texture_and_each_shape_has_two_classes() -> None:
    textures, shapes = zip(*(name.split() for name in SCENE_CLASSES), strict=True)
    for parts in (textures, shapes):
        assert len(set(parts)) == 4
        assert all(parts.count(part) == 2 for part in parts)


def test_label_is_the_class_of_the_largest_object(test: Scenes) -> None:
    areas = one_hot(test.masks.flatten(1), len(SCENE_CLASSES) + 1).sum(1)[:, 1:]
    assert torch.equal(areas.argmax(1), test.labels)
    # a disc of 0.19 to 0.29 picture sides, of which a corner may stick out of the picture
    main = areas.amax(1) / 64**2
    assert main.max() < math.pi * 0.29**2 * 1.02
    assert main.min() > math.pi * 0.19**2 * 0.7


def test_classes_and_distractors_are_evenly_spread(train: Scenes) -> None:
    counts = torch.bincount(train.labels, minlength=8)
    assert (counts - 125).abs().max() < 5 * math.sqrt(1000 * 1 / 8 * 7 / 8)
    present = (one_hot(train.masks.flatten(1), 9).sum(1)[:, 1:] > 0).sum(1)
    share = torch.bincount(present, minlength=5)[1:] / 1000  # 1 to 4 objects seen
    assert share.min() > 0.15 and share.sum() == 1


def test_order_says_nothing_about_the_number_of_objects(train: Scenes) -> None:
    present = (one_hot(train.masks.flatten(1), 9).sum(1)[:, 1:] > 0).sum(1).float()
    place = torch.arange(1000) % 64
    correlation = torch.corrcoef(torch.stack([present, place.float()]))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(1000)


def test_masks_lie_on_the_objects(test: Scenes) -> None:
    """Textures have sharp steps, the background has few: pictures change most on their objects."""
    x = test.images.float().mean(1)
    change = (x[:, :, 1:] - x[:, :, :-1]).abs()
    on = (test.masks[:, :, 1:] > 0) & (test.masks[:, :, :-1] > 0)
    assert change[on].mean() > 1.5 * change[~on].mean()


def test_colour_tells_nothing(train: Scenes, test: Scenes) -> None:
    a, b = (s.images.float().mean((2, 3)) for s in (train, test))
    spread = a.std(0)
    assert vote(-torch.cdist(b / spread, a / spread), train, test) < 0.18  # chance is 0.125


def moments(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Mean colour of the main objects [n, 3], and skewness of their brightness [n]."""
    main = (scenes.masks == scenes.labels[:, None, None] + 1)[:, None].float()
    x, area = scenes.images.float(), main.sum((2, 3))
    grey = x.mean(1, keepdim=True)
    away = (grey - ((grey * main).sum((2, 3)) / area)[:, :, None, None]) * main
    spread = ((away**2).sum((2, 3)) / area).sqrt()
    skew = (away**3).sum((2, 3)) / area / spread**3
    return (x * main).sum((2, 3)) / area, skew[:, 0]


def test_the_colour_of_the_object_itself_tells_nothing(train: Scenes, test: Scenes) -> None:
    (a, _), (b, _) = moments(train), moments(test)
    assert vote(-torch.cdist(b, a), train, test) < 0.18


def test_dots_are_light_on_dark_as_often_as_dark_on_light(train: Scenes) -> None:
    dotted = torch.tensor(["dotted" in name for name in SCENE_CLASSES])[train.labels]
    _, skew = moments(train)
    n = int(dotted.sum())
    assert n > 200 and abs((skew[dotted] > 0).float().mean() - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert skew[dotted].abs().mean() > 2 * skew[~dotted].abs().mean()  # dots are the smaller part


@pytest.mark.parametrize("pool", [1, 8])
def test_raw_pixels_tell_little(train: Scenes, test: Scenes, pool: int) -> None:
    a, b = (avg_pool2d(s.images.float(), pool).flatten(1) for s in (train, test))
    centre = a.mean(0)
    plain = vote(normalize(b, dim=1) @ normalize(a, dim=1).T, train, test)
    centred = vote(normalize(b - centre, dim=1) @ normalize(a - centre, dim=1).T, train, test)
    assert max(plain, centred) < 0.25


def test_shape_of_the_mask_tells_half_of_the_class(train: Scenes, test: Scenes) -> None:
    """The classes can be seen: the outline alone, measured around its centre, gives the shape."""

    def outline(scenes: Scenes) -> Tensor:
        main = scenes.masks == scenes.labels[:, None, None] + 1
        axis = torch.arange(64.0)
        area = main.sum((1, 2)).clamp_min(1)
        cx = (main * axis).sum((1, 2)) / area
        cy = (main * axis[:, None]).sum((1, 2)) / area
        r = ((axis - cx[:, None, None]) ** 2 + (axis[:, None] - cy[:, None, None]) ** 2).sqrt()
        r = r / (area / math.pi).sqrt()[:, None, None]
        edges = torch.linspace(0, 1.6, 9)
        return torch.stack(
            [
                (main & (r >= low) & (r < high)).sum((1, 2)) / area
                for low, high in edges.unfold(0, 2, 1)
            ],
            1,
        )

    score = vote(-torch.cdist(outline(test), outline(train)), train, test)
    assert 0.35 < score < 0.65  # four shapes, two classes each: 0.5 at best but for luck


@pytest.mark.parametrize(("n", "size", "said"), [(0, 64, "n=0"), (4, 16, "size=16")])
def test_bad_arguments_are_named(n: int, size: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*allowed"):
        make_scenes(n, 0, size)
