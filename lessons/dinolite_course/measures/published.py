"""Is it the released model? Features of one picture that were published, beside what a backbone
says of the same picture.

The picture is 000000039769.jpg of COCO val2017, two cats on a couch; the numbers stand in the
script with which transformers converts Meta's files (`convert_dinov3_vit_to_hf.py`).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dinolite.config import IMAGENET_MEAN, IMAGENET_STD
from dinolite.data.augmentations import normalize
from dinolite.eval.features import evaluating

PICTURE = "http://images.cocodataset.org/val2017/000000039769.jpg"
SIDE, SHOWN = 224, 5  # pixels; the first numbers of a vector
EXACT, CLOSE = 1e-4, 3e-2
REFERENCES = {
    "dinov3_vits16": {
        "CLS": (0.46356, -0.41561, 0.40824, -0.12661, -0.28664),
        "first patch": (-0.03875, -0.25090, -0.01639, -0.45547, 0.57158),
    },
    "dinov3_vits16plus": {
        "CLS": (-0.47135, -1.36578, -0.31798, 0.37722, -0.76909),
        "first patch": (0.14455, -0.38812, -0.39343, -0.15770, -0.60038),
    },
}


class Comparison(NamedTuple):
    """The first numbers of two tokens after the final norm, as published and as measured."""

    published: dict[str, Float[Tensor, " n"]]
    measured: dict[str, Float[Tensor, " n"]]

    def difference(self) -> float:
        """The largest; infinite if something measured is not a number."""
        off = torch.cat([(self.published[k] - self.measured[k]).abs() for k in self.published])
        return float(off.max()) if bool(off.isfinite().all()) else float("inf")

    def verdict(self) -> str:
        """Within 1e-4, what the script asks of Meta's own files, or further away."""
        off = self.difference()
        if off < EXACT:
            return "the released model"
        if off < CLOSE:
            return "the released model but for rounding (RoPE periods, scaling of the picture)"
        return "NOT the released model, or not its pixels"

    def words(self) -> list[str]:
        """Lines to print: both rows of each token, then the verdict."""
        lines = []
        for token, row in self.published.items():
            for name, values in {"published": row, "measured": self.measured[token]}.items():
                numbers = " ".join(f"{value:8.5f}" for value in values.tolist())
                lines.append(f"{token:11} {name:9} {numbers}")
        return [*lines, f"largest difference {self.difference():.4f}: {self.verdict()}"]


def reference_pixels(picture: Tensor) -> Float[Tensor, "1 3 224 224"]:
    """What the script's model read: [0, 1], scaled to 224 x 224 (bilinear with antialiasing, the
    aspect is not kept), minus the mean of ImageNet, over its spread. `picture`: uint8 [3, H, W].

    Raises:
        ValueError: not one colour picture of 0..255.
    """
    if picture.dtype != torch.uint8 or picture.ndim != 3 or len(picture) != 3:
        raise ValueError(
            f"picture is {picture.dtype} {list(picture.shape)}; needed is uint8 [3, H, W]"
        )
    x = picture[None].float() / 255
    x = interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
    return normalize(x, IMAGENET_MEAN, IMAGENET_STD)


@torch.no_grad()
def compare(backbone: nn.Module, picture: Tensor, name: str) -> Comparison:
    """Features of the picture with the two cats, beside the published ones.

    Args:
        backbone: any with the interface of `DinoVisionTransformer`; run in eval mode, left as it
            was found.
        picture: the pixels of the file at `PICTURE`, uint8 [3, H, W].
        name: Meta's, a key of `REFERENCES`.

    Raises:
        ValueError: nothing was published for that name, or `picture` is not one.
    """
    if name not in REFERENCES:
        raise ValueError(f"name = {name!r}; features were published of {', '.join(REFERENCES)}")
    x = reference_pixels(picture).to(next(backbone.parameters()).device)
    with evaluating(backbone):
        out: dict[str, Any] = backbone(x, is_training=True)
    tokens = {"CLS": out["x_norm_clstoken"], "first patch": out["x_norm_patchtokens"][:, 0]}
    measured = {token: x[0, :SHOWN].float().cpu() for token, x in tokens.items()}
    return Comparison({k: torch.tensor(v) for k, v in REFERENCES[name].items()}, measured)
