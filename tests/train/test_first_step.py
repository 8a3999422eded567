"""Whatever the checks of the settings let pass, a step can be taken; and a term of weight 0 is not
computed."""

import types
from contextlib import suppress
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from dinolite.config import Config, ConfigError, Schedule, check_config, load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.loaders import ssl_batches
from dinolite.loss.dino_clstoken_loss import DINOLoss, SoftmaxCenter
from dinolite.train.ssl_meta_arch import SSLMetaArch
from dinolite.train.train import TrainState, make_state, train_step
from tests.tiny_run import TINY

CPU = torch.device("cpu")
CHANGES = [*TINY, "optim.lr.warmup=0", "train.iterations=4", "crops.local_crops_number=2"]
BASE = load_config("demo", CHANGES)
SMALL = {  # what would be slow if it were large
    "arch": ["vit_tiny"],
    "embed_dim": [4, 8, 16],
    "depth": [1, 2],
    "num_heads": [1, 2],
    "ffn_ratio": [0.01, 2.0],
    "patch_size": [1, 3, 4, 12],
    "n_storage_tokens": [0, 1],
    "global_crops_size": [1, 4, 12, 24],
    "local_crops_size": [1, 4, 8, 12],
    "local_crops_number": [1, 3],
    "gram_teacher_crops_size": [None, 12, 36],
    "batch_size_per_gpu": [1, 2, 3],
    "koleo_topk": [1, 2],
    "koleo_distributed_loss_group_size": [None, 1, 2, 3, 4],
    "iterations": [1, 4],
    "device": ["cpu"],
    "num_workers": [0],
}
SIZES = {"head_n_prototypes", "head_bottleneck_dim", "head_nlayers", "head_hidden_dim"}
LEFT = {"root", "dataset", "output_dir", "resume_from_teacher_chkpt", "ckpt", "image_size"}
SCHEDULES = [  # of a rate, a weight, a temperature, a momentum
    {"peak": 0.5},
    {"peak": 0.0},
    {"peak": 1.0, "end": 0.0, "kind": "cosine", "warmup": 1},
    {"start": 0.0, "peak": 1.0, "warmup": 2, "cosine": 2, "end": 0.5},
]


def values(name: str, kind: Any) -> list[Any]:
    """Allowed and forbidden values of a setting, small ones and those at the borders."""
    if name in SMALL:
        return SMALL[name]
    if name in SIZES:
        return [1, 2, 9]
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) is types.UnionType:
        return [None, *(v for k in get_args(kind) if k is not type(None) for v in values("", k))]
    if kind is bool:
        return [False, True]
    if kind is Schedule:
        return SCHEDULES
    if get_origin(kind) is tuple:
        n = len(get_args(kind))
        return [(0.0,) * n, (1.0,) * n, (0.5,) * n, (0.1, 0.9, 0.0)[:n], (1e-6,) * n]
    return [0, 1, 2, 100] if kind is int else [0.0, 1e-8, 0.5, 1.0, 3.0, 1e4]


CHOICES = [
    (section, name, value)
    for section, model in Config.model_fields.items()
    for name, field in model.annotation.model_fields.items()  # type: ignore[union-attr]
    for value in ([] if name in LEFT else values(name, field.annotation))
]


def accepted(choices: list[tuple[str, str, Any]]) -> Config:
    """The demo with these settings, but for those that the checks refuse beside those before."""
    config = BASE
    for section, name, value in choices:
        tree = config.model_dump()
        tree[section][name] = value
        with suppress(ConfigError):
            config = check_config(tree)
    return config


def pictures(n: int = 5, h: int = 20, w: int = 30) -> TensorPictures:
    noise = torch.randint(0, 256, (n, 3, h, w), generator=torch.Generator().manual_seed(0))
    return TensorPictures(noise.byte(), torch.zeros(n).long(), ["noise"])


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(CHOICES), max_size=12, unique_by=lambda choice: choice[1]),
    st.sampled_from([(5, 20, 30), (1, 1, 1), (2, 3, 90)]),
)
def test_what_the_checks_accept_survives_a_step(
    choices: list[tuple[str, str, Any]], shape: tuple[int, int, int]
) -> None:
    config = accepted(choices)
    try:
        state = make_state(config, CPU)
    except ValueError as error:  # it would be right for another number of processes
        assert config.dino.koleo_loss_distributed and "koleo" in str(error).lower()
        return
    said = train_step(state, next(ssl_batches(pictures(*shape), config, CPU)))
    assert all(bool(v.isfinite()) for v in said.values()), choices


def tiny(*more: str) -> tuple[TrainState, Any]:
    config = load_config("demo", [*CHANGES, *more])
    return make_state(config, CPU), next(ssl_batches(pictures(), config, CPU))


TERMS = {  # weight 0: terms that are left, networks that are not trained
    "dino.loss_weight": ({"koleo", "ibot"}, {"dino_head"}),
    "dino.koleo_loss_weight": ({"dino_local_crops", "dino_global_crops", "ibot"}, set()),
    "ibot.loss_weight": ({"dino_local_crops", "dino_global_crops", "koleo"}, {"ibot_head"}),
}


@pytest.mark.parametrize("weight", TERMS)
def test_a_term_of_weight_0_is_not_computed(weight: str) -> None:
    left, untrained = TERMS[weight]
    state, batch = tiny(f"{weight}=0", "optim.weight_decay.peak=0")
    before = {k: v.clone() for k, v in state.model.student.state_dict().items()}
    said = train_step(state, batch)
    assert {k.removesuffix("_loss") for k in said if k.endswith("_loss")} == left | {"total"}
    for name, module in state.model.student.items():
        same = all(torch.equal(v, before[f"{name}.{k}"]) for k, v in module.state_dict().items())
        assert same == (name in untrained), name
    states = [state.optimizer.state[p] for p in state.model.student.parameters()]
    assert all("exp_avg" in s for s in states), "a checkpoint has something of all"


def test_a_local_weight_of_0_too() -> None:
    zero = "dino.local_loss_weight_schedule={start=0.0, peak=1.0, warmup=1}"
    state, batch = tiny("dino.reweight_dino_local_loss=true", zero)
    assert "dino_local_crops_loss" not in train_step(state, batch)
    assert "dino_local_crops_loss" in train_step(state, batch)


def test_one_picture_without_koleo() -> None:
    """What the message about KoLeo and a batch of 1 advises."""
    state, batch = tiny("train.batch_size_per_gpu=1", "dino.koleo_loss_weight=0")
    assert all(bool(v.isfinite()) for v in train_step(state, batch).values())


def test_the_sum_is_that_of_all_terms_with_their_weights() -> None:
    """The gradient of a term with weight 0 was 0 before: nothing else changes."""
    state, _ = tiny("dino.loss_weight=0.5", "ibot.loss_weight=0.25")
    losses = {name: torch.tensor(float(i + 1)) for i, name in enumerate(ALL)}
    total = state.model.combine(losses, local_weight=0.5, gram_weight=3.0)
    # 2 x 2 local pairs and 2 global ones
    by_hand = 0.5 * (0.5 * 4 / 6 * 1 + 2 / 6 * 2) + 0.05 * 2 * 3 + 0.25 * 4 + 3 * 5
    assert float(total) == pytest.approx(by_hand)
    assert float(SSLMetaArch.combine(state.model, {"ibot_loss": torch.ones(())}, 1, 1)) == 0.25


ALL = ["dino_local_crops_loss", "dino_global_crops_loss", "koleo_loss", "ibot_loss", "gram_loss"]


@pytest.mark.parametrize(("s", "t", "ignore"), [(1, 1, True), (0, 2, False), (2, 0, True)])
def test_no_pair_of_crops_is_refused(s: int, t: int, ignore: bool) -> None:
    def probs(n: int) -> Tensor:
        return torch.full((n, 3, 4), 0.25)

    with pytest.raises(ValueError, match=rf"{s} student and {t} teacher crops make no pair"):
        DINOLoss()(probs(s), probs(t), ignore)
    assert DINOLoss()(probs(2), probs(1), True).isfinite()
    assert DINOLoss()(probs(1), probs(1), False).isfinite()


def test_no_scores_leave_the_center_where_it_is() -> None:
    """No crop is masked: of no scores there is no mean."""
    center, ones = SoftmaxCenter(4), torch.ones(1, 4)
    center.center.copy_(ones)
    center.update(torch.zeros(0, 4))
    assert torch.equal(center.center, ones)
    center.update(torch.full((2, 4), 3.0))
    assert torch.allclose(center.center, 0.9 * ones + 0.1 * 3)
