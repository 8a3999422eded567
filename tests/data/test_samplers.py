"""Which pictures an iteration gets: all of them equally often, shared out, the same after a
resume."""

import itertools

import pytest
import torch

from dinolite.data.loaders import InfiniteBatchSampler, generator_of, seed_of


def test_a_pass_has_every_picture_once() -> None:
    sampler = InfiniteBatchSampler(10, 4, seed=3)
    stream = torch.cat([sampler.indices(i) for i in range(10)])  # four passes
    for k in range(4):
        assert sorted(stream[10 * k : 10 * k + 10].tolist()) == list(range(10))
    assert stream[:10].tolist() != stream[10:20].tolist()


def test_batch_larger_than_the_set() -> None:
    indices = InfiniteBatchSampler(3, 7).indices(0)
    assert torch.bincount(indices).tolist() in ([2, 2, 3], [2, 3, 2], [3, 2, 2])


def test_processes_share_one_stream() -> None:
    whole = InfiniteBatchSampler(20, 8, seed=1).indices(2)
    parts = [InfiniteBatchSampler(20, 4, seed=1, rank=r, world_size=2).indices(2) for r in (0, 1)]
    assert torch.equal(torch.stack(parts, 1).flatten(), whole)


def test_resume_goes_on() -> None:
    whole = list(itertools.islice(InfiniteBatchSampler(9, 4, seed=5), 12))
    rest = list(InfiniteBatchSampler(9, 4, seed=5, start=7, stop=12))
    assert rest == whole[7:12]


def test_seeds_are_spread() -> None:
    seeds = {seed_of(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    assert torch.equal(
        torch.rand(3, generator=generator_of(1, 2)), torch.rand(3, generator=generator_of(1, 2))
    )


def test_empty() -> None:
    with pytest.raises(ValueError, match="0 pictures"):
        InfiniteBatchSampler(0, 4)
