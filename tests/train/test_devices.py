"""On a GPU nothing is left on the CPU and nothing makes the host wait. There is no GPU here: the
step runs on one without numbers (tests/fake_gpu.py), with made gradients, and once more with its
backward pass on the device "meta", where no number can be read either."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from dinolite import parallel
from dinolite.config import load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.masking import SSLBatch
from dinolite.eval.features import extract_features
from dinolite.loss.dino_clstoken_loss import DINOLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.metrics import RunningMeans
from dinolite.train import ssl_meta_arch
from dinolite.train.train import TrainState, make_state, train_step
from tests.fake_gpu import CUDA, FakeGpu, HostWaits, fake_gpu, made_gradients
from tests.tiny_run import TINY

pytestmark = pytest.mark.slow

META = torch.device("meta")
CHANGES = [*TINY, "train.compile=false", "crops.local_crops_number=2", "optim.lr={peak=1e-3}"]
ALL_DISTORTIONS = ["crops.blur_prob=[1,1,1]", "crops.color_jitter_prob=1", "crops.hue=0.1"]
RARE = [
    *("student.drop_path_rate=0.5", "student.layerscale=1e-5", "student.norm_layer=rmsnorm"),
    *("student.pos_embed_rope_jitter_coords=2", "student.ffn_layer=swiglu"),
    *("gram.use_loss=true", "gram.it_load_ema_teacher=0", "crops.gram_teacher_crops_size=32"),
    *("teacher.centering=centering", "crops.localcrops_subset_of_globalcrops=true"),
]


def ready(*more: str, device: torch.device = CUDA) -> tuple[TrainState, Iterator[SSLBatch]]:
    """A run at its first step, on the device."""
    config = load_config("demo", [*CHANGES, *more])
    noise = torch.randint(0, 256, (8, 3, 32, 32)).byte()
    pictures = TensorPictures(noise, torch.zeros(8).long(), ["noise"])
    return make_state(config, device), ssl_batches(pictures, config, device)


@pytest.fixture(scope="module")
def at_work() -> Iterator[tuple[FakeGpu, TrainState, SSLBatch]]:
    """A GPU with a run on it and the run's first batch."""
    with fake_gpu() as gpu:
        with gpu.waiting():
            state, batches = ready(*ALL_DISTORTIONS)
            next(batches)  # the pictures are put on the GPU
        yield gpu, state, next(batches)


def test_a_step_waits_for_nothing(
    at_work: tuple[FakeGpu, TrainState, SSLBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures, crops, forward, clipping, optimiser, teacher, guard and log; products in bfloat16,
    but for KoLeo's of the two global crops."""
    gpu, state, batch = at_work
    made_gradients(state.model.student, monkeypatch)
    means = RunningMeans()
    gpu.products.clear()
    for _ in range(2):
        means.update(train_step(state, batch))
    parts = [*vars(batch).values(), *means.sums.values(), *state.model.state_dict().values()]
    parts += [x for kept in state.optimizer.state.values() for x in kept.values()]
    assert {x.device for x in parts if x is not None} == {CUDA}
    assert gpu.products[torch.float32] == 2 * 2 and gpu.products[torch.bfloat16] > 20
    with pytest.raises(DataDependentOutputException):
        state.guard.check()  # where the log is written


def test_features_are_on_the_gpu(at_work: tuple[FakeGpu, TrainState, SSLBatch]) -> None:
    gpu, state, _ = at_work
    with gpu.waiting():  # pictures come from the host
        found = extract_features(state.model.teacher["backbone"], torch.zeros(3, 3, 32, 32).byte())
    assert {x.device for x in found} == {CUDA}


def test_what_is_seldom_used_waits_for_nothing(
    at_work: tuple[FakeGpu, TrainState, SSLBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work[0].waiting():
        state, batches = ready(*ALL_DISTORTIONS, *RARE)
        next(batches)
    made_gradients(state.model.student, monkeypatch)
    values = train_step(state, next(batches))
    assert values["gram_loss"].device == CUDA


# --- the tests above would see it ---


def read_back(out: Tensor) -> Tensor:
    return out * out.item()


def left_on_the_cpu(out: Tensor) -> Tensor:
    return out * torch.ones(1)


def copied_to(out: Tensor) -> Tensor:
    return out * out.new_tensor([1.0])


def copied_back(out: Tensor) -> Tensor:
    return out + out.cpu()


def chosen(out: Tensor) -> Tensor:
    return out[None][out[None] > 0].sum()


PLANTED = [
    (DINOLoss, "forward", read_back, DataDependentOutputException),
    (iBOTPatchLoss, "forward_masked", left_on_the_cpu, RuntimeError),
    (KoLeoLoss, "forward", copied_to, HostWaits),
    (ssl_meta_arch, "entropy", copied_back, HostWaits),
    (ssl_meta_arch, "spread", chosen, DynamicOutputShapeException),
    (parallel, "clip_grad_norm_", read_back, DataDependentOutputException),
]


@pytest.mark.parametrize(("where", "name", "mistake", "error"), PLANTED)
def test_a_mistake_is_seen(
    where: Any,
    name: str,
    mistake: Any,
    error: type[Exception],
    at_work: tuple[FakeGpu, TrainState, SSLBatch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, state, batch = at_work
    made_gradients(state.model.student, monkeypatch)
    real = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *a, **k: mistake(real(*a, **k)))
    with pytest.raises(error):
        train_step(state, batch)


def test_masks_left_on_the_cpu_are_seen(at_work: tuple[FakeGpu, TrainState, SSLBatch]) -> None:
    _, state, batch = at_work
    with pytest.raises(RuntimeError, match="device"):
        train_step(state, replace(batch, masks=torch.zeros(batch.masks.shape).bool()))


# --- with the backward pass ---


@pytest.fixture
def without_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no device "meta"."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


@pytest.mark.usefixtures("without_autocast")
def test_no_number_is_read_in_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    state, batches = ready(device=META)
    batch = next(batches)
    del state.optimizer.found_inf  # only fused optimisers read it, and "meta" has none
    values = train_step(state, batch)
    assert {x.device for x in values.values()} == {META}
    assert state.model.student["backbone"].cls_token.grad.device == META

    real = DINOLoss.forward

    def read_in_the_backward_pass(*args: Any) -> Tensor:
        out = real(*args)
        out.register_hook(read_back)
        return out

    monkeypatch.setattr(DINOLoss, "forward", read_in_the_backward_pass)
    with pytest.raises(RuntimeError, match=r"item\(\)"):
        train_step(state, batch)
