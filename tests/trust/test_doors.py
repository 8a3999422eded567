"""Who may come in, and who may go out: `dinolite lab` and the network. The explorer's door is in
test_explorer_door.py."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dinolite.checkpointer import sha256
from dinolite.cli import OfflineError
from dinolite.models.keymaps import WeightsError
from dinolite.models.pretrained import check_download
from tests.tiny_run import QUICK
from tests.trust.conftest import Faults

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
FAR = ("192.0.2.1", 80)  # reserved for documentation: nobody is there


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, Path]]:
    """Port, token and folder of `dinolite lab`."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    (root / "secret.txt").write_text("not for the page")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{part}_DIR": str(root / part) for part in ("CONFIG", "DATA", "RUNTIME")}
    log = os.open(root / "log", os.O_WRONLY | os.O_CREAT)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dinolite.cli",
            "lab",
            "notebooks",
            "--no-browser",
            "--port",
            str(port),
        ],
        cwd=root,
        env={**ENV, **own},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    deadline, found = time.monotonic() + 120, None
    while found is None and time.monotonic() < deadline and process.poll() is None:
        found = re.search(rf"http://127\.0\.0\.1:{port}/\S*token=(\w+)", (root / "log").read_text())
        time.sleep(0.2)
    assert found, (root / "log").read_text()
    yield port, found[1], root
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ask(port: int, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        connection.request(method, path, body, named)
        return connection.getresponse().status


@pytest.mark.slow
def test_the_lab_lets_only_its_user_in(lab: tuple[int, str, Path], faults: Faults) -> None:
    port, token, _ = lab
    assert len(token) >= 32
    assert ask(port, f"/api/contents?token={token}") == 200
    refused = [
        ask(port, "/api/contents"),
        ask(port, "/api/contents?token=guess"),
        ask(port, f"/api/contents?token={token}", Host="evil.example"),
        ask(port, "/api/kernels", "POST", b"{}"),
        ask(port, "/api/contents/x.txt", "PUT", b"{}"),
        ask(port, "/api/terminals", "POST", b"{}"),
    ]
    # Another site has no token, and the browser's cookie alone must not do: 404 or 403 to it.
    foreign = {"Origin": "https://evil.example", "Cookie": f"username-127-0-0-1-{port}=x"}
    refused.append(ask(port, "/api/kernels", "POST", b"{}", **foreign))
    refused.append(ask(port, "/api/contents/x.txt", "PUT", b"{}", **foreign))
    assert all(status in (403, 404) for status in refused), refused
    faults.survived("a stranger at the door of `dinolite lab`", "403", len(refused))


@pytest.mark.slow
def test_the_lab_writes_below_its_folder_only(lab: tuple[int, str, Path], faults: Faults) -> None:
    port, token, root = lab
    given = {"Authorization": f"token {token}"}
    body = b'{"type": "file", "format": "text", "content": "mine now"}'
    paths = ("../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", f"{root}/secret.txt")
    for path in paths:
        with contextlib.suppress(ConnectionError):
            assert ask(port, f"/api/contents/{path}", "PUT", body, **given) >= 400
        assert (root / "secret.txt").read_text() == "not for the page"
    huge = str(10**9)
    with contextlib.suppress(ConnectionError):
        assert ask(port, "/api/contents/big.txt", "PUT", b"", Content_Length=huge, **given) >= 400
    faults.survived("a path above the folder, an upload of a gigabyte", "refused", len(paths) + 1)


@pytest.mark.slow
def test_it_listens_on_this_machine_only(lab: tuple[int, str, Path], faults: Faults) -> None:
    port = lab[0]
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    here = [line.split()[1] for line in lines if line.split()[1].endswith(f":{port:04X}")]
    assert here and all(address.startswith("0100007F:") for address in here)
    faults.survived("another machine at the door", "nobody listens there")


def test_no_test_reaches_another_machine(faults: Faults) -> None:
    with pytest.raises(OfflineError, match=FAR[0]):
        socket.create_connection(FAR, timeout=1)
    names = ("example.org", "localhost.example.org", "127.example.org", "0.0.0.0.example.org")
    for name in names:
        with pytest.raises(OfflineError, match=name):
            socket.getaddrinfo(name, 443)
    script = f"import socket; socket.create_connection({FAR}, timeout=1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "OfflineError" in done.stderr, "programs that tests start do not either"
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    times = 2 + len(names)
    faults.survived("something wants to reach another machine, --offline", "refused by name", times)


@pytest.mark.slow
def test_a_run_and_the_weights_need_no_network(tmp_path: Path, faults: Faults) -> None:
    env = {name: value for name, value in ENV.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "dinolite.cli", "--offline"]
    arguments = ["train", "demo", *QUICK, "train.iterations=4", "optim.lr.warmup=0", "--out", "r"]
    subprocess.run([*command, *arguments], cwd=tmp_path, env=env, check=True, capture_output=True)
    assert (tmp_path / "r" / "report.html").is_file()
    env["HF_HOME"] = str(tmp_path)  # nothing was downloaded before
    more = ["explore", "vit_small_patch16_dinov3_qkvb", "--no-browser"]
    done = subprocess.run([*command, *more], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "not on this machine" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    faults.survived("no network", "a run, its report: as always; released weights: one sentence", 2)


def test_downloads_have_the_checksum_that_their_names_promise(
    tmp_path: Path, faults: Faults
) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(b"weights")
    digest = sha256(whole)
    for good in (digest, f"dinov3_vits16_pretrain_lvd1689m-{digest[:8]}.pth", "model.safetensors"):
        path = tmp_path / good
        path.write_bytes(b"weights")
        assert check_download(path) == path
        path.write_bytes(b"weighty")
        if good != "model.safetensors":  # whose name promises nothing
            with pytest.raises(WeightsError, match="not the file that was offered"):
                check_download(path)
    faults.survived("a download with other bytes", "one sentence: delete it, download again", 2)
