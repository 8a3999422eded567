"""`dinolite explore`: a page on which one clicks a patch and sees where, in this picture and in
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
import webbrowser
from collections.abc import Callable
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
    UPLOAD_BYTES,
    Answer,
    Gallery,
    Metric,
    Question,
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
    side: int,
    port: int,
    browser: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the explorer until it is interrupted: these weights (released ones may be downloaded),
    and pictures of a folder, or photographs, scaled to `side` pixels. `say` gets the address.

    Raises:
        ValueError: weights or pictures cannot be read, or `side` does not fit the patches.
        OSError: the port is taken.
    """
    sources = open_sources(list(weights), allow_network=True)
    gallery = Gallery(
        sources, pictures_to_show(folder, side, training_data(weights[0]).value_range), side
    )
    asyncio.run(serve_until_interrupted(gallery, port, browser, say))


async def serve_until_interrupted(
    gallery: Gallery, port: int, browser: bool, say: Callable[[str], None]
) -> None:
    """Listen until the task is cancelled, as Ctrl-C does."""
    server, address = serve(gallery, port)
    say(f"explorer: {address}\nIt listens on this machine only. Ctrl-C ends it.")
    if browser:
        webbrowser.open(address)
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()


def serve(gallery: Gallery, port: int = 0) -> tuple[HTTPServer, str]:
    """Start listening at a port (0 = any free one); returns the server and the address of the page,
    token included.

    Raises:
        ValueError: there is no such port.
        OSError: it is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port = {port} must be between 0 and 65535")
    sockets = bind_sockets(port, HOST)
    port, token = sockets[0].getsockname()[1], secrets.token_urlsafe(24)
    shared = {"gallery": gallery, "token": token}
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

    def initialize(self, gallery: Gallery, token: str) -> None:
        self.gallery, self.token = gallery, token

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

    def get(self) -> None:
        side = self.gallery.side
        sources = {
            name: {"layers": s.layers, "heads": s.heads, "grid": side // s.patch_size}
            for name, s in self.gallery.sources.items()
        }
        about = {"sources": sources, "pictures": list(self.gallery.pictures), "side": side}
        self.write({**about, "metrics": get_args(Metric), "upload_bytes": UPLOAD_BYTES})


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

    def post(self) -> None:
        try:
            question = Question.model_validate_json(self.request.body)
            answer = self.gallery.ask(question)
        except ValueError as error:
            return self.refuse(error)
        self.set_header("Content-Type", "application/json")
        self.write(to_json(answer))


class Upload(Request):
    """An image file as the body; its name, percent-encoded, in the header X-Name."""

    def post(self) -> None:
        name = unquote(self.request.headers.get("X-Name", ""))[:80] or "own picture"
        try:
            self.write({"name": self.gallery.upload(self.request.body, name)})
        except ValueError as error:
            self.refuse(error)


def to_json(answer: Answer) -> str:
    """Maps as rows of numbers, null for NaN."""
    maps = [None if bool(m.isnan().all()) else m.tolist() for m in answer.maps]
    low, high = answer.limits()
    found = {"maps": maps, "asked": answer.asked, "best": answer.best}
    return json.dumps({**found, "low": low, "high": high})
