"""The first steps of a recipe on one process or on several, to hold one against the other: what
each step said, the weights after the last, and how many bytes each process holds.

    results = with_processes(2, "demo", {"DDP": ["train.parallel=ddp"]}, steps=4)

No counterpart in the official code.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from dinolite import distributed, launching, sharding
from dinolite.config import Config, load_config
from dinolite.data.datasets import load_pictures
from dinolite.data.loaders import ssl_batches
from dinolite.data.pictures import PictureDataset
from dinolite.train.run_folder import data_settings
from dinolite.train.state import TrainState, make_state
from dinolite.train.train import train_step


class Rehearsal(NamedTuple):
    """How it went."""

    said: list[dict[str, float]]
    """For each step its losses and gradient norms, as means over processes."""
    tensors: dict[str, Tensor]
    """Student and teacher after the last step, put together."""
    held: list[dict[str, float]]
    """For each process the bytes of student, gradients, AdamW and teacher."""


def pictures(config: Config) -> PictureDataset:
    """The training data of a recipe."""
    return load_pictures(split="train", **data_settings(config))


def rehearse(config: Config, data: PictureDataset, steps: int) -> Rehearsal:
    """The first steps of a recipe, together with the other processes if there are some."""
    device, world = distributed.pick_device(config.train.device), distributed.world_size()
    state = make_state(config, device)
    who = {"rank": distributed.rank(), "world_size": world}
    said = []
    for batch in ssl_batches(data, config, device, **who):
        values = train_step(state, batch)
        means = {k: distributed.all_reduce(v.detach()) / world for k, v in values.items()}
        said.append({k: float(v) for k, v in means.items()})
        if state.iteration == steps:
            break
    model = state.model.state_dict()
    tensors = {k: sharding.whole(v.detach()).cpu().clone() for k, v in model.items()}
    own = held(state)
    everyones = distributed.all_gather(torch.tensor([[*own.values()]], device=device))
    shares = [dict(zip(own, row, strict=True)) for row in everyones.tolist()]
    return Rehearsal(said, tensors, shares)


def held(state: TrainState) -> dict[str, float]:
    """Bytes on this process by part."""

    def size(tensors: Iterable[Tensor]) -> float:
        local = (x.to_local() if isinstance(x, sharding.DTensor) else x for x in tensors)
        return float(sum(x.numel() * x.element_size() for x in local))

    student = list(state.model.student.parameters())
    moments = [v for s in state.optimizer.state.values() for n, v in s.items() if n != "step"]
    return {
        "student": size(student),
        "gradients": size(p.grad for p in student if p.grad is not None),
        "AdamW": size(moments),
        "teacher": size(state.model.teacher.parameters()),
    }


def difference(a: Rehearsal, b: Rehearsal) -> float:
    """The largest difference of a tensor, in relative L2 norm."""
    pairs = [(a.tensors[name], x) for name, x in b.tensors.items()]
    return max(float((x - y).norm() / y.norm().clamp(min=1e-8)) for x, y in pairs)


def with_processes(
    processes: int, recipe: str, variants: Mapping[str, Sequence[str]], steps: int
) -> dict[str, Rehearsal]:
    """Rehearse several variants of a recipe in one start of so many processes.

    Args:
        variants: {"DDP": ["train.parallel=ddp", ...]}, changes of the recipe by name; all use the
            pictures of the first.

    Raises:
        RuntimeError: a process failed or took too long; see `launching.start`.
    """
    with TemporaryDirectory() as folder:
        asked = (folder, recipe, str(steps), json.dumps({k: list(v) for k, v in variants.items()}))
        launching.start(processes, "dinolite.train.rehearsal", *asked)
        places = {name: Path(folder, f"{i}.pt") for i, name in enumerate(variants)}
        return {name: Rehearsal(**torch.load(place)) for name, place in places.items()}


def main() -> None:
    """One process of `with_processes`."""
    folder, recipe, steps, variants = sys.argv[1:]
    configs = [load_config(recipe, changes) for changes in json.loads(variants).values()]
    with distributed.processes(distributed.pick_device(configs[0].train.device)):
        data = pictures(configs[0])
        for i, config in enumerate(configs):
            result = rehearse(config, data, int(steps))
            if distributed.is_main():
                torch.save(result._asdict(), Path(folder, f"{i}.pt"))


if __name__ == "__main__":
    main()
