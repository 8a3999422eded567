"""Exercises of lesson 00, the map: tokens, the start of the loss, the slow teacher, pairs."""

import math

import torch

from dinolite_course.checking import keeping
from dinolite_course.exercises import exercise


@exercise(
    "00.1",
    "how many tokens the backbone sees",
    cases=[(24, 4, 2), (12, 4, 2), (224, 16, 4), (8, 4, 0)],
)
def n_tokens(size, patch, registers):
    return 1 + registers + (size // patch) ** 2


n_tokens.slips = [
    ("the CLS token is missing", "1 + ", ""),
    ("the registers are missing", " + registers", ""),
    ("a picture has rows and columns of patches: square the count", " ** 2", ""),
    ("those are pixels, not patches", "(size // patch)", "size"),
    ("a patch is `patch` pixels high and wide: divide by it twice", "** 2", "* size"),
]


@exercise("00.2", "where every DINO loss starts", cases=[(128,), (65536,), (2,)])
def start_of_loss(K):
    return math.log(K)


start_of_loss.slips = [
    ("that is the base-2 logarithm; losses here are in nats", "log", "log2"),
    ("that is the base-10 logarithm; losses here are in nats", "log", "log10"),
    ("the sign: -log(1/K) is positive", "math", "-math"),
    ("that is a probability; the loss is -log of it", "math.log(K)", "1 / K"),
    ("that is one of the K terms of the sum", "log(K)", "log(K) / K"),
]


def two_vectors():
    return [(torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0]), m) for m in (0.9, 0.5, 0.25)]


@exercise("00.3", "the teacher's update", cases=two_vectors, run=keeping)
def update(teacher, student, momentum):
    return momentum * teacher + (1 - momentum) * student


update.slips = [
    (
        "student and teacher have changed places: with momentum 0.9 the teacher should "
        "keep nine tenths of itself",
        "(teacher, student",
        "(student, teacher",
    ),
    ("the student comes in with its full weight", "(1 - momentum) * ", ""),
    ("the teacher's part keeps its full weight", "momentum * teacher", "teacher"),
    ("that is the student itself: a teacher without memory", ", momentum", ", _, momentum=0"),
]


@exercise(
    "00.4", "how many pairs of crops are compared", cases=[(2, 4), (2, 8), (3, 0), (3, 5), (1, 6)]
)
def n_pairs(G, L):
    # L = 0 leaves two pairs of large crops: an easier game, and features that
    # know less about how parts belong to wholes.
    return G * (G - 1) + G * L


n_pairs.slips = [
    ("a global crop is not compared with itself", "(G - 1)", "G"),
    (
        "the teacher sees global crops only, so pairs with a local crop on the teacher's "
        "side do not exist",
        "G * (G - 1) + G * L",
        "(G + L) * (G + L - 1)",
    ),
    ("the pairs of two global crops are missing", "G * (G - 1) + ", ""),
    ("two global crops make two pairs: each of them is once the student's", "- 1)", "- 1) // 2"),
    ("a local crop of the student meets every global crop of the teacher", "G * L", "(G - 1) * L"),
]
