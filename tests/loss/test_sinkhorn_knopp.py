"""Targets that share the prototypes evenly: exact small cases, invariants, and no overflow."""

import math

import pytest
import torch

from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp


def plain(logits: torch.Tensor, temp: float, n_iterations: int) -> torch.Tensor:
    """The textbook algorithm on exp(logits / temp), in float64, without any stabilisation."""
    q = torch.exp(logits.double() / temp)
    for _ in range(n_iterations):
        q = q / q.sum(0, keepdim=True)
        q = q / q.sum(1, keepdim=True)
    return q


@pytest.mark.parametrize("n_iterations", [1, 3, 7])
def test_equals_the_textbook(n_iterations: int) -> None:
    logits = torch.randn(6, 5) * 0.3
    expected = plain(logits, 0.07, n_iterations)
    assert torch.allclose(sinkhorn_knopp(logits, 0.07, n_iterations).double(), expected, atol=1e-6)


def test_rows_sum_to_one_and_columns_become_even() -> None:
    logits = torch.randn(12, 4)
    q = sinkhorn_knopp(logits, 0.5, 200)
    assert torch.allclose(q.sum(1), torch.ones(12), atol=1e-5)
    assert torch.allclose(q.sum(0), torch.full((4,), 12 / 4), atol=1e-4)


def test_one_sample_spreads_over_all_prototypes() -> None:
    """The degenerate case: one sample must serve every prototype alike."""
    assert torch.allclose(sinkhorn_knopp(torch.randn(1, 8), 0.1), torch.full((1, 8), 1 / 8))


def test_two_samples_two_prototypes_by_hand() -> None:
    """[[2, 1], [1, 1]]; by columns [[2/3, 1/2], [1/3, 1/2]]; by rows [[4/7, 3/7], [2/5, 3/5]]."""
    logits = torch.tensor([[math.log(2.0), 0.0], [0.0, 0.0]])
    expected = torch.tensor([[4 / 7, 3 / 7], [2 / 5, 3 / 5]])
    assert torch.allclose(sinkhorn_knopp(logits, 1.0, 1), expected)


def test_constants_of_the_batch_or_of_a_prototype_do_not_matter() -> None:
    logits = torch.randn(8, 6) * 0.2
    q = sinkhorn_knopp(logits, 0.1)
    assert torch.allclose(sinkhorn_knopp(logits + 3, 0.1), q, atol=1e-5)
    assert torch.allclose(sinkhorn_knopp(logits + torch.randn(1, 6), 0.1), q, atol=1e-5)
    # A constant per sample does matter after a finite number of rounds.
    assert not torch.allclose(sinkhorn_knopp(logits + torch.randn(8, 1), 0.1), q, atol=1e-2)


@pytest.mark.parametrize("scale", [4.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_scores_stay_finite(scale: float, dtype: torch.dtype) -> None:
    """The official code gives NaN from scores above 88.7 x temperature, 3.5 here."""
    q = sinkhorn_knopp((torch.randn(16, 32) * scale).to(dtype), 0.04)
    assert q.isfinite().all() and torch.allclose(q.sum(1), torch.ones(16), atol=1e-4)


def test_entropy_stays_above_its_floor() -> None:
    """16 samples over 512 prototypes: each must cover 32 of them, ln 32 of entropy."""
    q = sinkhorn_knopp(torch.randn(16, 512), 0.02, 50)
    entropy = -(q * q.clamp(min=1e-30).log()).sum(1).mean()
    assert entropy > math.log(512 / 16) - 0.01


@pytest.mark.parametrize(("temp", "n"), [(0.0, 3), (-1.0, 3), (0.1, 0)])
def test_bad_arguments(temp: float, n: int) -> None:
    with pytest.raises(ValueError, match="teacher_temp"):
        sinkhorn_knopp(torch.zeros(2, 2), temp, n)
