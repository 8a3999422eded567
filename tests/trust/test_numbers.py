"""A NaN anywhere stops the run before the step, is named, and can be seen again; and the losses
stay finite wherever a float can be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dinolite.checkpointer import CheckpointError, checkpoints
from dinolite.config import load_config
from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.train import train as loop
from dinolite.train.early_end import NonFiniteError
from dinolite.train.train import replay, train
from tests.tiny_run import QUICK
from tests.trust.conftest import Faults

RUN = [*QUICK, "train.iterations=8", "checkpointing.period=4", "optim.lr.warmup=0"]
BAD = 6  # the iteration at which something goes wrong


def config_for(out: Path, *more: str) -> Any:
    return load_config("demo", [*RUN, *more, f"train.output_dir={out}"])


def poisoned_picture(state: Any, batch: Any, value: float) -> None:
    batch.global_crops[0, 0, 3, 3] = value


def poisoned_weight(state: Any, batch: Any, value: float) -> None:
    with torch.no_grad():
        state.model.student["ibot_head"].mlp[0].weight[0, 0] = value


def poisoned_teacher(state: Any, batch: Any, value: float) -> None:
    with torch.no_grad():
        state.model.teacher["backbone"].cls_token[0, 0, 0] = value


def poisoned_gradient(state: Any, batch: Any, value: float) -> None:
    state.model.student["dino_head"].last_layer.weight.register_hook(lambda g: g * value)


PLACES: dict[str, tuple[Callable[..., None], str]] = {
    "picture": (poisoned_picture, "grad_norm/backbone"),
    "weight": (poisoned_weight, "student.ibot_head"),
    "teacher's weight": (poisoned_teacher, "teacher.backbone.cls_token"),
    "gradient": (poisoned_gradient, "grad_norm/dino_head"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as it is after its first checkpoint, at iteration 4."""
    out = tmp_path_factory.mktemp("begun") / "run"
    train(config_for(out))
    shutil.rmtree(checkpoints(out)[-1])
    (out / "teacher.safetensors").unlink()
    return out


SLOWER = [pytest.param(x, marks=pytest.mark.slow) for x in (torch.inf, -torch.inf)]


@pytest.mark.parametrize("value", [torch.nan, *SLOWER])
@pytest.mark.parametrize("place", PLACES)
def test_the_run_stops_before_the_step_and_names_it(
    place: str,
    value: float,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: Faults,
) -> None:
    poison, named = PLACES[place]
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    real, before = loop.train_step, {}

    def step(state: Any, batch: Any) -> dict[str, Tensor]:
        if state.iteration == BAD:
            poison(state, batch, value)
            before.update({k: v.clone() for k, v in state.model.state_dict().items()})
        return real(state, batch)

    monkeypatch.setattr(loop, "train_step", step)
    with pytest.raises(NonFiniteError, match=f"iteration {BAD}: ") as error:
        train(config_for(out))
    said = str(error.value)
    assert named in said and "\n" not in said
    assert [int(p.name) for p in checkpoints(out)] == [4], "the last good one, untouched"
    kept = checkpoints(out / "failed")
    assert [int(p.name) for p in kept] == [BAD]
    report = json.loads((out / "failed" / "report.json").read_text())
    assert report["iteration"] == BAD and report["not_finite"]
    assert report["settings"]["train"]["seed"] == 0 and report["provenance"]["torch"]
    monkeypatch.setattr(loop, "train_step", real)
    if "weight" in place:  # what lay in the weights lies there still
        with pytest.raises(NonFiniteError, match=f"iteration {BAD}: "):
            replay(out)
    else:  # what came from outside is gone: the step itself was sound
        assert all(torch.isfinite(torch.tensor(v)) for v in replay(out).values())
    train(config_for(out))  # goes on from the good checkpoint
    faults.survived(
        f"NaN or infinity in a {place}", "iteration, terms and networks; where the weights are kept"
    )


def test_a_step_that_explodes_by_itself_can_be_seen_again(tmp_path: Path, faults: Faults) -> None:
    with pytest.raises(NonFiniteError) as error:
        train(config_for(tmp_path, "optim.lr.peak=1e30", "optim.clip_grad=1e30"))
    iteration = str(error.value).split(":")[0]
    for _ in range(2):
        with pytest.raises(NonFiniteError, match=f"{iteration}: "):
            replay(tmp_path)
    faults.survived("a learning rate of 1e30", "the same; `replay(run)` shows the step again")


def test_there_is_nothing_to_replay_in_a_sound_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run failed there"):
        replay(tmp_path)


EXPONENT = st.floats(-36, 36)  # of ten; beyond, logits over temperature are no float32 any more
SEED = st.integers(0, 2**31)
TYPE = st.sampled_from([torch.float32, torch.bfloat16])
many = settings(max_examples=200, deadline=None, derandomize=True)


def scores(seed: int, exponent: float, dtype: torch.dtype, *shape: int) -> Tensor:
    """Normal numbers times ten to the exponent; a few rows all zero or all equal."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    x[seed % len(x)] = 0
    x[(seed // 7) % len(x)] = 10.0**exponent
    return x.to(dtype)


@many
@given(SEED, EXPONENT, TYPE, st.floats(0.02, 1.0))
def test_sinkhorn_gives_probabilities_for_any_scores(
    faults: Faults, seed: int, exponent: float, dtype: torch.dtype, temp: float
) -> None:
    q = sinkhorn_knopp(scores(seed, exponent, dtype, 6, 8), temp)
    assert bool(q.isfinite().all()) and bool((q >= 0).all())
    torch.testing.assert_close(q.sum(dim=1), torch.ones(6), rtol=1e-3, atol=1e-3)
    faults.survived("scores of any size, Sinkhorn-Knopp", "probabilities")


@many
@given(SEED, EXPONENT, TYPE)
def test_cross_entropies_and_their_gradients_are_finite(
    faults: Faults, seed: int, exponent: float, dtype: torch.dtype
) -> None:
    student = scores(seed, exponent, dtype, 4, 8).float().requires_grad_()
    teacher = SoftmaxCenter(8)(scores(seed + 1, exponent, dtype, 4, 8), 0.05)
    dino = DINOLoss()(student.view(2, 2, 8), teacher.view(2, 2, 8))
    ibot = iBOTPatchLoss().forward_masked(student, teacher, torch.full((4,), 0.5), 2)
    for loss in (dino, ibot):
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        assert bool(loss.isfinite()) and bool(gradient.isfinite().all())
    faults.survived("scores of any size, DINO and iBOT loss", "finite losses and gradients")


@many
@given(SEED, st.floats(-36, 18), TYPE)  # squares must be floats, too
def test_koleo_and_gram_and_their_gradients_are_finite(
    faults: Faults, seed: int, exponent: float, dtype: torch.dtype
) -> None:
    x = scores(seed, exponent, dtype, 6, 8).float().requires_grad_()
    y = scores(seed + 1, exponent, dtype, 6, 8).float()
    for loss in (KoLeoLoss()(x), GramLoss()(x.view(2, 3, 8), y.view(2, 3, 8))):
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert bool(loss.isfinite()) and bool(gradient.isfinite().all())
    faults.survived("features of any size, KoLeo and Gram", "finite losses and gradients")
