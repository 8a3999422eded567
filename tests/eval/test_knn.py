"""k nearest neighbours against scikit-learn, by hand where neighbours tie, and on bad input."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from dinolite.eval import knn
from dinolite.eval.knn import knn_accuracy, knn_classify, nearest, nearest_pictures

CLASSES = 4


def theirs(x: Tensor, y: Tensor, k: int, temperature: float = 0.07) -> KNeighborsClassifier:
    """scikit-learn's, voting with exp(cosine / temperature)."""

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / temperature)

    model = KNeighborsClassifier(k, weights=weights, metric="cosine", algorithm="brute")
    return model.fit(x.double().numpy(), y.numpy())


@pytest.fixture
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clusters that overlap, of vectors of very different lengths; every class occurs."""
    centres = torch.randn(CLASSES, 6)
    train_y, test_y = torch.arange(90) % CLASSES, torch.arange(50) % CLASSES
    train_x, test_x = (centres[y] + torch.randn(len(y), 6) for y in (train_y, test_y))
    lengths = torch.rand(90, 1) * 10 + 0.1
    return train_x * lengths, train_y, test_x * 3, test_y


def at(*degrees: float) -> Tensor:
    """Points on the unit circle."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


# --- votes ---


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_shares_are_those_of_scikit_learn(data, k: int, temperature: float) -> None:
    x, y, queries, _ = data
    shares = knn_classify(x, y, queries, (k,), temperature)
    expected = theirs(x, y, k, temperature).predict_proba(queries.double().numpy())
    assert list(shares) == [k]
    np.testing.assert_allclose(shares[k].numpy(), expected, atol=1e-5)


def test_votes_by_hand() -> None:
    """Bank at 60, 90 and 180 degrees, asked at 0: cosines 1/2, 0, -1."""
    shares = knn_classify(at(60, 90, 180), torch.tensor([2, 0, 2]), at(0), (1, 2, 3), 0.5)
    weights = [math.exp(1), math.exp(0), math.exp(-2)]
    total = sum(weights)  # over the neighbours of the largest k, for every k
    expected = {
        1: [0, 0, weights[0]],
        2: [weights[1], 0, weights[0]],
        3: [weights[1], 0, weights[0] + weights[2]],
    }
    for k, votes in expected.items():
        assert shares[k][0].tolist() == pytest.approx([v / total for v in votes], abs=1e-6)


def test_a_k_beyond_the_bank_means_the_whole_bank(data) -> None:
    x, y, queries, _ = data
    shares = knn_classify(x, y, queries, (90, 91, 500))
    assert torch.equal(shares[90], shares[500]) and torch.equal(shares[90], shares[91])
    torch.testing.assert_close(shares[500].sum(dim=1), torch.ones(50))


def test_the_bank_leaves_out_what_has_no_label(data) -> None:
    x, y, queries, _ = data
    hidden = torch.arange(90) % 3 == 0
    without = knn_classify(x[~hidden], y[~hidden], queries, (5,))[5]
    assert torch.equal(knn_classify(x, y.masked_fill(hidden, -1), queries, (5,))[5], without)


def test_votes_and_hits_do_not_depend_on_how_many_queries_are_asked_at_once(
    data, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, accuracy = knn_classify(*data[:3], (5,))[5], knn_accuracy(*data, (5,))
    for chunk in (1, 7 * 90):
        monkeypatch.setattr(knn, "CHUNK", chunk)
        torch.testing.assert_close(knn_classify(*data[:3], (5,))[5], whole)
        assert knn_accuracy(*data, (5,)) == accuracy


def test_half_precision_features_are_compared_in_float32(data) -> None:
    x, y, queries, _ = data
    half = knn_classify(x.half(), y, queries.half(), (5,))[5]
    assert torch.equal(half, knn_classify(x.half().float(), y, queries.half().float(), (5,))[5])


# --- accuracy ---


def test_accuracy_is_that_of_scikit_learn(data) -> None:
    x, y, queries, truth = data
    ours = knn_accuracy(*data, (1, 5, 90))
    for k in (1, 5, 90):
        expected = theirs(x, y, k).score(queries.double().numpy(), truth.numpy())
        assert ours[k] == pytest.approx(expected)
    assert len(set(ours.values())) == 3  # or the test could not tell one k from another


def test_leaving_out_the_nearest_is_leaving_out_the_picture_itself(data) -> None:
    """A bank asked for its own pictures, each answered by scikit-learn from all the others."""
    x, y, *_ = data
    hits = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        model = theirs(x[others], y[others], 5)
        hits.append(model.predict(x[i : i + 1].double().numpy())[0] == int(y[i]))
    assert knn_accuracy(x, y, x, y, (5,), skip_first_nn=True)[5] == pytest.approx(np.mean(hits))
    assert knn_accuracy(x, y, x, y, (1,))[1] == 1
    assert knn_accuracy(x, y, x, y, (1,), skip_first_nn=True)[1] < 1


def test_queries_without_a_label_do_not_count(data) -> None:
    x, y, queries, truth = data
    hidden = torch.arange(50) % 2 == 0
    expected = knn_accuracy(x, y, queries[~hidden], truth[~hidden], (5,))
    assert knn_accuracy(x, y, queries, truth.masked_fill(hidden, -1), (5,)) == expected


def test_of_equal_votes_the_lowest_class_comes_first() -> None:
    """Two neighbours in the same direction, one for class 2 and one for class 1."""
    bank, labels, query = at(10, 10, 200), torch.tensor([2, 1, 0]), at(10)

    def hit(truth: int) -> float:
        return knn_accuracy(bank, labels, query, torch.tensor([truth]), (2,))[2]

    assert [hit(truth) for truth in (0, 1, 2)] == [0, 1, 0]


def test_a_class_that_the_bank_does_not_know_is_never_right() -> None:
    """Not even where the bank's last class is the nearest."""
    truth = torch.tensor([7, 0])
    found = knn_accuracy(at(0, 90), torch.tensor([0, 1]), at(90, 0), truth, (2,))
    assert found == {2: 0.5}


# --- who is near ---


def test_of_equal_cosines_the_earlier_in_the_bank_is_nearer() -> None:
    labels = torch.tensor([0, 3, 1, 2, 2])
    shares = knn_classify(at(90, 0, 0, 0, 0), labels, at(0).expand(1, 2), (1, 2, 3), 1.0)
    assert [shares[k][0].gt(0.1).nonzero().flatten().tolist() for k in (1, 2, 3)] == [
        [3],
        [1, 3],
        [1, 2, 3],
    ]


@pytest.mark.parametrize("k", [1, 2, 9, 29, 30])
def test_nearest_is_a_stable_sort(k: int) -> None:
    """Values of few kinds, so that nearly every row ties inside and at the border."""
    similarity = torch.randint(0, 5, (200, 30)) / 4
    values, indices = nearest(similarity, k)
    expected = np.argsort(-similarity.numpy(), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices.numpy(), expected)
    assert torch.equal(values, similarity.gather(1, torch.from_numpy(expected)))


def test_nearest_pictures_go_by_the_angle_and_not_by_the_length() -> None:
    bank = at(0, 50, 100, 170) * torch.tensor([[1.0], [100.0], [0.01], [5.0]])
    found = nearest_pictures(bank, at(10, 130) * 7, 3)
    assert found.tolist() == [[0, 1, 2], [2, 3, 1]]


# --- bad input ---


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        ([], {}, "train_y holds 0 labels; at least 1"),
        ([-1, -1], {}, "train_y holds 0 labels"),
        ([0], {"skip_first_nn": True}, "train_y holds 1 labels; at least 2"),
        ([0, 1], {"ks": ()}, r"ks = \[\]"),
        ([0, 1], {"ks": (5, 0)}, r"ks = \[5, 0\]"),
        ([0, 1], {"ks": (-1,)}, r"ks = \[-1\]"),
        ([0, 1], {"temperature": 0.0}, "temperature = 0.0"),
        ([0, 1], {"temperature": -0.07}, "temperature = -0.07"),
    ],
)
def test_bad_input_is_named(labels: list[int], arguments: dict, message: str) -> None:
    x, y = torch.ones(len(labels), 3), torch.tensor(labels, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        knn_classify(x, y, torch.ones(2, 3), **arguments)
    with pytest.raises(ValueError, match=message):
        knn_accuracy(x, y, torch.ones(2, 3), torch.tensor([0, 0]), **arguments)


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_accuracy_needs_a_query_with_a_label(labels: list[int]) -> None:
    queries, truth = torch.ones(len(labels), 3), torch.tensor(labels, dtype=torch.int64)
    with pytest.raises(ValueError, match="test_y holds no label"):
        knn_accuracy(torch.ones(2, 3), torch.tensor([0, 1]), queries, truth)


def test_no_queries_get_no_votes() -> None:
    assert knn_classify(at(0, 1), torch.tensor([0, 4]), torch.ones(0, 2))[10].shape == (0, 5)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_nearest_pictures_needs_k_pictures(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k = {k} .*at most 3"):
        nearest_pictures(at(0, 1, 2), at(0), k)
