"""Same settings, same seed: the same bits, in another process, with other workers, after a restart;
and every file of a run says what it was made with."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from dinolite.checkpointer import checkpoints, read_meta
from dinolite.config import Config, load_config
from dinolite.models.pretrained import read_metadata, read_state_dict
from dinolite.train.train import train
from tests.processes import dinolite
from tests.tiny_run import QUICK, read_log
from tests.trust.conftest import Faults

pytestmark = pytest.mark.slow

RUN = [
    *QUICK,
    "train.iterations=6",
    "train.log_every=1",
    "checkpointing.period=3",
    "student.drop_path_rate=0.2",
    "optim.lr.warmup=0",
]
WAYS = {
    "a process of its own": [],
    "three workers": ["train.num_workers=3"],
    "pictures one by one, two workers": ["crops.pipeline=per_image", "train.num_workers=2"],
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run with these changes, trained once."""

    @cache
    def run(*more: str) -> Path:
        out = tmp_path_factory.mktemp("here") / "run"
        train(load_config("demo", [*RUN, *more, f"train.output_dir={out}"]))
        return out

    return run


def elsewhere(out: Path, *more: str) -> Path:
    arguments = ["train", "demo", *RUN, *more, "--out", str(out), "--no-report"]
    assert dinolite(*arguments, cwd=out.parent).returncode == 0
    return out


@pytest.mark.parametrize("way", WAYS)
def test_the_same_bits(way: str, here: Callable[..., Path], tmp_path: Path, faults: Faults) -> None:
    more = WAYS[way]
    plain = [m for m in more if "num_workers" not in m]
    a, b = here(*plain), elsewhere(tmp_path / "b", *more)
    x, y = (read_state_dict(run / "teacher.safetensors") for run in (a, b))
    assert all(torch.equal(x[name], y[name]) for name in x)
    assert read_log(a) == read_log(b)
    faults.survived(f"repeated with {way}", "the same bits")


def test_another_seed_is_another_run(here: Callable[..., Path]) -> None:
    a, b = here(), here("train.seed=1")
    x, y = (read_state_dict(run / "teacher.safetensors") for run in (a, b))
    assert not torch.equal(x["cls_token"], y["cls_token"])


def test_every_record_says_where_it_comes_from(here: Callable[..., Path]) -> None:
    out = here()
    config = load_config(out / "config.toml")
    metadata = read_metadata(out / "teacher.safetensors")
    stories = [read_meta(place) for place in checkpoints(out)]
    stories.append({name: json.loads(metadata[name]) for name in ("settings", "provenance")})
    for story in stories:
        assert Config.model_validate(story["settings"]) == config
        assert {"dinolite", "commit", "python", "torch"} <= story["provenance"].keys()
        text = json.dumps(story["provenance"])
        assert str(Path.home()) not in text and os.uname().nodename not in text
    first = (out / "config.toml").read_text("utf8").split("\n\n")[0]
    for name, value in stories[0]["provenance"].items():
        assert f"# {name} {value}" in first.splitlines()
