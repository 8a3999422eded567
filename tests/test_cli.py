"""The command `dinolite` as a user meets it: what it prints, leaves behind and answers to
mistakes. In this process where that is enough, in one of its own where exit codes matter."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dinolite.cli import app, main
from dinolite.config import ConfigError, load_config, recipe_names
from dinolite.data.datasets import SPECS
from tests.processes import dinolite
from tests.tiny_run import TINY

ROOT = Path(__file__).resolve().parents[1]
SHORT = [*TINY, "optim.lr.warmup=0", "train.iterations=3"]


def draw(folder: Path, n: int, size: tuple[int, int] = (20, 24)) -> None:
    """n small pictures of random colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        pixels = torch.randint(256, (*size, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{i:02}.png")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with pictures of two classes, trained on, evaluated and drawn; what was printed."""
    torch.manual_seed(0)
    here = tmp_path_factory.mktemp("my pictures")
    for name in ("cats", "dogs"):
        draw(here / "photos" / name, 20)
    (here / "photos" / "cats" / "notes.txt").write_text("not a picture")
    (here / "photos" / "dogs" / "bad.jpg").write_bytes(b"\xff\xd8\xff half a jpeg")
    arguments = ["train", "demo", "--data", "folder:photos", "--out", "a run", *SHORT]
    done = dinolite(*arguments, cwd=here)
    assert done.returncode == 0, done.stderr
    return here, done.stdout + done.stderr


@pytest.mark.slow
def test_train_leaves_a_table_and_a_report(finished: tuple[Path, str]) -> None:
    here, said = finished
    run = here / "a run"
    expected = {"config.toml", "metrics.jsonl", "teacher.safetensors", "report.html"}
    assert expected <= {path.name for path in run.iterdir()}
    assert "raw pixels" in said and "untrained" in said and "k-NN of the CLS token" in said
    assert f"report: {Path('a run') / 'report.html'}" in said.replace("\n", "")
    rows = json.loads((run / "evaluation.json").read_text())["rows"]
    assert [row["what"].split(",")[0] for row in rows] == [
        "k-NN of the CLS token",
        "linear probe (CLS + mean patch)",
        "linear segmentation of scenes",
    ]
    assert all(0 <= row[k] <= 100 for row in rows for k in ("pixels", "untrained", "trained"))
    page = (run / "report.html").read_text()
    assert page.count("<img alt=") == 6 and "folder" not in page.split("<table>")[0].lower()


@pytest.mark.slow
def test_skipped_files_are_counted_and_named(finished: tuple[Path, str]) -> None:
    here, said = finished
    assert "2 files or folders were left out" in said
    named = (here / "a run" / "skipped.txt").read_text().splitlines()
    assert len(named) == 2 and any("notes.txt" in s for s in named)
    assert any("bad.jpg" in s for s in named)


@pytest.mark.slow
def test_eval_and_show_can_be_called_again(finished: tuple[Path, str]) -> None:
    here, _ = finished
    again = dinolite("eval", "a run", "--data", "folder:photos", cwd=here)
    assert again.returncode == 0 and "untrained" in again.stdout
    (here / "a run" / "report.html").unlink()
    shown = dinolite("show", "a run", cwd=here)
    assert shown.returncode == 0 and (here / "a run" / "report.html").is_file()


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(finished: tuple[Path, str]) -> None:
    here, _ = finished
    before = (here / "a run" / "metrics.jsonl").read_text()
    arguments = ["train", "demo", "--data", "folder:photos", "--out", "a run", "--no-report"]
    done = dinolite(*arguments, *SHORT, cwd=here)
    assert done.returncode == 0 and (here / "a run" / "metrics.jsonl").read_text() == before
    other = dinolite(*arguments, *SHORT, "train.seed=7", cwd=here)
    assert other.returncode == 2 and "train.seed was 0, is 7" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "dmo"], "did you mean demo?"),
        (["train", "demo", "train.sed=1"], "train.sed is not a setting; did you mean seed?"),
        (["train", "demo", "crops.local_crops_size=13"], "not a multiple of student.patch_size"),
        (["train", "demo", "dino.head_n_prototypes=0"], "dino.head_n_prototypes = 0"),
        (["train", "demo", "ibot.mask_ratio_min_max=[0.1, 1.5]"], "ibot.mask_ratio_min_max"),
        (["train", "--data", "folder:nowhere"], "folder:nowhere is not a folder"),
        (["train", "--data", "folder:empty"], "has no readable picture"),
        (["train", "demo", "--data", "cifar11"], "did you mean cifar10?"),
        (["train", "demo", "--data", "cifar10"], "data set 'cifar10' is not in"),
        (["train", "demo", "train.device=gpu"], "device = 'gpu'"),
        (["eval", "nowhere"], "nowhere is not the folder of a run"),
        (["show", "nowhere"], "nowhere is not the folder of a run"),
        (["lab", "nowhere"], "nowhere is not a folder"),
        (["check", "demo", "student.depth=0"], "student.depth = 0"),
    ],
)
def test_a_mistake_gets_one_sentence(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dinolite", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and said in error and "Traceback" not in error
    assert error.startswith("dinolite: ") and len(error.strip().splitlines()) == 1


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dinolite", "--debug", "check", "demo", "train.sed=1"])
    with pytest.raises(ConfigError, match="did you mean seed"):
        main()


def test_features_of_a_folder_and_a_search_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a picture is found; the picture itself is not; a broken file is named."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        draw(Path("photos") / split, 3)
    Path("photos/test/copy.png").write_bytes(Path("photos/train/01.png").read_bytes())
    Path("photos/bad.png").write_text("not a picture")

    def said(*arguments: str) -> list[str]:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.exception
        return done.stdout.splitlines()

    words = ["features", "dinolite_tiny", "photos", "--out", "f.safetensors", "--size", "32"]
    *_, first, left_out = said(*words)
    assert first == "f.safetensors: 7 pictures, cls of 64 numbers, 32 pixels"
    assert left_out.startswith("1 files left out, see f.safetensors.skipped.txt; the first: ")
    assert said(*words)[-2:] == [first, left_out]  # nothing is made twice
    for asked in ("train/01.png", "photos/train/01.png"):
        found = said("search", "f.safetensors", asked, "--top", "3")
        assert len(found) == 3 and found[0] == "1.000  test/copy.png"
    sheet = said("search", "f.safetensors", "photos/train/01.png", "--sheet", "alike.png")
    assert len(sheet) == 7 and sheet[-1] == "sheet: alike.png"
    with Image.open("alike.png") as picture:
        assert picture.width > 800
    for spoiled in ("f.safetensors", "photos/train/02.png"):
        asked = ["search", "f.safetensors", "train/01.png", "--sheet", spoiled]
        assert "be none of the pictures" in str(CliRunner().invoke(app, asked).exception)
    Path("photos").rename("moved")
    lost = CliRunner().invoke(app, ["search", "f.safetensors", "train/01.png", "--sheet", "b.png"])
    assert "photos is not a folder here; --folder says" in str(lost.exception)
    said("search", "f.safetensors", "train/01.png", "--sheet", "b.png", "--folder", "moved")


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    result = CliRunner().invoke(app, ["eval", str(tmp_path)])
    assert "its run is not finished" in str(result.exception)


COMMANDS = [
    "train",
    "eval",
    "show",
    "explore",
    "features",
    "search",
    "export",
    "recipes",
    "lab",
    "check",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and len(result.stdout) > 150


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lab", "."], "JupyterLab is not installed; from a clone: pip install -e '.[course]'"),
        (["check", "--exercises"], "einops is not installed; from a clone: pip install -e"),
    ],
)
def test_without_the_extra_course_its_commands_say_so(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'einops'", name="einops")

    monkeypatch.setattr("dinolite.cli.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.metadata.EntryPoint.load", gone)
    assert said in str(CliRunner().invoke(app, arguments).exception)


def test_recipes_say_command_hardware_and_result() -> None:
    said = CliRunner().invoke(app, ["recipes"]).stdout
    for name in recipe_names():
        part = said.split(f"{name}\n", 1)[1].split("\n\n")[0]
        assert all(word in part for word in ("command", "hardware", "time", "result")), name


def test_check_prints_settings_that_can_be_read_back(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", "demo", "train.seed=5"])
    (tmp_path / "copy.toml").write_text(result.stdout)
    assert load_config(tmp_path / "copy.toml") == load_config("demo", ["train.seed=5"])


def test_check_looks_at_the_installation() -> None:
    said = CliRunner().invoke(app, ["check"]).stdout
    assert "torch" in said and "a picture went through the demo's backbone: ok" in said
    assert f"data sets: {', '.join(SPECS)}" in said
    assert "lesson 00: " in CliRunner().invoke(app, ["check", "--exercises"]).stdout
