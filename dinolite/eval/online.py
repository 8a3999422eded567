"""Is it learning? k-NN with the teacher's CLS feature now and then while a run goes on: the bank is
the train split, the queries are the test split.

DINO App. F.1 (k-NN protocol); the official loop only dumps weights for a later evaluation.
"""

import torch
from torch import nn

from dinolite.config import Config, height_width
from dinolite.data.datasets import NoTestPart, PictureDataset, TensorPictures, load_pictures
from dinolite.eval.features import extract_features
from dinolite.eval.knn import knn_accuracy


class NothingToClassify(ValueError):
    """The pictures have no labels, or no part to test on: there is no k-NN."""


def evaluation_pictures(
    config: Config, train: PictureDataset | None = None
) -> tuple[PictureDataset, PictureDataset] | None:
    """`labelled_pictures`, or None."""
    try:
        return labelled_pictures(config, train)
    except NothingToClassify:
        return None


def labelled_pictures(
    config: Config, train: PictureDataset | None = None
) -> tuple[PictureDataset, PictureDataset]:
    """Bank and queries that `[evaluation]` describes. Pictures without a label are left out of the
    bank, those of classes unknown to it out of the queries.

    Raises:
        NothingToClassify: the training split has fewer than two classes, there are no queries, or
            none is of a class that the training split has.
    """
    d, e = config.data, config.evaluation
    spec, size = e.dataset or d.dataset, e.image_size or d.image_size
    if train is not None and (spec, size) == (d.dataset, d.image_size):
        bank = train
    else:
        bank = load_pictures(spec, "train", size, d.root, value_range=d.value_range)
    known = torch.nonzero(bank.labels >= 0).flatten()
    if len(bank.labels[known].unique()) < 2:
        raise NothingToClassify(f"{spec} has no classes to tell apart")
    try:
        queries = load_pictures(spec, "test", size, d.root, value_range=d.value_range)
    except NoTestPart as error:
        raise NothingToClassify(str(error)) from None
    # A class that the bank does not have could not be named; its pictures only lower the number.
    answerable = torch.isin(queries.labels, bank.labels[known])
    if not answerable.any():
        raise NothingToClassify(
            f"the test pictures of {spec} have no labels that the training pictures have"
        )
    if not answerable[queries.labels >= 0].all():
        queries = queries.subset(torch.nonzero(answerable).flatten())
    if len(known) > e.max_train:
        # Evenly spread over the set, so that sorted classes stay balanced.
        known = known[torch.linspace(0, len(known) - 1, e.max_train).long()]
    return (bank if len(known) == len(bank) else bank.subset(known)), queries


def evaluation_side(config: Config, pictures: PictureDataset) -> int | None:
    """Side to which pictures are scaled: the setting, or the global crop's (its longer one) if they
    differ in size or do not fit the patches; None = as they are."""
    if config.evaluation.image_size is not None:
        return config.evaluation.image_size
    fits = isinstance(pictures, TensorPictures) and all(
        side % config.student.patch_size == 0 for side in pictures.images.shape[-2:]
    )
    return None if fits else max(height_width(config.crops.global_crops_size))


class KnnMonitor:
    """Called with a backbone: {"knn": top-1 accuracy in percent}, or {} if there is nothing to
    classify; `why_not` says why."""

    def __init__(self, config: Config, train: PictureDataset, device: torch.device) -> None:
        self.config, self.device = config, device
        self.pictures: tuple[PictureDataset, PictureDataset] | None = None
        self.why_not = ""
        try:
            self.pictures = labelled_pictures(config, train)
        except NothingToClassify as error:
            self.why_not = str(error)

    def __call__(self, backbone: nn.Module) -> dict[str, float]:
        if self.pictures is None:
            return {}
        k, crops = self.config.evaluation.knn_k, self.config.crops
        size = evaluation_side(self.config, self.pictures[0])
        bank, queries = (
            extract_features(backbone, p, size=size, mean=crops.rgb_mean, std=crops.rgb_std).cls
            for p in self.pictures
        )
        labels = [p.labels.to(self.device) for p in self.pictures]
        accuracy = knn_accuracy(bank, labels[0], queries, labels[1], ks=(k,))
        return {"knn": 100 * accuracy[k]}
