"""Which pictures are in which batch: endless shuffled passes over the data, shared out among
processes, and a seed for everything random, both computed from the iteration's number alone. So a
resumed run draws what the uninterrupted run would have drawn, whatever the number of workers.

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
