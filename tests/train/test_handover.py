"""What one run has learnt is where the next begins: backbone and both heads, from our own files and
checkpoints and from the official ones; what does not fit is refused, and what was done is said."""

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from dinolite.checkpointer import checkpoints, resume
from dinolite.config import Config, ConfigError, load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.models.keymaps import WeightsError
from dinolite.models.pretrained import HANDOVER, TEACHER, load
from dinolite.run_folder import publish, save
from dinolite.train.handover import tell_start
from dinolite.train.ssl_meta_arch import SSLMetaArch
from dinolite.train.train import TrainState, make_state, train_step
from tests.tiny_run import TINY

NAMES = ("backbone", "dino_head", "ibot_head")
START = "student.resume_from_teacher_chkpt"
State = dict[str, Tensor]


def tiny(*changes: str) -> Config:
    return load_config("demo", [*TINY, "student.layerscale=0.5", *changes])


@pytest.fixture(scope="module")
def earlier() -> TrainState:
    """The state of a run whose teacher is not its student, with another seed."""
    state = make_state(tiny("train.seed=7"))
    with torch.no_grad():
        for x in state.model.teacher.parameters():
            x.add_(torch.randn_like(x))
    return state


def to_begin_with(source: Path, *changes: str) -> SSLMetaArch:
    torch.manual_seed(0)
    return SSLMetaArch(tiny(f"{START}={source}", *changes))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def published(run: TrainState, place: Path) -> Path:
    publish(place, run.config, 3, run.model.teacher.state_dict())
    return place


def its_file(run: TrainState, place: Path) -> Path:
    return published(run, place) / HANDOVER


def its_checkpoint(run: TrainState, place: Path) -> Path:
    save(place, run.config, 3, run.model, run.optimizer)
    return checkpoints(place)[-1]


def unfinished(run: TrainState, place: Path) -> Path:
    return its_checkpoint(run, place).parents[1]


def official(run: TrainState, place: Path) -> Path:
    torch.save({"teacher": run.model.teacher.state_dict()}, place / "teacher_checkpoint.pth")
    return place / "teacher_checkpoint.pth"


def official_shares(run: TrainState, place: Path) -> Path:
    """`train.sharded_eval_checkpoint`: torch.distributed.checkpoint, the teacher alone."""
    dcp.save({"iteration": 3, "model": run.model.teacher.state_dict()}, checkpoint_id=place / "s")
    return place / "s"


def official_run(run: TrainState, place: Path) -> Path:
    """`ckpt/N`: no `meta.json`, no checksums."""
    dcp.save({"iteration": 3, "model": run.model.state_dict()}, checkpoint_id=place / "199")
    return place / "199"


SOURCES = [published, its_file, its_checkpoint, unfinished]
SOURCES += [official, official_shares, official_run]


@pytest.mark.filterwarnings("ignore")  # dcp: one process only; we know
@pytest.mark.parametrize("write", SOURCES)
def test_backbone_and_both_heads(
    write: Callable[[TrainState, Path], Path], earlier: TrainState, tmp_path: Path
) -> None:
    source = write(earlier, tmp_path)
    model = to_begin_with(source)
    for name in NAMES:
        assert same(model.student[name], earlier.model.teacher[name]), name
        assert same(model.teacher[name], earlier.model.teacher[name]), name
    assert model.started_from.startswith("the student starts with backbone and dino_head and ibot")
    assert str(source) in model.started_from and "anew" not in model.started_from
    if write is not unfinished:
        read = load(source, known=earlier.config.student)
        assert same(read, earlier.model.teacher["backbone"])


def test_what_a_file_does_not_hold_starts_anew(earlier: TrainState, tmp_path: Path) -> None:
    """And with the same random numbers as without the file."""
    backbone = published(earlier, tmp_path) / TEACHER
    torch.manual_seed(0)
    fresh = SSLMetaArch(tiny())
    model = to_begin_with(backbone)
    assert same(model.student["backbone"], earlier.model.teacher["backbone"])
    assert all(same(model.student[name], fresh.student[name]) for name in NAMES[1:])
    sentence = f"backbone of {backbone}; dino_head and ibot_head, not in there, start anew"
    assert model.started_from == f"the student starts with {sentence}"
    parts = earlier.model.teacher.state_dict().items()
    one = {"teacher": {k: x for k, x in parts if not k.startswith("ibot_head")}}
    torch.save(one, tmp_path / "one.pth")
    model = to_begin_with(tmp_path / "one.pth")
    assert same(model.student["dino_head"], earlier.model.teacher["dino_head"])
    assert same(model.student["ibot_head"], fresh.student["ibot_head"])
    assert "ibot_head, not in there, start" in model.started_from


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("dino.head_n_prototypes=17", "dino.head_n_prototypes = 16 (now 17)"),
        ("ibot.head_hidden_dim=8", "ibot.head_hidden_dim = 16 (now 8)"),
        ("dino.head_bottleneck_dim=5", "dino.head_bottleneck_dim = 32 (now 5)"),
        ("ibot.head_nlayers=2", "ibot.head_nlayers = 3 (now 2)"),
        ("dino.head_nlayers=1", "dino.head_nlayers = 3 (now 1)"),
    ],
)
def test_heads_of_another_size(change: str, said: str, earlier: TrainState, tmp_path: Path) -> None:
    """Named by the settings, not forgotten; the backbone alone is still to be had."""
    run = published(earlier, tmp_path)
    with pytest.raises(WeightsError, match=re.escape(said)) as error:
        to_begin_with(run, change)
    assert TEACHER in str(error.value) and "\n" not in str(error.value)
    to_begin_with(run / TEACHER, change)


def test_the_gram_teacher_takes_a_checkpoint_too(earlier: TrainState, tmp_path: Path) -> None:
    place = its_checkpoint(earlier, tmp_path)
    model = SSLMetaArch(tiny("gram.use_loss=true", f"gram.ckpt={place}"))
    assert model.gram_teacher is not None
    assert same(model.gram_teacher["backbone"], earlier.model.teacher["backbone"])


def test_it_is_said_before_the_first_step_only(
    earlier: TrainState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = its_file(earlier, tmp_path)
    config = tiny(f"{START}={source}")
    model = SSLMetaArch(config)
    tell_start(model, config, tmp_path, 0)
    assert capsys.readouterr().err == f"{model.started_from}\n"
    tell_start(model, config, tmp_path, 3)
    assert capsys.readouterr().err == ""


GRAM = ("gram.use_loss=true", "gram.rep_update=false")


def test_a_run_goes_on_with_a_gram_teacher(
    earlier: TrainState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As stage 2 of the 7B does, in the folder of stage 1: to the same weights as a run that had
    the Gram teacher from its beginning on, since its loss has no weight before."""
    short = ("train.iterations=4", "optim.lr={peak=1e-3}")
    late = "gram.loss_weight_schedule={start=0,peak=0,end=1,warmup=2,cosine=1}"
    config = tiny(*short, *GRAM, late, f"gram.ckpt={its_file(earlier, tmp_path)}")
    pixels = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8)
    pictures = TensorPictures(pixels, torch.zeros(16, dtype=torch.long), ["noise"])
    batches = list(islice(ssl_batches(pictures, config, torch.device("cpu")), 4))

    def steps(state: TrainState, wanted: list[SSLBatch]) -> TrainState:
        losses = [train_step(state, batch) for batch in wanted]
        assert ("gram_loss" in losses[-1]) == (state.iteration == 4)
        return state

    one = steps(make_state(tiny(*short)), batches[:2])
    save(tmp_path, one.config, 2, one.model, one.optimizer)
    two = make_state(config)
    two.iteration = resume(tmp_path, two.model, two.optimizer)
    tell_start(two.model, config, tmp_path, 2)
    assert "0000002 has no Gram teacher; it begins as" in capsys.readouterr().err
    assert same(steps(two, batches[2:]).model, steps(make_state(config), batches).model)


def test_a_gram_teacher_that_would_stay_random(earlier: TrainState, tmp_path: Path) -> None:
    save(tmp_path, earlier.config, 3, earlier.model, earlier.optimizer)
    config = tiny(*GRAM, "gram.it_load_ema_teacher=2")
    with pytest.raises(ConfigError, match=r"it_load_ema_teacher = 2 is over, .* use 3 or more"):
        tell_start(SSLMetaArch(config), config, tmp_path, 3)
    config = tiny(*GRAM, "gram.it_load_ema_teacher=3")
    tell_start(SSLMetaArch(config), config, tmp_path, 3)
