"""`dinolite explore`: weights and pictures are opened, the page is served until Ctrl-C."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Callable
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from dinolite.data.datasets import load_pictures
from dinolite.data.photographs import photographs
from dinolite.data.pictures import FilePictures
from dinolite.explore.gallery import Gallery
from dinolite.explore.server import serve
from dinolite.explore.sources import open_sources

PHOTOGRAPHS = ("chelsea", "coins", "coffee", "camera", "astronaut", "china")
SHOWN = 6


def launch(
    weights: list[str],
    pictures: Path | None,
    side: int,
    port: int,
    browser: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the explorer until it is interrupted.

    Raises:
        ValueError: weights or pictures cannot be read, or `side` does not fit the patches.
        OSError: the port is taken.
    """
    gallery = Gallery(open_sources(list(weights), allow_network=True), chosen(pictures, side), side)
    asyncio.run(run(gallery, port, browser, say))


def chosen(folder: Path | None, side: int) -> dict[str, UInt8[Tensor, "3 _ _"]]:
    """Six pictures of a folder, spread over it, or six photographs."""
    if folder is None:
        photos = photographs()
        return {name: photos[name] for name in PHOTOGRAPHS}
    found = load_pictures(f"folder:{folder}", "train", 2 * side)
    n = min(len(found), SHOWN)
    numbers = [i * len(found) // n for i in range(n)]
    assert isinstance(found, FilePictures)
    names = [Path(found.paths[i]).name for i in numbers]
    return dict(zip(names, found.pictures(numbers), strict=True))


async def run(gallery: Gallery, port: int, browser: bool, say: Callable[[str], None]) -> None:
    """Listen until the task is cancelled, as Ctrl-C does."""
    server, address = serve(gallery, port)
    say(f"explorer: {address}\nIt listens on this machine only. Ctrl-C ends it.")
    if browser:
        webbrowser.open(address)
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()
