"""What makes the start of a run and its report slow: how many pictures there are. Fewer here."""

from typing import Any

from dinolite import report
from dinolite.data.demo_pictures import photographs, scenes

FEW = {"train": (80, 1), "test": (80, 2)}  # how many, seed
SMALL: list[tuple[Any, str, Any]] = [
    (photographs, "WINDOW_COUNT_AND_SEED", FEW),
    (scenes, "SCENE_COUNT_AND_SEED", FEW),
    (scenes, "MOSAIC_COUNT_AND_SEED", FEW),
    (report, "SCENES", ((8, 1), (8, 2))),
    (report, "SCENE_GRID", 8),
    (report, "PICTURE_GRID", 8),
    (report, "QUERIES", 2),
    (report, "NEIGHBOURS", 3),
]
"""Module, name, value."""
