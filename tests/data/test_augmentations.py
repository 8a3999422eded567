"""Batched augmentation against torchvision, operation by operation, and the two pipelines'
crops."""

import pickle

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dinolite.config import CropsConfig
from dinolite.data import batched_augmentations
from dinolite.data.augmentations import Crops, DataAugmentationDINO, resize
from dinolite.data.batched_augmentations import BatchedAugmentation, crop_and_resize, random_boxes
from dinolite.data.loaders import generator_of

QUIET = {
    "color_jitter_prob": 0.0,
    "grayscale_prob": 0.0,
    "blur_prob": (0.0, 0.0, 0.0),
    "solarize_prob": 0.0,
    "horizontal_flips": False,
}


@pytest.mark.parametrize("size", [16, 24, 60])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_resize_is_torchvisions(size: int, flip: bool) -> None:
    """Scaling down by up to 3 and up by up to 5, two boxes for each of two pictures."""
    images = torch.randint(0, 256, (2, 3, 48, 40), dtype=torch.uint8)
    boxes = torch.tensor([[[3, 5, 40, 30], [0, 0, 48, 40]], [[10, 2, 12, 38], [20, 20, 11, 9]]])
    crops = crop_and_resize(images, boxes, torch.full((2, 2), flip), size)
    for b in range(2):
        for n in range(2):
            y, x, h, w = boxes[b, n].tolist()
            expected = F.resized_crop(
                images[b].float() / 255, y, x, h, w, [size, size], InterpolationMode.BICUBIC
            ).clamp(0, 1)
            expected = expected.flip(-1) if flip else expected
            assert torch.allclose(crops[n * 2 + b], expected, atol=2e-3), (b, n)


def test_boxes_lie_inside_and_have_the_asked_areas() -> None:
    sizes = torch.tensor([[32, 32], [100, 50], [7, 200], [1, 1]])
    boxes = random_boxes(sizes, 500, (0.2, 0.5), generator_of(0))
    top, left, h, w = boxes.unbind(-1)
    assert (top >= 0).all() and (left >= 0).all() and (h >= 1).all() and (w >= 1).all()
    assert (top + h <= sizes[:, None, 0]).all() and (left + w <= sizes[:, None, 1]).all()
    share = (h * w / sizes.prod(1)[:, None])[:2]  # the other two are too flat to allow it
    assert share.min() > 0.17 and share.max() < 0.53
    assert share.mean().item() == pytest.approx(0.35, abs=0.02)
    aspect = (w / h)[:2]
    assert aspect.min() > 0.65 and aspect.max() < 1.5


def test_a_picture_too_flat_gets_its_central_box() -> None:
    """7 x 200 pixels cannot hold 20 % in aspect 3/4 to 4/3; the best is 7 x 9 in the middle."""
    boxes = random_boxes(torch.tensor([[7, 200]]), 3, (0.2, 0.5), generator_of(0))
    assert boxes[0].tolist() == [[0, 95, 7, 9]] * 3


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_color_changes_are_torchvisions(name: str) -> None:
    x = torch.rand(4, 3, 9, 11)
    x[0] = 0.5  # grey: the hue is undefined
    factors = torch.tensor([0.7, 1.0, 1.4, 0.2]) - (1.0 if name == "hue" else 0.0)
    factors = factors.clamp(-0.5, 0.5) if name == "hue" else factors
    actual = getattr(batched_augmentations, f"adjust_{name}")(x, factors[:, None, None, None])
    for i in range(4):
        expected = getattr(F, f"adjust_{name}")(x[i], factors[i].item())
        assert torch.allclose(actual[i], expected, atol=1e-3), i


def test_grayscale_is_torchvisions() -> None:
    x = torch.rand(2, 3, 5, 5)
    assert torch.allclose(batched_augmentations.grayscale(x), F.rgb_to_grayscale(x), atol=1e-3)


def test_blur_is_torchvisions() -> None:
    x = torch.rand(3, 3, 20, 17)
    sigma = torch.tensor([0.1, 0.8, 2.0])
    actual = batched_augmentations.gaussian_blur(x, sigma)
    for i in range(3):
        expected = F.gaussian_blur(x[i], [9, 9], [sigma[i].item()] * 2)
        assert torch.allclose(actual[i], expected, atol=1e-5)


def test_blur_of_pictures_smaller_than_the_kernel() -> None:
    assert torch.allclose(
        batched_augmentations.gaussian_blur(torch.ones(2, 3, 3, 2), torch.ones(2)),
        torch.ones(2, 3, 3, 2),
    )


def test_solarize_inverts_the_bright_half() -> None:
    x = torch.tensor([0.2, 0.5, 0.6, 1.0]).expand(1, 3, 1, 4)
    out = batched_augmentations.random_solarize(x, 1.0, None)
    assert torch.allclose(out[0, 0, 0], torch.tensor([0.2, 0.5, 0.4, 0.0]))
    assert torch.equal(batched_augmentations.random_solarize(x, 0.0, None), x)


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0.0), (0.9, 0.9), (0.5, 0.5)])
def test_blur_frequencies_are_the_effective_official_ones(
    probability: float, expected: float
) -> None:
    x = torch.rand(2000, 1, 3, 3)
    blurred = batched_augmentations.random_blur(x, probability, (0.5, 2.0), generator_of(0))
    share = (blurred != x).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(expected, abs=0.03)
    assert CropsConfig().blur_prob == (0.0, 0.9, 0.5)


def test_hue_and_gray_frequencies() -> None:
    change = batched_augmentations.ColorChange.draw(4000, CropsConfig(), generator_of(0))
    assert (change.factors["hue"] != 0).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert change.gray.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert change.factors["brightness"].min() >= 0.6 and change.factors["brightness"].max() <= 1.4


def photo_batch(sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    canvas = torch.zeros(len(sizes), 3, max(h for h, _ in sizes), max(w for _, w in sizes))
    for i, (h, w) in enumerate(sizes):
        canvas[i, :, :h, :w] = 60 + 10 * i
    return canvas.to(torch.uint8), torch.tensor(sizes)


SMALL = {"global_crops_size": 32, "local_crops_size": 16, "local_crops_number": 3}


def test_shapes_crop_major_and_no_padding_leaks() -> None:
    """Pictures of one colour each, on a common canvas: every crop has its picture's colour."""
    canvas, sizes = photo_batch([(40, 60), (64, 32), (50, 50)])
    crops = CropsConfig(**SMALL, **QUIET, gram_teacher_crops_size=64)
    out = BatchedAugmentation(crops)(canvas, sizes, generator_of(0))
    assert out["global_crops"].shape == (6, 3, 32, 32)
    assert out["local_crops"].shape == (9, 3, 16, 16)
    assert out["gram_teacher_crops"].shape == (6, 3, 64, 64)
    mean, std = torch.tensor(crops.rgb_mean), torch.tensor(crops.rgb_std)
    for x in out.values():
        for i, crop in enumerate(x):
            color = ((60 + 10 * (i % 3)) / 255 - mean) / std
            assert torch.allclose(crop, color[:, None, None].expand_as(crop), atol=1e-4)


def test_gram_crops_without_distortions_show_the_same_place() -> None:
    canvas, sizes = photo_batch([(64, 64)] * 4)
    canvas = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8), size=64, mode="bilinear")
    canvas = (canvas * 255).to(torch.uint8)
    crops = CropsConfig(
        **{**SMALL, **QUIET, "horizontal_flips": True},
        gram_teacher_crops_size=64,
        gram_teacher_no_distortions=True,
    )
    out = BatchedAugmentation(crops)(canvas, sizes, generator_of(0))
    small = torch.nn.functional.avg_pool2d(out["gram_teacher_crops"], 2)
    assert (small - out["global_crops"]).abs().mean() < 0.05
    assert (small.flip(-1) - out["global_crops"]).abs().mean() > 0.3


def test_same_generator_same_crops_other_generator_other_crops() -> None:
    canvas, sizes = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), torch.full((2, 2), 32)
    augment = BatchedAugmentation(CropsConfig(**SMALL))
    first, again = augment(canvas, sizes, generator_of(1)), augment(canvas, sizes, generator_of(1))
    other = augment(canvas, sizes, generator_of(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["global_crops"], other["global_crops"])
    assert all(x.isfinite().all() for x in first.values())


def test_share_color_jitter_gives_one_change_per_picture() -> None:
    """Pictures of one colour: with shared jitter all crops of a picture are alike."""
    canvas, sizes = photo_batch([(32, 32)] * 3)
    settings = {**QUIET, "color_jitter_prob": 1.0, "share_color_jitter": True}
    out = BatchedAugmentation(CropsConfig(**SMALL, **settings))(canvas, sizes, generator_of(0))
    seen = torch.cat([x[:, :, 8, 8] for x in out.values()]).unflatten(0, (5, 3))  # [crop, B, 3]
    assert torch.allclose(seen, seen[:1].expand_as(seen), atol=1e-4)
    free = BatchedAugmentation(CropsConfig(**SMALL, **{**settings, "share_color_jitter": False}))
    seen = free(canvas, sizes, generator_of(0))["global_crops"][:, :, 8, 8].unflatten(0, (2, 3))
    assert not torch.allclose(seen[0], seen[1], atol=1e-2)


def test_per_image_pipeline_has_the_same_statistics() -> None:
    """Mean and spread of 80 crops from either pipeline, official settings."""
    torch.manual_seed(0)
    canvas = torch.nn.functional.interpolate(torch.rand(40, 3, 6, 6), size=48, mode="bicubic")
    canvas = (canvas.clamp(0, 1) * 255).to(torch.uint8)
    crops = CropsConfig(**SMALL, gram_teacher_crops_size=64)
    per_image = DataAugmentationDINO(crops)
    singles = [per_image(picture) for picture in canvas for _ in range(2)]
    batched = BatchedAugmentation(crops)(
        canvas.repeat(2, 1, 1, 1), torch.full((80, 2), 48), generator_of(0)
    )
    for name in ("global_crops", "local_crops", "gram_teacher_crops"):
        a = torch.stack([s[name] for s in singles], 1)  # [n, 80, 3, H, W]
        b = batched[name].unflatten(0, (-1, 80))
        assert a.shape == b.shape
        for crop_a, crop_b in zip(a, b, strict=True):
            means = [c.mean((1, 2, 3)) for c in (crop_a, crop_b)]
            error = ((means[0].var() + means[1].var()) / 80).sqrt()
            assert (means[0].mean() - means[1].mean()).abs() < 4 * error
            assert crop_a.std().item() == pytest.approx(crop_b.std().item(), rel=0.08)
            edges = [(c[..., 1:] - c[..., :-1]).abs().mean().item() for c in (crop_a, crop_b)]
            assert edges[0] == pytest.approx(edges[1], rel=0.2)


def test_undistorted_crops_are_made_for_the_gram_teacher_alone() -> None:
    """And the pipeline can be sent to a worker that is spawned."""
    picture = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    finished = []
    for changes in ({}, {"gram_teacher_crops_size": 64, "gram_teacher_no_distortions": True}):
        augment = pickle.loads(pickle.dumps(DataAugmentationDINO(CropsConfig(**SMALL, **changes))))
        finish, sizes = augment.finish, []
        augment.finish = lambda x, sizes=sizes, finish=finish: sizes.append(len(x[0])) or finish(x)
        augment(picture)
        finished.append(sizes)
    assert finished == [[32] * 2 + [16] * 3, [32] * 2 + [64] * 2 + [16] * 3]


WHOLE = {"global_crops_scale": (1.0, 1.0), "local_crops_scale": (1.0, 1.0)}


def both_pipelines(picture: torch.Tensor, crops: CropsConfig, times: int = 1) -> list[Crops]:
    """The crops of one picture, `times` over, from either pipeline, in [0, 1]."""
    many = picture.expand(times, -1, -1, -1)
    sizes = torch.tensor([picture.shape[1:]]).expand(times, 2)
    batched = BatchedAugmentation(crops, patch_size=4)(many, sizes, generator_of(0))
    per_image = DataAugmentationDINO(crops, patch_size=4)
    singles = [per_image(picture) for _ in range(times)]
    one_by_one = {k: torch.stack([s[k] for s in singles], 1).flatten(0, 1) for k in batched}
    mean, std = (torch.tensor(x)[:, None, None] for x in (crops.rgb_mean, crops.rgb_std))
    return [{k: x * std + mean for k, x in out.items()} for out in (batched, one_by_one)]


def noise(h: int, w: int, cells: int = 8) -> torch.Tensor:
    small = torch.rand(1, 3, h // cells, w // cells)
    return (resize(small, (h, w))[0].clamp(0, 1) * 255).to(torch.uint8)


@pytest.mark.parametrize("gram", [96, 24])
def test_with_undistorted_gram_crops_all_come_from_one_cut(gram: int) -> None:
    """At the larger size, then scaled down, in [0, 1] again: as the official does it on 8 bits.
    Cut out at once, global crops would be sharper."""
    black_and_white = (torch.rand(3, 144, 144) > 0.5).to(torch.uint8) * 255
    settings = {"gram_teacher_crops_size": gram, "gram_teacher_no_distortions": True}
    crops = CropsConfig(**SMALL, **QUIET, **WHOLE, **settings)
    for x in (x for out in both_pipelines(black_and_white, crops) for x in out.values()):
        assert x.min() > -1e-6 and x.max() < 1 + 1e-6
    picture = black_and_white // 2 + 64  # nothing is cut off
    batched, one_by_one = both_pipelines(picture, crops)
    for name, x in batched.items():
        assert (x - one_by_one[name]).abs().mean() < 0.5 / 255, name
    once, twice = (resize(x, 32) for x in (picture[None] / 255, batched["gram_teacher_crops"]))
    if gram > 32:
        assert torch.allclose(batched["global_crops"], twice, atol=1e-5)
        assert not torch.allclose(batched["global_crops"], once, atol=1e-3)


def test_crops_that_are_not_square_keep_the_shapes_of_things() -> None:
    """All of a picture in the crop's aspect, from both pipelines; and boxes have that aspect."""
    sizes = {
        "global_crops_size": (32, 48),
        "local_crops_size": (24, 16),
        "gram_teacher_crops_size": (64, 96),
    }
    picture = noise(64, 96)
    for x in both_pipelines(picture, CropsConfig(local_crops_number=1, **sizes, **QUIET, **WHOLE)):
        assert {k: tuple(v.shape[2:]) for k, v in x.items()} == {
            k.removesuffix("_size"): size for k, size in sizes.items()
        }
        whole = resize(picture[None] / 255, (32, 48))
        assert (x["global_crops"] - whole).abs().mean() < 0.02
        middle = resize(picture[None, :, :, 20:76] / 255, (24, 16))  # 64 x 57, 4/3 of the aspect
        assert (x["local_crops"] - middle).abs().mean() < 0.03
    boxes = random_boxes(torch.tensor([[200, 200]]), 500, (0.1, 0.3), generator_of(0), (1.5, 2.6))
    aspect = boxes[0, :, 3] / boxes[0, :, 2]
    assert 1.4 < aspect.min() < 1.6 and 2.4 < aspect.max() < 2.7


@pytest.mark.parametrize("size", [(4, 48), (48, 4)])
@pytest.mark.parametrize("h_w", [(1, 1), (1, 90), (90, 1), (3, 5)])
def test_pictures_of_a_few_pixels(size: tuple[int, int], h_w: tuple[int, int]) -> None:
    """No box of theirs has the crop's aspect, and still there is a crop, of their colour."""
    crops = CropsConfig(global_crops_size=size, local_crops_size=8, local_crops_number=1, **QUIET)
    picture = torch.full((3, *h_w), 51, dtype=torch.uint8)
    for out in both_pipelines(picture, crops):
        assert torch.allclose(out["global_crops"], torch.tensor(0.2), atol=1e-5)
        assert out["global_crops"].shape == (2, 3, *size)


def test_resize_looks_at_both_sides() -> None:
    assert resize(torch.rand(1, 3, 8, 16), 16).shape == (1, 3, 16, 16)
    assert resize(torch.rand(1, 3, 16, 8), (16, 4)).shape == (1, 3, 16, 4)


@pytest.mark.parametrize("gram", [None, 64])
def test_local_crops_that_are_windows_of_global_ones(gram: int | None) -> None:
    """At whole patches of 4 pixels, the last place left out, half of them of each global crop; of
    the larger cut where there is one: as the official."""
    settings = {"localcrops_subset_of_globalcrops": True, "gram_teacher_crops_size": gram}
    crops = CropsConfig(**{**SMALL, **QUIET, **settings, "local_crops_number": 4})
    source = "gram_teacher_crops" if gram else "global_crops"
    for out in both_pipelines(noise(64, 64), crops, times=40):
        local = out["local_crops"].unflatten(0, (2, 2, 40)).transpose(0, 1)  # [2, crop, B, ...]
        places = out[source].unfold(2, 16, 4).unfold(3, 16, 4).unflatten(0, (2, 40))
        off = local[:, :, :, :, None, None] - places  # [2, 2, 40, 3, rows, columns, 16, 16]
        off = off.abs().amax((3, 6, 7))  # [2, 2, 40, rows, columns]
        found = (off < 1e-5).nonzero()
        assert len(found) == 2 * 2 * 40  # each is somewhere, and there only
        for axis in (3, 4):
            assert torch.bincount(found[:, axis], minlength=4).shape == (4,)
            assert torch.bincount(found[:, axis]).min() > 20
