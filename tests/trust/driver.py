"""Lives of one run: started, killed at a chosen moment, started again, until the run is done.

A program of its own, so that a life is a fork that has imported everything: a start takes no four
seconds, and thirty deaths fit into a test. Prints what happened as JSON.

    python -m tests.trust.driver KIND DEATHS SEED FOLDER OVERRIDES...
"""

import faulthandler
import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import dinolite.cli  # noqa: F401  before any fork: tests/offline asks for it at the first socket
from dinolite.checkpointer import checkpoints
from dinolite.config import load_config
from dinolite.train.train import train

PATIENCE = 120.0  # seconds that nothing may happen


def start(out: Path, overrides: list[str], **env: str) -> int:
    """Fork a life; the number of its process."""
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        os.environ.update(env)
        log = os.open(out.with_name("lives.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.dump_traceback_later(PATIENCE - 20, file=2)  # where it hangs, if it does
        train(load_config("demo", [*overrides, f"train.output_dir={out}"]))
        os._exit(0)
    except BaseException as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        os._exit(9)


def start_all(out: Path, overrides: list[str], processes: int) -> list[int]:
    """One life, or one of several processes that meet at a free port."""
    if processes == 1:
        return [start(out, overrides)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(out, overrides, RANK=str(r), LOCAL_RANK=str(r), **env) for r in range(processes)]


def ended(pid: int) -> int | None:
    """The exit code of a life, negative for a signal; None while it lives."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return None if done == 0 else os.waitstatus_to_exitcode(status)


def last_line(out: Path) -> dict[str, float]:
    try:
        return json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return {}


def wait_for_moment(kind: str, out: Path, begun: int, chance: random.Random, alive: int) -> bool:
    """Wait until the run is where it is to be killed; False if it ended before."""
    deadline = time.monotonic() + PATIENCE
    further = chance.randint(1, 3)
    while time.monotonic() < deadline:
        done = checkpoints(out)
        newest = int(done[-1].name) if done else 0
        if kind == "save" and newest >= begun and list((out / "ckpt").glob("writing-*")):
            time.sleep(chance.uniform(0, 0.015))
            return True
        line = last_line(out)
        if kind == "evaluation" and newest > begun and "total_loss" in line:
            time.sleep(chance.uniform(0, 0.01))
            return True
        if kind not in ("save", "evaluation") and newest >= begun + further:
            time.sleep(chance.uniform(0, 0.08))
            return True
        if os.waitid(os.P_PID, alive, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(0.001)
    raise TimeoutError(f"{kind}: nothing happened for {PATIENCE} s")


def wait_all(pids: list[int]) -> list[int]:
    """The exit codes of all lives."""
    codes: dict[int, int] = {}
    deadline = time.monotonic() + PATIENCE
    while len(codes) < len(pids):
        for pid in set(pids) - codes.keys():
            if (code := ended(pid)) is not None:
                codes[pid] = code
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {set(pids) - codes.keys()} do not end")
        time.sleep(0.01)
    return [codes[pid] for pid in pids]


def main(kind: str, deaths: int, seed: int, folder: Path, overrides: list[str]) -> None:
    """One run lives in one piece; the other is killed `deaths` times, then let end."""
    chance, processes = random.Random(seed), 2 if kind == "two processes" else 1
    out, killed, during = folder / "killed" / "run", 0, []
    for parent in ("whole", "killed"):
        (folder / parent).mkdir()
    assert wait_all(start_all(folder / "whole" / "run", overrides, processes)) == [0] * processes
    while killed < deaths:
        begun = int(checkpoints(out)[-1].name) if checkpoints(out) else 0
        pids = start_all(out, overrides, processes)
        victim = chance.choice(pids)
        if not wait_for_moment(kind, out, begun, chance, victim):
            raise RuntimeError(f"the run ended after {killed} deaths, with {wait_all(pids)}")
        os.kill(victim, signal.SIGKILL)
        codes = wait_all(pids)
        assert codes[pids.index(victim)] == -signal.SIGKILL, codes
        killed += 1
        during.append(bool(list((out / "ckpt").glob("writing-*"))))
    assert wait_all(start_all(out, overrides, processes)) == [0] * processes
    print(json.dumps({"killed": killed, "half_written": sum(during)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
