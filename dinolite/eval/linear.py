"""How much a linear classifier can read out of frozen features, in closed form: nothing to tune by
hand but a ridge, which is chosen on a held-out tenth of the training features, never on the test
set (the official code chooses on it).

DINOv3 Sec. 6.2.1, App. D.7; official `eval/linear.py`, which trains by SGD over a grid of learning
rates: lesson 18 compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

RIDGES = tuple(10.0**e for e in range(-4, 4))


@dataclass
class Probe:
    """A fitted linear classifier: scores = (x - shift) / scale @ weight + bias."""

    weight: Float[Tensor, "D C"]
    bias: Float[Tensor, "C"]
    shift: Float[Tensor, "D"]
    scale: Float[Tensor, "D"]
    chosen: float
    """The ridge (or learning rate) that did best on the held-out part."""

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


def check_features(name: str, x: Tensor, labels: str, y: Tensor) -> None:
    """Are these features [n, D] and their classes [n]? ValueError if not."""
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(
            f"{name} is {x.dtype} {list(x.shape)}; allowed: features [n, D], as of "
            "extract_features or, for pictures themselves, pixel_features"
        )
    if y.shape != x.shape[:1] or y.dtype != torch.int64:
        raise ValueError(
            f"{labels} is {y.dtype} {list(y.shape)}; allowed: int64 [{len(x)}], a class for each "
            f"row of {name}"
        )


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
        ValueError: fewer than two samples, or x and y are no features and labels.
    """
    check_features("x", x, "y", y)
    n_classes = class_count(y, n_classes)
    hidden = (held_out_tenth(len(x)) if hidden is None else hidden).to(x.device)
    probes = ridge_solutions(x[~hidden], y[~hidden], n_classes, ridges, balanced)
    best = max(probes, key=lambda p: p.accuracy(x[hidden], y[hidden], balanced))
    return ridge_solutions(x, y, n_classes, [best.chosen], balanced)[0]
