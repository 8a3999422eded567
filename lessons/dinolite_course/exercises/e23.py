"""Exercises of lesson 23, scaling: bytes, gaps, gradients of unequal halves, columns of many
processes, GPUs for a floor."""

import math

import torch
from torch import Tensor

from dinolite_course.checking import Exercise
from dinolite_course.exercises.processes import on_processes


def held(trained: int, frozen: int, gpus: int) -> float:
    return (16 * trained + 4 * frozen) / gpus


def gap(x: Tensor) -> Tensor:
    return 2.0 ** (x.abs().log2().floor() - 7)


def whole_gradient(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return sum_of(gradients, counts) / sum(counts)


def sum_of(gradients: list[Tensor], weights: list[int]) -> Tensor:
    pairs = zip(gradients, weights, strict=True)
    return torch.stack([w * g for g, w in pairs]).sum(dim=0)


def wrong_way(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return sum_of(gradients, counts[::-1]) / sum(counts)


def columns(parts: list[Tensor]) -> Tensor:
    return per_process(parts).logsumexp(dim=0)


def per_process(parts: list[Tensor]) -> Tensor:
    return torch.stack([part.logsumexp(dim=0) for part in parts])  # [processes, K]


def sums_of_exp(parts: list[Tensor]) -> Tensor:
    return torch.stack([part.exp().sum(dim=0) for part in parts]).sum(dim=0)


def gpus_for(floor: float, K: int, pictures: int) -> int:
    return max(math.ceil(K / (2 * pictures) * math.exp(-floor) - 1e-9), 1)


def some_gradients() -> list[tuple[list[Tensor], list[int]]]:
    draw = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 4, generator=draw)
    return [([a, b], [1, 3]), ([a, b, c], [5, 2, 1])]


def some_parts() -> list[tuple[list[Tensor]]]:
    draw = torch.Generator().manual_seed(1)
    log_q = torch.randn(9, 5, generator=draw)
    return [
        ([log_q[:4], log_q[4:8]],),
        ([log_q[:2], log_q[2:3], log_q[3:]],),
        ([100 * log_q[:4], 100 * log_q[4:8]],),  # exp of these is 0 or infinite
    ]


def some_numbers() -> list[tuple[Tensor]]:
    return [(torch.tensor([1.0, 1.99, 2.0, 256.0, 300.0, 0.7, -0.3, -5.0]),)]


EXERCISES = (
    Exercise(
        "23.1",
        "bytes on each GPU",
        held,
        lambda: [(1000, 800, 1), (86_000_000, 80_000_000, 8), (7_000, 0, 2)],
        (
            ("AdamW keeps two numbers of each trained weight, not one",
             lambda t, f, g: (12 * t + 4 * f) / g),
            ("AdamW's two numbers are missing", lambda t, f, g: (8 * t + 4 * f) / g),
            ("what is frozen has no gradient and no AdamW",
             lambda t, f, g: (16 * t + 16 * f) / g),
            ("the frozen network must be held, too", lambda t, f, g: 16 * t / g),
            ("that is DDP, where everybody holds all of it", lambda t, f, g: 16 * t + 4 * f),
            ("the frozen network is shared out, too", lambda t, f, g: 16 * t / g + 4 * f),
            ("bfloat16 is for products; what is kept is float32, 4 bytes a number",
             lambda t, f, g: (8 * t + 2 * f) / g),
        ),
    ),
    Exercise(
        "23.2",
        "the gap to the next bfloat16",
        gap,
        some_numbers,
        (
            ("the gap stays the same from one power of two to the next: round the exponent down",
             lambda x: x.abs() / 128),
            ("half of it: that is the largest error of rounding",
             lambda x: 2.0 ** (x.abs().log2().floor() - 8)),
            ("that is float16, with 10 bits of fraction",
             lambda x: 2.0 ** (x.abs().log2().floor() - 10)),
            ("that is float32, with 23 bits of fraction",
             lambda x: 2.0 ** (x.abs().log2().floor() - 23)),
            ("round the exponent down, not to the nearest",
             lambda x: 2.0 ** (x.abs().log2().round() - 7)),
        ),
        tolerance=1e-6,
    ),
    Exercise(
        "23.3",
        "the gradient of the whole batch",
        whole_gradient,
        some_gradients,
        (
            ("a plain mean: a process with few samples has as much say as one with many",
             lambda g, n: torch.stack(g).mean(dim=0)),
            ("that is a sum; it grows with the number of processes",
             lambda g, n: torch.stack(g).sum(dim=0)),
            ("weighted, and not divided by the number of all samples", sum_of),
            ("divided by the number of processes; divide by the number of samples",
             lambda g, n: sum_of(g, n) / len(n)),
            ("the counts are in the wrong order", wrong_way),
        ),
    ),
    Exercise(
        "23.4",
        "columns of all processes",
        columns,
        some_parts,
        (
            ("sums of logs are logs of products: what adds up is exp of them, as in logsumexp",
             lambda parts: per_process(parts).sum(dim=0)),
            ("a mean of logs is not the log of a sum",
             lambda parts: per_process(parts).mean(dim=0)),
            ("that is the first process alone", lambda parts: per_process(parts)[0]),
            ("the largest column sum is not the sum of all",
             lambda parts: per_process(parts).amax(dim=0)),
            ("those are rows: add over samples, for each prototype",
             lambda parts: torch.cat([part.logsumexp(dim=1) for part in parts])),
            ("that is the sum; its log is asked for", sums_of_exp),
            ("exp of a large score is infinite, of a low one 0; logsumexp takes out the largest "
             "first", lambda parts: sums_of_exp(parts).log()),
            ("all samples would be sent; each process adds up its own first, and sends [K]",
             lambda parts: torch.cat(parts).logsumexp(dim=0)),
            ("the largest score is not the log of their sum",
             lambda parts: torch.stack([part.amax(dim=0) for part in parts]).logsumexp(dim=0)),
        ),
        run=on_processes,
    ),
    Exercise(
        "23.5",
        "GPUs for a floor",
        gpus_for,
        lambda: [(0.0, 65536, 64), (1.0, 65536, 64), (2.0, 8192, 32), (0.0, 64, 64)],
        (
            ("each picture has two crops for the teacher",
             lambda floor, K, n: max(math.ceil(K / n * math.exp(-floor) - 1e-9), 1)),
            ("the floor is a logarithm: e to its power",
             lambda floor, K, n: max(math.ceil(K / (2 * n) / max(floor, 1) - 1e-9), 1)),
            ("a lower floor needs more GPUs: look at the sign",
             lambda floor, K, n: max(math.ceil(K / (2 * n) * math.exp(floor) - 1e-9), 1)),
            ("round up: with fewer GPUs the floor is higher than wanted",
             lambda floor, K, n: max(int(K / (2 * n) * math.exp(-floor)), 1)),
            ("there are only whole GPUs",
             lambda floor, K, n: max(K / (2 * n) * math.exp(-floor), 1.0)),
        ),
    ),
)  # fmt: skip
