"""A linear probe trained by SGD over a grid of learning rates, as papers report it; the one of the
package is in closed form (`dinolite.eval.linear`).

DINOv3 Sec. 6.2.1, App. D.7; official `eval/linear.py`. The learning rate is chosen on a held-out
tenth of the training features, never on the test set (the official code chooses on it).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from dinolite.eval.linear import Probe, class_count, held_out_tenth

LEARNING_RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)


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
