"""How much a linear classifier can read out of frozen features: in closed form (nothing to tune
by hand) and by SGD over a grid of learning rates, as papers report it.

DINOv3 Sec. 6.2.1, App. D.7; official `eval/linear.py`. Hyper-parameters are chosen on a held-out
tenth of the training features, never on the test set (the official code chooses on it).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

RIDGES = tuple(10.0**e for e in range(-4, 4))
LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)


@dataclass
class Probe:
    """A fitted linear classifier: scores = (x - shift) / scale @ weight + bias."""

    weight: Float[Tensor, "D C"]
    bias: Float[Tensor, "C"]
    shift: Float[Tensor, "D"]
    scale: Float[Tensor, "D"]
    chosen: float
    """The ridge or learning rate that did best on the held-out part."""

    def scores(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n C"]:
        """One score per class; the largest is the prediction."""
        return ((x.float() - self.shift) / self.scale) @ self.weight + self.bias

    def accuracy(
        self, x: Float[Tensor, "n D"], y: Int64[Tensor, "n"], balanced: bool = False
    ) -> float:
        """Share of right predictions, in [0, 1]; `balanced`: the mean of the classes' shares.

        Samples without a label (-1) do not count; ValueError if none has one.
        """
        x, y = x[y >= 0], y[y >= 0]
        if len(y) == 0:
            raise ValueError("y holds no label (only -1, or nothing); at least one is needed")
        right = (self.scores(x).argmax(1) == y).double()
        if not balanced:
            return right.mean().item()
        counts = torch.bincount(y).double()
        return (torch.bincount(y, right) / counts)[counts > 0].mean().item()


def class_count(y: Int64[Tensor, "*n"], n_classes: int | None) -> int:
    """`n_classes`, or else the highest label + 1; ValueError if labels go higher."""
    found = int(y.max()) + 1 if y.numel() else 1
    if n_classes is not None and n_classes < found:
        raise ValueError(f"n_classes = {n_classes}, but y holds the label {found - 1}")
    return n_classes or found


def held_out_tenth(n: int) -> Bool[Tensor, "n"]:
    """True for a fixed random tenth (at least one) of n rows, on which settings are chosen."""
    if n < 2:
        raise ValueError(f"{n} training samples; a probe needs at least 2")
    hidden = torch.zeros(n, dtype=torch.bool)
    hidden[torch.randperm(n, generator=Generator().manual_seed(0))[: max(n // 10, 1)]] = True
    return hidden


def ridge_solutions(
    x: Float[Tensor, "n D"],
    y: Int64[Tensor, "n"],
    n_classes: int,
    ridges: Sequence[float],
    balanced: bool = False,
) -> list[Probe]:
    """For each ridge r: minimise the mean of |X W + b - Y|^2, plus r |W|^2; Y one-hot, float64.

    X is standardised; with `balanced` every class has the same weight in all means, however many
    samples it has. One eigendecomposition serves all ridges.
    """
    counts = torch.bincount(y, minlength=n_classes).double()
    weights = 1 / counts[y] if balanced else torch.ones_like(y, dtype=torch.float64)
    weights = (weights / weights.sum())[:, None]  # [n, 1]
    x64, targets = x.double(), F.one_hot(y, n_classes).double()
    shift, bias = (weights * x64).sum(0), (weights * targets).sum(0)
    scale = (weights * (x64 - shift) ** 2).sum(0).sqrt().clamp(min=1e-6)
    z = (x64 - shift) / scale
    values, vectors = torch.linalg.eigh((weights * z).T @ z)
    projected = vectors.T @ ((weights * z).T @ (targets - bias))  # [D, C]
    return [
        Probe(
            (vectors @ (projected / (values.clamp(min=0) + r)[:, None])).float(),
            bias.float(),
            shift.float(),
            scale.float(),
            r,
        )
        for r in ridges
    ]


def ridge_probe(
    x: Float[Tensor, "n D"],
    y: Int64[Tensor, "n"],
    n_classes: int | None = None,
    ridges: Sequence[float] = RIDGES,
    hidden: Bool[Tensor, "n"] | None = None,
    balanced: bool = False,
) -> Probe:
    """Least squares on one-hot labels, with the ridge that does best on the held-out rows.

    Args:
        n_classes: C; None = the highest label + 1.
        ridges: candidates, each above 0.
        hidden: True for the rows that are held out while the ridge is chosen (in the end all rows
            are fitted); None = a random tenth.
        balanced: rare classes weigh as much as common ones, in the fit and in the choice.

    Raises:
        ValueError: fewer than two samples.
    """
    n_classes = class_count(y, n_classes)
    hidden = (held_out_tenth(len(x)) if hidden is None else hidden).to(x.device)
    probes = ridge_solutions(x[~hidden], y[~hidden], n_classes, ridges, balanced)
    best = max(probes, key=lambda p: p.accuracy(x[hidden], y[hidden], balanced))
    return ridge_solutions(x, y, n_classes, [best.chosen], balanced)[0]


def sgd_probe(
    x: Float[Tensor, "n D"],
    y: Int64[Tensor, "n"],
    n_classes: int | None = None,
    *,
    learning_rates: Sequence[float] = LEARNING_RATES,
    iterations: int = 1000,
    batch_size: int = 128,
    seed: int = 0,
) -> Probe:
    """Softmax regression by SGD: all learning rates trained side by side, momentum 0.9, cosine to
    0, weights from N(0, 0.01); the one that does best on the held-out tenth is returned.

    Args:
        learning_rates: per 256 samples, as in the official code: lr x batch_size / 256 is used.

    Raises:
        ValueError: fewer than two samples.
    """
    n_classes = class_count(y, n_classes)
    x, device = x.float(), x.device
    hidden = held_out_tenth(len(x)).to(device)
    generator = Generator().manual_seed(seed)
    n, D = len(learning_rates), x.shape[1]
    weight = (torch.randn(n, D, n_classes, generator=generator) * 0.01).to(device)
    parameters = [nn.Parameter(weight), nn.Parameter(torch.zeros(n, 1, n_classes, device=device))]
    rates = torch.tensor(learning_rates, device=device)[:, None, None] * batch_size / 256
    optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    fit_x, fit_y = x[~hidden], y[~hidden]
    for _ in range(iterations):
        rows = torch.randint(len(fit_x), (batch_size,), generator=generator).to(device)
        sgd_step(parameters, fit_x[rows], fit_y[rows], rates, optimizer)
        schedule.step()
    one, zero = torch.ones(D, device=device), torch.zeros(D, device=device)
    probes = [
        Probe(w.detach(), b.detach()[0], zero, one, lr)
        for w, b, lr in zip(*parameters, learning_rates, strict=True)
    ]
    return max(probes, key=lambda p: p.accuracy(x[hidden], y[hidden]))


def sgd_step(
    parameters: list[nn.Parameter], x: Tensor, y: Tensor, rates: Tensor, optimizer: Optimizer
) -> None:
    """One step of n classifiers (weight [n, D, C], bias [n, 1, C]) on the same batch.

    One optimiser group cannot hold n rates: the gradients are scaled instead, which comes to the
    same, since momentum is linear in them.
    """
    scores = x @ parameters[0] + parameters[1]  # [n, batch, C]
    loss = F.cross_entropy(scores.flatten(0, 1), y.repeat(len(scores)), reduction="sum") / len(x)
    optimizer.zero_grad()
    loss.backward()
    for p in parameters:
        assert p.grad is not None
        p.grad *= rates
    optimizer.step()
