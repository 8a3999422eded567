"""k-NN while a run goes on: which pictures, at which size, and what number comes out."""

import pytest
import torch
from torch import Tensor, nn

from dinolite.config import Config, load_config
from dinolite.data.datasets import ListPictures, PictureDataset, TensorPictures
from dinolite.eval import online
from dinolite.eval.online import KnnMonitor, evaluation_pictures, evaluation_side

CPU = torch.device("cpu")
COLOURS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)


class MeanColour(nn.Module):
    """The CLS token is the mean colour of what it gets; the pictures it got are kept."""

    patch_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, is_training: bool = False) -> dict[str, Tensor]:
        self.seen.append(x)
        assert not self.training
        return {"x_norm_clstoken": x.mean(dim=(2, 3)), "x_norm_patchtokens": x.flatten(2).mT}


def coloured(shown: list[int], labels: list[int], side: int = 8, classes: str = "rgb"):
    """Pictures of one colour each; shown[i] = labels[i] where colour and class agree."""
    images = COLOURS[shown][:, :, None, None].expand(-1, -1, side, side).clone()
    return TensorPictures(images, torch.tensor(labels), classes)


def config(*more: str) -> Config:
    return load_config(None, ["student.patch_size=4", "data.value_range=[0, 4095]", *more])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What `load_pictures` finds, by split, and under "asked" what it was asked for."""
    train, test = coloured([0, 1, 2], [0, 1, 2]), coloured([2, 0], [2, 0])
    found: dict = {"asked": [], "train": train, "test": test}

    def load(
        spec: str, split: str, size: int | None, root: str | None, value_range: tuple[float, float]
    ) -> PictureDataset:
        found["asked"].append((spec, split, size, root))
        assert value_range == (0, 4095)
        return found[split]

    monkeypatch.setattr(online, "load_pictures", load)
    return found


# --- which pictures ---


def test_the_bank_is_the_train_split_in_memory(disk: dict) -> None:
    train = coloured([0, 1, 2], [0, 1, 2])
    bank, queries = evaluation_pictures(config("data.dataset=a", "data.image_size=8"), train)
    assert bank is train and queries is disk["test"]
    assert disk["asked"] == [("a", "test", 8, None)]


@pytest.mark.parametrize(
    ("more", "spec", "size"),
    [(["evaluation.dataset=b"], "b", 8), (["evaluation.image_size=12"], "a", 12)],
)
def test_another_data_set_or_size_is_loaded(disk: dict, more, spec: str, size: int) -> None:
    settings = config("data.dataset=a", "data.image_size=8", "data.root=there", *more)
    bank, queries = evaluation_pictures(settings, coloured([0, 1, 2], [0, 1, 2]))
    assert bank is disk["train"] and queries is disk["test"]
    assert disk["asked"] == [(spec, "train", size, "there"), (spec, "test", size, "there")]


def test_without_pictures_in_memory_both_splits_are_loaded(disk: dict) -> None:
    assert evaluation_pictures(config()) == (disk["train"], disk["test"])


@pytest.mark.parametrize(
    "train",
    [
        coloured([0, 1], [-1, -1]),
        coloured([0, 1], [0, 0], classes="r"),
        coloured([0, 1], [-1, -1], classes=""),
    ],
    ids=["no label", "one class", "no class"],
)
def test_nothing_without_labels(disk: dict, train: PictureDataset) -> None:
    assert evaluation_pictures(config(), train) is None
    monitor = KnnMonitor(config(), train, CPU)
    assert monitor(MeanColour()) == {}


def test_nothing_without_labels_in_the_test_split(disk: dict) -> None:
    """A folder may have classes for training only; the run must not end for that."""
    disk["test"] = coloured([0, 1], [-1, -1])
    assert KnnMonitor(config(), disk["train"], CPU)(MeanColour()) == {}


def test_no_number_for_classes_that_the_bank_does_not_have(disk: dict) -> None:
    """Their pictures could not be named rightly, whatever the net has learnt."""
    train = coloured([0, 1], [0, 1])
    disk["test"] = coloured([2, 2], [2, 2])
    assert evaluation_pictures(config(), train) is None
    disk["test"] = coloured([2, 0, 1, 1], [2, 0, 1, -1])
    (_, queries) = evaluation_pictures(config(), train)
    assert queries.labels.tolist() == [0, 1]
    one_class = coloured([0, 1], [0, 0])  # there is another, of which no picture can be read
    assert evaluation_pictures(config(), one_class) is None


def test_a_smaller_bank_is_spread_over_the_set(disk: dict) -> None:
    """Classes stand one after the other in most data sets; the first pictures are all of one."""
    labels = [0] * 30 + [1] * 30 + [2] * 30
    train = coloured(labels, labels)
    (bank, _) = evaluation_pictures(config("evaluation.max_train=9"), train)
    assert bank.labels.bincount().tolist() == [3, 3, 3]
    assert torch.equal(bank.images[:, :, 0, 0], COLOURS[bank.labels])
    (bank, _) = evaluation_pictures(config("evaluation.max_train=90"), train)
    assert bank is train


def test_pictures_without_a_label_take_no_place_in_the_bank(disk: dict) -> None:
    """As in STL-10, where 100 000 such pictures follow the 5000 with a label."""
    train = coloured([0, 1, 2] * 10, [0, 1, 2] + [-1] * 27)
    (bank, _) = evaluation_pictures(config("evaluation.max_train=10"), train)
    assert bank.labels.tolist() == [0, 1, 2]
    (bank, _) = evaluation_pictures(config("evaluation.max_train=2"), train)
    assert bank.labels.tolist() == [0, 2]


# --- which size ---

LIST = ListPictures([torch.zeros(3, 8, 8).byte()], torch.tensor([0]), ("a", "b"))


@pytest.mark.parametrize(
    ("pictures", "more", "side"),
    [
        (coloured([0], [0], side=8), [], None),
        (coloured([0], [0], side=8), ["evaluation.image_size=24"], 24),
        (coloured([0], [0], side=10), [], 32),
        (TensorPictures(torch.zeros(1, 3, 8, 10).byte(), torch.tensor([0]), "ab"), [], 32),
        (TensorPictures(torch.zeros(1, 3, 10, 8).byte(), torch.tensor([0]), "ab"), [], 32),
        (LIST, [], 32),
        (LIST, ["evaluation.image_size=24"], 24),
    ],
)
def test_pictures_are_scaled_if_asked_for_or_if_they_do_not_fit(pictures, more, side) -> None:
    assert evaluation_side(config("crops.global_crops_size=32", *more), pictures) == side


# --- what comes out ---


def test_the_number_is_the_percentage_of_test_pictures_named_rightly(disk: dict) -> None:
    """Of five test pictures one has no label and one of the others the colour of another class."""
    train = coloured([0, 1, 2], [0, 1, 2])
    disk["test"] = coloured([0, 1, 2, 2, 0], [0, 1, 2, 1, -1])
    monitor = KnnMonitor(config("evaluation.knn_k=1"), train, CPU)
    backbone = MeanColour().train()
    assert monitor(backbone) == {"knn": 75.0}
    assert backbone.training


@pytest.mark.parametrize(("k", "knn"), [(1, 0.0), (3, 100.0)])
def test_k_is_that_of_the_settings(disk: dict, k: int, knn: float) -> None:
    """The nearest is of another class than the two that follow, nearly as near."""
    images = torch.tensor([[200, 0, 0], [200, 1, 0], [200, 0, 1], [0, 0, 200]]).byte()
    images = images[:, :, None, None].expand(-1, -1, 8, 8)
    train = TensorPictures(images, torch.tensor([0, 1, 1, 2]), "abc")
    disk["test"] = TensorPictures(images[:1], torch.tensor([1]), "abc")
    settings = config(f"evaluation.knn_k={k}", "crops.rgb_mean=[0,0,0]", "crops.rgb_std=[1,1,1]")
    assert KnnMonitor(settings, train, CPU)(MeanColour()) == {"knn": knn}


def test_pictures_are_prepared_as_in_training(disk: dict) -> None:
    settings = config(
        "crops.rgb_mean=[0.5,0.25,0.0]", "crops.rgb_std=[1.0,2.0,4.0]", "crops.global_crops_size=16"
    )
    backbone = MeanColour()
    train = coloured([0, 2], [0, 2], side=10)  # does not fit the patches
    KnnMonitor(settings, train, CPU)(backbone)
    bank, queries = backbone.seen
    assert bank.shape == queries.shape == (2, 3, 16, 16)
    expected = torch.tensor([0.5, -0.125, 0.0])  # red: ((1, 0, 0) - mean) / std
    torch.testing.assert_close(bank[0, :, 3, 5], expected)
    torch.testing.assert_close(queries[1, :, 3, 5], expected)  # red comes second there
