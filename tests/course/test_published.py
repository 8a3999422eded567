"""The comparison with published features: a fake that says them, and others that do not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dinolite_course.measures.published import REFERENCES, compare, reference_pixels

CATS = torch.randint(256, (3, 30, 40), generator=torch.Generator().manual_seed(0)).byte()


class Fake(nn.Module):
    """Says what was published of a model, `off` away from it, and remembers what it was shown."""

    def __init__(self, name: str, off: float = 0.0) -> None:
        super().__init__()
        self.dummy = nn.Parameter(torch.zeros(1))
        cls, patch = (torch.tensor(row) for row in REFERENCES[name].values())
        self.cls, self.patch = cls, patch + off

    def forward(self, x: Tensor, is_training: bool) -> dict[str, Any]:
        assert is_training and not self.training
        self.seen = x
        more = torch.full((3,), 9.0)
        patches = torch.stack([torch.cat([self.patch, more]), torch.full((8,), 7.0)])
        return {
            "x_norm_clstoken": torch.cat([self.cls, more])[None],
            "x_norm_patchtokens": patches[None],
        }


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(
    ("off", "verdict"),
    [
        (0.0, "the released model"),
        (5e-5, "the released model"),
        (1e-3, "the released model but for rounding"),
        (0.1, "NOT the released model"),
        (float("nan"), "NOT the released model"),
    ],
)
def test_verdicts(name: str, off: float, verdict: str) -> None:
    found = compare(Fake(name, off), CATS, name)
    assert found.verdict().startswith(verdict)
    if off == off:
        assert found.difference() == pytest.approx(off, abs=1e-6)
    lines = found.words()
    assert len(lines) == 5 and lines[-1].endswith(found.verdict())
    assert f"{REFERENCES[name]['CLS'][0]:8.5f}" in lines[0] and lines[0].startswith("CLS")


def test_another_model_is_noticed_and_the_mode_is_left_as_it_was() -> None:
    fake = Fake("dinov3_vits16plus").train()
    assert compare(fake, CATS, "dinov3_vits16").difference() > 0.5
    assert fake.training


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
        compare(Fake("dinov3_vits16"), CATS, "dinov3_vitb16")
