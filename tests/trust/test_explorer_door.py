"""The door of `dinolite explore`: who may come in, and what is said to those who may not."""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from dinolite.explore.gallery import UPLOAD_BYTES, Gallery, PixelSource
from dinolite.explore.server import serve
from tests.explore.test_gallery import flat, png
from tests.trust.conftest import Faults

QUESTION = json.dumps({"weights": "pixels", "centre": False, "down": 0.0, "across": 0.6})
STRANGER = "a stranger at the door of `dinolite explore`"
Answer = tuple[int, str, dict[str, str]]


class Site:
    """A served gallery, and requests to it as any program might make them."""

    def __init__(self, address: str) -> None:
        self.address = urlsplit(address)
        self.port, self.token = self.address.port, self.address.query.removeprefix("token=")

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        text = data.decode("utf8", "replace")
        return answer.status, text, {k.lower(): v for k, v in answer.getheaders()}


@pytest.fixture
def site() -> Iterator[Site]:
    gallery = Gallery(
        {"pixels": PixelSource(4)}, {"a": flat(0, 50, 100, 255), "b": flat(60, 0, 250, 90)}, 8
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> Site:
        server, address = serve(gallery)
        site = Site(address)
        site.server = server  # type: ignore[attr-defined]
        return site

    site = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
    yield site
    loop.call_soon_threadsafe(site.server.stop)  # type: ignore[attr-defined]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def test_the_page_needs_the_token_and_brings_its_policy(site: Site, faults: Faults) -> None:
    status, text, headers = site.request("GET", f"/?token={site.token}")
    assert status == 200 and "Which patches are alike?" in text
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert len(site.token) >= 32
    for path in ("/", "/?token=", "/?token=wrong", "/?token=%C3%A9"):
        status, text, _ = site.request("GET", path)
        assert status == 403 and "token" in text and site.token not in text
    faults.survived(STRANGER, "403, one sentence", 4)


@pytest.mark.parametrize("path", ["/about", "/picture/0", "/ask", "/upload"])
def test_every_other_door_needs_it_too(site: Site, path: str, faults: Faults) -> None:
    method = "POST" if path in ("/ask", "/upload") else "GET"
    assert site.request(method, path, QUESTION.encode())[0] == 403
    assert site.request(method, path, QUESTION.encode(), X_Token="guess")[0] == 403
    faults.survived(STRANGER, "403, one sentence", 2)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "0.0.0.0"])
def test_other_host_names_are_refused(site: Site, host: str, faults: Faults) -> None:
    status, text, _ = site.request("GET", f"/?token={site.token}", Host=host.format(port=site.port))
    assert status == 403 and "127.0.0.1" in text
    faults.survived(STRANGER, "403, one sentence")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_other_sites_are_refused_even_with_the_token(
    site: Site, origin: str, faults: Faults
) -> None:
    status, text, _ = site.request(
        "POST", "/ask", QUESTION.encode(), X_Token=site.token, Origin=origin
    )
    assert status == 403 and "other sites" in text
    faults.survived(STRANGER, "403, one sentence")


def test_a_question_is_answered(site: Site) -> None:
    origin = f"http://127.0.0.1:{site.port}"
    status, text, _ = site.request(
        "POST", "/ask", QUESTION.encode(), X_Token=site.token, Origin=origin
    )
    answer = json.loads(text)
    assert status == 200 and answer["asked"] == [0, 0, 1] and len(answer["maps"]) == 2
    assert answer["maps"][0][0] == pytest.approx([0, 1], abs=1e-5)  # black has no direction
    about = json.loads(site.request("GET", "/about", X_Token=site.token)[1])
    assert about["pictures"] == ["a", "b"] and about["sources"]["pixels"]["grid"] == 2
    status, _, headers = site.request("GET", "/picture/1", X_Token=site.token)
    assert status == 200 and headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"weights": "pixels", "down": NaN}',
        b'{"weights": "pixels", "down": "0.5"}',
        b'{"weights": "pixels", "picture": 1e9}',
        b'{"weights": "pixels", "picture": 99}',
        b'{"weights": "pixels", "layer": 5}',
        b'{"weights": "../../secret"}',
        b'{"weights": "pixels", "view": "attention"}',
        b'{"weights": "pixels", "step": 1}',
        b'{"weights": "pixels", "extra": 1}',
    ],
)
def test_a_bad_question_is_one_sentence(site: Site, body: bytes, faults: Faults) -> None:
    status, text, headers = site.request("POST", "/ask", body, X_Token=site.token)
    assert status == 400 and text and "\n" not in text and "Traceback" not in text
    assert headers["content-type"].startswith("text/plain"), "never read as HTML"
    faults.survived("a question to the explorer that makes no sense", "400, one sentence")


def test_uploads_are_kept_and_bad_ones_answered(site: Site) -> None:
    name = quote("Blümchen <b>.png")
    status, text, _ = site.request("POST", "/upload", png(), X_Token=site.token, X_Name=name)
    assert status == 200 and json.loads(text)["name"] == "Blümchen <b>.png"
    status, text, headers = site.request(
        "POST", "/upload", b"<html>", X_Token=site.token, X_Name=name
    )
    assert status == 400 and "Blümchen" in text and headers["content-type"].startswith("text/plain")
    assert site.request("GET", "/picture/2", X_Token=site.token)[0] == 200
    assert site.request("GET", "/picture/3", X_Token=site.token)[0] == 404


def test_a_body_over_the_limit_is_not_read(site: Site, faults: Faults) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.putrequest("POST", "/upload")
    connection.putheader("X-Token", site.token)
    connection.putheader("Content-Length", str(UPLOAD_BYTES + 1))
    connection.endheaders()
    with contextlib.suppress(ConnectionError):  # closed without a word: also not read
        assert connection.getresponse().status == 400
    connection.close()
    assert site.request("GET", f"/?token={site.token}")[0] == 200, "the server lives on"
    faults.survived("an upload over the limit to the explorer", "it is not read")


@pytest.mark.parametrize(
    "path", ["/explore.html", "/../gallery.py", "/explore.js/..", "/picture/-1"]
)
def test_nothing_else_is_served(site: Site, path: str, faults: Faults) -> None:
    assert site.request("GET", path, X_Token=site.token)[0] in (403, 404)
    faults.survived("a path of the explorer that leads elsewhere", "403 or 404")


def test_it_listens_on_this_machine_only(site: Site) -> None:
    names = {s.getsockname()[0] for s in site.server._sockets.values()}  # type: ignore[attr-defined]
    assert names == {"127.0.0.1"}
