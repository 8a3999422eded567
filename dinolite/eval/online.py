"""Is it learning? k-NN with the teacher's CLS feature now and then while a run goes on: the bank is
the train split, the queries are the test split.

DINO App. F.1 (k-NN protocol); the official loop only dumps weights for a later evaluation.
"""

import torch
from torch import nn

from dinolite.config import Config, height_width
from dinolite.data.datasets import PictureDataset, TensorPictures, load_pictures
from dinolite.eval.features import extract_features
from dinolite.eval.knn import knn_accuracy


def evaluation_pictures(
    config: Config, train: PictureDataset | None = None
) -> tuple[PictureDataset, PictureDataset] | None:
    """Bank and queries that `[evaluation]` describes; None if a split has no labels.

    Pictures without a label are left out of the bank.
    """
    d, e = config.data, config.evaluation
    spec, size = e.dataset or d.dataset, e.image_size or d.image_size
    if train is not None and (spec, size) == (d.dataset, d.image_size):
        bank = train
    else:
        bank = load_pictures(spec, "train", size, d.root)
    known = torch.nonzero(bank.labels >= 0).flatten()
    if len(bank.classes) < 2 or len(known) == 0:
        return None
    queries = load_pictures(spec, "test", size, d.root)
    if bool((queries.labels < 0).all()):
        return None
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
    """Called with a backbone: {"knn": top-1 accuracy in percent}, or {} without labels."""

    def __init__(self, config: Config, train: PictureDataset, device: torch.device) -> None:
        self.config, self.device = config, device
        self.pictures = evaluation_pictures(config, train)

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
