"""Every command that the pages print is run as it stands there, with small settings put behind it;
every block of Python, too. What is not run stands in a table, with the reason."""

import ast
import http.client
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import dinolite.cli
import dinolite.config
from dinolite.config import Config, load_config, parse_override, to_toml
from dinolite.models import pretrained
from dinolite.models.vision_transformer import build_backbone
from dinolite.parallel import can_shard_on_cpu
from dinolite.run_folder import publish, save
from dinolite.train.train import make_state
from tests import processes
from tests.commands import ROOT, commands, snippets
from tests.small_sets import SMALL
from tests.tiny_run import TINY

SHORT = [
    *TINY,
    "train.iterations=2",
    "train.log_every=1",
    "optim.lr={peak=1e-3}",
    "teacher.temp={peak=0.04}",
    "dino.koleo_loss_distributed=false",
    "dino.koleo_distributed_loss_group_size=none",
    "gram.loss_weight_schedule=none",
    "dino.local_loss_weight_schedule={peak=1}",
    "evaluation.max_train=64",
    "train.num_workers=0",  # ten for each of two processes would be a crowd
    "crops.global_crops_size=64",
    "crops.local_crops_size=32",
    *([] if can_shard_on_cpu() else ["train.parallel=ddp"]),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="the pages are read by a shell"),
]

NOT_RUN = {
    r"conda .*": "there is no conda here; test_environment.py reads environment.yml",
    r"python -m venv .*|python -m pip .*|make install": "it installs what these tests run in",
    r"pre-commit install": "it changes the clone; its hooks are commands of `make check`",
    r"(python -m )?pytest.*|make (test|quick)": "the tests themselves",
    r"make lessons.*": "an hour; tests/course/test_gate.py builds a small lesson",
    r"python -m tools.lessons check": "tests/course/test_lessons.py does this, rule by rule",
    r"sbatch .*": "there is no SLURM here; the script that it would start is run",
    r"python -m tools\.gpu_run run": "it needs a GPU; tests/test_gpu_run.py rehearses it",
    r"python -m benchmarks": "half an hour; most benchmarks are run by name",
}
MEANT = {  # what a reader puts into the place of words
    "(a copy of the folder of stage 1)": "runs/stage1",
    "FIRST_MACHINE:29500": "127.0.0.1:0",
    "8 ... -m": "8 --standalone -m",
    "--offline ...": "--offline check",
    "folder:...": "folder:my_photos",
    "data.root=PATH": "data.root=imagenet",
    "PATH": "my_photos",
    "RECIPE": "demo",
    "NN": "03",
    "benchmarks.gram 3": "benchmarks.gram 1",
    "benchmarks.resolution 3": "benchmarks.resolution 1",
    ",runs/tiny_s1,runs/tiny_s2": ",dinolite_tiny_step00100",
    "one.jpg": "my_photos/cats/00.png",
    "sha256sum": "cd runs/mine/ckpt/0000002 && sha256sum",
}
PICTURES = ("my_photos", "cifar10", "imagenet100", "imagenet/train", "imagenet/val")
STUBS = ("dinolite", "torchrun", "python", "pytest", "make", "conda", "pip", "sbatch", "pre-commit")
NOTE = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\036'; } >> "$NOTED"
"""


def stub(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def draw(folder: Path, n: int = 12) -> None:
    """Small pictures of random colours, in two classes."""
    noise = np.random.default_rng(0)
    for i in range(n):
        place = folder / ("cats", "dogs")[i % 2] / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(place)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a reader has already: pictures, programs, weights, a finished run."""
    here = tmp_path_factory.mktemp("shelf")
    for name in PICTURES:
        draw(here / name)
    programs = here / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in STUBS:
        stub(programs / name, NOTE)
    stub(programs / "srun", '#!/bin/sh\nexec "$@"\n')
    stub(programs / "scontrol", "#!/bin/sh\necho 127.0.0.1\n")
    (here / "lessons").mkdir()
    return here


@pytest.fixture(scope="module")
def finished(shelf: Path) -> Path:
    """The run of the first command for one's own pictures."""
    run = shelf / "finished"
    c = load_config(
        "folder", [*SHORT, f"data.dataset=folder:{shelf / 'my_photos'}", f"train.output_dir={run}"]
    )
    from dinolite.train.train import train

    train(c)
    return run


@pytest.fixture
def desk(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with what is on the shelf; data sets are small."""
    for path in shelf.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)
    return tmp_path


# --- what a shell would start ---


def started(line: str, desk: Path) -> list[list[str]]:
    """The programs that a shell starts for a line, each with its words.

    The shell is real; the programs are stand-ins that write down how they were called.
    """
    for printed, meant in MEANT.items():
        line = line.replace(printed, meant)
    if line.startswith(".venv\\"):  # Windows
        line = line.replace("\\", "/").replace("/Scripts/", "/bin/")
    env = {"PATH": f"{desk}/.venv/bin:{os.environ['PATH']}", "NOTED": str(desk / "noted")}
    env |= {"SLURM_NNODES": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here"}
    done = subprocess.run(["bash", "-c", line], cwd=desk, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    noted = (desk / "noted").read_text() if (desk / "noted").is_file() else ""
    return [words.split("\0")[:-1] for words in noted.split("\036")[:-1]]


# --- doing it ---


def do(words: list[str], desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do here what the program would do."""
    if any(re.fullmatch(pattern, " ".join(words)) for pattern in NOT_RUN):
        return
    match words:
        case ["dinolite", *rest]:
            if (command := tuple(named(rest))) not in DONE:  # pages name some commands twice
                dinolite_command(list(command), desk, monkeypatch)
                DONE.add(command)
        case ["torchrun", *rest]:
            torchrun(rest, desk, monkeypatch)
        case ["python", "-m", module, *rest]:
            program(module, rest, desk, monkeypatch)
        case ["make", *rest]:
            for line in recipe_of_make(rest):
                do(line, desk, monkeypatch)
        case _:
            pytest.fail(f"nobody knows how to run {words}; or it belongs into NOT_RUN")


DONE: set[tuple[str, ...]] = set()


def named(words: list[str]) -> list[str]:
    """The words of `dinolite`; where results go is said, so that equal commands look equal."""
    if words[0] != "train" or "--out" in words or len(words) < 2 or words[1].startswith("-"):
        return words
    return [*words, "--out", f"runs/{words[1]}"]


def small(words: list[str]) -> list[str]:
    """The words of `dinolite`, with small settings if they train."""
    if words[0] != "train":
        return words
    return [*words, *SHORT]


def dinolite_command(words: list[str], desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dinolite ...` in this process; a page that it serves is visited."""
    visitor = Visitor()
    monkeypatch.setattr("webbrowser.open", visitor.open)
    monkeypatch.setattr("subprocess.call", lambda command: served_lab(command))
    monkeypatch.setattr(sys, "argv", ["dinolite", *small(words)])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with pytest.raises(SystemExit) as end:
        dinolite.cli.main()
    if "explore" in words:
        visitor.thread.join(20)
        assert visitor.seen, "nobody could ask the page"
        assert end.value.code in (0, 1, 130)  # ended by Ctrl-C
    else:
        assert end.value.code in (0, None)
    trained(words, desk)


def trained(words: list[str], desk: Path) -> None:
    """A command that trains leaves weights and a page."""
    if words[0] == "train":
        (run,) = (desk / "runs").iterdir()
        assert (run / "teacher.safetensors").is_file() and (run / "report.html").is_file()


def served_lab(command: list[str]) -> int:
    """In place of JupyterLab, which tests/trust/test_doors.py starts."""
    assert command[1:3] == ["-m", "jupyterlab"] and "--ServerApp.root_dir=lessons" in command
    return 0


class Visitor:
    """The user's browser: opens the page, looks at its pictures, clicks a patch, and leaves."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def open(self, address: str) -> None:
        self.thread = threading.Thread(target=self.visit, args=(urlsplit(address),))
        self.thread.start()

    def visit(self, address: Any) -> None:
        try:
            self.look(address)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    def look(self, address: Any) -> None:
        token = address.query.removeprefix("token=")

        def ask(method: str, path: str, body: str = "") -> bytes:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
            connection.request(method, path, body, {"X-Token": token})
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status == 200, data
            return data

        assert b"<html" in ask("GET", f"/?{address.query}")
        about = json.loads(ask("GET", "/about"))
        source = next(iter(about["sources"]))
        for number in range(len(about["pictures"])):
            assert ask("GET", f"/picture/{number}").startswith(b"\x89PNG")
        question = {"weights": source, "centre": False, "down": 0.5, "across": 0.5}
        answer = json.loads(ask("POST", "/ask", json.dumps(question)))
        assert len(answer["maps"]) == len(about["pictures"]) > 0
        self.seen = about


def torchrun(words: list[str], desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun itself, on this machine: two processes for eight, one machine for many."""
    ours = [*words]
    for name, value in (("--nproc-per-node", "2"), ("--nnodes", "1")):
        if name in ours:
            ours[ours.index(name) + 1] = value
    rest = words[words.index("dinolite.cli") + 1 :]
    processes.torchrun(*ours[: -len(rest)], *small(rest), logs=desk / "logs")
    trained(rest, desk)


def program(module: str, words: list[str], desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m module ...`: what stands below `if __name__ == "__main__"`."""
    made = importlib.import_module(module)
    if hasattr(made, "__path__"):
        made = importlib.import_module(f"{module}.__main__")
    assert made.__file__ is not None
    tree = ast.parse(Path(made.__file__).read_text("utf8"))
    guard = next(n for n in tree.body if isinstance(n, ast.If) and "__main__" in ast.unparse(n))
    SHORTENED.get(module, lambda *_: None)(monkeypatch, desk)
    monkeypatch.setattr(sys, "argv", [module, *words])
    code = compile(ast.Module(guard.body, []), made.__file__, "exec")
    try:
        exec(code, vars(made))
    except SystemExit as end:
        assert end.code in (0, None)


def recipe_of_make(words: list[str]) -> list[list[str]]:
    """The commands that make would run with the environment it makes."""
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = re.findall(r"(?m)^\.venv/bin/(.*)$", done.stdout)
    found = [line.split() for line in lines if "pip install" not in line]
    assert found, done.stdout
    return found


# --- what stands in for what cannot be here ---


def few(module: Any, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Functions that make n pictures make two dozen at most."""
    for name in names:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda n, *a, f=real: f(min(n, 24), *a))


def short(module: Any, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """The module's `load_config` puts small settings behind those that it is given."""
    real = module.load_config

    def load(name: str, changes: Any = ()) -> Config:
        given = dict(changes if isinstance(changes, dict) else map(parse_override, changes))
        return real(name, given | dict(map(parse_override, more)))

    monkeypatch.setattr(module, "load_config", load)


def small_gram(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from benchmarks import gram

    few(gram, monkeypatch, "make_windows", "make_collages", "make_uneven_collages")
    short(gram, monkeypatch, "optim.lr={peak=1e-3}", "train.batch_size_per_gpu=4")
    monkeypatch.setattr(gram, "BEFORE", 1)
    monkeypatch.setattr(gram, "AFTER", 1)


def small_resolution(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from benchmarks import resolution

    few(resolution, monkeypatch, "make_windows", "make_collages", "make_mosaics")
    short(resolution, monkeypatch, "optim.lr={peak=1e-3}", "train.batch_size_per_gpu=4")
    monkeypatch.setattr(resolution, "STEPS", 2)


def small_regions(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    """Three photographs of half the side, one of them never seen."""
    from benchmarks import record, regions
    from dinolite_course.measures.regions import Labelled, labelled

    data, chosen = labelled(grid=24), [0, 13, 16]
    photos = {list(data.photos)[i]: list(data.photos.values())[i] for i in chosen}
    few = Labelled(photos, data.names, *(x[chosen] for x in data[2:]))
    monkeypatch.setattr(regions, "labelled", lambda: few)
    monkeypatch.setattr(regions, "KMEANS_SEEDS", (0,))
    monkeypatch.setattr(regions, "TWINS", (0,))
    monkeypatch.setattr(record, "RECORDS", desk)


def small_pictures(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from benchmarks import regions
    from tools import all_photographs

    small_regions(monkeypatch, desk)

    monkeypatch.setattr(all_photographs, "labelled", regions.labelled)
    monkeypatch.setattr(all_photographs, "TARGETS", desk)


def small_benchmarks(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from benchmarks import __main__ as them
    from benchmarks import record, roofline

    sizes = {
        "backbone": {"batch": 1, "side": 32, "rounds": 2},
        "step": {"rounds": 1},
        "augment": {"batch": 2, "rounds": 2},
        "memory": {"batch": 1, "side": 32},
        "roofline": {"rounds": 2},
    }
    for name, size in sizes.items():
        monkeypatch.setitem(them.ALL, name, partial(them.ALL[name], **size))
    monkeypatch.setattr(record, "RECORDS", desk)
    monkeypatch.setitem(roofline.COPIED, "cpu", 1000)


def small_roofline(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from benchmarks import roofline, runs

    few_rounds = partial(roofline.measure, rounds=2)
    monkeypatch.setattr(
        roofline, "measure", lambda recipe, changes, rounds: few_rounds(recipe, changes)
    )
    short(runs, monkeypatch, *SHORT, "train.iterations=20")


def copied_pages(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    """The pages that a program writes are copies."""
    from benchmarks import readme
    from tools import lesson_map

    for name in readme.PAGES:
        (desk / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, desk / name)
    monkeypatch.setattr(readme, "ROOT", desk)
    monkeypatch.setattr(lesson_map, "LESSONS", desk)


def film(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    """The checkpoints of a run of `tiny`, which would take hours to make."""
    from tools import publish_snapshots

    config = load_config("tiny", [*SHORT, "checkpointing.max_to_keep=100"])
    state = make_state(config)
    (desk / "runs/film").mkdir(parents=True)
    (desk / "runs/film/config.toml").write_text(to_toml(config))
    for iteration in (100, 500, 1000, 2000, 6000):
        save(desk / "runs/film", config, iteration, state.model, state.optimizer)
    shutil.copy(publish_snapshots.OWN_WEIGHTS / "dinolite_tiny.safetensors", desk)
    monkeypatch.setattr(publish_snapshots, "OWN_WEIGHTS", desk)


def copied_solutions(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    from tools import solutions

    monkeypatch.setattr(solutions, "FOLDER", desk)


def no_stages(monkeypatch: pytest.MonkeyPatch, desk: Path) -> None:
    """tests/test_gpu_run.py takes them; the pictures are packed before."""
    from tools import gpu_run

    gpu_run.pack([desk / "my_photos"], gpu_run.DATA, megabytes=1, side=32, quality=80)
    monkeypatch.setattr(gpu_run, "attempt", lambda *_: "done")


SHORTENED: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "benchmarks": small_benchmarks,
    "benchmarks.gram": small_gram,
    "benchmarks.readme": copied_pages,
    "benchmarks.regions": small_regions,
    "benchmarks.resolution": small_resolution,
    "benchmarks.roofline": small_roofline,
    "tools.gpu_run": no_stages,
    "tools.all_photographs": small_pictures,
    "tools.lesson_map": copied_pages,
    "tools.publish_snapshots": film,
    "tools.solutions": copied_solutions,
}


def prepare(text: str, desk: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command finds before it, where its page says that it is there."""
    if re.match("dinolite (eval|show|explore|features|search|export) |sha256sum", text):
        shutil.copytree(finished, desk / "runs" / "mine")
    if "official_vit7b_gram" in text or "official_vit7b_highres" in text:
        config = load_config("official_vit7b_pretrain", SHORT)
        state = make_state(config)
        save(desk / "stage1", config, 200_000, state.model, state.optimizer)
        (desk / "stage2").mkdir()
        publish(desk / "stage2", config, 1, state.model.teacher.state_dict())
    if text.startswith("dinolite search"):
        embed = ["features", "runs/mine", "my_photos", "--out", "photos.safetensors"]
        dinolite_command(embed, desk, monkeypatch)
    if "cifar10 " in text and "download" in text:
        pixels = np.zeros((40, 32, 32, 3), np.uint8)
        made = SimpleNamespace(data=pixels, targets=[0, 1] * 20, classes=["cat", "dog"])
        monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda *_, **__: made)


def released(desk: Path) -> Path:
    """Random numbers in the form of Meta's small backbone."""
    net = build_backbone(pretrained.architecture("dinov3_vits16"), teacher=True)
    path = desk / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"
    torch.save(net.state_dict(), path)
    return path


# --- the tests ---


@pytest.mark.parametrize("text", [pytest.param(c.text, id=c.name) for c in commands()])
def test_command(text: str, desk: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(text, desk, finished, monkeypatch)
    programs = started(text, desk)
    assert programs or text.startswith("sha256sum"), "the shell did it all"
    for words in programs:
        do(words, desk, monkeypatch)


@pytest.mark.parametrize("text", [pytest.param(s.text, id=s.name) for s in snippets()])
def test_python(text: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short(dinolite.config, monkeypatch, *SHORT)
    monkeypatch.setattr(pretrained, "fetch", lambda name, allow_network: released(desk))
    released(desk)
    exec(text, {"images": torch.randn(2, 3, 32, 32)})
