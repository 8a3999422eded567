"""Which pictures are in which batch: endless shuffled passes over the data, shared out among
processes, and a seed for everything random, both computed from the iteration's number alone. So a
resumed run draws what the uninterrupted run would have drawn, whatever the number of workers and of
processes.

Official `data/samplers.py::InfiniteSampler`, which draws other data after a resume.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Generator, Tensor


def seed_of(*numbers: int) -> int:
    """One well-mixed seed from several small numbers (seed, rank, iteration, ...)."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def generator_of(*numbers: int) -> Generator:
    """A generator on the CPU with that seed."""
    return Generator().manual_seed(seed_of(*numbers))


class SharedGenerator(Generator):
    """One generator that all processes seed alike: each draws for the batch of all, and keeps what
    is its own. So what happens to a picture does not depend on the number of processes.

    Args:
        seed: the same on every process.
        batch_size: pictures of this process; it has every world_size-th of all, from `rank` on.
    """

    def __new__(cls, *_: int) -> "SharedGenerator":
        return super().__new__(cls)

    def __init__(self, seed: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.manual_seed(seed)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def own(self, x: Tensor, dim: int = 0) -> Tensor:
        """This process's entries along an axis of pictures, or of their crops, crop-major."""
        crops = x.unflatten(dim, (-1, self.batch_size * self.world_size))
        mine = torch.arange(self.rank, crops.shape[dim + 1], self.world_size)
        return crops.index_select(dim + 1, mine).flatten(dim, dim + 1)


def rand(
    *shape: int, generator: Generator | None, dim: int = 0, dtype: torch.dtype | None = None
) -> Tensor:
    """torch.rand where `shape[dim]` counts pictures or crops: see `SharedGenerator`."""
    if not isinstance(generator, SharedGenerator):
        return torch.rand(*shape, generator=generator, dtype=dtype)
    n = shape[dim] * generator.world_size
    everyones = (*shape[:dim], n, *shape[dim + 1 :])
    return generator.own(torch.rand(*everyones, generator=generator, dtype=dtype), dim)


class InfiniteBatchSampler:
    """Indices [batch_size] for every iteration from `start` on, for one process.

    The passes' permutations stand one after another; iteration i takes the next
    batch_size x world_size of them, and process r every world_size-th from r on.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"{n} pictures and batch size {batch_size}: both must be at least 1")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.start, self.stop = start, stop
        self._pass: tuple[int, Tensor] | None = None

    def permutation(self, number: int) -> Int64[Tensor, "n"]:
        """The order of the pictures in pass `number`."""
        if self._pass is None or self._pass[0] != number:
            order = torch.randperm(self.n, generator=generator_of(self.seed, 1, number))
            self._pass = (number, order)
        return self._pass[1]

    def indices(self, iteration: int) -> Int64[Tensor, "B"]:
        """This process's pictures in an iteration."""
        size = self.batch_size * self.world_size
        position, parts, missing = iteration * size, [], size
        while missing:
            number, offset = divmod(position, self.n)
            part = self.permutation(number)[offset : offset + missing]
            parts.append(part)
            position, missing = position + len(part), missing - len(part)
        return torch.cat(parts)[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches as (iteration, index) pairs, as a DataLoader's batch_sampler."""
        iteration = self.start
        while self.stop is None or iteration < self.stop:
            yield [(iteration, int(i)) for i in self.indices(iteration)]
            iteration += 1
