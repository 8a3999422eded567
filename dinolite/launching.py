"""Several processes on this machine, started from Python: what torchrun does, without its command
line, for a notebook or a test. Each is the same program with another RANK in its environment; they
meet at a free port of 127.0.0.1.

No counterpart in the official code, which is started by torchrun or SLURM.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

TRIES = 3  # another program may take the free port before we do
TAKEN = "EADDRINUSE"


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """The variables by which process `rank` finds the others."""
    own = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": "1",
    }
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:  # gloo would talk through whatever this machine's name leads to
        own["GLOO_SOCKET_IFNAME"] = loopback[0]
    return own


def start(processes: int, module: str, *arguments: str, seconds: float = 120) -> None:
    """Run `python -m module arguments` in so many processes, and wait for all of them.

    Raises:
        ValueError: there is no process to start.
        RuntimeError: one failed, with the end of what it said, or time is up; none is left.
    """
    if processes < 1:
        raise ValueError(f"processes = {processes}; it must be at least 1")
    for attempt in range(TRIES):
        error = attempted(processes, [sys.executable, "-m", module, *arguments], seconds)
        if not error:
            return
        if TAKEN not in error or attempt == TRIES - 1:
            raise RuntimeError(error)


def attempted(processes: int, command: list[str], seconds: float) -> str:
    """One try; returns what went wrong, or nothing."""
    running: list[subprocess.Popen[bytes]] = []
    port = free_port()
    with TemporaryDirectory() as folder:
        try:
            for rank in range(processes):
                env = os.environ | environment(rank, processes, port)
                with open(Path(folder, str(rank)), "wb") as words:
                    process = subprocess.Popen(
                        command, env=env, stdin=subprocess.DEVNULL, stdout=words, stderr=words
                    )
                running.append(process)
            failed, how = first_failure(running, seconds)
        finally:
            for process in running:
                process.kill()  # nothing happens to those that have ended
                process.wait()
        if failed is None:
            return ""
        said = Path(folder, str(failed)).read_text("utf8", errors="replace")
    return f"process {failed} of {processes} {how}: {said[-2000:]}"


def first_failure(running: list[subprocess.Popen[bytes]], seconds: float) -> tuple[int | None, str]:
    """Wait for all; the number of one that failed, or is still there at the end, and how."""
    deadline = time.monotonic() + seconds
    while True:
        codes = [process.poll() for process in running]
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                return rank, f"ended with {code}"
            if code is None and time.monotonic() > deadline:
                return rank, f"was not done after {seconds} s"
        if None not in codes:
            return None, ""
        time.sleep(0.02)


def free_port() -> int:
    """A port of this machine that nobody listened to a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
