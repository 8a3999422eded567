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
import torch.nn.functional as F
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

KINDS = ("pixels", "untrained", "trained")  # the rows of every figure
NEAREST = (
    "Above, test pictures, one of each class (of up to eight, chosen by their number); below each, "
    "its nearest training pictures, framed in green where the class is the same."
)
GROUPS = (
    "Patches sorted into {k} groups by k-means over all these pictures together: the same colour "
    "is the same group in all of a row. {chosen}"
)
SIMILARITY = (
    "Cosine of every patch (mean of 3 x 3) with the framed one, minus what all have in common; the "
    "framed patch is the one amid the most even texture, found in the pixels alone."
)
PCA = "The first three principal components of all these patches together, as red, green and blue."
ATTENTION = "Attention of the CLS token to the patches in the last block; one scale in all panels."
CURVES = "How the run went. The k-NN plot has the baselines; the entropies have their floors."
BUNDLED = "They are every second of the eight bundled photographs that show things, not a surface."
OWN = "They are spread evenly over the pictures of the run."
QUERIES, NEIGHBOURS, BANK = 8, 3, 4000  # pictures whose neighbours are shown, how many, out of
EXAMPLES = ("astronaut", "coffee", "coins", "camera")  # the others: cat, motorcycle, china, flower
PICTURE_GRID = 48  # patches per side of these at most: 384 px for patches of 8, 768 for 16
SHOWN_SIDE = 384  # pixels of the photographs in figures, at least
GROUPS_SHOWN = 8
PNG_COLORS = 256  # of the pictures in the page, which then has a third of the bytes


def draw_report(run: FinishedRun) -> Path:
    """Write `report.html` into the run's folder; evaluates first if that was not done."""
    import matplotlib

    from dinolite.viz.curves import curves_figure, read_log

    matplotlib.use("agg")  # files only: no window, and no screen needed
    rows = stored_rows(run)
    log = read_log(run.folder / "metrics.jsonl")
    knn = next((row for row in rows if row.what.startswith("k-NN")), None)
    baselines = {"raw pixels": knn.pixels, "untrained": knn.untrained} if knn else None
    figures = [*class_figures(run, knn), *patch_figures(run)]
    figures.append((CURVES, curves_figure(log, baselines)))
    words = [row.words() for row in rows]
    path, title = run.folder / "report.html", f"Run {run.folder.name}"
    return write_report(path, title, COLUMNS, words, figures)


def class_figures(run: FinishedRun, knn: Row | None = None) -> list[tuple[str, Figure]]:
    """Nearest neighbours of some test pictures; nothing without labels. `knn`: the line of the
    table with the figures over all of them, for the title."""
    from dinolite.viz.similarity import nearest_figure

    found = evaluation_pictures(run.config)
    if found is None:
        return []
    bank, queries = evenly(found[0], BANK), one_of_each(found[1], QUERIES)
    side = evaluation_side(run.config, bank)
    every = {KINDS[0]: [pixel_features(p, PIXEL_SIDE) for p in (bank, queries)]}
    for name, net in zip(KINDS[1:], (run.untrained, run.trained), strict=True):
        how = {"size": side, **run.normalisation}
        every[name] = [extract_features(net, p, **how).cls for p in (bank, queries)]
    k = min(NEIGHBOURS, len(bank))
    neighbours = {name: nearest_pictures(x, q, k).cpu() for name, (x, q) in every.items()}
    shown = side or max(height_width(run.config.crops.global_crops_size))
    used = torch.cat(list(neighbours.values()), dim=1).unique()
    small = squares(bank.subset(used), shown)
    rows = {name: torch.searchsorted(used, found) for name, found in neighbours.items()}
    asked, title = (squares(queries, shown), queries.labels), "Nearest training pictures"
    if knn:
        shares = (knn.pixels, knn.untrained, knn.trained)
        title += f"; class found for all test pictures: {said(shares, '.1f', ' %')}"
    return [(NEAREST, nearest_figure(small, bank.labels[used], *asked, rows, title))]


def said(numbers: Sequence[float], form: str, unit: str = "", names: Sequence[str] = KINDS) -> str:
    """The number of each row: "pixels 32.7 %, untrained ..."."""
    return ", ".join(f"{n} {x:{form}}{unit}" for n, x in zip(names, numbers, strict=True))


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
    """Groups, similarity, PCA and attention, one row per kind of features. The titles say what was
    measured on these pictures, whatever it is."""
    from dinolite.viz.groups import groups_figure, patch_groups
    from dinolite.viz.pca import pca_figure, pca_rgb
    from dinolite.viz.similarity import similarity_figure, similarity_map

    patch = run.config.student.patch_size
    shown, images, chosen = example_pictures(run.config)
    patches = {KINDS[0]: pixel_patches(images, patch)}
    for name, net in zip(KINDS[1:], (run.untrained, run.trained), strict=True):
        patches[name] = extract_patches(net, images, batch_size=4, **run.normalisation).cpu()
    light = patches[KINDS[0]].mean(dim=1)  # [n, h, w]
    k, every = min(GROUPS_SHOWN, light.numel()), list(patches.values())
    groups = {name: patch_groups(x, k) for name, x in patches.items()}
    held = [100 * held_by_two(numbers) for numbers in groups.values()]
    grouped = f"{k} groups; the two largest hold, of all patches: {said(held, '.0f', ' %')}"
    where = even_texture(images, patch)
    means = {n: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for n, x in patches.items()}
    maps = [similarity_map(x, *where[1:], where[0]) for x in means.values()]
    alike = [100 * float((one > 0.5).double().mean()) for one in maps]
    similar = f"Patches like the framed one (cosine over 0.5): {said(alike, '.0f', ' %')}"
    pairs = [torch.stack([pca_rgb(x)[:, 0].flatten(), light.flatten()]) for x in every]
    red = [abs(float(torch.corrcoef(pair)[0, 1])) for pair in pairs]
    colors = f"PCA; correlation of red with brightness: {said(red, '.2f')}"
    return [
        (GROUPS.format(k=k, chosen=chosen), groups_figure(shown, groups, k, grouped)),
        (SIMILARITY, similarity_figure(shown, means, *where[1:], similar, where[0])),
        (PCA, pca_figure(shown, patches, colors)),
        (ATTENTION, attention_of_run(run, shown[0], images[:1])),
    ]


def attention_of_run(run: FinishedRun, shown: Tensor, image: Tensor) -> Figure:
    """Where the CLS token looks, in the untrained and in the trained net."""
    from dinolite.viz.attention import attention_figure

    patch = run.config.student.patch_size
    grid = image.shape[2] // patch, image.shape[3] // patch
    maps: dict[str, Tensor] = {}
    for name, net in zip(KINDS[1:], (run.untrained, run.trained), strict=True):
        x = preprocess(image, **run.normalisation).to(next(net.parameters()).device)
        with torch.no_grad():
            maps[name] = net.get_attention_maps(x)[0][0].cpu()  # type: ignore[operator]
    of_cls = [m[:, 0, -grid[0] * grid[1] :].mean(dim=0) for m in maps.values()]
    best = [100 * float(a.topk(max(len(a) // 10, 1)).values.sum() / a.sum()) for a in of_cls]
    shares = said(best, ".0f", " %", KINDS[1:])
    title = f"Share of the attention that a tenth of the patches gets: {shares}"
    return attention_figure(shown, maps, grid, title=title)


def held_by_two(groups: Tensor) -> float:
    """The share of patches in the two largest groups: near 1, the others are left-overs."""
    sizes = torch.bincount(groups.flatten()).sort(descending=True).values
    return float(sizes[:2].sum() / sizes.sum())


def even_texture(images: Tensor, patch: int) -> tuple[int, int, int]:
    """Picture, row and column of the patch amid the most even texture: of all 5 x 5 neighbourhoods
    the one in which the least contrast of a patch is highest above the differences of their
    brightness. In pictures of fewer patches: the one in the middle of the first."""
    x = pixel_patches(images, patch)
    h, w = x.shape[2:]
    if min(h, w) < 5:
        return 0, h // 2, w // 2
    contrast, light = x.std(dim=1), x.mean(dim=1)
    around = [m.unfold(1, 5, 1).unfold(2, 5, 1).flatten(3) for m in (contrast, light)]
    even = around[0].amin(dim=3) - around[1].std(dim=3)  # [n, h - 4, w - 4]
    best = int(even.argmax())
    picture, place = divmod(best, (h - 4) * (w - 4))
    row, column = divmod(place, w - 4)
    return picture, row + 2, column + 2


def example_pictures(config: Config) -> tuple[Tensor, Tensor, str]:
    """Four pictures as they are shown [4, 3, S, S], as the net sees them [4, 3, side, side], and
    how they were chosen: of the run's folder, not scaled up, or bundled photographs."""
    patch = config.student.patch_size
    side, chosen = PICTURE_GRID * patch, BUNDLED
    if config.data.dataset.startswith("folder:"):
        try:
            found = load_pictures(split="test", **data_settings(config))
        except NoTestPart:
            found = load_pictures(split="train", **data_settings(config))
        pictures: Sequence[Tensor] = evenly(found, 4).pictures(range(min(4, len(found))))
        crop, chosen = max(height_width(config.crops.global_crops_size)), OWN
        small = max(crop, *(min(p.shape[-2:]) for p in pictures))
        side = min(side, small // patch * patch)
    else:
        photos = photographs()
        pictures = [photos[name] for name in EXAMPLES]
    shown, images = (
        torch.cat([square(p.squeeze(0), s) for p in pictures])
        for s in (max(side, SHOWN_SIDE), side)
    )
    grey = config.data.grey and chosen == BUNDLED
    return (as_grey(shown), as_grey(images), chosen) if grey else (shown, images, chosen)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
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
    from dinolite.viz.style import DPI, png_bytes

    data, words = (
        base64.b64encode(png_bytes(figure, DPI, PNG_COLORS)).decode(),
        html.escape(caption),
    )
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
