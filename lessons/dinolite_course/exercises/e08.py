"""Exercises of lesson 08, masking: shapes, the ladder of ratios, positions and back, how exposed a
hidden patch is.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dinolite.data.masking import MaskingGenerator
from dinolite_course.checking import Exercise, as_bools, as_ints
from dinolite_course.exercises import ladders


def shapes(B: int, N: int, counts: list[int]) -> tuple[tuple[int, ...], ...]:
    return (2 * B, N), (sum(counts),), (sum(counts),)


def masks_from(indices: Tensor, n_crops: int, N: int) -> Tensor:
    masks = torch.zeros(n_crops * N, dtype=torch.bool)
    masks[indices] = True
    return masks.view(n_crops, N)


def first_crop_only(indices: Tensor, n_crops: int, N: int) -> Tensor:
    masks = torch.zeros(n_crops, N, dtype=torch.bool)
    masks[:, indices % N] = True
    return masks


def every_other(indices: Tensor, n_crops: int, N: int) -> Tensor:
    """As if the first patch of every crop came before the second ones."""
    return masks_from(indices, n_crops, N).view(N, n_crops).T


def who(position: int, B: int, h: int, w: int) -> tuple[int, ...]:
    entry, patch = divmod(position, h * w)
    return entry % B, entry // B, patch // w, patch % w


def who_else(*order: int) -> Callable[..., tuple[int, ...]]:
    """The right answers, in another order."""
    return lambda *question: tuple(who(*question)[i] for i in order)


def photograph_first(position: int, B: int, h: int, w: int) -> tuple[int, ...]:
    return *divmod(position // (h * w), 2), *who(position, B, h, w)[2:]


def rows_as_wide_as_high(position: int, B: int, h: int, w: int) -> tuple[int, ...]:
    return *who(position, B, h, w)[:2], *divmod(position % (h * w), h)


def neighbours(p: Tensor) -> Tensor:
    """Is one of the four neighbours True? Of a tensor with one ring around the grid."""
    return p[:-2, 1:-1] | p[2:, 1:-1] | p[1:-1, :-2] | p[1:-1, 2:]


def touching(mask: Tensor, beyond: bool = False) -> Tensor:
    """Hidden patches with a visible neighbour; `beyond`: what lies outside counts as visible."""
    return mask & neighbours(F.pad(~mask, (1, 1, 1, 1), value=beyond))


def exposed(mask: Tensor) -> float:
    return touching(mask).sum().item() / mask.sum().item()


def around_the_edge(mask: Tensor) -> float:
    seen = torch.stack([(~mask).roll(by, axis) for by in (1, -1) for axis in (0, 1)]).any(dim=0)
    return (mask & seen).sum().item() / mask.sum().item()


def eight_neighbours(mask: Tensor) -> float:
    near = F.max_pool2d((~mask).float()[None], 3, stride=1, padding=1)[0].bool()
    return (mask & near).sum().item() / mask.sum().item()


def some_masks() -> list[tuple[Tensor]]:
    """Blocks that touch the edge, one by hand and two drawn."""
    corner = torch.zeros(5, 6, dtype=torch.bool)
    corner[:3, :3] = True
    corner[4, 5] = True
    draw = torch.Generator().manual_seed(0)
    drawn = MaskingGenerator((8, 8))(torch.tensor([20, 32]), draw)
    return [(corner,), *((mask,) for mask in drawn)]


def some_positions() -> list[tuple[Tensor, int, int]]:
    one = torch.tensor([21, 22, 42, 43, 46, 47])
    return [(one, 4, 16), (torch.tensor([0, 5, 7, 17]), 3, 6)]


EXERCISES = (
    Exercise(
        "08.1",
        "the shapes of masks, positions and weights",
        shapes,
        lambda: [(2, 16, [0, 2, 4, 0]), (3, 36, [18, 0, 0, 8, 13, 0])],
        (
            (
                "masks has one row per crop, and every photograph has two global crops",
                lambda B, N, counts: ((B, N), *shapes(B, N, counts)[1:]),
            ),
            (
                "the list has one entry per hidden patch, not one per masked crop",
                lambda B, N, counts: ((2 * B, N), *2 * ((sum(n > 0 for n in counts),),)),
            ),
            (
                "masks_weight has one entry per hidden patch, not one per crop: it stands beside "
                "the list of positions",
                lambda B, N, counts: (*shapes(B, N, counts)[:2], (2 * B,)),
            ),
        ),
    ),
    Exercise(
        "08.2",
        "the ladder of ratios",
        ladders.ladder_of,
        lambda: [(8, 49, 0.5, 0.1, 0.5), (11, 121, 0.35, 0.15, 0.75), (2, 81, 0.5, 0.1, 0.5)],
        (
            ("that begins with low: take the end of each step", ladders.from_low),
            (
                "those are n points with both ends, low among them; cut the way into n steps and "
                "take the end of each",
                ladders.between_the_ends,
            ),
            ("rounded to the nearest; round down: int(...)", ladders.rounded),
            (
                "those are all crops; only int(n_crops * share) of them are masked",
                ladders.for_all,
            ),
            ("int(n_crops * share) crops are masked: round that down, too", ladders.nearest_share),
        ),
        run=as_ints,
    ),
    Exercise(
        "08.3",
        "from positions back to masks",
        masks_from,
        some_positions,
        (
            (
                "upside down: True means hidden, and the positions are those of hidden patches",
                lambda indices, n_crops, N: ~masks_from(indices, n_crops, N),
            ),
            ("every crop got the holes of all: position // N says whose it is", first_crop_only),
            ("position = crop times N plus patch: divide by N, not by n_crops", every_other),
        ),
        run=as_bools,
    ),
    Exercise(
        "08.4",
        "who is at this position?",
        who,
        lambda: [(57, 2, 4, 4), (17, 3, 2, 5), (100, 4, 4, 6), (191, 4, 4, 6)],
        (
            (
                "that is photograph-major; crop 0 of all photographs comes first, so entry i is "
                "photograph i % B, crop i // B",
                photograph_first,
            ),
            ("row and column are the wrong way round: row = patch // w", who_else(0, 1, 3, 2)),
            ("a row has w patches, not h", rows_as_wide_as_high),
            ("crop and photograph are the wrong way round in the answer", who_else(1, 0, 2, 3)),
        ),
    ),
    Exercise(
        "08.5",
        "how exposed are hidden patches?",
        exposed,
        some_masks,
        (
            ("neighbours go around the edge: roll brings the last column first", around_the_edge),
            (
                "you count what lies beyond the edge as visible; there is nothing to see",
                lambda mask: touching(mask, beyond=True).sum().item() / mask.sum().item(),
            ),
            ("diagonals count in yours; only above, below, left and right do", eight_neighbours),
            (
                "divided by all patches; the share is one of the hidden ones",
                lambda mask: touching(mask).sum().item() / mask.numel(),
            ),
            (
                "that is the share of visible patches with a hidden neighbour: True = hidden",
                lambda mask: exposed(~mask),
            ),
        ),
    ),
)
