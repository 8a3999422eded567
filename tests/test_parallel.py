"""Whole training on one, two and four processes, with DDP and with FSDP2: the same losses, the same
weights, and checkpoints of one kind taken up by the other.

Everything a step does is on: clipping, frozen prototypes, decayed rates, EMA, a Gram teacher that
is loaded and renewed. What each process draws for itself is off: dropped samples, RoPE jitter.
"""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor.debug import CommDebugMode

from dinolite import parallel
from dinolite.checkpointer import CheckpointError, load_checkpoint
from dinolite.config import Config, load_config
from dinolite.data.datasets import TensorPictures
from dinolite.data.loaders import ssl_batches
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.parallel import full_tensor
from dinolite.run_folder import open_run, save
from dinolite.train.early_end import NonFiniteError
from dinolite.train.train import TrainState, make_state, teacher_backbone, train_step
from tests import processes
from tests.processes import together
from tests.tiny_run import TINY
from tools.plan_memory import memory

pytestmark = pytest.mark.slow  # six processes

B, STEPS, CUT = 8, 6, 3
KINDS = ["ddp", "fsdp2"] if parallel.can_shard_on_cpu() else ["ddp"]
WAYS = ["one -> ddp", "one -> fsdp2", "ddp -> fsdp2", "fsdp2 -> ddp"]
needs_fsdp2 = pytest.mark.skipif(len(KINDS) < 2, reason="this torch cannot do FSDP2 on the CPU")
CPU = torch.device("cpu")


def config(parallel: str = "ddp", world: int = 1, *more: str) -> Config:
    changes = [
        f"train.parallel={parallel}",
        f"train.batch_size_per_gpu={B // world}",
        f"train.iterations={STEPS}",
        "student.depth=2",
        "student.layerscale=0.5",
        "student.mask_k_bias=true",
        "crops.local_crops_number=3",
        "dino.koleo_loss_distributed=true",
        "dino.koleo_loss_weight=0.1",
        "ibot.loss_weight=1",
        "optim.lr.warmup=2",
        "optim.freeze_last_layer=2",
        "optim.clip_grad=0.5",
        "optim.layerwise_decay=0.9",
        "optim.patch_embed_lr_mult=0.2",
        "gram.use_loss=true",
        "gram.img_level=true",
        "gram.it_load_ema_teacher=1",
        "gram.update_frequency=4",
        "gram.it_first_update=4",
        "gram.max_updates=1",
    ]
    return load_config("demo", [*changes, *more])


def pictures() -> TensorPictures:
    """Coloured noise; a pass over it is shorter than the run."""
    noise = torch.rand(B * STEPS - 5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return TensorPictures((255 * noise).to(torch.uint8), torch.zeros(len(noise)).long(), ["noise"])


Result = tuple[list[dict[str, float]], dict[str, Tensor]]
"""What each step said, as means over processes, and all tensors at the end."""


def steps(state: TrainState, save_in: Path | None = None) -> Result:
    """From where the state is to the last step; a checkpoint on the way."""
    data = pictures()
    world = parallel.world_size()
    who = {"rank": parallel.rank(), "world_size": world}
    said = []
    for batch in ssl_batches(data, state.config, CPU, start=state.iteration, **who):
        values = train_step(state, batch)
        said.append({k: float(parallel.all_reduce(v.detach()) / world) for k, v in values.items()})
        if state.iteration == CUT and save_in is not None:
            save(Path(save_in), state.config, state.iteration, state.model, state.optimizer)
    return said, everything(state)


def everything(state: TrainState) -> dict[str, Tensor]:
    """Weights and both moments of the optimiser, put together."""
    tensors = {k: full_tensor(v.detach()).clone() for k, v in state.model.state_dict().items()}
    for name, p in state.model.student.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}.{name}"] = full_tensor(state.optimizer.state[p][moment]).clone()
    return tensors


def resumed(c: Config, place: Path) -> Result:
    state = make_state(c, CPU)
    meta = load_checkpoint(place, state.model, state.optimizer)
    assert (meta["iteration"], meta["global_batch_size"]) == (CUT, B)
    state.iteration = meta["iteration"]
    return steps(state)


def spoiled(c: Config) -> tuple[str, bool]:
    """One process of all sees a picture that is not a number: what each says, and whether weights
    stayed as they were."""
    state = make_state(c, CPU)
    data = pictures()
    who = {"rank": parallel.rank(), "world_size": parallel.world_size()}
    batch = next(ssl_batches(data, c, CPU, **who))
    before = {k: full_tensor(v.detach()).clone() for k, v in state.model.state_dict().items()}
    if parallel.rank() == 1:
        batch.local_crops[0, 0, 0, 0] = float("nan")
    try:
        train_step(state, batch)
        message = "nothing"
    except NonFiniteError as error:
        message = str(error)
    after = {k: full_tensor(v.detach()) for k, v in state.model.state_dict().items()}
    return message, all(torch.equal(v, before[k]) for k, v in after.items())


def shares(state: TrainState) -> dict[str, int]:
    """Bytes on this process, by part."""

    def size(tensors: Any) -> int:
        local = (x.to_local() if hasattr(x, "to_local") else x for x in tensors)
        return sum(x.numel() * x.element_size() for x in local)

    moments = [v for s in state.optimizer.state.values() for n, v in s.items() if n != "step"]
    networks = ("student", "teacher", "gram_teacher")
    parts = {name: size(getattr(state.model, name).parameters()) for name in networks}
    gradients = [p.grad for p in state.model.student.parameters() if p.grad is not None]
    return {**parts, "gradients": size(gradients), "moments": size(moments)}


def collectives(state: TrainState) -> dict[str, dict[str, int]]:
    """How often processes talk in each part of a step, by kind of talk."""
    batch = next(ssl_batches(pictures(), state.config, CPU, rank=parallel.rank(), world_size=2))
    parts: dict[str, Callable[[], object]] = {
        "teacher": lambda: state.model.get_teacher_output(batch, 0.05),
        "forward": lambda: kept.append(state.model.get_student_output(batch)),
        "backward": lambda: torch.cat([x.flatten() for x in kept[0]]).sum().backward(),
        "ema": lambda: state.model.update_teacher(0.9),
        "gram": lambda: state.model.update_gram_teacher(),
    }
    kept: list[Any] = []
    counts = {}
    for name, part in parts.items():
        with CommDebugMode() as mode:
            part()
        counts[name] = {str(op).split(".")[-1]: n for op, n in mode.get_comm_counts().items()}
    return counts


def apart(world: int) -> dict[str, Any]:
    """Losses of which each process sees a part: KoLeo in groups, Sinkhorn-Knopp where one process
    has no sample; and what is said of a group that does not fit."""
    x, logits = rows(), scores()
    rank = parallel.rank()
    mine = x[4 * rank : 4 * rank + 4]
    values = [KoLeoLoss(distributed=True, loss_group_size=g)(mine) for g in (None, 4, 8)]
    means = torch.stack([parallel.all_reduce(v) / world for v in values])
    targets = sinkhorn_knopp(logits if rank == 0 else logits[:0], 0.1)
    try:
        KoLeoLoss(distributed=True, loss_group_size=6)(mine)
        said = ""
    except ValueError as error:
        said = str(error)
    return {"koleo": means, "sinkhorn": targets, "said": said}


def rows() -> Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


def scores() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


CENTERING = "teacher.centering=centering"
WITHOUT = {  # heads and norms that no term needs, all the time or at first
    "DINO": ["dino.loss_weight=0", "student.untie_cls_and_patch_norms=true"],
    "iBOT": ["ibot.loss_weight=0", "student.untie_cls_and_patch_norms=true"],
    "local crops": [
        "student.untie_global_and_local_cls_norm=true",
        "dino.reweight_dino_local_loss=true",
        "dino.local_loss_weight_schedule={start=0.0, peak=1.0, warmup=1}",
    ],
}


RECOMPUTE = ("checkpointing", "checkpointing_full")


def two(world: int, folder: Path) -> dict[str, Any]:
    """All that is asked of two processes, in one start of them."""
    out = apart(world)
    out["centering"] = steps(make_state(config("ddp", world, CENTERING), CPU))
    for kind in KINDS:
        state = make_state(config(kind, world), CPU)
        out[kind] = steps(state, folder / kind)
        out[f"{kind} shares"] = shares(state)
        backbone = teacher_backbone(state)
        out[f"{kind} teacher"] = backbone and backbone.state_dict()
        out[f"one -> {kind}"] = resumed(config(kind, world), folder / "one/ckpt/0000003")
        out[f"spoiled {kind}"] = spoiled(config(kind, world))
        for name, more in WITHOUT.items():
            c = config(kind, world, *more, "train.iterations=2")
            out[f"{kind} without {name}"] = steps(make_state(c, CPU))
        if kind == "fsdp2":
            out["talk"] = collectives(make_state(config(kind, world), CPU))
            for a, b in (("ddp", kind), (kind, "ddp")):
                out[f"{a} -> {b}"] = resumed(config(b, world), folder / a / "ckpt/0000003")
            for how in RECOMPUTE:
                out[how] = steps(make_state(config(kind, world, f"train.{how}=true"), CPU))
            out["bfloat16"] = mixed(config(kind, world, "train.precision=bfloat16"))
            out["ddp bfloat16"] = steps(
                make_state(config("ddp", world, "train.precision=bfloat16"), CPU)
            )
    return out


def mixed(c: Config) -> tuple[Result, set[torch.dtype], set[torch.dtype]]:
    """FSDP2 in bfloat16: the steps, the dtypes that a block computes with, and those kept."""
    state, seen = make_state(c, CPU), set()
    block = state.model.student["backbone"].blocks[0]
    block.mlp.register_forward_pre_hook(lambda m, _: seen.add(m.fc1.weight.dtype))
    result = steps(state)
    kept = {v.dtype for s in state.optimizer.state.values() for v in s.values()}
    return result, seen, kept | {p.dtype for p in state.model.parameters()}


def four(world: int, folder: Path) -> dict[str, Any]:
    return {kind: steps(make_state(config(kind, world), CPU)) for kind in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@cache
def single(folder: Path) -> Result:
    """The run that all others must equal."""
    torch.set_num_threads(1)
    return steps(make_state(config(), CPU), folder / "one")


@cache
def ranks(folder: Path, world: int) -> list[dict[str, Any]]:
    """What was asked of each process, in one start of them."""
    single(folder)
    return together(world, folder, {2: two, 4: four}[world], folder)


MONITORS = {"dino_target_entropy", "ibot_target_entropy", "feature_spread"}  # of one's own samples


def assert_equal(result: Result, expected: Result, tolerance: float = 1e-5) -> None:
    """Every loss and gradient norm of every step; every tensor at the end, in relative L2 norm."""
    (said, tensors), (said1, tensors1) = result, expected
    for i, (a, b) in enumerate(zip(said[::-1], said1[::-1], strict=False)):
        assert a.keys() == b.keys()
        for name in b.keys() - MONITORS:
            assert a[name] == pytest.approx(b[name], rel=tolerance, abs=1e-6), f"step -{i}: {name}"
    assert tensors.keys() == tensors1.keys()
    errors = {
        k: float((tensors[k] - v).norm() / v.norm().clamp(min=1e-8)) for k, v in tensors1.items()
    }
    wrong = {k: f"{e:.1e}" for k, e in errors.items() if e > tolerance}
    assert not wrong


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_many_processes_equal_one(folder: Path, kind: str, world: int) -> None:
    for out in ranks(folder, world):
        assert len(out[kind][0]) == STEPS
        assert_equal(out[kind], single(folder))


def test_the_running_centre_is_that_of_all(folder: Path) -> None:
    expected = steps(make_state(config("ddp", 1, CENTERING), CPU))
    for out in ranks(folder, 2):
        assert_equal(out["centering"], expected)


def test_koleo_groups_and_a_process_without_samples(folder: Path) -> None:
    out, x = ranks(folder, 2)[0], rows()
    whole = KoLeoLoss()(x)
    halves = (KoLeoLoss()(x[:4]) + KoLeoLoss()(x[4:])) / 2
    assert torch.allclose(out["koleo"], torch.stack([whole, halves, whole]), rtol=1e-5)
    assert torch.allclose(out["sinkhorn"], sinkhorn_knopp(scores(), 0.1), atol=1e-6)
    assert "loss_group_size = 6" in out["said"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_takes_up_what_two_left(folder: Path, kind: str) -> None:
    ranks(folder, 2)
    assert_equal(resumed(config(), folder / kind / "ckpt/0000003"), single(folder))


@pytest.mark.parametrize("way", WAYS[: len(KINDS) ** 2])
def test_two_take_up_what_others_left(folder: Path, way: str) -> None:
    for out in ranks(folder, 2):
        assert len(out[way][0]) == STEPS - CUT
        assert_equal(out[way], single(folder))


@needs_fsdp2
@pytest.mark.parametrize("how", RECOMPUTE)
def test_recomputing_changes_nothing(folder: Path, how: str) -> None:
    assert_equal(ranks(folder, 2)[0][how], single(folder))


@needs_fsdp2
def test_a_share_is_a_share(folder: Path) -> None:
    """Half of everything on each of two, to within what cannot be halved (a token, a bias)."""
    ddp, both = ranks(folder, 2)[0]["ddp shares"], [r["fsdp2 shares"] for r in ranks(folder, 2)]
    for part, size in ddp.items():
        assert size > 0 and sum(share[part] for share in both) == size, part
        assert max(share[part] for share in both) < 0.52 * size, part
    n = sum(p.numel() for p in make_state(config(), CPU).model.student.parameters())
    assert ddp["student"] == ddp["teacher"] == ddp["gradients"] == 4 * n
    assert ddp["moments"] == 8 * n
    planned = memory(config("fsdp2", 2), 2)
    for part, name in {"student": "student", "moments": "AdamW, two moments"}.items():
        mean = sum(share[part] for share in both) / 2
        assert planned[f"{name}, float32 shares"] == mean


@needs_fsdp2
def test_who_talks_when(folder: Path) -> None:
    """EMA and the Gram teacher's renewal are local. A part is gathered for each call: one for a
    teacher, one for each crop size in the student's blocks, and again for its backward pass; its
    gradients are summed once. `tools/plan_memory.py` counts on this."""
    talk = ranks(folder, 2)[0]["talk"]
    blocks, others = 2, 3  # others: the rest of the backbone, two heads
    assert talk["ema"] == talk["gram"] == {}
    assert talk["teacher"]["_allgather_base_"] == blocks + others
    assert talk["forward"]["_allgather_base_"] == 2 * blocks + others
    assert talk["backward"]["_allgather_base_"] == 2 * blocks + others
    assert talk["backward"]["_reduce_scatter_base_"] == blocks + others


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_teacher_is_there(folder: Path, kind: str) -> None:
    first, second = (r[f"{kind} teacher"] for r in ranks(folder, 2))
    assert (second is None) == (kind == "fsdp2")
    for name, value in single(folder)[1].items():
        if name.startswith("teacher.backbone."):
            assert torch.allclose(first[name.removeprefix("teacher.backbone.")], value, atol=1e-6)


@pytest.mark.parametrize("name", WITHOUT)
@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_weight_0(folder: Path, kind: str, name: str) -> None:
    alone = steps(make_state(config("ddp", 1, *WITHOUT[name], "train.iterations=2"), CPU))
    assert_equal(ranks(folder, 2)[0][f"{kind} without {name}"], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_cannot_use_stops_all(folder: Path, kind: str) -> None:
    said = [r[f"spoiled {kind}"] for r in ranks(folder, 2)]
    assert said[0] == said[1]
    assert said[0][0].startswith("iteration 0: total_loss, dino_local_crops_loss")
    assert said[0][1], "weights changed"


@needs_fsdp2
def test_bfloat16_is_for_computing_only(folder: Path) -> None:
    """Against DDP, whose weights are float32 outside of the matrix products: by 2 to the -8, the
    rounding of a weight, and what grows from it in a few steps."""
    out = ranks(folder, 2)[0]
    (said, _), seen, kept = out["bfloat16"]
    assert seen == {torch.bfloat16} and kept == {torch.float32}
    for a, b in zip(said, out["ddp bfloat16"][0], strict=True):
        assert a["total_loss"] == pytest.approx(b["total_loss"], rel=2**-6)


def test_another_batch_is_refused_and_another_share_is_not(tmp_path: Path) -> None:
    state = make_state(config(), CPU)
    save(tmp_path, state.config, state.iteration, state.model, state.optimizer)
    open_run(tmp_path, state.config, allow_changes=False)
    open_run(tmp_path, config("fsdp2", 1, "train.checkpointing_full=true"), allow_changes=False)
    with pytest.raises(CheckpointError, match="batch of all processes was 8, is 4"):
        open_run(tmp_path, config("ddp", 2), allow_changes=False)


def test_too_old_a_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "can_shard_on_cpu", lambda: False)
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"fsdp2. on the CPU needs a torch newer"):
        make_state(config("fsdp2"), CPU)


def test_alone_nothing_is_shared_out() -> None:
    x = torch.randn(3, 2)
    assert parallel.all_reduce(x) is x and parallel.all_gather(x) is x
    assert (parallel.rank(), parallel.world_size()) == (0, 1)
    assert "WORLD_SIZE" not in os.environ
    with pytest.raises(ValueError, match="device = 'gpu'"):
        parallel.pick_device("gpu")
    state = make_state(config("fsdp2"), CPU)
    assert state.wrapped is state.model
    assert teacher_backbone(state) is state.model.teacher["backbone"]
    p = next(state.model.student.parameters())
    assert full_tensor(p) is p
    tensors = parallel.full_state_dict(state.model.teacher)
    assert all(torch.equal(v, tensors[k]) for k, v in state.model.teacher.state_dict().items())


@pytest.mark.slow
@needs_fsdp2
def test_the_commands_of_the_documentation(tmp_path: Path) -> None:
    """torchrun with FSDP2, published weights; then one process goes on where two stopped."""
    shared = [*TINY, "optim.lr.warmup=0", "dino.koleo_loss_distributed=true", "train.log_every=1"]
    shared += [f"train.output_dir={tmp_path}", "evaluation.eval_period_iterations=9"]

    cli = ("dinolite.cli", "train", "demo", "--out", str(tmp_path), "--no-report", *shared)
    torchrun = ("--standalone", "--nproc-per-node=2", "-m")
    more = ("train.parallel=fsdp2", "train.iterations=2")
    said = processes.torchrun(*torchrun, *cli, *more, logs=tmp_path / "logs").splitlines()
    assert [s.split()[0] for s in said if "/2  " in s] == ["0/2", "1/2", "2/2", "2/2"], "one speaks"
    published = load_file(tmp_path / "teacher.safetensors")
    assert {v.dtype for v in published.values()} == {torch.float32}
    assert published["blocks.0.attn.qkv.weight"].shape == (48, 16)
    whole = load_file(tmp_path / "teacher_checkpoint.safetensors")
    assert all(torch.equal(whole[f"backbone.{name}"], x) for name, x in published.items())
    assert whole["ibot_head.last_layer.weight"].shape == (16, 32)
    longer = ("train.iterations=4", "train.batch_size_per_gpu=8", "--allow-changes")
    assert processes.dinolite(*cli[1:], *longer, cwd=tmp_path).returncode == 0
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [x["iteration"] for x in lines if "total_loss" in x] == [1, 2, 3, 4]
    for x in lines:
        if "total_loss" in x:  # 2 x 4 pictures, or 1 x 8: those of all processes
            assert x["machine/pictures_per_s"] * x["machine/step_s"] == pytest.approx(8, rel=1e-4)
    assert [x["iteration"] for x in lines if "knn" in x] == [0, 2, 4]
