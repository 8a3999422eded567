"""What a run has learnt: a table of figures (k-NN, linear probe, segmentation), and one HTML page
with the table, the curves and what the net sees. Each figure stands beside raw pixels and an
untrained net, the same backbone as it was at iteration 0, because what all three show was not
learnt.

DINOv3 Sec. 6, Fig. 3 (similarity), Fig. 13 (PCA); DINO Fig. 1 (attention). The official `eval/` has
one program for each kind of evaluation.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dinolite.checkpointer import CheckpointError, write_text
from dinolite.config import Config, height_width, load_config
from dinolite.data.datasets import NoTestPart, PictureDataset, load_pictures
from dinolite.data.demo_pictures.photographs import photographs
from dinolite.data.demo_pictures.scenes import make_scenes
from dinolite.eval.features import (
    as_grey,
    extract_features,
    extract_patches,
    pixel_features,
    preprocess,
    square,
)
from dinolite.eval.knn import best_pixel_knn, knn_accuracy, nearest_pictures
from dinolite.eval.linear import ridge_probe
from dinolite.eval.online import (
    NothingToClassify,
    evaluation_pictures,
    evaluation_side,
    labelled_pictures,
)
from dinolite.eval.segmentation import confusion_matrix, miou, pixel_patches, segmentation_probe
from dinolite.models.pretrained import load, untrained_twin
from dinolite.parallel import pick_device
from dinolite.run_folder import CONFIG, TEACHER, data_settings, note_skipped, origin

if TYPE_CHECKING:  # whoever evaluates draws nothing, and need not wait for matplotlib
    from matplotlib.figure import Figure

# --- a finished run ---


@dataclass
class FinishedRun:
    """A run's settings, its backbone as it was at iteration 0, and its teacher."""

    folder: Path
    config: Config
    untrained: nn.Module
    trained: nn.Module

    @property
    def normalisation(self) -> dict[str, Any]:
        """The colour statistics the nets were trained with: `mean` and `std`."""
        return {"mean": self.config.crops.rgb_mean, "std": self.config.crops.rgb_std}


def open_finished(folder: Path, device: str | None = None) -> FinishedRun:
    """Read a finished run, onto the device of its settings or another.

    Raises:
        CheckpointError: the folder holds no run, or one that has not come to its end.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {CONFIG}")
    if not (folder / TEACHER).is_file():
        raise CheckpointError(
            f"{folder} has no {TEACHER}: its run is not finished; the same `dinolite train` "
            "command with the same --out continues it"
        )
    config = load_config(folder / CONFIG)
    trained = load(folder / TEACHER).to(pick_device(device or config.train.device))
    return FinishedRun(folder, config, untrained_twin(trained, config.train.seed), trained)


# --- the table: its backbone judged beside raw pixels and an untrained net ---

EVALUATION = "evaluation.json"
COLUMNS = ("percent", "raw pixels", "untrained", "trained")
PIXEL_SIDE = 16  # pictures are scaled to this many pixels for the linear probe on raw pixels
SCENES = ((1600, 11), (800, 12))  # number x patch size, and seed, for fitting and for testing
SCENE_GRID = 16  # patches per side of a scene, whatever the patch size


@dataclass
class Row:
    """One line of the table, in percent. Of several ways to use raw pixels the best counts."""

    what: str
    pixels: float
    untrained: float
    trained: float

    def words(self) -> list[str]:
        """The cells of the line."""
        return [self.what, *(f"{x:.1f}" for x in (self.pixels, self.untrained, self.trained))]


def evaluate_run(run: FinishedRun, dataset: str | None = None) -> list[Row]:
    """k-NN and linear probe where there are labels; patch segmentation of the scenes always.

    Args:
        dataset: labelled pictures to classify, instead of those of the run's settings; only
            without it the rows are kept in `evaluation.json` in the run's folder.

    Raises:
        NothingToClassify: `dataset` has no labels, or no part to test on.
    """
    config = run.config
    if dataset is not None:
        changed = config.evaluation.model_copy(update={"dataset": dataset})
        config = config.model_copy(update={"evaluation": changed})
        return [*classification(run, config), segmentation(run)]
    try:
        rows = classification(run, config)
    except NothingToClassify:
        rows = []
    rows.append(segmentation(run))
    text = {"rows": [asdict(row) for row in rows], **origin(config)}
    write_text(run.folder / EVALUATION, json.dumps(text, indent=1))
    return rows


def stored_rows(run: FinishedRun) -> list[Row]:
    """The rows of an earlier evaluation; evaluates now if there was none."""
    try:
        text = (run.folder / EVALUATION).read_text("utf8")
        return [Row(**row) for row in json.loads(text)["rows"]]
    except (OSError, ValueError, KeyError, TypeError):  # none, damaged, or of an earlier version
        return evaluate_run(run)


def classification(run: FinishedRun, config: Config) -> list[Row]:
    """Which class is a picture of?

    Raises:
        NothingToClassify: there are no labels, or is no part to test on.
    """
    pictures = labelled_pictures(config)
    train_y, test_y = (p.labels for p in pictures)
    k, side = config.evaluation.knn_k, evaluation_side(config, pictures[0])

    def probe(x: Tensor, queries: Tensor) -> float:
        y, known = train_y.to(x.device), train_y.to(x.device) >= 0
        return ridge_probe(x[known], y[known]).accuracy(queries, test_y.to(x.device))

    near = [best_pixel_knn(pictures[0], train_y, pictures[1], test_y, ks=(k,)).accuracy]
    probes = [probe(*(pixel_features(p, PIXEL_SIDE) for p in pictures))]
    for net in (run.untrained, run.trained):
        bank, queries = (extract_features(net, p, size=side, **run.normalisation) for p in pictures)
        y, test = train_y.to(bank.cls.device), test_y.to(bank.cls.device)
        near.append(knn_accuracy(bank.cls, y, queries.cls, test, ks=(k,))[k])
        probes.append(probe(bank.joined(), queries.joined()))
    note_skipped(pictures, run.folder, go_on=True)
    counts = f"{len(train_y)} -> {len(test_y)} pictures, {len(pictures[0].classes)} classes"
    return [
        Row(f"k-NN of the CLS token, {counts}", *percent(near)),
        Row("linear probe (CLS + mean patch)", *percent(probes)),
    ]


def segmentation(run: FinishedRun) -> Row:
    """Which object does a patch of a drawn scene show? mIoU of a linear probe."""
    patch = run.config.student.patch_size
    # Larger patches mean larger nets and scenes: fewer of them, so that it takes minutes at most.
    train, test = (make_scenes(max(n // patch, 8), s, SCENE_GRID * patch) for n, s in SCENES)

    def score(patches: Callable[[Tensor], Tensor]) -> float:
        x, queries = patches(train.images), patches(test.images)
        return segmentation_probe(x, train.masks, queries, test.masks).miou

    def of_net(net: nn.Module) -> float:
        return score(lambda images: extract_patches(net, images, **run.normalisation).cpu())

    pixels = max(
        score(partial(pixel_patches, patch_size=patch, neighbourhood=w)) for w in (False, True)
    )
    # Every class weighs alike in the probes, so a weak one can do worse than this.
    n_classes = int(test.masks.max()) + 1
    nothing = miou(confusion_matrix(torch.zeros_like(test.masks), test.masks, n_classes))
    what = f"linear segmentation of scenes, mIoU (all background: {100 * nothing:.1f})"
    return Row(what, *percent([pixels, of_net(run.untrained), of_net(run.trained)]))


def percent(shares: list[float]) -> list[float]:
    """From shares in [0, 1]."""
    return [100 * share for share in shares]


def print_table(rows: list[Row]) -> None:
    """The rows on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(COLUMNS[0])
    for name in COLUMNS[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row.words())
    Console().print(table)


# --- the page: the table, the curves, and what the nets see ---

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
QUERIES, NEIGHBOURS, BANK = 8, 4, 4000  # pictures whose neighbours are shown, how many, out of
EXAMPLES = ("astronaut", "chelsea", "coffee", "coins")
PICTURE_GRID = 32  # patches per side of these


def draw_report(run: FinishedRun) -> Path:
    """Write `report.html` into the run's folder; evaluates first if that was not done."""
    import matplotlib

    from dinolite.viz.curves import curves_figure, read_log

    matplotlib.use("agg")  # files only: no window, and no screen needed
    rows = stored_rows(run)
    log = read_log(run.folder / "metrics.jsonl")
    knn = [row for row in rows if row.what.startswith("k-NN")]  # what the curve has to beat
    baselines = {"raw pixels": knn[0].pixels, "untrained": knn[0].untrained} if knn else None
    figures = [(CURVES, curves_figure(log, baselines))]
    figures += class_figures(run) + patch_figures(run)
    words = [row.words() for row in rows]
    path, title = run.folder / "report.html", f"Run {run.folder.name}"
    return write_report(path, title, COLUMNS, words, figures)


def class_figures(run: FinishedRun) -> list[tuple[str, Figure]]:
    """Nearest neighbours of some test pictures; nothing without labels."""
    from dinolite.viz.similarity import neighbours_figure

    found = evaluation_pictures(run.config)
    if found is None:
        return []
    bank, queries = evenly(found[0], BANK), one_of_each(found[1], QUERIES)
    side = evaluation_side(run.config, bank)
    neighbours = {}
    for name, net in {"untrained": run.untrained, "trained": run.trained}.items():
        how = {"size": side, **run.normalisation}
        x, q = (extract_features(net, p, **how).cls for p in (bank, queries))
        neighbours[name] = nearest_pictures(x, q, min(NEIGHBOURS, len(x))).cpu()
    shown = side or max(height_width(run.config.crops.global_crops_size))
    used = torch.cat(list(neighbours.values()), dim=1).unique()
    small = squares(bank.subset(used), shown)
    rows = {name: torch.searchsorted(used, found) for name, found in neighbours.items()}
    asked = squares(queries, shown), queries.labels
    return [(NEAREST, neighbours_figure(small, bank.labels[used], *asked, rows))]


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
    from dinolite.viz.attention import attention_figure
    from dinolite.viz.pca import pca_figure
    from dinolite.viz.similarity import similarity_figure

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
    if config.data.dataset.startswith("folder:"):
        try:
            found = load_pictures(split="test", **data_settings(config))
        except NoTestPart:
            found = load_pictures(split="train", **data_settings(config))
        return squares(evenly(found, 4), side)
    photos = photographs()
    images = torch.cat([square(photos[name], side) for name in EXAMPLES])
    return as_grey(images) if config.data.grey else images


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }}
table {{ border-collapse: collapse }} th, td {{ padding: .3rem .8rem; text-align: right }}
th:first-child, td:first-child {{ text-align: left }} tr {{ border-bottom: 1px solid #ddd }}
figure {{ margin: 2rem 0 }} img {{ max-width: 100% }} figcaption {{ color: #555 }}
</style></head><body><h1>{title}</h1>
{table}
{figures}
</body></html>
"""


def write_report(
    path: Path,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: Sequence[tuple[str, Figure]],
) -> Path:
    """Write the page; pictures are inside it, each with its caption, which is also its alt text."""
    drawn = "\n".join(html_figure(caption, figure) for caption, figure in figures)
    page = PAGE.format(title=html.escape(title), table=html_table(columns, rows), figures=drawn)
    write_text(path, page)
    return path


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as a table."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "\n".join(["<table>", line(columns, "th"), *(line(r, "td") for r in rows), "</table>"])


def html_figure(caption: str, figure: Figure) -> str:
    """A picture inside the page, with its caption."""
    from dinolite.viz.style import png_bytes

    data, words = base64.b64encode(png_bytes(figure, dpi=110)).decode(), html.escape(caption)
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
