"""Exercises of lesson 15, one step: a shape, weights by counting pairs, crop order, a step on
paper, who learns from what."""

from collections.abc import Callable

import torch
from torch import Tensor

from dinolite_course.checking import Exercise, Remark, keeping
from dinolite_course.exercises import stepping


def shape(B: int, L: int, K: int) -> tuple[int, ...]:
    return 2 + L, B, K


def dino_weights(L: int, ignore_diagonal: bool) -> tuple[float, float]:
    return shares(2 * L, 2 if ignore_diagonal else 4)


def shares(n_local: float, n_global: float) -> tuple[float, float]:
    return n_local / (n_local + n_global), n_global / (n_local + n_global)


def picture_means(x: Tensor, B: int) -> Tensor:
    return x.unflatten(0, (-1, B)).mean(dim=0)


def who_learns(dino: float, koleo: float, ibot: float) -> tuple[bool, ...]:
    anything = dino > 0 or koleo > 0 or ibot > 0
    return anything, anything, dino > 0, ibot > 0


def truly(function: Callable[..., tuple[bool, ...]], *weights: float) -> tuple[bool, ...]:
    """What a function returns.

    Raises:
        Remark: some of it are numbers.
    """
    found = function(*weights)
    numbers = isinstance(found, tuple | list) and {type(x) for x in found} & {int, float}
    if numbers:
        raise Remark("True and False are wanted, not numbers")
    return found


def features() -> list[tuple[Tensor, int]]:
    draw = torch.Generator().manual_seed(3)
    return [(torch.randn(15, 4, generator=draw), 3), (torch.randn(12, 2, generator=draw), 2)]


EXERCISES = (
    Exercise(
        "15.1",
        "the shape of all logits",
        shape,
        lambda: [(6, 3, 64), (32, 8, 128), (4, 1, 16)],
        (
            ("pictures first is picture order; crops come first", lambda B, L, K: (B, 2 + L, K)),
            ("those are the small crops; the student sees the large ones too",
             lambda B, L, K: (L, B, K)),
            ("right before the cut; now give crops an axis of their own",
             lambda B, L, K: ((2 + L) * B, K)),
            ("there are two large crops of each picture, not one",
             lambda B, L, K: (1 + L, B, K)),
            ("one row of K logits for each crop of each picture: K comes last",
             lambda B, L, K: (2 + L, K, B)),
        ),
    ),
    Exercise(
        "15.2",
        "weights of the DINO terms",
        dino_weights,
        lambda: [(3, True), (3, False), (8, True), (1, False)],
        (
            ("right where all pairs count; with ignore_diagonal only two large-large pairs are "
             "left, so count pairs, not crops", lambda L, ignore_diagonal: shares(2 * L, 4)),
            ("right where the diagonal is left out; without that there are 4 large-large pairs",
             lambda L, ignore_diagonal: shares(2 * L, 2)),
            ("turned round: where the diagonal is ignored there are fewer large-large pairs",
             lambda L, ignore_diagonal: dino_weights(L, not ignore_diagonal)),
            ("each small crop meets both large ones: 2 L pairs",
             lambda L, ignore_diagonal: shares(L, 2 if ignore_diagonal else 4)),
            ("those are numbers of pairs; weights sum to 1",
             lambda L, ignore_diagonal: (2 * L, 2 if ignore_diagonal else 4)),
            ("the two are exchanged: local comes first",
             lambda L, ignore_diagonal: dino_weights(L, ignore_diagonal)[::-1]),
            ("every pair weighs the same, not every term", lambda L, ignore_diagonal: (0.5, 0.5)),
        ),
    ),
    Exercise(
        "15.3",
        "means over the crops of a picture",
        picture_means,
        features,
        (
            ("that reads the rows in picture order, so every mean mixes pictures: in crop order "
             "the axis of crops comes first", lambda x, B: x.unflatten(0, (B, -1)).mean(dim=1)),
            ("that is one mean for each crop, over pictures; the other axis is wanted",
             lambda x, B: x.unflatten(0, (-1, B)).mean(dim=1)),
            ("those are the features of crop 0 alone", lambda x, B: x[:B]),
            ("that is the sum; divide by the number of crops",
             lambda x, B: x.unflatten(0, (-1, B)).sum(dim=0)),
            ("divided by the number of pictures; the mean is over crops",
             lambda x, B: x.unflatten(0, (-1, B)).sum(dim=0) / B),
        ),
        run=keeping,
    ),
    Exercise(
        "15.4",
        "one step on paper",
        stepping.step,
        stepping.steps,
        stepping.MISTAKES,
        run=keeping,
    ),
    Exercise(
        "15.5",
        "who learns from what",
        who_learns,
        lambda: [(1, 0.1, 1), (1, 0.1, 0), (1, 0, 0), (0, 0.1, 0), (0, 0, 1), (0, 0, 0),
                 (0.5, 0, 0.25), (0, 0.01, 2)],
        (
            ("the mask token learns from more than iBOT: CLS of a masked crop looks at it",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, ibot > 0, dino > 0, ibot > 0)),
            ("KoLeo works on features, before the heads; it reaches neither of them",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, dino + koleo + ibot > 0,
                                        dino + koleo > 0, ibot > 0)),
            ("both heads are reached in your answer; each learns from its own loss only",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0,) * 4),
            ("KoLeo reaches the backbone, and through it the mask token, even alone",
             lambda dino, koleo, ibot: (dino + ibot > 0, dino + ibot > 0, dino > 0, ibot > 0)),
            ("with all three left out, nobody learns; no gradient reaches even the backbone",
             lambda dino, koleo, ibot: (True, True, dino > 0, ibot > 0)),
            ("a weight counts as soon as it is above 0, not only 1",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, dino + koleo + ibot > 0,
                                        dino == 1, ibot == 1)),
            ("the heads are exchanged: DINO's comes before iBOT's",
             lambda dino, koleo, ibot: (dino + koleo + ibot > 0, dino + koleo + ibot > 0,
                                        ibot > 0, dino > 0)),
        ),
        run=truly,
    ),
)  # fmt: skip
