"""The report of a run on one page: its figures, its curves, and what its net sees, always beside
the same net untrained, because what both show was not learnt.

DINOv3 Fig. 3 (similarity), Fig. 13 (PCA); DINO Fig. 1 (attention).
"""

from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from dinolite.config import Config
from dinolite.data.datasets import load_pictures
from dinolite.data.photographs import photographs
from dinolite.data.pictures import PictureDataset
from dinolite.eval.features import extract_features, extract_patches, preprocess, square
from dinolite.eval.knn import nearest_pictures
from dinolite.eval.online import evaluation_pictures, evaluation_side
from dinolite.summary import HEAD, FinishedRun, Row, stored_rows
from dinolite.viz.attention import attention_figure
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.neighbours import neighbours_figure
from dinolite.viz.pca import pca_figure
from dinolite.viz.report import write_report
from dinolite.viz.similarity import similarity_figure

PICTURE_GRID = 32  # patches per side of the pictures
EXAMPLES = ("astronaut", "chelsea", "coffee", "coins")
QUERIES, NEIGHBOURS, BANK = 8, 4, 4000
CURVES = "How the run went. The k-NN plot has the baselines; the entropies have their floors."
NEAREST = (
    "Test pictures, one of each class (up to eight), and the training pictures whose CLS features "
    "are nearest; green frame = same class. Chosen by their number, not by their result."
)
SIMILARITY = (
    "Cosine similarity with the framed patch, minus what all patches have in common. Where the "
    "rows look alike, training taught the patches little."
)
PCA = (
    "Patch features as colours: the first three principal components over all pictures. Edges and "
    "brightness show in an untrained net, too."
)
ATTENTION = (
    "Attention of the CLS token in the last block. A small net trained for minutes seldom finds "
    "objects here; compare it with the untrained row before reading anything into it."
)


def draw_report(run: FinishedRun) -> Path:
    """Write `report.html` into the run's folder; evaluates first if that was not done."""
    matplotlib.use("agg")  # files only: no window, and no screen needed
    rows = stored_rows(run)
    log = read_log(run.folder / "metrics.jsonl")
    figures = [(CURVES, curves_figure(log, baselines(rows)))]
    figures += class_figures(run) + patch_figures(run)
    words = [row.words() for row in rows]
    return write_report(run.folder / "report.html", f"Run {run.folder.name}", HEAD, words, figures)


def baselines(rows: list[Row]) -> dict[str, float]:
    """What the k-NN curve has to beat, in percent."""
    knn = [row for row in rows if row.what.startswith("k-NN")]
    return {"raw pixels": knn[0].pixels, "untrained": knn[0].untrained} if knn else {}


def class_figures(run: FinishedRun) -> list[tuple[str, Figure]]:
    """Nearest neighbours of some test pictures; nothing without labels."""
    found = evaluation_pictures(run.config)
    if found is None:
        return []
    bank, queries = evenly(found[0], BANK), one_of_each(found[1], QUERIES)
    side = evaluation_side(run.config, bank)
    neighbours = {}
    for name, net in {"untrained": run.untrained, "trained": run.trained}.items():
        x, q = (
            extract_features(net, p, size=side, **run.normalisation).cls for p in (bank, queries)
        )
        neighbours[name] = nearest_pictures(x, q, min(NEIGHBOURS, len(x))).cpu()
    shown = side or run.config.crops.global_crops_size
    used = torch.cat(list(neighbours.values()), dim=1).unique()
    small = squares(bank.subset(used), shown)
    rows = {name: torch.searchsorted(used, found) for name, found in neighbours.items()}
    figure = neighbours_figure(
        small, bank.labels[used], squares(queries, shown), queries.labels, rows
    )
    return [(NEAREST, figure)]


def evenly(pictures: PictureDataset, n: int) -> PictureDataset:
    """At most n pictures, spread over the set."""
    return pictures.subset(torch.linspace(0, len(pictures) - 1, min(n, len(pictures))).long())


def one_of_each(pictures: PictureDataset, n: int) -> PictureDataset:
    """The first picture of each of at most n classes, spread over the classes that occur."""
    labels = pictures.labels.unique()
    labels = labels[labels >= 0]
    chosen = labels[torch.linspace(0, len(labels) - 1, min(n, len(labels))).long()]
    return pictures.subset([int((pictures.labels == y).nonzero()[0]) for y in chosen])


def squares(pictures: PictureDataset, side: int) -> Tensor:
    """All pictures as uint8 [n, 3, side, side]: their middles, scaled."""
    return torch.cat([square(p, side) for p in pictures.pictures(range(len(pictures)))])


def patch_figures(run: FinishedRun) -> list[tuple[str, Figure]]:
    """Similarity, PCA and attention, one row per net."""
    side = PICTURE_GRID * run.config.student.patch_size
    images = example_pictures(run.config, side)
    nets: dict[str, nn.Module] = {"trained": run.trained, "untrained": run.untrained}
    how = run.normalisation
    patches = {name: extract_patches(net, images, **how).cpu() for name, net in nets.items()}
    attention = {}
    for name, net in nets.items():
        x = preprocess(images[:1], **how).to(next(net.parameters()).device)
        attention[name] = net.get_attention_maps(x)[0][0].cpu()  # type: ignore[operator]
    row, column = PICTURE_GRID // 3, PICTURE_GRID // 2
    return [
        (SIMILARITY, similarity_figure(images, patches, row, column)),
        (PCA, pca_figure(images, patches)),
        (ATTENTION, attention_figure(images[0], attention, (PICTURE_GRID, PICTURE_GRID))),
    ]


def example_pictures(config: Config, side: int) -> Tensor:
    """Four pictures [4, 3, side, side]: of the run's folder, or bundled photographs."""
    spec = config.data.dataset
    if spec.startswith("folder:"):
        return squares(evenly(load_pictures(spec, "test", config.data.image_size), 4), side)
    photos = photographs()
    images = torch.cat([square(photos[name], side) for name in EXAMPLES])
    if set(spec.split("+")) <= {"windows", "mosaics"}:  # who saw only grey is shown only grey
        images = images.float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    return images
