"""Exercises of lesson 19, seeing features: attention on its grid, likeness of patches, rollout,
mutual neighbours, and a foreground on both sides of its background."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite_course.checking import Exercise
from dinolite_course.exercises import two_sides
from dinolite_course.figures.attention import attention_rollout


def cls_maps(attention: Tensor, rows: int, columns: int) -> Tensor:
    return attention[:, 0, -rows * columns :].unflatten(1, (rows, columns))


def cosines(x: Tensor, k: int) -> Tensor:
    x = F.normalize(x, dim=1)
    return x @ x[k]


def likeness(patches: Tensor, k: int) -> Tensor:
    return cosines(patches - patches.mean(dim=0), k)


def cls_rollout(maps: Sequence[Tensor]) -> Tensor:
    return attention_rollout([m[None] for m in maps])[0, 0]


def no_residual(maps: Sequence[Tensor]) -> Tensor:
    row = torch.eye(maps[0].shape[-1])[0]
    for m in reversed(maps):
        row = row @ m.mean(dim=0)
    return row


def best(similarity: Tensor) -> Tensor:
    """Each patch of a with its best of b, mutual or not."""
    return torch.stack([torch.arange(len(similarity)), similarity.argmax(dim=1)], dim=1)


def mutual_pairs(similarity: Tensor) -> Tensor:
    pairs = best(similarity)
    return pairs[similarity.argmax(dim=0)[pairs[:, 1]] == pairs[:, 0]]


def both_point_alike(similarity: Tensor) -> Tensor:
    """i and j are kept where the best of row i and the best of column i are the same number."""
    n = min(similarity.shape)
    i = torch.arange(n)[similarity.argmax(dim=1)[:n] == similarity.argmax(dim=0)[:n]]
    return torch.stack([i, similarity.argmax(dim=1)[i]], dim=1)


def attention_cases() -> list[tuple[Tensor, int, int]]:
    draw = torch.Generator().manual_seed(19)
    shapes = ((2, 15, 3, 4), (3, 11, 2, 4))
    maps = [torch.randn(h, T, T, generator=draw).softmax(dim=-1) for h, T, _, _ in shapes]
    return [(m, r, c) for m, (_, _, r, c) in zip(maps, shapes, strict=True)]


def patch_cases() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(19)
    return [(torch.randn(9, 5, generator=draw) + 1, k) for k in (0, 4)]


def layer_cases() -> list[tuple[list[Tensor]]]:
    draw = torch.Generator().manual_seed(19)
    sizes = ((3, 2, 4), (4, 3, 6))
    many = [[2 * torch.randn(h, T, T, generator=draw) for _ in range(n)] for n, h, T in sizes]
    return [([m.softmax(dim=-1) for m in maps],) for maps in many]


def similarity_cases() -> list[tuple[Tensor]]:
    draw = torch.Generator().manual_seed(19)
    return [(torch.randn(n, m, generator=draw),) for n, m in ((12, 12), (10, 14))]


EXERCISES = (
    Exercise(
        "19.1",
        "attention of CLS on its grid",
        cls_maps,
        attention_cases,
        (
            (
                "registers stand between CLS and patches; count patches from the end",
                lambda a, r, c: a[:, 0, 1 : 1 + r * c].unflatten(1, (r, c)),
            ),
            ("rows ask: that is who looks at CLS", lambda a, r, c: cls_maps(a.mT, r, c)),
            ("patches lie row by row", lambda a, r, c: cls_maps(a, c, r).mT),
            ("keep the heads apart", lambda a, r, c: cls_maps(a, r, c).mean(dim=0)),
        ),
    ),
    Exercise(
        "19.2",
        "likeness of patches",
        likeness,
        patch_cases,
        (
            ("the mean patch is still in: subtract it first", cosines),
            (
                "those are dot products; a cosine has both at length 1",
                lambda x, k: (x - x.mean(dim=0)) @ (x - x.mean(dim=0))[k],
            ),
            (
                "the mean is over patches, dimension 0; that is each patch's own mean",
                lambda x, k: cosines(x - x.mean(dim=1, keepdim=True), k),
            ),
        ),
    ),
    Exercise(
        "19.3",
        "rollout of CLS from behind",
        cls_rollout,
        layer_cases,
        (
            ("begin with the last layer, not the first", lambda m: cls_rollout(m[::-1])),
            ("the residual path is missing: add I, then halve", no_residual),
            ("halve each matrix, or the sum is not 1", lambda m: 2 ** len(m) * cls_rollout(m)),
            ("that is the last layer alone; go on", lambda m: cls_rollout(m[-1:])),
        ),
    ),
    Exercise(
        "19.4",
        "mutual neighbours",
        mutual_pairs,
        similarity_cases,
        (
            ("those are all choices; keep the ones that are returned", best),
            (
                "a pair is (patch of a, patch of b), in this order",
                lambda x: mutual_pairs(x).flip(1),
            ),
            ("ask what the chosen patch of b chooses: columns[rows[i]] == i", both_point_alike),
        ),
    ),
    Exercise(
        "19.5",
        "foreground on both sides",
        two_sides.both_sides,
        two_sides.component_cases,
        two_sides.MISTAKES,
    ),
)
