"""The explorer's question, on features small enough to know the answer."""

import datetime
import io
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from dinolite.data.demo_pictures.photographs import photographs
from dinolite.explore.gallery import (
    UNTRAINED,
    UPLOAD_BYTES,
    UPLOADS,
    Gallery,
    NetSource,
    PixelSource,
    Question,
    open_sources,
    pictures_to_show,
    training_data,
)
from dinolite.models.pretrained import load, save_backbone, settings_of
from dinolite_course.explorer import patch_explorer

NAMES = ("chelsea", "coins", "coffee", "camera", "astronaut", "china")


def flat(*colours: int) -> Tensor:
    """A picture of 2 x 2 patches of 4 pixels, each of one grey: upper row, then lower row."""
    grid = torch.tensor(colours, dtype=torch.uint8).view(1, 2, 2)
    return grid.repeat_interleave(4, 1).repeat_interleave(4, 2).expand(3, -1, -1).contiguous()


def png(size: tuple[int, int] = (20, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (10, 20, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def uploaded(name: str, content: bytes) -> dict[str, Any]:
    """What a browser hands over."""
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return {
        "name": name,
        "type": "image/png",
        "size": len(content),
        "content": content,
        "last_modified": when,
    }


@pytest.fixture
def small() -> Gallery:
    pictures = {"a": flat(0, 50, 100, 255), "b": flat(60, 0, 250, 90)}
    return Gallery({"pixels": PixelSource(4)}, pictures, 8)


@pytest.fixture(scope="module")
def real() -> Gallery:
    photos = photographs()
    return Gallery(open_sources(["dinolite_tiny"]), {n: photos[n] for n in NAMES}, 256)


def test_distance_is_the_distance_and_the_best_are_the_nearest(small: Gallery) -> None:
    question = Question(weights="pixels", down=0.0, across=0.6, metric="distance")  # the patch 50
    answer = small.ask(question)
    unit = math.sqrt(3 * 16) / 255  # 48 numbers that all differ by one grey step
    expected = torch.tensor([[[50, 0], [50, 205]], [[10, 50], [200, 40]]]) * -unit
    torch.testing.assert_close(answer.maps, expected)
    assert answer.asked == (0, 0, 1)
    assert (0, 0, 1) not in answer.best, "the patch itself is no answer"
    assert next(place for place in answer.best if place[0] == 1) == (1, 0, 0)
    assert answer.limits() == pytest.approx((-205 * unit, -10 * unit))


def test_cosine_of_one_colour_is_one_and_centring_tells_apart(small: Gallery) -> None:
    asked = {"weights": "pixels", "down": 0.0, "across": 0.5}
    plain = small.ask(Question(**asked, metric="cosine")).maps
    assert plain[1, 0, 0] == pytest.approx(1), "greys point the same way"
    assert plain[0, 0, 0] == 0, "black has no direction"
    centred = small.ask(Question(**asked, metric="centred cosine")).maps
    assert centred[1, 0, 0] == pytest.approx(1) and centred[1, 1, 0] == pytest.approx(-1)
    product = small.ask(Question(**asked, metric="dot product")).maps
    assert product[1, 0, 0] == pytest.approx(48 * 50 * 60 / 255**2, rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": "nothing"},
        {"weights": "pixels", "picture": 2},
        {"weights": "pixels", "picture": -1},
        {"weights": "pixels", "layer": 1},
        {"weights": "pixels", "metric": "attention"},
        {"weights": "pixels", "metric": "attention", "head": 3},
        {"weights": "pixels", "metric": "telepathy"},
        {"weights": "pixels", "down": 1.0},
        {"weights": "pixels", "across": math.nan},
        {"weights": "pixels", "colour": 1},
    ],
)
def test_an_impossible_question_is_a_value_error(small: Gallery, wrong: dict) -> None:
    with pytest.raises((ValueError, ValidationError)):
        small.ask(Question(**wrong))


def test_uploads_are_added_and_the_oldest_makes_room(small: Gallery) -> None:
    names = [small.upload(png(), "own.png") for _ in range(UPLOADS + 1)]
    assert len(set(names)) == UPLOADS + 1, "no upload hides another"
    assert names[0] not in small.pictures and set(names[1:]) < set(small.pictures)
    assert {"a", "b"} < set(small.pictures), "the first pictures stay"
    assert small.ask(Question(weights="pixels", picture=2 + UPLOADS - 1)).maps.shape[0] == 6


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "own.png"),
        (b"no picture", "own.png"),
        (png()[:60], "own.png"),
        (b"\x00" * (UPLOAD_BYTES + 1), "8 MB allowed"),
        (b"<svg onload='alert(1)'/>", "own.png"),
        (b"%!PS-Adobe", "own.png"),
    ],
)
def test_a_bad_upload_is_one_sentence(small: Gallery, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        small.upload(data, "own.png")
    assert "\n" not in str(error.value) and " at 0x" not in str(error.value)
    assert list(small.pictures) == ["a", "b"]


def test_sides_that_patches_do_not_divide_and_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="side = 10"):
        Gallery({"pixels": PixelSource(4)}, {"a": flat(0, 1, 2, 3)}, 10)
    with pytest.raises(ValueError, match="pictures"):
        Gallery({"pixels": PixelSource(4)}, {}, 8)
    with pytest.raises(ValueError, match="names"):
        open_sources([])


def saved(folder: Path, *names: str, size: tuple[int, int] = (20, 30)) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(size))


def test_six_pictures_of_a_folder_whatever_its_kind(tmp_path: Path) -> None:
    """Flat or with sub-folders, of one size or several, many or few, with files of all sorts."""
    saved(tmp_path / "flat", *(f"{i:02}.png" for i in range(12)))
    found = pictures_to_show(tmp_path / "flat", 64)
    assert list(found) == ["00.png", "02.png", "04.png", "06.png", "08.png", "10.png"]
    assert {tuple(x.shape) for x in found.values()} == {(3, 30, 20)}

    mixed = tmp_path / "mixed"
    saved(mixed, "cats/1.PNG", "dogs/1.png", "dogs/small/1.png")
    saved(mixed, "wide.png", size=(400, 100))
    saved(mixed, ".hidden/1.png", ".2.png")
    (mixed / "cats" / "0.jpg").write_bytes(b"no picture")
    os.symlink("loop.png", mixed / "loop.png")
    os.symlink("..", mixed / "cats" / "up")
    Image.new("I;16", (9, 9), 40_000).save(mixed / "grey.png")
    found = pictures_to_show(mixed, 64)
    assert set(found) == {"cats/1.PNG", "dogs/1.png", "dogs/small/1.png", "wide.png", "grey.png"}
    assert found["wide.png"].shape == (3, 32, 128) and int(found["grey.png"].max()) == 156
    Gallery({"pixels": PixelSource(8)}, found, 64).ask(Question(weights="pixels", picture=4))


def test_a_broken_picture_makes_room_for_the_next(tmp_path: Path) -> None:
    saved(tmp_path, *(f"{i:02}.png" for i in range(12)))
    for name in ("00.png", "06.png", "07.png"):
        (tmp_path / name).write_bytes(b"no picture")
    assert list(pictures_to_show(tmp_path, 8)) == ["01.png", "02.png", "04.png", "08.png", "10.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere is not a folder"),
        ("a.txt", "a.txt is not a folder"),
        ("empty", "empty has no readable picture; allowed: .*.jpg"),
        ("broken", "broken has no readable picture; .*x.png: skipped"),
    ],
)
def test_a_folder_without_pictures_is_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=words):
        pictures_to_show(tmp_path / name, 64)


def test_features_and_attention_are_those_of_the_net(real: Gallery) -> None:
    source = real.sources["dinolite_tiny"]
    assert isinstance(source, NetSource) and source.grey, "its training pictures were grey"
    picture = real.pictures["chelsea"]
    x = source.prepared(picture)
    assert bool((x[:, 0] == x[:, 1]).all())
    out = source.net(x, is_training=True)
    grid = out["x_norm_patchtokens"][0].T.unflatten(1, (32, 32))
    torch.testing.assert_close(source.features(picture)[-1], grid)
    table = source.net.get_attention_maps(x, [1])[0][0]  # CLS and 2 storage tokens come first
    seen = source.attention(picture, 1, 3, 5)
    torch.testing.assert_close(seen.flatten(1), table[:, 3 + 3 * 32 + 5, 3:])
    one = real.ask(Question(weights="dinolite_tiny", picture=1, metric="attention", head=0))
    assert one.maps[0].isnan().all() and one.maps[1].isfinite().all()


def test_the_untrained_net_is_the_same_each_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    nets = [open_sources(["dinolite_tiny"])[UNTRAINED] for _ in range(2)]
    assert bool((torch.get_rng_state() == before).all())
    first, second = (net.net.state_dict() for net in nets)  # type: ignore[attr-defined]
    assert all(bool((first[key] == second[key]).all()) for key in first)


def test_every_net_is_shown_colours_as_it_was_trained(tmp_path: Path) -> None:
    """Its own mean and spread, which the file tells; grey if it saw nothing else."""
    assert not training_data("vit_small_patch16_dinov3_qkvb").grey
    assert training_data("dinolite_tiny").grey
    net = load("dinolite_tiny")
    for data, grey in (("windows", True), ("folder:a", False)):  # as the files of a run say it
        words = {"settings": json.dumps({"data": {"dataset": data}})}
        save_backbone(net, settings_of(net), tmp_path / "teacher.safetensors", words)
        (tmp_path / "meta.json").write_text(f'{{"settings": {words["settings"]}}}')
        assert training_data(tmp_path / "teacher.safetensors").grey is grey
        assert training_data(tmp_path).grey is grey
    source = NetSource(net, grey=True)
    picture = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    picture[0] = 0
    expected = (2 / 3 - 0.5) / 0.2
    assert source.prepared(picture).unique().tolist() == pytest.approx([expected], abs=1e-6)
    assert source.untrained().net.pixel_mean == (0.5, 0.5, 0.5)


def test_a_published_file_tells_the_same_as_its_run(tmp_path: Path) -> None:
    """Grey or not, and what is black and white; other programs' files tell nothing."""
    told = {"data": {"dataset": "windows", "value_range": [0, 4095]}}
    for words in ({"settings": json.dumps(told), "config": "{}"}, {"format": "pt"}):
        save_file({"x": torch.zeros(1)}, tmp_path / "teacher.safetensors", words)
        data = training_data(tmp_path / "teacher.safetensors")
        assert (data.grey, data.value_range) == (
            (True, (0, 4095)) if "settings" in words else (False, None)
        )


@pytest.mark.slow
def test_the_widget_answers_within_three_tenths_of_a_second() -> None:
    photos = photographs()
    explorer = patch_explorer({name: photos[name] for name in NAMES[:5]})
    before, times = explorer.image.value, []
    for moved in ({"row": 20}, {"column": 3}, {"picture": 1}, {"layer": 2}, {"metric": "cosine"}):
        start = time.perf_counter()
        explorer.set(**moved)
        times.append(time.perf_counter() - start)
        assert explorer.image.value != before, moved
        before = explorer.image.value
    assert sorted(times)[2] < 0.3, times  # the median: other jobs share the cores


def test_the_widget_takes_uploads_and_says_what_is_wrong_with_them() -> None:
    sources = {"pixels": PixelSource(8)}
    explorer = patch_explorer({"a": photographs()["coins"]}, sources, 64)
    explorer.controls["upload"].value = (uploaded("bad.png", b"no"),)
    assert "bad.png" in explorer.text.value and "Error" in explorer.text.value
    explorer.controls["upload"].value = (uploaded("own.png", png()),)
    assert explorer.text.layout.display == "none"
    narrow = explorer.image.value
    explorer.set(picture=1)
    assert explorer.image.value != narrow, "the own picture can be chosen"
    explorer.set(metric="attention")
    assert "no attention" in explorer.text.value
