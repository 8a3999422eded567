"""`dinolite explore`: a page on which one points at a patch and sees where, in this picture and in
others, patches are like it; served to this machine only, until Ctrl-C. Uploaded pictures are kept
in memory, never written.

Every request must come to 127.0.0.1 and bring the token of the address that was printed; other host
names, other sites, large uploads and what is no picture are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import secrets
import time
import webbrowser
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

from PIL import Image
from pydantic import ValidationError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from dinolite.config import explain
from dinolite.explore.gallery import (
    ALL_LAYERS,
    GRID,
    GROUPS,
    UPLOAD_BYTES,
    Answer,
    Gallery,
    NetSource,
    Question,
    View,
    open_sources,
    pictures_to_show,
    training_data,
)

HOST = "127.0.0.1"
FILES = {
    "": ("explore.html", "text/html; charset=UTF-8"),
    "explore.js": ("explore.js", "text/javascript"),
    "explore.css": ("explore.css", "text/css"),
}
PASS = 1.0  # seconds
FREE = ("/explore.js", "/explore.css")  # no secrets in them: no token is needed
HERE = Path(__file__).resolve().parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


# --- starting and serving ---


def launch(
    weights: list[str],
    folder: Path | None,
    side: int | None,
    port: int,
    browser: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the explorer until it is interrupted: these weights (released ones may be downloaded),
    and pictures of a folder, or photographs, scaled to `side` pixels, otherwise to 48 patches.
    `say` gets the address.

    Raises:
        ValueError: weights or pictures cannot be read, or `side` does not fit the patches.
        OSError: the port is taken.
    """
    sources = open_sources(list(weights), allow_network=True)
    if side is None:
        side = GRID * max(source.patch_size for source in sources.values())
    gallery = Gallery(
        sources, pictures_to_show(folder, side, training_data(weights[0]).value_range), side
    )
    asyncio.run(serve_until_interrupted(gallery, port, browser, say))


async def serve_until_interrupted(
    gallery: Gallery, port: int, browser: bool, say: Callable[[str], None]
) -> None:
    """Listen until the task is cancelled, as Ctrl-C does."""
    worker = ThreadPoolExecutor(1)
    server, address = serve(gallery, port, worker)
    say(f"explorer: {address}\nIt listens on this machine only. Ctrl-C ends it.")
    if browser:
        webbrowser.open(address)
    try:
        await compute_ahead(gallery, worker)
        await asyncio.Event().wait()
    finally:
        server.stop()
        worker.shutdown(wait=False, cancel_futures=True)


async def compute_ahead(gallery: Gallery, worker: Executor) -> None:
    """Between the answers, what the next ones need, in portions of which an answer may have to wait
    for one; a pass of more than a second, as of a large net, is the last."""
    numbers, names = range(len(gallery.pictures)), list(gallery.sources)
    views: tuple[View, View] = ("groups", "PCA")
    work: list[Callable[[], Any]] = []
    last: list[Callable[[], Any]] = []
    for name in names:
        work += [partial(gallery.layer, Question(weights=name), p) for p in gallery.pictures]
    for name, source in gallery.sources.items():
        if 2 * source.heads * (gallery.side // source.patch_size) ** 4 <= ALL_LAYERS:
            looks = [Question(weights=name, view="attention", picture=i) for i in numbers]
            work += [partial(gallery.ask, question) for question in looks]
        for step in source.steps:
            question = Question(weights=name, step=step)
            work += [partial(gallery.layer, question, p) for p in gallery.pictures]
    last += [partial(gallery.ask, Question(weights=n, view=v)) for v in views for n in names]

    def seconds(task: Callable[[], Any]) -> float:
        start = time.thread_time()  # not of other programs
        with suppress(Exception):  # unreadable, gone, too large: who asks for it is told
            task()
        return time.thread_time() - start

    for task in [*work, *last]:
        loop = asyncio.get_running_loop()
        spent = await loop.run_in_executor(worker, partial(seconds, task))
        if spent > PASS and task not in last:
            return


def serve(
    gallery: Gallery, port: int = 0, worker: Executor | None = None
) -> tuple[HTTPServer, str]:
    """Start listening at a port (0 = any free one); returns the server and the address of the page,
    token included. All work on the gallery is done by one thread, in the order in which it comes.

    Raises:
        ValueError: there is no such port.
        OSError: it is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port = {port} must be between 0 and 65535")
    sockets = bind_sockets(port, HOST)
    port, token = sockets[0].getsockname()[1], secrets.token_urlsafe(24)
    shared = {"gallery": gallery, "token": token, "worker": worker or ThreadPoolExecutor(1)}
    routes = [
        (r"/(|explore\.js|explore\.css)", File, shared),
        (r"/about", About, shared),
        (r"/picture/(\d{1,4})", Picture, shared),
        (r"/ask", Ask, shared),
        (r"/upload", Upload, shared),
    ]
    application = Application(routes, port=port, log_function=lambda handler: None)
    server = HTTPServer(application, max_body_size=UPLOAD_BYTES, max_buffer_size=2 * UPLOAD_BYTES)
    server.add_sockets(sockets)
    return server, f"http://{HOST}:{port}/?token={token}"


# --- requests ---


class Request(RequestHandler):
    """What every request must pass: the right host, no other site, and the token."""

    def initialize(self, gallery: Gallery, token: str, worker: Executor) -> None:
        self.gallery, self.token, self.worker = gallery, token, worker

    def set_default_headers(self) -> None:
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def prepare(self) -> None:
        port = self.settings["port"]
        ours = {f"{HOST}:{port}", f"localhost:{port}"}
        headers = self.request.headers
        if self.request.host not in ours:
            raise HTTPError(403, reason=f"this page is at {HOST}:{port} only")
        origin = headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in ours}:
            raise HTTPError(403, reason="requests of other sites are refused")
        given = headers.get("X-Token") or self.get_query_argument("token", "")
        if self.request.path not in FREE and not hmac.compare_digest(
            given.encode(), self.token.encode()
        ):
            raise HTTPError(403, reason="token missing or wrong: use the address that was printed")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One sentence, never a traceback."""
        error = kwargs.get("exc_info", (None, None))[1]
        reason = error.reason if isinstance(error, HTTPError) else None
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(reason or f"{type(error).__name__}: {error}")

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, in its turn; other requests are heard meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, function, *arguments)

    def refuse(self, error: ValueError) -> None:
        """The sentence of a mistake, for the reader of the page."""
        said = [str(error)]
        if isinstance(error, ValidationError):
            said = explain(error, Question, "question")
        self.set_status(400)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("; ".join(said))


class File(Request):
    """The page itself, its script and its style."""

    def get(self, name: str) -> None:
        file, kind = FILES[name]
        self.set_header("Content-Type", kind)
        self.write((HERE / file).read_text("utf8"))


class About(Request):
    """What can be chosen."""

    async def get(self) -> None:
        self.write(await self.work(about, self.gallery))


def about(gallery: Gallery) -> dict[str, Any]:
    """The sources, the pictures with the places where to begin, and limits."""
    sources = {
        name: {
            "layers": source.layers,
            "heads": source.heads,
            "grid": gallery.side // source.patch_size,
            "grey": source.grey,
            "net": isinstance(source, NetSource),
            "steps": [[step, Path(where).stem] for step, where in sorted(source.steps.items())],
        }
        for name, source in gallery.sources.items()
    }
    return {
        "sources": sources,
        "first": gallery.first,
        "pictures": list(gallery.pictures),
        "starts": [gallery.start(name) for name in gallery.pictures],
        "views": get_args(View),
        "groups": GROUPS,
        "side": gallery.side,
        "upload_bytes": UPLOAD_BYTES,
    }


class Picture(Request):
    """One picture as PNG, by its number."""

    def get(self, number: str) -> None:
        pictures = list(self.gallery.pictures.values())
        if int(number) >= len(pictures):
            raise HTTPError(404, reason=f"there are {len(pictures)} pictures, from 0 on")
        buffer = io.BytesIO()
        Image.fromarray(pictures[int(number)].permute(1, 2, 0).numpy()).save(buffer, "PNG")
        self.set_header("Content-Type", "image/png")
        self.write(buffer.getvalue())


class Ask(Request):
    """A question as JSON; the answer as JSON."""

    async def post(self) -> None:
        try:
            question = Question.model_validate_json(self.request.body)
            answer = await self.work(self.gallery.ask, question)
        except ValueError as error:
            return self.refuse(error)
        self.set_header("Content-Type", "application/json")
        self.write(to_json(answer))


class Upload(Request):
    """An image file as the body; its name, percent-encoded, in the header X-Name."""

    async def post(self) -> None:
        name = unquote(self.request.headers.get("X-Name", ""))[:80] or "own picture"
        try:
            self.write({"name": await self.work(self.gallery.upload, self.request.body, name)})
        except ValueError as error:
            self.refuse(error)


def to_json(answer: Answer) -> str:
    """Maps as rows of numbers, of six decimals; null for NaN."""
    maps = answer.maps
    if maps.is_floating_point():
        maps = maps.double().round(decimals=6)
    shown = [None if bool(m.isnan().any()) else m.tolist() for m in maps]
    found = {"maps": shown, "asked": answer.asked, "best": answer.best}
    return json.dumps({**found, "high": answer.high})
