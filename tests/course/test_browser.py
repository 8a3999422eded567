"""Three lessons as a reader meets them: JupyterLab in a browser, run from the top, every slider
moved, an own picture loaded. Skipped where there is no Chromium or no Playwright."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from tests.course.browser import CHROMIUM_ARGUMENTS, jupyterlab, move_slider, open_and_run

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
ERROR = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, str]]:
    """A browser, and a JupyterLab that serves a copy of the lessons."""
    play = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install playwright"
    )
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(LESSONS, root / "lessons")
    shutil.copytree(LESSONS.parent / "tests" / "golden", root / "tests" / "golden")
    with jupyterlab(root) as (address, token), play.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser, address, token
        browser.close()


@pytest.mark.parametrize(
    "name", ["03_rope.ipynb", "04_attention.ipynb", "19_seeing_features.ipynb"]
)
def test_every_slider_moves_its_picture(
    site: tuple[Any, str, str], name: str, tmp_path: Path
) -> None:
    page = open_and_run(*site, f"lessons/{name}")
    declared = [
        cell
        for cell in nbformat.read(LESSONS / name, 4).cells
        if "raises-exception" in cell.metadata.get("tags", [])
    ]
    assert page.locator(ERROR).count() == len(declared), "an error that no tag declares"
    sliders = page.locator(".widget-slider .noUi-handle").count()
    assert sliders >= 2
    for number in range(sliders):
        move_slider(page, number)
    if page.locator(".widget-upload").count():
        load_own_pictures(page, tmp_path)
    assert not page.failures
    page.close()


def load_own_pictures(page: Any, folder: Path) -> None:
    """A good one joins the others, a bad one gets a sentence."""
    good, bad = folder / "my cat.png", folder / "words.png"
    Image.radial_gradient("L").convert("RGB").save(good)
    bad.write_bytes(b"these are words")
    picture = page.locator("img.widget-image").first
    for file, answer in (
        (good, lambda before: picture.get_attribute("src") != before),
        (bad, lambda before: page.get_by_text("words.png: skipped").count() == 1),
    ):
        before = picture.get_attribute("src")
        with page.expect_file_chooser() as chooser:
            page.locator(".widget-upload").click()
        chooser.value.set_files(file)
        deadline = time.monotonic() + 30
        while not answer(before) and time.monotonic() < deadline:
            page.wait_for_timeout(20)
        assert answer(before), file
