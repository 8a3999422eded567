"""Do the features of patches tell apart what one sees? Regions drawn by hand over twenty-one
photographs, against similarity and groups of patches, for pixels, place alone, nets as they are
before training, and trained ones.

    python -m benchmarks.regions [WEIGHTS ...] [--grey] [--write]

Each of WEIGHTS is a name or a path, or several of them with commas between, the seeds of one
recipe. `--grey` is for nets trained on grey files of a folder, whose settings do not say so.
What is measured: dinolite_course.measures.regions; what came out: docs/pictures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import torch
import typer
from jaxtyping import Float
from torch import Tensor

from benchmarks.record import Table, print_table, start, write
from dinolite.eval.features import as_grey, extract_patches, square
from dinolite.eval.segmentation import pixel_patches
from dinolite.explore.gallery import training_data
from dinolite.models.pretrained import load, untrained_twin
from dinolite.viz.groups import patch_groups
from dinolite_course.measures.regions import (
    Labelled,
    agreement,
    chance_agreement,
    labelled,
    place,
    purity_ceiling,
    similarity_auc,
)

K = 12
"""Groups over all photographs together. Fixed before anything was measured: about as many colours
as one tells apart in a picture, and far fewer than the regions' names, so purity cannot be full."""
KMEANS_SEEDS = (0, 1, 2)  # whose results are averaged; k-means depends on its start
TWINS = (0, 1, 2)  # seeds of untrained nets
PARTS = ("untouched", "sixteen", "never seen")

Patches = Float[Tensor, "n D g g"]


class Scores(NamedTuple):
    """Of one net: similarity AUC of each region (picture, label), within its photograph and against
    all photographs, for each part; and purity, NMI and NMI within photographs for each part."""

    near: dict[str, dict[tuple[int, int], float]]
    across: dict[str, dict[tuple[int, int], float]]
    groups: dict[str, Tensor]  # [3]
    chance: dict[str, Tensor]  # [3]


def pictures(data: Labelled, patch_size: int, grey: bool) -> Tensor:
    """The square middles, as many patches to a side as there are labels."""
    side = data.labels.shape[-1] * patch_size
    shown = torch.cat([square(photo, side) for photo in data.photos.values()])
    return as_grey(shown) if grey else shown


def judge(patches: Patches, data: Labelled) -> Scores:
    """Mean and groups are those of all photographs together; then part by part."""
    parts = data.parts()
    near = {part: similarity_auc(patches, labels) for part, labels in parts.items()}
    across = {part: similarity_auc(patches, labels, across=True) for part, labels in parts.items()}
    groups = [patch_groups(patches, K, seed) for seed in KMEANS_SEEDS]

    def mean(compare: Callable[[Tensor, Tensor], tuple[float, ...]]) -> dict[str, Tensor]:
        return {
            part: torch.tensor([compare(g, labels) for g in groups]).mean(dim=0)
            for part, labels in parts.items()
        }

    return Scores(near, across, mean(agreement), mean(chance_agreement))


def sources(
    weights: Sequence[str], data: Labelled, all_grey: bool
) -> Iterator[tuple[str, list[Patches]]]:
    """Name of a row -> the patches of each of its nets: pixels, place, and for each of `weights`
    the untrained nets and the trained ones. A net is shown grey pictures if its settings say that
    it was trained on such; with `all_grey`, each is."""
    shown: set[bool] = set()
    for listed in weights:
        names = listed.split(",")
        nets = [load(name, allow_network=False) for name in names]
        kinds = {
            (net.patch_size, all_grey or training_data(name).grey)
            for name, net in zip(names, nets, strict=True)
        }
        if len(kinds) > 1:
            raise ValueError(
                f"{listed} has nets of several patch sizes, or some that saw colours and some that "
                "did not; seeds of one recipe have commas between, others a space"
            )
        grey = all_grey or training_data(names[0]).grey
        images = pictures(data, nets[0].patch_size, grey)
        how = "grey" if grey else "in colour"
        if grey not in shown:
            shown.add(grey)
            yield f"pixels, {how}", [pixel_patches(images, nets[0].patch_size)]
        if len(shown) == 1 and listed == weights[0]:
            yield "place alone", [place(*data.labels.shape[:2])]
        title = title_of(names[0])
        twins = [untrained_twin(nets[0], seed) for seed in TWINS]
        for what, some in (("untrained", twins), ("trained", nets)):
            seeds = f", {len(some)} seeds" if len(some) > 1 else ""
            yield (
                f"{title}, {what}{seeds}",
                [extract_patches(net, images, batch_size=4) for net in some],
            )


def title_of(name: str) -> str:
    """`runs/tiny_s1/teacher.safetensors` -> `tiny_s1`; a bare name stays. No path is kept."""
    parts = name.replace("\\", "/").removesuffix("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-1].startswith("teacher") else parts[-1]


def cell(values: Sequence[float]) -> str:
    """Percent: the mean, and of several the range."""
    shown = [100 * v for v in values]
    mean = f"{sum(shown) / len(shown):.1f}"
    return mean if len(shown) == 1 else f"{mean} ({min(shown):.1f}-{max(shown):.1f})"


def similarity_table(scores: dict[str, list[Scores]]) -> Table:
    """Mean over regions."""

    def row(name: str, nets: list[Scores]) -> list[Any]:
        found: list[list[float]] = [
            [sum(v.values()) / len(v) for v in values]
            for kind in ("near", "across")
            for part in PARTS
            if (values := [net._asdict()[kind][part] for net in nets])
        ]
        return [name, *map(cell, found)]

    sizes = next(iter(scores.values()))[0]
    counts = ", ".join(f"{len(sizes.near[part])} {part}" for part in PARTS)
    columns = [f"{part}{where}" for where in ("", ", against all") for part in PARTS]
    return Table(
        "regions_similarity",
        f"Similarity AUC in percent, mean over regions ({counts}); chance 50",
        ["features", *columns],
        [row(name, nets) for name, nets in scores.items()],
        note=compared(scores),
    )


def compared(scores: dict[str, list[Scores]]) -> str:
    """In how many regions the last row is ahead of each other one, within photographs."""
    *others, last = scores

    def mean(row: str, part: str, region: tuple[int, int]) -> float:
        values = [net.near[part][region] for net in scores[row]]
        return sum(values) / len(values)

    counts = []
    for part in PARTS:
        regions = list(scores[last][0].near[part])
        for other in others:
            ahead = sum(mean(last, part, r) > mean(other, part, r) for r in regions)
            counts.append(f"{other}: {ahead} of {len(regions)} ({part})")
    return f"Regions in which {last} is ahead of another row in its own photograph: " + (
        "; ".join(counts) + "."
    )


def groups_table(scores: dict[str, list[Scores]], data: Labelled) -> Table:
    """Purity, mutual information, and mutual information within photographs; then what chance and
    what knowing the photograph alone would reach."""
    last = list(scores)[-1]
    found = {name: [net.groups for net in nets] for name, nets in scores.items()}
    found[f"chance ({last}, dealt out anew)"] = [net.chance for net in scores[last]]
    photo = torch.arange(len(data.labels))[:, None, None].expand_as(data.labels)
    known = {part: torch.tensor(agreement(photo, y)) for part, y in data.parts().items()}
    found[f"the photograph alone ({len(photo)} groups)"] = [known]
    rows = [
        [name, *(cell([net[part][i].item() for net in nets]) for i in range(3) for part in PARTS)]
        for name, nets in found.items()
    ]
    columns = [f"{what}, {p}" for what in ("purity", "NMI", "NMI in a photograph") for p in PARTS]
    sizes = f"{K} groups of patches over {len(photo)} photographs together, in percent"
    ceiling = ", ".join(f"{100 * purity_ceiling(y, K):.0f} ({p})" for p, y in data.parts().items())
    note = f"With {K} groups purity cannot be above {ceiling}, since there are more names."
    return Table("regions_groups", sizes, ["features", *columns], rows, note)


def each_table(scores: dict[str, list[Scores]], data: Labelled) -> Table:
    """Similarity AUC of every region within its photograph."""
    rows = []
    photos = list(data.photos)
    for part in PARTS[1:]:
        for i, label in next(iter(scores.values()))[0].near[part]:
            values = [[net.near[part][i, label] for net in nets] for nets in scores.values()]
            size = int((data.labels[i] == label).sum())
            means = (sum(v) / len(v) for v in values)
            rows.append([photos[i], data.names[label], size, *(f"{100 * m:.0f}" for m in means)])
    columns = ["photograph", "region", "patches", *scores]
    sizes = "Similarity AUC of each region in its photograph, in percent, mean over seeds"
    return Table("regions_each", sizes, columns, rows)


def measure(weights: Sequence[str] = ("dinolite_tiny",), all_grey: bool = False) -> list[Table]:
    """The three tables. ValueError: two of `weights` would share a name."""
    titles = [title_of(listed.split(",")[0]) for listed in weights]
    if len(set(titles)) < len(titles):
        raise ValueError(f"weights would have one name in the table: {', '.join(titles)}")
    data = labelled()
    scores = {
        name: [judge(patches, data) for patches in nets]
        for name, nets in sources(weights, data, all_grey)
    }
    return [similarity_table(scores), groups_table(scores, data), each_table(scores, data)]


def main(
    weights: Annotated[list[str] | None, typer.Argument(help="names or paths")] = None,
    all_grey: Annotated[bool, typer.Option("--grey", help="show grey pictures to all")] = False,
    record: Annotated[bool, typer.Option("--write", help="keep the tables as a record")] = False,
) -> None:
    """Judge weights; by default `dinolite_tiny`."""
    tables = measure(weights or ("dinolite_tiny",), all_grey)
    for table in tables:
        print_table(table)
    if record:
        typer.echo(f"written to {write(tables).name}")


if __name__ == "__main__":
    start(main)
