"""Two lessons as a reader meets them: JupyterLab in a browser, run from the top, every slider
moved. Skipped where there is no Chromium or no Playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser import CHROMIUM_ARGUMENTS, jupyterlab, move_slider, open_and_run

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
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


@pytest.mark.parametrize("name", ["03_rope.ipynb", "04_attention.ipynb"])
def test_every_slider_moves_its_picture(site: tuple[Any, str, str], name: str) -> None:
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
    assert not page.failures
    page.close()
