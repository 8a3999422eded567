"""Two processes with half of the batch each do what one process does with all of it."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from dinolite import parallel
from dinolite.config import Config, load_config
from dinolite.data.loaders import generator_of
from dinolite.data.masking import SSLBatch, draw_masks, mask_positions
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.train.train import make_state

B, L = 8, 3


def config(centering: str, group: int | None) -> Config:
    return load_config(
        "demo",
        {
            "train.batch_size_per_gpu": B // parallel.world_size(),
            "crops.local_crops_number": L,
            "dino.koleo_loss_distributed": True,
            "dino.koleo_distributed_loss_group_size": group,
            "student.depth": 2,
            "student.layerscale": 0.5,
            "teacher.centering": centering,
            "gram.use_loss": True,
            "gram.ema_teacher": True,
            "gram.rep_update": False,
            "gram.img_level": True,
        },
    )


def whole_batch() -> SSLBatch:
    torch.manual_seed(3)
    masks = draw_masks(2 * B, (6, 6), load_config("demo").ibot, generator_of(0))
    indices, weight = mask_positions(masks)
    crops = torch.randn(2 * B, 3, 24, 24), torch.randn(L * B, 3, 12, 12)
    return SSLBatch(*crops, masks, indices, weight)


def part_of(batch: SSLBatch, rank: int, world: int) -> SSLBatch:
    """Every world-th picture, with all its crops. The processes then hide unequal numbers."""

    def mine(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, B))[:, rank::world].flatten(0, 1)

    masks = mine(batch.masks)
    crops = mine(batch.global_crops), mine(batch.local_crops)
    return SSLBatch(*crops, masks, *mask_positions(masks))


def step(c: Config, batch: SSLBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses averaged over processes, and gradients."""
    state = make_state(c, torch.device("cpu"))
    total, losses = state.wrapped(batch, 0.05, 1.0, 1.0)
    total.backward()
    world = parallel.world_size()
    losses = {"total": total.detach(), **losses}
    means = {k: parallel.all_reduce(v.detach()) / world for k, v in losses.items()}
    return means, {n: p.grad for n, p in state.model.student.named_parameters()}


def run(rank: int, world: int, folder: str, centering: str, group: int | None) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    result = step(config(centering, group), part_of(whole_batch(), rank, world))
    if rank == 0:
        torch.save(result, f"{folder}/result.pt")
    parallel.barrier()  # as in `distributed.processes`
    dist.destroy_process_group()


@pytest.mark.parametrize("centering", ["sinkhorn_knopp", "centering"])
def test_two_processes_equal_one(tmp_path: Path, centering: str) -> None:
    losses, gradients = step(config(centering, None), whole_batch())
    mp.spawn(run, (2, str(tmp_path), centering, None), nprocs=2)
    losses2, gradients2 = torch.load(tmp_path / "result.pt", weights_only=True)
    for name, value in losses.items():
        if name != "total" and not name.endswith("_loss"):
            continue  # monitors are means of what each process sees, which may differ in number
        assert losses2[name].item() == pytest.approx(value.item(), rel=1e-5), name
    for name, value in gradients.items():
        error = (gradients2[name] - value).norm() / value.norm().clamp(min=1e-6)
        assert error < 1e-5, f"{name}: {error:.1e}"


def koleo(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    torch.manual_seed(0)
    x = torch.randn(8, 5)[4 * rank : 4 * rank + 4]
    values = [KoLeoLoss(distributed=True, loss_group_size=g)(x) for g in (None, 4, 8)]
    means = [parallel.all_reduce(v) / world for v in values]
    logits = torch.randn(5, 6)
    targets = sinkhorn_knopp(logits if rank == 0 else logits[:0], 0.1)  # one has no sample
    try:
        KoLeoLoss(distributed=True, loss_group_size=6)(x)
        said = ""
    except ValueError as error:
        said = str(error)
    if rank == 0:
        torch.save((torch.stack(means), targets, logits, said), f"{folder}/result.pt")
    parallel.barrier()  # as in `distributed.processes`
    dist.destroy_process_group()


def test_koleo_groups_and_a_process_without_samples(tmp_path: Path) -> None:
    mp.spawn(koleo, (2, str(tmp_path)), nprocs=2)
    means, targets, logits, said = torch.load(tmp_path / "result.pt", weights_only=True)
    torch.manual_seed(0)
    x = torch.randn(8, 5)
    whole = KoLeoLoss()(x)
    halves = (KoLeoLoss()(x[:4]) + KoLeoLoss()(x[4:])) / 2
    assert torch.allclose(means, torch.stack([whole, halves, whole]), rtol=1e-5)
    assert torch.allclose(targets, sinkhorn_knopp(logits, 0.1), atol=1e-6)
    assert "loss_group_size = 6" in said


def test_alone_everything_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert parallel.all_reduce(x) is x and parallel.all_gather(x) is x
    assert (parallel.rank(), parallel.world_size()) == (0, 1)
    assert "WORLD_SIZE" not in os.environ
    with pytest.raises(ValueError, match="device = 'gpu'"):
        parallel.pick_device("gpu")
