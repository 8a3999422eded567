"""Solutions of lesson 00. Try first: `check` in the lesson tells you what kind of wrong it is."""

import math


def n_tokens(size, patch, registers):
    return 1 + registers + (size // patch) ** 2


def start_of_loss(K):
    return math.log(K)


def update(teacher, student, momentum):
    return momentum * teacher + (1 - momentum) * student


def n_pairs(G, L):
    # L = 0 leaves two pairs of large crops: an easier game, and features that
    # know less about how parts belong to wholes.
    return G * (G - 1) + G * L
