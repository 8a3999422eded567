"""The small weights that come with the project: found by name, small, and as good as their card
says; and the card's figures show what training gave.
"""

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from dinolite.config import load_config
from dinolite.models.pretrained import OWN_WEIGHTS, load, read_metadata
from dinolite.models.vision_transformer import build_backbone
from dinolite.report import FinishedRun, Row
from dinolite_course.measures import collages
from tools.publish_weights import figures

NAME = "dinolite_tiny"
FILE = OWN_WEIGHTS / f"{NAME}.safetensors"
SEGMENTATION, SAME_DISTANCE = "linear segmentation of scenes", "the same, among pairs"


def stored() -> list[Row]:
    return [Row(**row) for row in json.loads(read_metadata(FILE)["figures"])]


def row(rows: list[Row], begins: str) -> Row:
    return next(r for r in rows if r.what.startswith(begins))


def test_they_are_small_and_found_by_name() -> None:
    assert FILE.stat().st_size <= 12e6
    net = load(NAME, allow_network=False)
    assert not net.training and net.cls_token.dtype == torch.float32
    config = load_config("tiny").student
    own = build_backbone(config, teacher=True).state_dict()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in own.items()}


def test_the_card_says_what_the_file_says() -> None:
    card = FILE.with_suffix(".md").read_text("utf8")
    assert stored()
    for figure in stored():
        assert f"| {' | '.join(figure.words())} |" in card


def test_training_gave_what_is_claimed() -> None:
    """In k-NN and in segmentation ten points above both raw pixels and the untrained net."""
    for begins in ("k-NN", SEGMENTATION):
        figure = row(stored(), begins)
        assert figure.trained > max(figure.pixels, figure.untrained) + 10, figure
    figure = row(stored(), SEGMENTATION)
    assert figure.trained > float(figure.what.split("all background: ")[1].rstrip(")")) + 5, figure
    figure = row(stored(), SAME_DISTANCE)
    assert figure.trained > max(figure.pixels, figure.untrained) + 3, figure


@pytest.mark.slow
def test_the_figures_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a point is what other machines and versions may differ by."""
    monkeypatch.setattr(collages, "make_collages", cache(collages.make_collages))
    config = load_config("tiny")
    words = read_metadata(FILE)
    assert json.loads(words["rgb_mean"]) == list(config.crops.rgb_mean)
    net = load(NAME, allow_network=False)
    small = load_config("tiny", ["student.embed_dim=16", "student.depth=1", "student.num_heads=1"])
    untrained = build_backbone(small.student, teacher=True).eval()  # not judged here
    run = FinishedRun(Path("."), config, untrained, trained=net)
    for again, figure in zip(figures(run), stored(), strict=True):
        assert again.what == figure.what
        assert again.trained == pytest.approx(figure.trained, abs=0.5), figure.what
        assert again.pixels == pytest.approx(figure.pixels, abs=0.5), figure.what
