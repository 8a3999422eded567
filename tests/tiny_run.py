"""Settings that make any recipe so small that a step takes milliseconds; the log of a run."""

import json
from pathlib import Path

from dinolite.metrics import MACHINE

TINY = [
    "student.embed_dim=16",
    "student.depth=1",
    "student.num_heads=1",
    "dino.head_n_prototypes=16",
    "ibot.head_n_prototypes=16",
    "dino.head_hidden_dim=16",
    "ibot.head_hidden_dim=16",
    "train.batch_size_per_gpu=4",
    "evaluation.max_train=64",
]
QUICK = [*TINY, "data.dataset=photos", "data.image_size=64"]  # starts in a fifth of the time


def read_log(run: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl` without seconds and memory; equal runs agree in all else."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(MACHINE)} for line in lines]
