"""Exercise 08.2, the ladder of ratios: the answer and what people get wrong."""

from collections.abc import Callable

import torch

Whole = Callable[[float], int]  # makes a whole number: int or round


def ladder_of(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    return ladder(int(n_crops * share), N, low, high)


def ladder(
    n: int, N: int, low: float, high: float, first: int = 1, whole: Whole = int
) -> list[int]:
    """For n masked crops; `first` = 0 begins with low."""
    return [whole(N * (low + (high - low) * (i + first) / n)) for i in range(n)]


def from_low(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    return ladder(int(n_crops * share), N, low, high, first=0)


def rounded(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    return ladder(int(n_crops * share), N, low, high, whole=round)


def for_all(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    return ladder(n_crops, N, low, high)


def nearest_share(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    return ladder(round(n_crops * share), N, low, high)


def between_the_ends(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    n = int(n_crops * share)
    return [int(N * ratio) for ratio in torch.linspace(low, high, n, dtype=torch.float64).tolist()]
