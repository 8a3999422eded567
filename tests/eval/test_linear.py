"""The linear probes against scikit-learn's ridge and PyTorch's SGD, and what they are tuned on."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from dinolite.eval.linear import (
    Probe,
    held_out_tenth,
    ridge_probe,
    ridge_solutions,
)
from dinolite_course.measures.sgd_probe import sgd_probe, sgd_step


def data(n: int = 60, D: int = 5, C: int = 3) -> tuple[Tensor, Tensor]:
    """Features of very different scales, classes of very different sizes."""
    y = torch.arange(n).remainder(10).clamp(max=C - 1).flip(0)
    x = (torch.randn(n, D) + F.one_hot(y, D)) * torch.logspace(-2, 2, D) + 7
    return x, y


def their_scores(x: Tensor, y: Tensor, ridge: float, weights: np.ndarray, at: Tensor) -> np.ndarray:
    """scikit-learn's ridge on standardised features; `weights` [n] sum to 1."""
    X, Y = x.double().numpy(), F.one_hot(y).double().numpy()
    shift = weights @ X
    scale = np.sqrt(weights @ (X - shift) ** 2)
    model = Ridge(alpha=ridge, solver="cholesky").fit((X - shift) / scale, Y, sample_weight=weights)
    return model.predict((at.double().numpy() - shift) / scale)


def constant(C: int, D: int = 1) -> Probe:
    """A probe whose answer is always class C - 1."""
    return Probe(torch.zeros(D, C), torch.arange(C).float(), torch.zeros(D), torch.ones(D), 1.0)


# --- Probe ---


def test_scores_by_hand() -> None:
    """((5, 4) - (1, 2)) / (2, 4) = (2, 0.5), for one vector or for a whole map of them."""
    weight, bias = torch.tensor([[1.0, 0.0, 2.0], [4.0, 2.0, 0.0]]), torch.tensor([0.0, 10.0, 20.0])
    probe = Probe(weight, bias, torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), 1.0)
    x = torch.tensor([[5.0, 4.0], [1.0, 2.0]])
    assert probe.scores(x).tolist() == [[4, 11, 24], [0, 10, 20]]
    assert probe.scores(x.half()).dtype == torch.float32
    assert torch.equal(probe.scores(x.expand(3, 4, 2, 2)), probe.scores(x).expand(3, 4, 2, 3))


def test_accuracy_is_the_share_of_right_samples_or_of_the_classes() -> None:
    """Always class 2: right in 1 of 5 samples, in 1 of the 2 classes that occur."""
    probe, y = constant(3), torch.tensor([0, 0, 2, 0, 0])
    assert probe.accuracy(torch.zeros(5, 1), y) == pytest.approx(1 / 5)
    assert probe.accuracy(torch.zeros(5, 1), y, balanced=True) == pytest.approx(1 / 2)


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    x, y = data(200)
    probe = ridge_probe(x, y)
    named = probe.scores(x).argmax(dim=1)
    expected = balanced_accuracy_score(y.numpy(), named.numpy())
    assert probe.accuracy(x, y, balanced=True) == pytest.approx(expected)
    assert expected != pytest.approx(probe.accuracy(x, y))


@pytest.mark.parametrize("balanced", [False, True])
def test_samples_without_a_label_do_not_count(balanced: bool) -> None:
    y = torch.tensor([2, -1, -1, 2, 0, -1])
    expected = 1 / 2 if balanced else 2 / 3
    assert constant(3).accuracy(torch.zeros(6, 1), y, balanced) == pytest.approx(expected)


@pytest.mark.parametrize("n", [0, 3])
def test_accuracy_needs_a_label(n: int) -> None:
    with pytest.raises(ValueError, match="y holds no label"):
        constant(2).accuracy(torch.zeros(n, 1), torch.full((n,), -1))


# --- the held-out tenth ---


@pytest.mark.parametrize(("n", "held"), [(2, 1), (9, 1), (19, 1), (20, 2), (1005, 100)])
def test_a_tenth_is_held_out_but_at_least_one(n: int, held: int) -> None:
    hidden = held_out_tenth(n)
    assert hidden.shape == (n,) and int(hidden.sum()) == held


def test_the_tenth_is_random_but_always_the_same() -> None:
    state = torch.get_rng_state()
    first = held_out_tenth(1000)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(held_out_tenth(1000), first)
    # All over the set: a quarter of its rows has 25 of 100, give or take 4 standard deviations.
    for quarter in first.view(4, 250).sum(dim=1).tolist():
        assert abs(quarter - 25) < 18


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("probe", [ridge_probe, sgd_probe])
def test_a_probe_needs_two_samples(probe, n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} training samples"):
        probe(torch.zeros(n, 3), torch.zeros(n).long(), 2)


# --- ridge ---


@pytest.mark.parametrize("balanced", [False, True])
def test_ridge_is_that_of_scikit_learn(balanced: bool) -> None:
    (x, y), (other, _) = data(), data()
    counts = np.bincount(y.numpy())
    weights = 1 / counts[y.numpy()] / len(counts) if balanced else np.full(len(y), 1 / len(y))
    assert weights.sum() == pytest.approx(1) and len(set(counts)) > 1
    ridges = (1e-3, 0.1, 10.0)
    for r, probe in zip(ridges, ridge_solutions(x, y, 3, ridges, balanced), strict=True):
        assert probe.chosen == r
        expected = their_scores(x, y, r, weights, at=other)
        np.testing.assert_allclose(probe.scores(other).numpy(), expected, atol=1e-4)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    x, y = data()
    more = torch.cat([x, torch.full((60, 1), 3.0), torch.zeros(60, 1)], dim=1)
    for a, b in zip(
        ridge_solutions(x, y, 3, [1e-4, 1]), ridge_solutions(more, y, 3, [1e-4, 1]), strict=True
    ):
        torch.testing.assert_close(a.scores(x), b.scores(more), atol=1e-5, rtol=0)


def test_the_number_of_classes_is_that_of_the_labels_unless_given() -> None:
    x, y = data()
    assert ridge_probe(x, y).weight.shape == (5, 3)
    more = ridge_probe(x, y, n_classes=6)
    assert more.weight.shape == (5, 6)
    torch.testing.assert_close(more.scores(x)[:, 3:], torch.zeros(60, 3))


@pytest.mark.parametrize(("right", "chosen"), [(True, 1e-3), (False, 1e3)])
@pytest.mark.parametrize("ridges", [(1e-3, 1e3), (1e3, 1e-3)])
def test_the_ridge_is_chosen_on_the_held_out_rows_only(right: bool, chosen: float, ridges) -> None:
    """Fitted: the sign of x is the class, 0 is commoner. A huge ridge says 0 of everything; so it
    is right where the held-out rows are all of class 0 on the side of 1."""
    x = torch.tensor([-1.0] * 6 + [1.0] * 4 + [1.0] * 2)[:, None]
    y = torch.tensor([0] * 6 + [1] * 4 + [int(right)] * 2)
    hidden = torch.arange(12) >= 10
    probe = ridge_probe(x, y, 2, ridges, hidden)
    assert probe.chosen == chosen
    (expected,) = ridge_solutions(x, y, 2, [chosen])  # in the end fitted on all rows
    assert torch.equal(probe.weight, expected.weight) and torch.equal(probe.bias, expected.bias)
    (part,) = ridge_solutions(x[~hidden], y[~hidden], 2, [chosen])
    assert not torch.equal(probe.bias, part.bias)


@pytest.mark.parametrize(("balanced", "chosen"), [(False, 1e6), (True, 1e-6)])
def test_a_balanced_choice_counts_rare_classes_as_much(balanced: bool, chosen: float) -> None:
    """Features s + u and u, s = +-1 the class, u = +-2. A small ridge finds s; a huge one sees that
    only the first feature has to do with the class, and takes its sign, u. Held out: u is right in
    5 of 6 rows and 1 of 2 classes, s in 3 of 6 rows and 0.7 of 1 = 0.4 / 2 + 1 / 2."""
    s = torch.tensor([-1.0, -1, 1, 1] * 3 + [-1, -1, 1, 1, 1] + [1])
    u = torch.tensor([-2.0, 2, -2, 2] * 3 + [-2] * 6)
    y = torch.tensor([0, 0, 1, 1] * 3 + [0] * 5 + [1])
    hidden = torch.arange(18) >= 12
    probe = ridge_probe(torch.stack([s + u, u], dim=1), y, 2, (1e6, 1e-6), hidden, balanced)
    assert probe.chosen == chosen


def test_held_out_rows_need_a_label() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="y holds no label"):
        ridge_probe(x, y, hidden=torch.zeros(60, dtype=torch.bool))


# --- SGD ---


def test_one_step_for_all_rates_is_a_step_of_sgd_for_each() -> None:
    rates, n, D, C = (0.1, 1.0, 3.0), 3, 4, 5
    start = torch.randn(n, D, C) * 0.1
    ours = [nn.Parameter(start.clone()), nn.Parameter(torch.zeros(n, 1, C))]
    optimizer = torch.optim.SGD(ours, lr=1.0, momentum=0.9)
    theirs = [[nn.Parameter(start[i].clone()), nn.Parameter(torch.zeros(C))] for i in range(n)]
    each = [torch.optim.SGD(p, lr=r, momentum=0.9) for p, r in zip(theirs, rates, strict=True)]
    for _ in range(5):
        x, y = torch.randn(8, D), torch.randint(C, (8,))
        sgd_step(ours, x, y, torch.tensor(rates)[:, None, None], optimizer)
        for (weight, bias), one in zip(theirs, each, strict=True):
            one.zero_grad()
            F.cross_entropy(x @ weight + bias, y).backward()
            one.step()
    for i, (weight, bias) in enumerate(theirs):
        torch.testing.assert_close(ours[0][i], weight)
        torch.testing.assert_close(ours[1][i, 0], bias)


def test_the_schedule_by_hand() -> None:
    """All x = 0 and all of class 0: only the bias moves, by softmax(bias) - (1, 0) a step, momentum
    0.9. The rate is 0.4 x 64 / 256 = 0.1, and half of it (cosine) in the second step of two."""
    probe = sgd_probe(
        torch.zeros(20, 3000),
        torch.zeros(20).long(),
        2,
        learning_rates=[0.4],
        iterations=2,
        batch_size=64,
    )
    first = -0.5  # gradient of the bias of class 0; that of class 1 is its opposite
    b = -0.1 * first
    second = 1 / (1 + math.exp(-2 * b)) - 1
    b -= 0.05 * (0.9 * first + second)
    assert probe.bias.tolist() == pytest.approx([b, -b], rel=1e-5)
    assert probe.chosen == 0.4
    # The weights are where they started: N(0, 0.01). 6000 of them: 1 % off is 1.1 deviations.
    assert probe.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert abs(probe.weight.mean().item()) < 5 * 0.01 / math.sqrt(6000)


@pytest.mark.parametrize("rates", [(1e-9, 0.1), (0.1, 1e-9)])
@pytest.mark.parametrize("flipped", [False, True])
def test_the_rate_is_chosen_on_the_held_out_tenth(rates: tuple[float, ...], flipped: bool) -> None:
    """Where the held-out labels are all wrong, the classifier that learnt nothing does best."""
    x = torch.randn(300, 30)
    y = (x[:, 0] > 0).long()
    hidden = held_out_tenth(300)
    seen = torch.where(hidden, 1 - y, y) if flipped else y
    probe = sgd_probe(x, seen, learning_rates=rates, iterations=150)
    assert probe.chosen == (1e-9 if flipped else 0.1)
    if not flipped:
        assert probe.accuracy(x, y) > 0.9
        assert probe.weight.shape == (30, 2) and probe.bias.shape == (2,)


def test_the_held_out_rows_are_not_trained_on() -> None:
    """Whatever they are: with one rate there is nothing to choose."""
    x, y = data()
    hidden = held_out_tenth(60)
    run = {"learning_rates": [0.1], "iterations": 20}
    other = torch.where(hidden[:, None], 1e3, x)
    assert torch.equal(sgd_probe(x, y, **run).weight, sgd_probe(other, y, **run).weight)
    other = torch.where(hidden[:, None], x, 1e3)
    assert not torch.equal(sgd_probe(x, y, **run).weight, sgd_probe(other, y, **run).weight)


def test_the_seed_decides_everything() -> None:
    x, y = data()
    run = {"learning_rates": [0.1], "iterations": 20}
    first = sgd_probe(x, y, **run).weight
    torch.manual_seed(7)
    assert torch.equal(sgd_probe(x, y, **run).weight, first)
    assert not torch.equal(sgd_probe(x, y, seed=1, **run).weight, first)


def test_labels_above_the_given_number_of_classes_are_named() -> None:
    with pytest.raises(ValueError, match="n_classes = 2, but y holds the label 2"):
        ridge_probe(torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), n_classes=2)
