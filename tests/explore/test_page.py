"""`dinolite explore` as its user meets it: the command, the page in a browser, pointing, clicks,
steps of training, uploads."""

import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from dinolite.config import load_config
from dinolite.data.decoding import read_picture
from dinolite.eval.features import square
from dinolite.eval.segmentation import pixel_patches
from dinolite.train.train import train
from dinolite.viz.similarity import similarity_map
from tests.course.browser import CHROMIUM_ARGUMENTS
from tests.tiny_run import QUICK

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
COMMAND = [sys.executable, "-m", "dinolite.cli", "explore"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow


def hears_ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[str]:
    """The address that the command prints; Ctrl-C then ends it without a traceback."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--no-browser"],
        cwd=cwd,
        env={**ENV, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert select.select([process.stdout], [], [], 120)[0], "it did not start"
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)[0]  # type: ignore[index]
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()  # nothing happens to one that has ended
        assert "Traceback" not in said and process.returncode in (0, 1, 130)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    here = tmp_path_factory.mktemp("elsewhere")
    with running(cwd=here) as address:
        yield address
    assert not list(here.iterdir()), "nothing is written"


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    play = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with play.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.goto(address)
        settled(page)
        yield page
        assert not page.failures
        browser.close()


def settled(page: Any) -> None:
    """Wait until nothing is being computed."""
    page.wait_for_timeout(50)
    page.locator("body[data-drawn]:not([data-busy])").wait_for(timeout=60_000)


def pixels(page: Any, column: int) -> list[str]:
    """The large and the small pictures of one column, as the browser holds them."""
    canvases = page.locator("section").nth(column).locator("canvas:not(.strip canvas)")
    return [canvas.evaluate("c => c.toDataURL()") for canvas in canvases.all()]


def point(page: Any, down: float, across: float) -> None:
    """Move the mouse to a place of the large photograph."""
    box = page.locator("section canvas").first.bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def click(page: Any, down: float, across: float) -> float:
    """Click there; seconds until all columns show the answer."""
    point(page, down, across)
    settled(page)
    start = time.perf_counter()
    page.mouse.down()
    page.mouse.up()
    settled(page)
    return time.perf_counter() - start


def test_pointing_shows_and_a_click_holds(page: Any) -> None:
    """Columns: photographs, raw pixels, untrained, trained. Arrow keys move what is held."""
    page.mouse.move(2, 2)
    settled(page)
    start = pixels(page, 3)
    point(page, 0.2, 0.3)
    settled(page)
    shown = pixels(page, 3)
    assert all(old != new for old, new in zip(start, shown, strict=True)), "all pictures"
    page.mouse.move(2, 2)
    settled(page)
    assert pixels(page, 3) == start, "the mouse went away: what is held comes back"
    seconds = [click(page, *place) for place in ((0.7, 0.4), (0.3, 0.1), (0.2, 0.3))]
    assert sorted(seconds)[1] < 0.5, seconds
    page.mouse.move(2, 2)
    settled(page)
    assert pixels(page, 3) == shown
    page.keyboard.press("ArrowDown")
    settled(page)
    assert pixels(page, 3) != shown
    assert page.inner_text("#message") == ""


def test_every_control_changes_the_pictures(page: Any) -> None:
    page.mouse.move(2, 2)
    for selector in ("[value=groups]", "[value=PCA]", "[value=attention]", "[value=similarity]"):
        before = pixels(page, 3)
        page.locator(f"#views {selector}").click()
        settled(page)
        assert pixels(page, 3) != before, selector
    for selector, key in (("#layer", "ArrowLeft"), ("#centre", "Space")):
        before = pixels(page, 3)
        page.locator(selector).press(key)
        settled(page)
        assert pixels(page, 3) != before, selector
        page.locator(selector).press("ArrowRight" if key != "Space" else key)
    settled(page)


def test_the_step_slider_changes_the_trained_column_alone(page: Any) -> None:
    before = [pixels(page, column) for column in (1, 2, 3)]
    page.locator(".steps").press("Home")
    settled(page)
    title = page.locator("section").nth(3).inner_text()
    assert "after 100 steps" in title and "dinolite_tiny_step00100" in title
    after = [pixels(page, column) for column in (1, 2, 3)]
    assert after[2] != before[2]
    page.locator(".steps").press("End")
    settled(page)
    assert [pixels(page, column) for column in (1, 2, 3)] == before


def test_no_old_map_stands_under_a_new_name_and_one_question_is_under_way(page: Any) -> None:
    """The first answer is held back: the columns are pale and the sign says so; of many places
    pointed at meanwhile, only the newest is asked."""
    page.mouse.move(2, 2)
    settled(page)
    held: list[Any] = []
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data))
    page.route("**/ask", lambda route: route.continue_() if held else held.append(route))
    old = pixels(page, 3)
    page.locator("#layer").press("ArrowLeft")
    page.wait_for_timeout(400)
    assert page.locator("#busy").is_visible() and len(asked) == 1
    pale = pixels(page, 3)
    assert all(a != b for a, b in zip(old, pale, strict=True))
    page.locator("#layer").press("ArrowRight")  # the name of the old maps again
    page.wait_for_timeout(100)
    assert pixels(page, 3) == old
    for patch in (6.5, 14.5, 24.5):
        point(page, patch / 48, 0.4)
    page.wait_for_timeout(100)
    assert len(asked) == 1
    held[0].continue_()
    settled(page)
    page.unroute("**/ask")
    places = [json.loads(body)["down"] for body in asked[1:]]
    assert places[-1] == 24.5 / 48 and 14.5 / 48 not in places, "the newest, none in between"
    assert not page.locator("#busy").is_visible()


def test_an_own_picture_joins_and_a_bad_one_gets_a_sentence(page: Any, tmp_path: Path) -> None:
    good, bad, large = (tmp_path / name for name in ("my cat.png", "no.png", "large.png"))
    Image.radial_gradient("L").convert("RGB").save(good)
    bad.write_bytes(b"these are words")
    large.write_bytes(b"\x00" * (9 * 2**20))
    count = len(pixels(page, 3))
    page.set_input_files("#file", good)
    page.locator("section").nth(3).locator(".others canvas").nth(count - 1).wait_for()
    settled(page)
    assert len(pixels(page, 3)) == count + 1 and page.inner_text("#message") == ""
    for file in (bad, large):
        page.set_input_files("#file", file)
        page.locator("#message", has_text=file.name).wait_for(timeout=20_000)
    assert "8.0 MB" in page.inner_text("#message") and len(pixels(page, 3)) == count + 1


# --- dinolite explore RUN --pictures FOLDER ---


def photo_album(folder: Path) -> list[str]:
    """Class sub-folders, pictures of mixed sizes, one grey, two of one name, one broken file."""
    torch.manual_seed(0)
    pictures = {"cats/1.png": (40, 60), "cats/2.png": (50, 50), "dogs/1.png": (300, 200)}
    for name, size in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(256, (*size, 3), dtype=torch.uint8).numpy()
        Image.fromarray(noise).save(folder / name)
    Image.radial_gradient("L").save(folder / "dogs/grey.png")
    (folder / "dogs/broken.jpg").write_bytes(b"\xff\xd8\xff half a picture")
    (folder / "notes.txt").write_text("no picture")
    return [*pictures, "dogs/grey.png"]


def test_a_run_looks_at_own_pictures_as_the_readme_says(tmp_path: Path) -> None:
    """The page, its pictures and the answer to a click are those of the files in the folder."""
    names = photo_album(tmp_path / "my photos")
    short = ["train.iterations=2", "optim.lr.warmup=0", f"train.output_dir={tmp_path / 'mine'}"]
    train(load_config("demo", [*QUICK, *short]))
    with running("mine", "--pictures", "my photos", "--side", "64", cwd=tmp_path) as address:
        parts = urlsplit(address)
        token = {"X-Token": parts.query.removeprefix("token=")}

        def fetch(path: str, question: dict[str, Any] | None = None) -> bytes:
            body = None if question is None else json.dumps(question).encode()
            there = urllib.request.Request(f"http://{parts.netloc}/{path}", body, token)
            return urllib.request.urlopen(there, timeout=60).read()

        page, about = fetch("").decode(), json.loads(fetch("about"))
        assert "Which patches are alike?" in page
        assert about["pictures"] == names and about["first"] == "mine"
        shown = [square(read_picture(tmp_path / "my photos" / n, 128), 64)[0] for n in names]
        for number, picture in enumerate(shown):
            served = Image.open(io.BytesIO(fetch(f"picture/{number}")))
            np.testing.assert_array_equal(np.asarray(served), picture.permute(1, 2, 0))
        click = {"weights": "raw pixels", "picture": 2, "down": 0.3, "across": 0.6}
        answer = json.loads(fetch("ask", click))
        assert answer["asked"] == [2, 4, 9]
        patches = pixel_patches(torch.stack(shown), 4)
        expected = similarity_map(patches, 4, 9, picture=2)
        torch.testing.assert_close(torch.tensor(answer["maps"]), expected, atol=1e-4, rtol=0)
        of_the_run = json.loads(fetch("ask", {**click, "weights": "mine"}))
        assert torch.tensor(of_the_run["maps"]).isfinite().all()
