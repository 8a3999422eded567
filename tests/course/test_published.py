"""Released models are compared on the very pixels that the published script used."""

import pytest
import torch
from torch import Tensor, nn

from dinolite_course.measures.published import compare, reference_pixels

CATS = torch.randint(256, (3, 30, 40), generator=torch.Generator().manual_seed(0)).byte()


def test_the_pixels_are_those_of_the_script() -> None:
    """torchvision's transforms, which the script uses, give the same."""
    from torchvision.transforms import v2

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    theirs = v2.Compose([v2.Resize((224, 224), antialias=True), v2.Normalize(mean, std)])
    torch.testing.assert_close(reference_pixels(CATS), theirs(CATS.float() / 255)[None])


@pytest.mark.parametrize("wrong", [CATS.float(), CATS[None], CATS[:1]])
def test_other_things_than_a_picture(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match=r"needed is uint8 \[3, H, W\]"):
        reference_pixels(wrong)


def test_nothing_was_published_of_it() -> None:
    with pytest.raises(ValueError, match=r"name = 'dinov3_vitb16'; .*dinov3_vits16plus"):
        compare(nn.Identity(), CATS, "dinov3_vitb16")
