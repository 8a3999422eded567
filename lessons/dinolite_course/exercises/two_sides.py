"""Exercise 19.5, a foreground on both sides of its background: the answer, mistakes, and pictures
of a component that tell them apart.
"""

from __future__ import annotations

import torch
from torch import Tensor


def border(z: Tensor) -> Tensor:
    """The border of z, each patch once."""
    edge = torch.ones(z.shape, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    return z[edge]


def outside(z: Tensor, edge: Tensor, times: float) -> Tensor:
    return (z - edge.median()).abs() > times * edge.std()


def both_sides(z: Tensor, times: float) -> Tensor:
    return outside(z, border(z), times)


def rows_and_columns(z: Tensor) -> Tensor:
    """The border of z, corners twice."""
    return torch.cat([z[0], z[-1], z[:, 0], z[:, -1]])


def about_the_mean(z: Tensor, times: float) -> Tensor:
    return (z - border(z).mean()).abs() > times * border(z).std()


def component_cases() -> list[tuple[Tensor, float]]:
    """Grey with noise, a bright and a dark object on it, off zero."""
    draw = torch.Generator().manual_seed(19)
    cases = []
    for sign in (1.0, -1.0):
        z = 0.6 + 0.1 * torch.randn(9, 11, generator=draw)
        z[2:5, 2:5] += 2
        z[5:8, 6:10] -= 1.5
        cases.append((sign * z, 4.0))
    return cases + [(z, times) for z in ramps() for times in (1.5, 2.5)]


def ramps() -> list[Tensor]:
    """A border whose median, mean and deviation depend on each of its parts, and inside all that
    lies near the two cuts.
    """
    draw = torch.Generator().manual_seed(19)
    z = torch.empty(10, 14)
    # From -1.11 to 1.84 no place lies between two cuts that are both right: with the deviation of
    # a sample or of a population, from the lower middle value or the mean of both.
    z[1:-1, 1:-1] = torch.linspace(-1.11, 1.84, 96).view(8, 12)
    edge = 0.1 * torch.randn(10, 14, generator=draw).exp()  # few are far above the median
    edge[:, [0, -1]] *= 1.5  # columns differ from rows
    edge[::9, ::13] = torch.tensor([[1.0, -0.3], [0.8, 0.9]])  # and corners from both
    on_border = torch.ones(10, 14, dtype=torch.bool)
    on_border[1:-1, 1:-1] = False
    z[on_border] = edge[on_border]
    return [z + 0.5, -z]


MISTAKES = (
    (
        "a dark object lies on the other side: take the absolute distance",
        lambda z, t: z - border(z).median() > t * border(z).std(),
    ),
    (
        "median and deviation are those of the border alone",
        lambda z, t: outside(z, z, t),
    ),
    (
        "the deviation is that of the border; so must the median be",
        lambda z, t: (z - z.median()).abs() > t * border(z).std(),
    ),
    (
        "that is the mean of the border; a few odd patches move it, not the median",
        about_the_mean,
    ),
    (
        "the corners count twice: each patch of the border once",
        lambda z, t: outside(z, rows_and_columns(z), t),
    ),
    (
        "the border has a first and a last column, too",
        lambda z, t: outside(z, z[[0, -1]], t),
    ),
    (
        "the border has a first and a last row, too",
        lambda z, t: outside(z, z[:, [0, -1]], t),
    ),
    ("the cut is `times` deviations away, not always 4", lambda z, t: both_sides(z, 4.0)),
    (
        "that is the mean distance from the median; the standard deviation is asked for",
        lambda z, t: (
            (z - border(z).median()).abs() > t * (border(z) - border(z).median()).abs().mean()
        ),
    ),
    (
        "the distance is from the median of the border, not from 0",
        lambda z, t: z.abs() > t * border(z).std(),
    ),
    ("True is foreground; yours is the background", lambda z, t: ~both_sides(z, t)),
)
