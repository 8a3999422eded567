"""What is read out of a backbone, shown on one whose features are pixels; scaling, pixel lists."""

import pytest
import torch
from torch import Tensor, nn

from dinolite.data.datasets import ListPictures, PictureDataset, TensorPictures
from dinolite.eval.features import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Features,
    evaluating,
    extract_features,
    extract_patches,
    preprocess,
    scaled,
)
from dinolite.models.vision_transformer import DinoVisionTransformer

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class Plain(nn.Module):
    """CLS = the upper left pixel, plus 100 in training mode; a patch = its mean colour."""

    patch_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, is_training: bool = False) -> dict[str, Tensor]:
        assert is_training  # what makes the official backbone return its dictionary
        self.seen.append(x)
        patches = nn.functional.avg_pool2d(x, self.patch_size).flatten(2).mT
        return {
            "x_norm_clstoken": x[:, :, 0, 0] + 100 * self.training + self.anything,
            "x_norm_patchtokens": patches + self.anything,
        }


class Half(Plain):
    """A mean of 0.5 and many 2048s in half precision would be lost."""

    def forward(self, x: Tensor, is_training: bool = False) -> dict[str, Tensor]:
        patches = torch.full((len(x), 4, 3), 2048.0, dtype=torch.float16)
        patches[:, 0] = 2050
        return {"x_norm_clstoken": x[:, :, 0, 0].half(), "x_norm_patchtokens": patches}


class Broken(Plain):
    def forward(self, x: Tensor, is_training: bool = False) -> dict[str, Tensor]:
        raise RuntimeError("no features today")


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def as_list(images: Tensor) -> ListPictures:
    return ListPictures(list(images), torch.zeros(len(images)).long(), ("a",))


def mixed() -> ListPictures:
    sizes = [(8, 8), (8, 12), (4, 8)]
    return ListPictures([noise(3, *s) for s in sizes], torch.tensor([0, 0, 0]), ("a",))


# --- what goes in and what comes out ---


def test_preprocess_takes_each_channel_by_its_own_mean_and_std() -> None:
    images = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    images[..., 1] = 255
    for c, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        expected = [(0 - mean) / std, (1 - mean) / std]
        assert preprocess(images)[0, c, 0].tolist() == pytest.approx(expected)
    other = preprocess(images, (0.0, 0.5, 1.0), (1.0, 2.0, 4.0))
    assert other[0, :, 0].tolist() == [[0, 1], [-0.25, 0.25], [-0.25, 0]]


def test_features_are_the_cls_token_and_the_mean_of_the_patches() -> None:
    images = noise(5, 3, 8, 12)
    features = extract_features(Plain(), images, **PLAIN)
    x = images.float() / 255
    torch.testing.assert_close(features.cls, x[:, :, 0, 0])
    torch.testing.assert_close(features.patch_mean, x.mean(dim=(2, 3)))


def test_joined_has_the_cls_token_first() -> None:
    features = Features(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    assert features.joined().tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("how", [{"mean": (0.1, 0.2, 0.3)}, {"std": (0.5, 0.25, 2.0)}])
@pytest.mark.parametrize("extract", [extract_features, extract_patches])
def test_the_backbone_reads_the_colours_it_was_trained_with(extract, how) -> None:
    backbone, images = Plain(), noise(2, 3, 8, 8)
    extract(backbone, images, **how)
    mean = torch.tensor(how.get("mean", IMAGENET_MEAN)).view(3, 1, 1)
    std = torch.tensor(how.get("std", IMAGENET_STD)).view(3, 1, 1)
    torch.testing.assert_close(backbone.seen[0], (images / 255 - mean) / std)


def test_patches_lie_where_they_are_in_the_picture() -> None:
    """One bright patch in the second row, third column of 2 x 3."""
    images = torch.zeros(2, 3, 8, 12, dtype=torch.uint8)
    images[1, 2, 4:8, 8:12] = 255
    patches = extract_patches(Plain(), images, **PLAIN)
    assert patches.shape == (2, 3, 2, 3)
    expected = torch.zeros(2, 3, 2, 3)
    expected[1, 2, 1, 2] = 1
    torch.testing.assert_close(patches, expected)


def test_the_real_backbone_gives_its_normed_tokens() -> None:
    net = DinoVisionTransformer(
        patch_size=4,
        embed_dim=16,
        depth=2,
        num_heads=2,
        n_storage_tokens=2,
        drop_path_rate=0.9,
        pos_embed_rope_jitter_coords=4.0,
    )
    images = noise(3, 3, 8, 12)
    net.eval()
    with torch.no_grad():
        x = preprocess(images)
        (maps, cls), *_ = net.get_intermediate_layers(
            x, n=1, reshape=True, return_class_token=True, norm=True
        )
    net.train()  # dropped blocks and jittered positions must not show
    features = extract_features(net, images, batch_size=2)
    torch.testing.assert_close(features.cls, cls)
    torch.testing.assert_close(features.patch_mean, maps.mean(dim=(2, 3)))
    torch.testing.assert_close(extract_patches(net, images, batch_size=2), maps)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    backbone, images = Plain(), noise(7, 3, 8, 8)
    features = extract_features(backbone, images, batch_size, **PLAIN)
    torch.testing.assert_close(features.cls, images[:, :, 0, 0] / 255)
    torch.testing.assert_close(features.patch_mean, (images / 255).mean(dim=(2, 3)))
    assert max(len(x) for x in backbone.seen) == min(batch_size, 7)


def test_half_precision_is_averaged_and_returned_in_float32() -> None:
    features = extract_features(Half(), noise(2, 3, 8, 8))
    assert features.cls.dtype == features.patch_mean.dtype == torch.float32
    assert features.patch_mean.eq(2048.5).all()
    assert extract_patches(Half(), noise(2, 3, 8, 8)).dtype == torch.float32


def test_the_device_is_that_of_the_backbone() -> None:
    backbone, images = Plain().to("meta"), noise(2, 3, 8, 8)
    assert extract_features(backbone, images).cls.device.type == "meta"


def test_a_probe_can_be_trained_on_the_features() -> None:
    """Tensors made in inference mode refuse to take part in a backward pass."""
    images = noise(4, 3, 8, 8)
    for x in (*extract_features(Plain(), images), extract_patches(Plain(), images).flatten(1)):
        assert not x.requires_grad and not x.is_inference()
        layer = nn.Linear(x.shape[1], 1)
        layer(x).sum().backward()
        torch.testing.assert_close(layer.weight.grad, x.sum(dim=0, keepdim=True))


# --- the model's mode ---


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_every_module_is_left_in_the_mode_it_was_found_in() -> None:
    backbone = Plain()
    backbone.frozen = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    backbone.frozen[1].eval()
    before = modes(backbone)
    assert set(before) == {True, False}
    features = extract_features(backbone, torch.zeros(1, 3, 4, 4, dtype=torch.uint8), **PLAIN)
    assert features.cls.eq(0).all()  # 100 in training mode
    assert modes(backbone) == before
    with evaluating(backbone):
        assert not any(modes(backbone))


def test_the_mode_comes_back_after_an_error() -> None:
    backbone = Broken()
    with pytest.raises(RuntimeError, match="no features today"):
        extract_features(backbone, noise(1, 3, 4, 4))
    assert backbone.training


# --- pictures of any kind and size ---


@pytest.mark.parametrize("make", [as_list, lambda x: TensorPictures(x, torch.arange(5), "abcde")])
def test_a_data_set_gives_what_its_tensor_gives(make) -> None:
    images = noise(5, 3, 8, 8)
    for a, b in zip(
        extract_features(Plain(), make(images), 2), extract_features(Plain(), images), strict=True
    ):
        assert torch.equal(a, b)


def test_pictures_of_different_sizes_are_scaled_to_one() -> None:
    pictures = mixed()
    backbone = Plain()
    extract_features(backbone, pictures, size=8, **PLAIN)
    (seen,) = backbone.seen
    assert seen.shape == (3, 3, 8, 8)
    for x, picture in zip(seen, pictures.pictures(range(3)), strict=True):
        torch.testing.assert_close(x, scaled(picture[None], 8)[0] / 255)


@pytest.mark.parametrize("batch_size", [1, 3], ids=["over batches", "in one batch"])
def test_pictures_of_different_sizes_need_a_size(batch_size: int) -> None:
    with pytest.raises(ValueError, match=r"images.*\[8, 8\].*\[8, 12\].*give size"):
        extract_features(Plain(), mixed(), batch_size)


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (noise(0, 3, 8, 8), {}, "images holds no picture"),
        (as_list(noise(0, 3, 8, 8)), {}, "images holds no picture"),
        (noise(1, 3, 8, 8), {"size": 10}, r"size = 10.*patch_size = 4"),
        (noise(1, 3, 8, 8), {"size": 0}, "size = 0"),
        (noise(1, 3, 8, 8), {"size": -4}, "size = -4"),
        (noise(1, 3, 8, 8), {"batch_size": 0}, "batch_size = 0"),
        (noise(1, 3, 8, 8), {"batch_size": -1}, "batch_size = -1"),
    ],
)
@pytest.mark.parametrize("extract", [extract_features, extract_patches])
def test_bad_input_is_named(
    extract, images: Tensor | PictureDataset, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        extract(Plain(), images, **arguments)


def test_pictures_that_the_patches_do_not_divide_are_refused() -> None:
    net = DinoVisionTransformer(patch_size=4, embed_dim=16, depth=1, num_heads=1)
    with pytest.raises(ValueError, match=r"8 x 10.*patch_size = 4"):
        extract_patches(net, noise(1, 3, 8, 10))
