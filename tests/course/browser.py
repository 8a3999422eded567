"""A JupyterLab of our own on a free local port, nothing read from or kept in the user's home, and
a Chromium that opens lessons in it."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
JUPYTER = [
    "--no-browser",
    "--allow-root",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
]
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # cells out of sight are there, too
}


@contextlib.contextmanager
def jupyterlab(root: Path) -> Iterator[tuple[str, str]]:
    """Address and token of a JupyterLab that serves `root`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as own:
        env = os.environ | {"OMP_NUM_THREADS": "1", "DINOLITE_PROGRESS": ""}
        for part in ("CONFIG", "DATA", "RUNTIME"):
            env[f"JUPYTER_{part}_DIR"] = f"{own}/{part}"
        env |= {"JUPYTERLAB_SETTINGS_DIR": f"{own}/settings", "IPYTHONDIR": f"{own}/ipython"}
        env["JUPYTERLAB_WORKSPACES_DIR"] = f"{own}/workspaces"
        for name, text in SETTINGS.items():
            file = Path(own, "settings/@jupyterlab", f"{name}.jupyterlab-settings")
            file.parent.mkdir(parents=True)
            file.write_text(text)
        command = [sys.executable, "-m", "jupyterlab", *JUPYTER, f"--ServerApp.port={port}"]
        command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]
        with open(f"{own}/log", "w+") as log:
            server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
            try:
                wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, Path(log.name))
                yield f"http://127.0.0.1:{port}", token
            finally:
                server.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(15)
                server.kill()


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; its log is the error if it does not within two minutes."""
    for _ in range(480):
        try:
            urllib.request.urlopen(address, timeout=2).read()
            return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.25)
    raise RuntimeError(log.read_text())


def open_and_run(browser: Any, address: str, token: str, name: str) -> Any:
    """A page on which every cell of the notebook has run; errors of the page in `failures`."""
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    page.goto(f"{address}/lab/tree/{name}?token={token}&reset", timeout=120_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".jp-OutputArea .widget-slider").first.wait_for(timeout=240_000)
    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=240_000)
    return page


def move_slider(page: Any, number: int) -> float:
    """Move a slider by one step; seconds until the picture below has changed."""
    picture = page.locator("img.widget-image").first
    before = picture.get_attribute("src")
    handle = page.locator(".widget-slider .noUi-handle").nth(number)
    handle.scroll_into_view_if_needed()
    handle.focus()
    now, most = (float(handle.get_attribute(f"aria-value{which}")) for which in ("now", "max"))
    key = "ArrowLeft" if now == most else "ArrowRight"
    start = time.perf_counter()
    page.keyboard.press(key)
    page.wait_for_function(
        "old => document.querySelector('img.widget-image').getAttribute('src') !== old",
        arg=before,
        timeout=60_000,
    )
    return time.perf_counter() - start
