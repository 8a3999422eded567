"""The sizes that have names, and a backbone built from the settings of a run.

DINOv3 Table 2 and Fig. 16a; official `models/vision_transformer.py` (vit_small ... vit_7b; vit_tiny
is the usual smallest ViT, not one of Meta's) and `models/__init__.py::build_model`.
"""

from typing import NamedTuple

from dinolite.config import StudentConfig
from dinolite.models.vision_transformer import DinoVisionTransformer


class Size(NamedTuple):
    """Width D, number of blocks, heads h and FFN ratio."""

    embed_dim: int
    depth: int
    num_heads: int
    ffn_ratio: float


SIZES = {
    "vit_tiny": Size(192, 12, 3, 4),
    "vit_small": Size(384, 12, 6, 4),
    "vit_base": Size(768, 12, 12, 4),
    "vit_large": Size(1024, 24, 16, 4),
    "vit_so400m": Size(1152, 27, 18, 3.777777778),
    "vit_huge2": Size(1280, 32, 20, 4),
    "vit_giant2": Size(1536, 40, 24, 4),
    "vit_7b": Size(4096, 40, 32, 3),
}


def build_backbone(student: StudentConfig, *, teacher: bool = False) -> DinoVisionTransformer:
    """The backbone that `[student]` describes; a teacher is the same without stochastic depth."""
    settings = student.model_dump(exclude={"arch", "layerscale", "resume_from_teacher_chkpt"})
    for name, value in SIZES[student.arch]._asdict().items():
        settings[name] = value if settings[name] is None else settings[name]
    if teacher:
        settings["drop_path_rate"] = 0.0
    return DinoVisionTransformer(layerscale_init=student.layerscale, **settings)
