"""Exercises of lesson 23, scaling: bytes, gaps, gradients of unequal halves, columns of many
processes, GPUs for a floor.
"""

import math

import torch
from torch.overrides import TorchFunctionMode

from dinolite_course.exercises import exercise


@exercise(
    "23.1", "bytes on each GPU", cases=[(1000, 800, 1), (86_000_000, 80_000_000, 8), (7_000, 0, 2)]
)
def held_bytes(trained, frozen, gpus):
    # Weight, gradient, two moments: 4 bytes each. A frozen weight is 4 bytes.
    return (16 * trained + 4 * frozen) / gpus


held_bytes.slips = [
    ("AdamW keeps two numbers of each trained weight, not one", "16", "12"),
    ("AdamW's two numbers are missing", "16", "8"),
    ("what is frozen has no gradient and no AdamW", "4 * frozen", "16 * frozen"),
    ("the frozen network must be held, too", " + 4 * frozen", ""),
    ("that is DDP, where everybody holds all of it", " / gpus", ""),
    ("the frozen network is shared out, too", "+ 4 * frozen) / gpus", ") / gpus + 4 * frozen"),
    (
        "bfloat16 is for products; what is kept is float32, 4 bytes a number",
        "16 * trained + 4 * frozen",
        "8 * trained + 2 * frozen",
    ),
]


def some_numbers():
    return [(torch.tensor([1.0, 1.99, 2.0, 256.0, 300.0, 0.7, -0.3, -5.0]),)]


@exercise("23.2", "the gap to the next bfloat16", cases=some_numbers, tolerance=1e-6)
def gap_of(x):
    return 2.0 ** (x.abs().log2().floor() - 7)


gap_of.slips = [
    (
        "the gap stays the same from one power of two to the next: round the exponent down",
        ".floor()",
        "",
    ),
    ("half of it: that is the largest error of rounding", "7", "8"),
    ("that is float16, with 10 bits of fraction", "7", "10"),
    ("that is float32, with 23 bits of fraction", "7", "23"),
    ("round the exponent down, not to the nearest", "floor", "round"),
]


def some_gradients():
    draw = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 4, generator=draw)
    return [([a, b], [1, 3]), ([a, b, c], [5, 2, 1])]


@exercise("23.3", "the gradient of the whole batch", cases=some_gradients)
def whole_gradient(gradients, counts):
    total = 0
    for g, n in zip(gradients, counts, strict=True):
        total = total + n * g
    return total / sum(counts)


whole_gradient.slips = [
    (
        "a plain mean: a process with few samples has as much say as one with many",
        ("n * g", "g"),
        ("sum(counts)", "len(counts)"),
    ),
    ("that is a sum; it grows with the number of processes", ("n * ", ""), (" / sum(counts)", "")),
    ("weighted, and not divided by the number of all samples", " / sum(counts)", ""),
    ("divided by the number of processes; divide by the number of samples", "sum", "len"),
    ("the counts are in the wrong order", "counts, strict", "counts[::-1], strict"),
]


def some_parts():
    draw = torch.Generator().manual_seed(1)
    log_q = torch.randn(9, 5, generator=draw)
    return [
        ([log_q[:4], log_q[4:8]],),
        ([log_q[:2], log_q[2:3], log_q[3:]],),
        ([100 * log_q[:4], 100 * log_q[4:8]],),  # exp of these is 0 or infinite
    ]


class LargestTensor(TorchFunctionMode):
    """Notes how many numbers the largest tensor holds that any operation returns."""

    numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


def on_processes(function, parts):
    """What a function makes of parts that lie on different processes. Where a tensor is as large as
    all of them, their samples met in one place."""
    with LargestTensor() as largest:
        found = function(parts)
    met = largest.numbers >= sum(part.numel() for part in parts)
    return "more than K numbers sent" if met else found


@exercise("23.4", "columns of all processes", cases=some_parts, run=on_processes)
def columns(parts):
    own = torch.stack([part.logsumexp(dim=0) for part in parts])
    return own.logsumexp(dim=0)


columns.slips = [
    (
        "sums of logs are logs of products: what adds up is exp of them, as in logsumexp",
        "own.logsumexp",
        "own.sum",
    ),
    ("a mean of logs is not the log of a sum", "own.logsumexp", "own.mean"),
    ("that is the first process alone", "own.logsumexp(dim=0)", "own[0]"),
    ("the largest column sum is not the sum of all", "own.logsumexp", "own.amax"),
    (
        "those are rows: add over samples, for each prototype",
        ("stack([part.logsumexp(dim=0)", "cat([part.logsumexp(dim=1)"),
        ("own.logsumexp(dim=0)", "own"),
    ),
    ("that is the sum; its log is asked for", "own.logsumexp", "own.exp().sum"),
    (
        "exp of a large score is infinite, of a low one 0; logsumexp takes out the largest first",
        ("part.logsumexp", "part.exp().sum"),
        ("own.logsumexp(dim=0)", "own.sum(dim=0).log()"),
    ),
    (
        "all samples would be sent; each process adds up its own first, and sends [K]",
        "stack([part.logsumexp(dim=0) for part in parts])",
        "cat(parts)",
    ),
    ("the largest score is not the log of their sum", "part.logsumexp", "part.amax"),
]


@exercise(
    "23.5",
    "GPUs for a floor",
    cases=[(0.0, 65536, 64), (1.0, 65536, 64), (2.0, 8192, 32), (0.0, 64, 64)],
)
def gpus_for(floor, K, pictures):
    # ln(K / crops) <= floor, so crops >= K / e^floor.
    # More GPUs lower the floor; a smaller K does it for nothing.
    crops = K / math.exp(floor)
    return max(math.ceil(crops / (2 * pictures)), 1)


gpus_for.slips = [
    ("each picture has two crops for the teacher", "(2 * pictures)", "pictures"),
    ("the floor is a logarithm: e to its power", "math.exp(floor)", "max(floor, 1)"),
    ("a lower floor needs more GPUs: look at the sign", "(floor)", "(-floor)"),
    ("round up: with fewer GPUs the floor is higher than wanted", "math.ceil", "int"),
    ("there are only whole GPUs", "math.ceil", ""),
]
