"""`dinolite explore` as its user meets it: the command, the page in a browser, clicks, uploads."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser import CHROMIUM_ARGUMENTS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
COMMAND = [sys.executable, "-m", "dinolite.cli", "explore"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow


def hears_ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command is running; Ctrl-C then ends it without a traceback."""
    here = tmp_path_factory.mktemp("elsewhere")
    with subprocess.Popen(
        [*COMMAND, "--no-browser"], cwd=here, env={**ENV, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert select.select([process.stdout], [], [], 120)[0], "it did not start"
        yield re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())[0]  # type: ignore[index]
        process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()  # nothing happens to one that has ended
        assert "Traceback" not in said and process.returncode in (0, 1, 130)
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such_weights"], "no_such_weights"),
        (["--side", "100"], "side = 100"),
        (["--pictures", "nowhere"], "nowhere"),
        (["--port", "99999"], "99999"),
    ],
)
def test_mistakes_end_in_a_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    command = [*COMMAND, "--no-browser", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
