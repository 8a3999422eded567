"""The kinds of numbers that settings are: ranges with names, and the base of every group of
settings."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Iterations = Annotated[int, Field(ge=0)]
Range = Annotated[tuple[Fraction, Fraction], Field(strict=False)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]
Factor = Annotated[float, Field(ge=1)]
Arch = Literal[
    "vit_tiny", "vit_small", "vit_base", "vit_large", "vit_so400m", "vit_huge2", "vit_giant2",
    "vit_7b",
]  # fmt: skip


class Section(BaseModel):
    """A group of settings: unknown keys and wrong types are errors, and nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Schedule(Section):
    """A number for every iteration; see `train/cosine_lr_scheduler.py`."""

    kind: Literal["cosine", "warmup_cosine"] = "warmup_cosine"
    """Official v1 (`CosineScheduler`) or v2 (`linear_warmup_cosine_decay`)."""
    start: float = 0.0
    """Value at iteration 0, if there is a warm-up."""
    peak: Weight
    """Value after the warm-up."""
    end: Weight | None = None
    """Value at the end; none = peak, that is a constant."""
    warmup: Iterations = 0
    """Iterations from start to peak, linearly."""
    cosine: Count | None = None
    """Iterations of the cosine from peak to end (warmup_cosine only); none = all that are left."""
