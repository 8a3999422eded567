"""Exercises of lesson 06, the ViT: a shape, a count of parameters, the forward pass, the norms."""

import torch
from torch import Tensor

from dinolite_course.checking import Exercise
from dinolite_course.exercises.two_norms import OWN_NORM
from dinolite_course.exercises.whole_vit import FORWARD


def patch_map(height: int, width: int, patch: int, D: int) -> tuple[int, int, int]:
    return D, height // patch, width // patch


def block_parameters(D: int) -> int:
    attention = 4 * D * D + 4 * D
    ffn = 8 * D * D + 5 * D
    return attention + ffn + 4 * D + 2 * D


def split(tokens: Tensor, R: int) -> tuple[Tensor, Tensor, Tensor]:
    return tokens[:, 0], tokens[:, 1 : 1 + R], tokens[:, 1 + R :]


EXERCISES = (
    Exercise(
        "06.1",
        "the shape of a map of patch features",
        patch_map,
        lambda: [(224, 224, 16, 384), (160, 224, 16, 768), (96, 48, 8, 192)],
        (
            ("height comes before width", lambda H, W, p, D: (D, W // p, H // p)),
            (
                "that is the shape for a picture viewer; PyTorch's maps have the channels first",
                lambda H, W, p, D: (H // p, W // p, D),
            ),
            ("those are pixels; there is one vector for each patch", lambda H, W, p, D: (D, H, W)),
            (
                "that is the sequence; reshape=True gives it its two dimensions back",
                lambda H, W, p, D: (1, (H // p) * (W // p), D),
            ),
            (
                "the picture need not be square: rows come from the height, columns from the width",
                lambda H, W, p, D: (D, H // p, H // p),
            ),
        ),
    ),
    Exercise(
        "06.2",
        "the parameters of one block",
        block_parameters,
        lambda: [(384,), (192,), (768,), (1,), (4,)],
        (
            ("the biases of the linear layers are missing", lambda D: 12 * D * D + 6 * D),
            (
                "4 D are missing: the two norms with weight and bias, or the biases of attention",
                lambda D: 12 * D * D + 11 * D,
            ),
            (
                "2 D are missing: two LayerScales, or two biases of width D",
                lambda D: 12 * D * D + 13 * D,
            ),
            (
                "D are missing: one bias of width D, or one LayerScale",
                lambda D: 12 * D * D + 14 * D,
            ),
            ("5 D are missing: the biases of the FFN", lambda D: 12 * D * D + 10 * D),
            ("q, k and v are three projections; you count one", lambda D: 10 * D * D + 13 * D),
            ("the FFN has two matrices; you count one", lambda D: 8 * D * D + 14 * D),
        ),
    ),
    Exercise(
        "06.3",
        "CLS, registers and patches apart",
        split,
        lambda: [
            (torch.arange(2.0 * 10 * 3).view(2, 10, 3), 4),
            (torch.arange(11.0 * 2).view(1, 11, 2), 2),
        ],
        (
            (
                "the registers are among your patches: patches start at 1 + R",
                lambda t, R: (t[:, 0], t[:, 1 : 1 + R], t[:, 1:]),
            ),
            (
                "you forgot to count CLS: registers and patches start one later",
                lambda t, R: (t[:, 0], t[:, :R], t[:, R:]),
            ),
            (
                "the registers stand behind CLS, not at the end of the sequence",
                lambda t, R: (t[:, 0], t[:, -R:], t[:, 1:-R]),
            ),
            (
                "CLS is one vector per picture, [B, D]: index it, do not slice it",
                lambda t, R: (t[:, :1], t[:, 1 : 1 + R], t[:, 1 + R :]),
            ),
        ),
    ),
    FORWARD,
    OWN_NORM,
)
