"""Processes are started, found by each other, waited for; none is left behind when one fails."""

import subprocess
import time
from pathlib import Path

import pytest

from dinolite_course import processes


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    (folder / "a_worker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "a_worker"


def test_each_process_knows_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\ne = os.environ\n"
        "words = ' '.join([e['WORLD_SIZE'], e['MASTER_ADDR'], e['LOCAL_RANK']])\n"
        "Path(sys.argv[1], e['RANK']).write_text(words)\nprint('not to be seen')\n"
    )
    processes.start(3, module(tmp_path, monkeypatch, code), str(tmp_path))
    assert [(tmp_path / str(r)).read_text() for r in range(3)] == [
        f"3 127.0.0.1 {r}" for r in range(3)
    ]


def test_nothing_reaches_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys\nprint('words')\nprint('warnings', file=sys.stderr)\n"
    processes.start(2, module(tmp_path, monkeypatch, code))
    assert capfd.readouterr() == ("", "")


def test_when_one_fails_the_others_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, time\nif os.environ['RANK'] == '1': raise OSError('no disk')\ntime.sleep(99)"
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(processes.subprocess, "Popen", Noted)
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=r"(?s)process 1 of 2 ended with 1:.*OSError: no disk"):
        processes.start(2, module(tmp_path, monkeypatch, code))
    assert time.monotonic() - begin < 60
    assert len(started) == 2 and all(p.returncode is not None for p in started)


def test_time_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(
        tmp_path, monkeypatch, "import time\nprint('waiting', flush=True)\ntime.sleep(99)"
    )
    with pytest.raises(RuntimeError, match=r"process 0 of 1 was not done after 1 s"):
        processes.start(1, name, seconds=1)


def test_a_taken_port_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["EADDRINUSE", "EADDRINUSE", ""]
    monkeypatch.setattr(processes, "attempted", lambda *_: answers.pop(0))
    processes.start(1, "x")
    assert not answers
    monkeypatch.setattr(processes, "attempted", lambda *_: "EADDRINUSE, again")
    with pytest.raises(RuntimeError, match="again"):
        processes.start(1, "x")


def test_no_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"processes = 0; it must be at least 1"):
        processes.start(0, "x")
