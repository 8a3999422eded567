"""k nearest neighbours: a picture gets the class of the training pictures whose features point the
same way, the nearer ones with more votes. Nothing is trained, so it shows the features alone.

DINO App. F.1; official `eval/knn.py`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from dinolite.data.picture_checks import Range
from dinolite.eval.features import Pictures, pixel_features
from dinolite.eval.linear import check_features

CHUNK = 2**24  # similarities, or votes, in memory at once


def knn_classify(
    train_x: Float[Tensor, "n D"],
    train_y: Int64[Tensor, " n"],
    test_x: Float[Tensor, "m D"],
    ks: Sequence[int] = (10, 20),
    temperature: float = 0.07,
    skip_first_nn: bool = False,
) -> dict[int, Float[Tensor, "m C"]]:
    """For each k, the share of the votes that every class gets; C = highest label + 1.

    The k training features of highest cosine vote for their labels with weight
    softmax(cosine / temperature). As in the official code that softmax is over the neighbours of
    the largest k, so for smaller ones the shares sum to less than 1. Equal cosines: the earlier
    one in the bank is nearer.

    Args:
        train_x, train_y: the bank; label -1 = no label, left out.
        ks: numbers of neighbours, each at least 1; a k beyond the bank means the whole bank.
        skip_first_nn: leave out the nearest one, which is the picture itself where the bank is
            searched for its own pictures.

    Raises:
        ValueError: an empty bank, a k below 1, or a temperature that is not above 0.
    """
    votes = list(_votes(train_x, train_y, test_x, ks, temperature, skip_first_nn))
    return {k: torch.cat([v[k] for v in votes]) for k in ks}


def knn_accuracy(
    train_x: Float[Tensor, "n D"],
    train_y: Int64[Tensor, " n"],
    test_x: Float[Tensor, "m D"],
    test_y: Int64[Tensor, " m"],
    ks: Sequence[int] = (10, 20),
    temperature: float = 0.07,
    skip_first_nn: bool = False,
) -> dict[int, float]:
    """For each k, the share in [0, 1] of test pictures that get the most votes for their class.

    Test pictures without a label (-1) do not count; of classes with equally many votes the lowest
    number comes first. Other arguments and errors as in `knn_classify`; also ValueError if no
    test picture has a label.
    """
    test_x, test_y = test_x[test_y >= 0], test_y[test_y >= 0]
    if len(test_y) == 0:
        raise ValueError("test_y holds no label (only -1, or nothing); at least one is needed")
    right, done = dict.fromkeys(ks, 0), 0
    for votes in _votes(train_x, train_y, test_x, ks, temperature, skip_first_nn):
        for k, shares in votes.items():
            right[k] += int((shares.argmax(dim=1) == test_y[done : done + len(shares)]).sum())
        done += len(shares)
    return {k: hits / len(test_y) for k, hits in right.items()}


def _votes(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    ks: Sequence[int],
    temperature: float,
    skip_first_nn: bool,
) -> Iterator[dict[int, Tensor]]:
    """The shares of the votes [B, C] for each k, for some test pictures at a time."""
    check_features("train_x", train_x, "train_y", train_y)
    bank = F.normalize(train_x[train_y >= 0].float(), dim=1)  # [n, D]
    labels = train_y[train_y >= 0]
    skip = int(skip_first_nn)
    n = len(bank) - skip
    if n < 1:
        raise ValueError(f"train_y holds {len(bank)} labels; at least {1 + skip} are needed")
    if not ks or min(ks) < 1 or temperature <= 0:
        raise ValueError(f"ks = {list(ks)} must be at least 1, temperature = {temperature} above 0")
    max_k, n_classes = min(max(ks), n), int(labels.max()) + 1
    rows = max(CHUNK // max(len(bank), max_k * n_classes), 1)
    for queries in test_x.split(rows):
        similarity = F.normalize(queries.float(), dim=1) @ bank.T  # [B, n]
        values, near = nearest(similarity, max_k + skip)
        weights = (values[:, skip:] / temperature).softmax(dim=1)  # [B, k]
        votes = F.one_hot(labels[near[:, skip:]], n_classes) * weights[:, :, None]  # [B, k, C]
        yield {k: votes[:, :k].sum(dim=1) for k in ks}


def nearest(
    similarity: Float[Tensor, "B n"], k: int
) -> tuple[Float[Tensor, "B k"], Int64[Tensor, "B k"]]:
    """The k highest values of each row and where they stand, the highest first; of equal values
    the first, which `torch.topk` alone does not promise."""
    values, indices = similarity.topk(k, dim=1)
    cut = (similarity >= values[:, -1:]).sum(dim=1) > k  # equal values on both sides of the border
    if cut.any():
        again = similarity[cut].sort(dim=1, descending=True, stable=True)
        values[cut], indices[cut] = again.values[:, :k], again.indices[:, :k]
    indices = indices.sort(dim=1).values
    values, order = similarity.gather(1, indices).sort(dim=1, descending=True, stable=True)
    return values, indices.gather(1, order)


def nearest_pictures(
    bank: Float[Tensor, "n D"], queries: Float[Tensor, "m D"], k: int
) -> Int64[Tensor, "m k"]:
    """For each query the k rows of the bank of highest cosine, the nearest first.

    Raises:
        ValueError: the bank does not have k rows, or k is below 1.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k = {k} must be at least 1 and at most {len(bank)}, the rows of bank")
    return nearest(F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T, k)[1]


class PixelBaseline(NamedTuple):
    """The strongest k-NN on raw pixels: its accuracy in [0, 1], and how it was reached."""

    accuracy: float
    side: int
    centre: str
    k: int


def best_pixel_knn(
    train_images: Pictures,
    train_y: Int64[Tensor, " n"],
    test_images: Pictures,
    test_y: Int64[Tensor, " m"],
    ks: Sequence[int] = (10, 20),
    sides: Sequence[int] = (32, 16, 8),
    value_range: Range = None,
) -> PixelBaseline:
    """The best of every side in pixels, of raw, data-set-centred and picture-centred pixels, and
    of every k. `value_range` as in `extract_features`.

    The best is chosen on the test pictures themselves, which flatters this baseline: what beats
    it beats raw pixels however they are prepared.
    """
    found = []
    for side in sides:
        bank, queries = (
            pixel_features(images, side, value_range) for images in (train_images, test_images)
        )
        zero = bank.new_zeros(1)
        means = {
            "raw": (zero, zero),
            "data set": (bank.mean(dim=0), bank.mean(dim=0)),
            "picture": (bank.mean(dim=1, keepdim=True), queries.mean(dim=1, keepdim=True)),
        }
        for centre, (mean, test_mean) in means.items():
            train_x, test_x = bank - mean, queries - test_mean
            accuracy = knn_accuracy(train_x, train_y, test_x, test_y, ks)
            found += [PixelBaseline(accuracy[k], side, centre, k) for k in ks]
    return max(found, key=lambda one: one.accuracy)
