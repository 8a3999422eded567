"""Do features tell apart what one sees: sky, meadow, coat, coins? Regions drawn by hand over the
bundled photographs, and over five that no training saw, say what each patch shows; cosine
similarity and groups of patches are judged against them.

The idea of DINOv3 Fig. 3 (similarity with a chosen patch) as figures; no official counterpart.
"""

import importlib.util
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from dinolite.data.decoding import to_tensor
from dinolite.data.demo_pictures.photographs import CLASSES, photographs
from dinolite_course.measures.collages import auc

REGIONS = Path(__file__).resolve().parents[3] / "data" / "regions" / "regions.json"
GRID = 48  # patches on a side: 384 pixels for patches of 8, 768 for patches of 16
FEWEST = 4  # patches; smaller parts of a region are not judged
SHOWN = 64  # patches of a region that is large enough to be an example
# Photographs in the wheels that no training of ours reads (data/README.md says whose they are).
_UNSEEN = (
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/moon.png"),
    ("skimage", "data/cell.png"),
    ("skimage", "data/clock_motion.png"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
UNSEEN: tuple[str, ...] = tuple(Path(file).stem for _, file in _UNSEEN)


def unseen_photographs() -> dict[str, UInt8[Tensor, "3 _ _"]]:
    """Photographs on which no weights of ours were trained, whole, RGB, in the order of `UNSEEN`.

    Raises:
        FileNotFoundError: a package does not ship its photograph.
    """
    found = {}
    for package, file in _UNSEEN:
        spec = importlib.util.find_spec(package)  # looks the folder up without importing it
        folders = spec.submodule_search_locations if spec else None
        path = Path(folders[0] if folders else package) / file
        if not path.is_file():
            raise FileNotFoundError(f"the installed {package} does not ship {file}")
        found[path.stem] = to_tensor(Image.open(path).convert("RGB"))
    return found


class Region(NamedTuple):
    """One polygon: corners (x, y) in pixels of the photograph's square middle at `SIDE` pixels."""

    name: str
    polygon: Float[Tensor, "corners 2"]


SIDE = 384  # of the square in which the polygons were drawn


def read_regions(path: Path = REGIONS) -> dict[str, list[Region]]:
    """Photograph -> its polygons, as they stand in the file. Polygons of one name are one region.

    Raises:
        ValueError: other keys or another side, or a polygon of fewer than three corners or with one
            outside of the square.
    """
    content = json.loads(path.read_text("utf8"))
    if content.keys() != {"about", "side", "photographs"} or content["side"] != SIDE:
        raise ValueError(f"{path.name} has {sorted(content)}, side = {content.get('side')}")
    regions: dict[str, list[Region]] = {}
    for photo, entries in content["photographs"].items():
        for entry in entries:
            corners = torch.tensor(entry["polygon"], dtype=torch.float64)
            if len(corners) < 3 or corners.min() < 0 or corners.max() > SIDE:
                raise ValueError(
                    f"{photo}, {entry['name']}: polygon = {entry['polygon']}; allowed: at least "
                    f"three corners from 0 to {SIDE}"
                )
            regions.setdefault(photo, []).append(Region(entry["name"], corners))
    return regions


def inside(points: Float[Tensor, "n 2"], polygon: Float[Tensor, "corners 2"]) -> Bool[Tensor, " n"]:
    """Which points lie in a polygon: a ray to the right crosses an odd number of its sides."""
    x, y = points[:, :1], points[:, 1:]  # [n, 1]
    (x0, y0), (x1, y1) = polygon.T, polygon.roll(-1, 0).T  # [corners]
    across = (y0 > y) != (y1 > y)  # [n, corners]
    at = x0 + (y - y0) * (x1 - x0) / torch.where(y0 == y1, 1.0, y1 - y0)
    return (across & (x < at)).sum(dim=1) % 2 == 1


def region_map(regions: list[Region], names: list[str], grid: int = GRID) -> Int64[Tensor, "g g"]:
    """For each patch the number in `names` of the region that it lies in, -1 = none.

    A patch lies in a polygon when its middle and its four corners do (the corners half a pixel
    inwards, so that a patch may touch the polygon's edge).
    """
    step = SIDE / grid
    y, x = torch.meshgrid(*2 * [torch.arange(grid, dtype=torch.float64) * step], indexing="ij")
    corner = torch.stack([x, y], dim=-1).flatten(0, 1)  # [g g, 2], left and above
    low, high = 0.5, step - 0.5
    places = ((step / 2, step / 2), (low, low), (low, high), (high, low), (high, high))
    labels = torch.full((grid * grid,), -1)
    for region in regions:
        within = [inside(corner + corner.new_tensor(p), region.polygon) for p in places]
        labels[torch.stack(within).all(dim=0)] = names.index(region.name)
    return labels.view(grid, grid)


def untouched(photo: str, height: int, width: int, grid: int = GRID) -> Bool[Tensor, "g g"]:
    """Which patches of the square middle lie in one of the three diagonal cells of a bundled
    photograph, where test windows lie and no training window does; from its size in pixels.

    Training stays clear of the pixels there, but the net is shown the whole square, so a patch's
    feature also knows of its surroundings, some of which training did touch.
    """
    short = min(height, width)
    frame = [(0, width), (0, height)]
    if photo == "retina":  # as `grey_photographs` cuts it
        frame = [(width // 5, width * 4 // 5), (height // 5, height * 4 // 5)]
    step = short / grid
    cells = []
    for (start, stop), length in zip(frame, (width, height), strict=True):
        low = (length - short) // 2 + torch.arange(grid) * step  # a patch's first pixel
        third = (stop - start) / 3
        edges = [(start + k * third, start + (k + 1) * third) for k in range(3)]
        cells.append([(low >= a - 1e-6) & (low + step <= b + 1e-6) for a, b in edges])
    diagonal = [rows[:, None] & columns for columns, rows in zip(*cells, strict=True)]
    return torch.stack(diagonal).any(dim=0)


class Labelled(NamedTuple):
    """All photographs with their regions: the sixteen, then those of `UNSEEN`."""

    photos: dict[str, UInt8[Tensor, "3 _ _"]]
    names: list[str]
    """Of all regions, each once; `labels` counts in it."""
    labels: Int64[Tensor, "n g g"]
    untouched: Bool[Tensor, "n g g"]
    unseen: Bool[Tensor, " n"]

    def parts(self) -> dict[str, Int64[Tensor, "n g g"]]:
        """The labels where training did not touch the sixteen, on all of them, and on those that it
        never saw; -1 elsewhere."""
        never = self.unseen[:, None, None]
        keep = {"untouched": self.untouched & ~never, "sixteen": ~never, "never seen": never}
        return {part: self.labels.masked_fill(~where, -1) for part, where in keep.items()}


def labelled(grid: int = GRID) -> Labelled:
    """Read photographs and regions. Errors as in `read_regions` and `unseen_photographs`."""
    seen, never = photographs(), unseen_photographs()
    photos, regions = seen | never, read_regions()
    names = list(dict.fromkeys(r.name for photo in photos for r in regions[photo]))
    labels = torch.stack([region_map(regions[photo], names, grid) for photo in photos])
    clear = [untouched(p, x.shape[1], x.shape[2], grid) for p, x in photos.items()]
    unseen = torch.tensor([p in never for p in photos])
    return Labelled(photos, names, labels, torch.stack(clear), unseen)


def place(n: int, grid: int = GRID) -> Float[Tensor, "n 4 g g"]:
    """Features that are nothing but a patch's row and column: the cosine and sine of a half turn
    along each axis, so that cosine similarity falls with distance."""
    angle = torch.arange(grid) * (math.pi / grid)
    row, column = torch.meshgrid(angle, angle, indexing="ij")
    waves = torch.stack([row.cos(), row.sin(), column.cos(), column.sin()])
    return waves.expand(n, -1, -1, -1)


def similarity_auc(
    patches: Float[Tensor, "n D h w"],
    labels: Int64[Tensor, "n h w"],
    across: bool = False,
    mean: Float[Tensor, " D"] | None = None,
) -> dict[tuple[int, int], float]:
    """How well the plain cosine with a patch of a region tells that region from the rest.

    The mean of all patches of all pictures, labelled or not, is subtracted. Then each patch of the
    region is the query once: the AUC of its cosine with the region's other patches against its
    cosine with the rest, the mean over queries. 0.5 = chance, 1 = perfectly. The rest are the
    patches in the picture's other regions; with `across`, all patches of regions with another name
    in all pictures.

    Args:
        labels: region of each patch, -1 = none.
        mean: of the patches; None = that of `patches`.

    Returns:
        {(picture, label): AUC}; without regions of fewer than `FEWEST` patches, or with a rest of
        fewer.
    """
    centre = patches.mean(dim=(0, 2, 3)) if mean is None else mean
    x = F.normalize(patches - centre[:, None, None], dim=1).permute(0, 2, 3, 1)  # [n, h, w, D]
    values = {}
    for i, picture in enumerate(labels):
        for label in picture[picture >= 0].unique().tolist():
            mine = x[i][picture == label]  # [m, D]
            if across:
                rest = x[(labels >= 0) & (labels != label)]
            else:
                rest = x[i][(picture >= 0) & (picture != label)]
            if min(len(mine), len(rest)) < FEWEST:
                continue
            others = ~torch.eye(len(mine), dtype=torch.bool)
            positive = (mine @ mine.T)[others].view(len(mine), -1)  # [m, m - 1]
            values[i, label] = float(auc(positive, mine @ rest.T).mean())
    return values


class Agreement(NamedTuple):
    """How groups and regions agree, in [0, 1]."""

    purity: float
    """Share of patches that have the commonest region's name of their group. It grows with the
    number of groups and with the largest name's share; see `chance_agreement`."""
    nmi: float
    """Normalised mutual information (over the mean of both entropies) of groups and names."""
    nmi_in_picture: float
    """The same within each picture that has two regions and more; their mean. Knowing which picture
    a patch is from does not help here."""


def agreement(groups: Int64[Tensor, "n h w"], labels: Int64[Tensor, "n h w"]) -> Agreement:
    """Compare groups of patches with regions. Each region of each picture weighs the same, however
    large it is; patches of label -1 and regions of fewer than `FEWEST` patches do not count.

    Raises:
        ValueError: a group below 0, or no region that counts.
    """
    if groups.min() < 0:
        raise ValueError(f"groups begin at {int(groups.min())}; allowed: from 0")
    tables = region_tables(groups, labels)
    whole = tables.sum(dim=0)
    several = [t for t in tables if (t.sum(dim=0) > 0).sum() >= 2]
    inner = [normalised_information(t) for t in several]
    purity = float(whole.max(dim=1).values.sum() / whole.sum())
    return Agreement(
        purity, normalised_information(whole), sum(inner) / len(inner) if inner else math.nan
    )


def region_tables(
    groups: Int64[Tensor, "n h w"], labels: Int64[Tensor, "n h w"]
) -> Float[Tensor, "n k c"]:
    """For each picture the weight of each group (row) in each label (column). Every region has the
    weight 1. Errors as in `agreement`."""
    k, c = int(groups.max()) + 1, max(int(labels.max()) + 1, 1)
    tables = torch.zeros(len(labels), k, c, dtype=torch.float64)
    for table, group, picture in zip(tables, groups, labels, strict=True):
        for label in picture[picture >= 0].unique().tolist():
            counts = torch.bincount(group[picture == label], minlength=k)
            if counts.sum() >= FEWEST:
                table[:, label] = counts / counts.sum()
    if not tables.any():
        raise ValueError(f"labels has no region of at least {FEWEST} patches")
    return tables


def purity_ceiling(labels: Int64[Tensor, "n h w"], k: int) -> float:
    """The highest purity that k groups could have: each holds one name, those of most regions."""
    regions = region_tables(torch.zeros_like(labels), labels).sum(dim=(0, 1))  # [names]
    return float(regions.sort(descending=True).values[:k].sum() / regions.sum())


def chance_agreement(
    groups: Int64[Tensor, "n h w"], labels: Int64[Tensor, "n h w"], seed: int = 0
) -> Agreement:
    """The same after the labelled patches' groups were dealt out anew at random over all pictures:
    what groups of these sizes reach without looking."""
    shuffled, where = groups.clone(), labels >= 0
    own = groups[where]
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
    shuffled[where] = own[order]
    return agreement(shuffled, labels)


def normalised_information(table: Float[Tensor, "k c"]) -> float:
    """Mutual information of rows and columns of a table of weights over the mean of their
    entropies; 0 where both are certain."""
    p = table / table.sum()
    rows, columns, both = (entropy(part) for part in (p.sum(dim=1), p.sum(dim=0), p.flatten()))
    mean = (rows + columns) / 2
    return max(0.0, rows + columns - both) / mean if mean > 0 else 0.0


def entropy(p: Float[Tensor, " n"]) -> float:
    """In nats; 0 log 0 = 0."""
    return -float(torch.xlogy(p, p).sum())


# --- which examples are shown: rules of places and pixels, so that no result can choose ---


def shown_photographs(n: int) -> tuple[str, ...]:
    """Which of the sixteen are shown where there is room for n: those with the most regions; of
    equals, in the order of `CLASSES`."""
    regions = read_regions()
    many = {photo: len({region.name for region in regions[photo]}) for photo in CLASSES}
    return tuple(sorted(CLASSES, key=lambda photo: -many[photo])[:n])


def largest_region(labels: Int64[Tensor, "h w"]) -> int:
    """The label with the most patches, of equals the lowest; ValueError if no patch has a label."""
    named = labels[labels >= 0]
    if not len(named):
        raise ValueError("labels has no patch in a region")
    return int(named.bincount().argmax())


def most_textured_region(labels: Int64[Tensor, "h w"], image: UInt8[Tensor, "3 H W"]) -> int:
    """The label whose patches differ most within themselves: the mean standard deviation of a
    patch's grey values, of regions with at least `SHOWN` patches (if there are none, of all). The
    grey of a single patch says least there, so this asks for what pixels cannot know.

    Errors as in `largest_region`.
    """
    sizes = {int(label): int((labels == label).sum()) for label in labels[labels >= 0].unique()}
    if not sizes:
        raise ValueError("labels has no patch in a region")
    step = image.shape[1] // labels.shape[0]
    pixels = F.pixel_unshuffle(image.float().mean(dim=0, keepdim=True), step)  # [step^2, h, w]
    spread = pixels.std(dim=0)
    large = [label for label, size in sizes.items() if size >= SHOWN] or list(sizes)
    return max(large, key=lambda label: float(spread[labels == label].mean()))


def central_patch(labels: Int64[Tensor, "h w"], label: int) -> tuple[int, int]:
    """The query of a region, as (row, column): of its patches the one nearest to the middle of them
    all; of equals the first."""
    places = (labels == label).nonzero()  # [m, 2]
    far = (places - places.double().mean(dim=0)).square().sum(dim=1)
    row, column = places[int(far.argmin())].tolist()
    return row, column
