"""`dinolite explore` as its user meets it: the command, the page in a browser, clicks, uploads."""

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
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.goto(address)
        page.locator("body[data-drawn]").wait_for(timeout=60_000)
        yield page
        assert not page.failures
        browser.close()


def drawn(page: Any) -> int:
    return int(page.locator("body").get_attribute("data-drawn"))


def pixels(page: Any, row: int = 1) -> list[str]:
    """The pictures of one row, as the browser holds them."""
    canvases = page.locator(".row").nth(row).locator("canvas")
    return [canvas.evaluate("c => c.toDataURL()") for canvas in canvases.all()]


def after(page: Any, act: Any) -> float:
    """Do something; seconds until the page has been drawn anew."""
    before, start = drawn(page), time.perf_counter()
    act()
    page.locator(f"body[data-drawn='{before + 1}']").wait_for(timeout=20_000)
    return time.perf_counter() - start


def test_a_click_changes_the_maps_of_all_pictures_within_half_a_second(page: Any) -> None:
    times = []
    for number, share in ((1, 0.3), (4, 0.6), (0, 0.5)):
        before = pixels(page)
        canvas = page.locator(".row").nth(1).locator("canvas").nth(number)
        width = canvas.bounding_box()["width"]
        place = {"x": share * width, "y": 0.4 * width}
        times.append(after(page, lambda c=canvas, p=place: c.click(position=p)))
        assert all(old != new for old, new in zip(before, pixels(page), strict=True))
    assert sorted(times)[1] < 0.5, times


def test_every_control_changes_the_picture(page: Any) -> None:
    for control, value in (
        ("#weights", "raw pixels"),
        ("#weights", "dinolite_tiny"),
        ("#metric", "cosine"),
        ("#metric", "attention"),
        ("#head", "1"),
        ("#metric", "centred cosine"),
    ):
        before = pixels(page)
        after(page, lambda c=control, v=value: page.locator(c).select_option(v))
        assert pixels(page) != before, (control, value)
    for control in ("#layer", "#through"):
        before = pixels(page)
        after(page, lambda c=control: page.locator(c).press("ArrowLeft"))
        assert pixels(page) != before, control
    before = pixels(page)
    after(page, lambda: page.locator("#rows").press("ArrowDown"))
    assert pixels(page) != before, "arrow keys move the patch"
    assert page.inner_text("#message") == ""


def test_an_own_picture_joins_and_a_bad_one_gets_a_sentence(page: Any, tmp_path: Path) -> None:
    good, bad, large = (tmp_path / name for name in ("my cat.png", "no.png", "large.png"))
    Image.radial_gradient("L").convert("RGB").save(good)
    bad.write_bytes(b"these are words")
    large.write_bytes(b"\x00" * (9 * 2**20))
    count = len(pixels(page))
    after(page, lambda: page.set_input_files("#file", good))
    assert len(pixels(page)) == count + 1 and page.inner_text("#message") == ""
    for file in (bad, large):
        page.set_input_files("#file", file)
        page.locator("#message", has_text=file.name).wait_for(timeout=20_000)
    assert "8.0 MB" in page.inner_text("#message") and len(pixels(page)) == count + 1


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
        assert about["pictures"] == names and next(iter(about["sources"])) == "mine"
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
