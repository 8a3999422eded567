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
    GROUPS,
    PIXELS,
    UNTRAINED,
    UPLOAD_BYTES,
    UPLOADS,
    Gallery,
    Memory,
    NetSource,
    PixelSource,
    Question,
    best_patches,
    earlier_steps,
    open_sources,
    pictures_to_show,
    textured_place,
    training_data,
)
from dinolite.models.pretrained import load, save_backbone, settings_of
from dinolite.viz.groups import patch_groups, renumbered
from dinolite.viz.pca import pca_rgb
from dinolite.viz.similarity import similarity_map
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
    return Gallery(open_sources(["dinolite_tiny"]), {n: photos[n] for n in NAMES}, 128)


def test_similarity_is_the_cosine_with_the_mean_patch_subtracted_or_not(small: Gallery) -> None:
    asked: dict[str, Any] = {
        "weights": "pixels",
        "down": 0.0,
        "across": 0.5,
    }  # the patch of grey 50
    plain = small.ask(Question(**asked, centre=False))
    assert plain.asked == (0, 0, 1)
    expected = torch.ones(2, 2, 2)  # greys point the same way
    expected[0, 0, 0] = expected[1, 0, 1] = 0  # black has no direction
    torch.testing.assert_close(plain.maps, expected)
    centred = small.ask(Question(**asked)).maps  # the mean is 100.6; 50 and 0, 60, 90, 100 below
    signs = [[[1, 1], [1, -1]], [[1, 1], [-1, 1]]]
    torch.testing.assert_close(centred, torch.tensor(signs).float())


def test_the_best_patch_of_each_picture_is_not_beside_the_chosen_one() -> None:
    maps = torch.zeros(3, 9, 9)
    maps[0, 4, 4] = 1  # the chosen one, and its neighbours
    maps[0, 3, 7] = maps[0, 1, 4] = 0.9
    maps[0, 8, 1], maps[1, 2, 3], maps[2] = 0.4, 0.7, torch.nan
    assert best_patches(maps, (0, 4, 4)) == [(1, 2, 3), (0, 8, 1)]


def test_the_bright_end_is_the_99_percent_quantile_of_the_pointed_picture() -> None:
    ramp = torch.arange(101 * 4, dtype=torch.float).view(1, 4, 101)
    gallery = Gallery({"pixels": PixelSource(4)}, {"a": flat(0, 1, 2, 3)}, 8)
    gallery.similarity = lambda *_: torch.cat([ramp, 9 * ramp])  # type: ignore[method-assign]
    assert gallery.ask(Question(weights="pixels")).high == pytest.approx(0.99 * 403)


def test_groups_and_colours_are_those_of_all_pictures_together(real: Gallery) -> None:
    few = Gallery(real.sources, {name: real.pictures[name] for name in NAMES[:2]}, 64)

    def features(name: str) -> Tensor:
        return torch.stack([few.sources[name].features(x)[-1] for x in few.pictures.values()])

    trained, pixels = features("dinolite_tiny"), features(PIXELS)
    groups = patch_groups(trained, GROUPS)
    answer = few.ask(Question(weights="dinolite_tiny", view="groups"))
    assert bool((answer.maps == groups).all())
    of_pixels = few.ask(Question(weights=PIXELS, view="groups")).maps
    assert bool((of_pixels == renumbered(patch_groups(pixels, GROUPS), groups)).all())
    packed = few.ask(Question(weights="dinolite_tiny", view="PCA")).maps
    rgb = torch.stack([packed >> 16, packed >> 8 & 255, packed & 255], dim=1) / 255
    torch.testing.assert_close(rgb, pca_rgb(trained), atol=0.51 / 255, rtol=0)


def test_the_page_starts_in_even_texture() -> None:
    """Flat grey, a strong edge, and 7 x 7 patches of a fine checkerboard, whose middle it is."""
    picture = torch.full((3, 96, 96), 90, dtype=torch.uint8)
    picture[:, :, 80:] = 255
    board = (torch.arange(28)[:, None] + torch.arange(28)) % 2 * 60
    picture[:, 8:36, 40:68] = board.to(torch.uint8)
    assert textured_place(picture, 4) == ((2 + 3.5) * 4 / 96, (10 + 3.5) * 4 / 96)
    assert textured_place(flat(0, 1, 2, 3), 4) == (0.75, 0.75), "smaller than seven patches"


def test_earlier_steps_are_snapshots_or_the_kept_checkpoints_of_a_run(tmp_path: Path) -> None:
    assert list(earlier_steps("dinolite_tiny")) == [100, 500, 1000, 2000, 6000]
    assert earlier_steps("dinolite_tiny_step00100") == earlier_steps("nothing") == {}
    (tmp_path / "config.toml").touch()
    for name in ("0000020", "0000100", "writing-0000120"):
        (tmp_path / "ckpt" / name).mkdir(parents=True)
        (tmp_path / "ckpt" / name / "meta.json").touch()
    steps = {20: tmp_path / "ckpt/0000020", 100: tmp_path / "ckpt/0000100"}
    assert earlier_steps(tmp_path) == steps


def test_a_step_is_answered_by_the_weights_of_that_step(real: Gallery) -> None:
    asked: dict[str, Any] = {"weights": "dinolite_tiny", "picture": 2, "down": 0.2, "across": 0.9}
    early = NetSource(load("dinolite_tiny_step00100"), grey=True)
    x = torch.stack([early.features(picture)[1] for picture in real.pictures.values()])
    expected = similarity_map(x, 3, 14, picture=2)
    torch.testing.assert_close(real.ask(Question(**asked, step=100, layer=1)).maps, expected)
    assert not torch.allclose(real.ask(Question(**asked, layer=1)).maps, expected, atol=0.1)
    with pytest.raises(ValueError, match="step = 7; earlier steps of dinolite_tiny: 100, 500"):
        real.ask(Question(**asked, step=7))


def test_what_was_not_used_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dinolite.explore.gallery.KEPT", 100)  # bytes; ten numbers are 40
    memory = Memory()
    for key in (1, 2, 1, 3):
        assert memory.recall((key,), lambda key=key: torch.full((10,), 1.0 * key))[0] == key
    assert list(memory) == [(1,), (3,)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": "nothing"},
        {"weights": "pixels", "picture": 2},
        {"weights": "pixels", "picture": -1},
        {"weights": "pixels", "layer": 1},
        {"weights": "pixels", "step": 100},
        {"weights": "pixels", "view": "attention"},
        {"weights": "pixels", "view": "attention", "head": 3},
        {"weights": "pixels", "view": "telepathy"},
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
    for view in ("similarity", "PCA"):  # asked before and after another one came
        asked = Question(weights="pixels", view=view, picture=2 + UPLOADS - 1)  # type: ignore
        assert small.ask(asked).maps.shape[0] == 6
        small.upload(png(), "one more.png")
        assert small.ask(asked).maps.shape[0] == 6
    assert {key[0] for key in small.features} == set(small.pictures)


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
    grid = out["x_norm_patchtokens"][0].T.unflatten(1, (16, 16))
    torch.testing.assert_close(source.features(picture)[-1], grid)
    table = source.net.get_attention_maps(x, [1])[0][0]  # CLS and 2 storage tokens come first
    asked: dict[str, Any] = {"down": 0.2, "across": 0.35, "layer": 1}  # row 3, column 5
    one = real.ask(Question(weights="dinolite_tiny", view="attention", head=0, **asked))
    row = table[0, 3 + 3 * 16 + 5, 3:].view(16, 16)
    torch.testing.assert_close(one.maps[0], row, atol=1e-4, rtol=1e-3)  # 16 bits
    assert one.maps[1:].isnan().all() and len(one.best) == 1


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
    pixels = PixelSource(16, grey=True).features(picture)[0]
    assert pixels.unique().tolist() == pytest.approx([2 / 3], abs=0.002), "as the net sees them"


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
    for moved in ({"row": 20}, {"column": 3}, {"picture": 1}, {"layer": 2}, {"view": "groups"}):
        start = time.process_time()
        explorer.set(**moved)
        times.append(time.process_time() - start)
        assert explorer.image.value != before, moved
        before = explorer.image.value
    assert sorted(times)[2] < 0.3, times  # of the CPU, the median: other jobs share the cores


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
    explorer.set(view="attention")
    assert "no attention" in explorer.text.value
