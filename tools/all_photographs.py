"""Draw the pictures of docs/pictures.md: every photograph that has regions, with its groups of
patches and two similarity maps, for pixels, the net before training and the trained net. Nothing is
left out, and the patches that are asked for are chosen by rules of places and pixels.

    python -m tools.all_photographs
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.regions import K, pictures
from dinolite.eval.features import extract_patches
from dinolite.eval.segmentation import pixel_patches
from dinolite.explore.gallery import training_data
from dinolite.models.pretrained import load, untrained_twin
from dinolite.viz.groups import patch_groups, renumbered
from dinolite.viz.similarity import largest, similarity_map
from dinolite.viz.style import ROLES, laid_over
from dinolite_course.measures.regions import (
    GRID,
    Labelled,
    central_patch,
    labelled,
    largest_region,
    most_textured_region,
)

TARGETS = Path(__file__).resolve().parents[1] / "data" / "pictures"
# pixels: a panel, between two, above for its name, at the left for that of the row
SIDE, GAP, BAND, MARGIN = 112, 3, 16, 22
COLORS = 36  # of a file; few, so that 183 panels are not too many bytes
ROWS = ("pixels", "untrained", "trained")

Panel = tuple[Image.Image, tuple[int, int] | None]
"""What is drawn, and the patch that is framed in it."""
Column = list[Panel]
"""One photograph: itself, its groups, its similarity maps; from above to below."""


def features(images: UInt8[Tensor, "n 3 H W"], name: str) -> dict[str, Float[Tensor, "n D h w"]]:
    """The patches of each row."""
    trained = load(name)
    nets = {"untrained": untrained_twin(trained), "trained": trained}
    found = {which: extract_patches(net, images, batch_size=4) for which, net in nets.items()}
    return {"pixels": pixel_patches(images, trained.patch_size)} | found


def panel(picture: UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"]) -> Image.Image:
    """A picture, or a drawing in [0, 1], of `SIDE` pixels."""
    if picture.is_floating_point():
        picture = (255 * picture).round().to(torch.uint8)
    full = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    return full.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def draw_all(data: Labelled, name: str) -> dict[str, dict[str, Column]]:
    """{file: {photograph: panels}}: groups and the largest region's map of all, and the most
    textured region's map where that is another one. Groups and means are of all photographs."""
    images = pictures(data, load(name).patch_size, training_data(name).grey)
    patches = features(images, name)
    groups = {row: patch_groups(x, K) for row, x in patches.items()}
    named = [renumbered(groups[row], groups["trained"]) for row in ROWS]
    files: dict[str, dict[str, Column]] = {"all_sixteen": {}, "never_seen": {}, "textured": {}}
    for i, (photo, labels) in enumerate(zip(data.photos, data.labels, strict=True)):

        def maps(region: int, i: int = i, labels: Tensor = labels) -> Column:
            query = central_patch(labels, region)
            found = [similarity_map(patches[row], *query, picture=i)[i] for row in ROWS]
            over = [laid_over(images[i], x, vmax=largest(x[None])) for x in found]
            return [(panel(x), query) for x in (images[i], *over)]

        first, second = largest_region(labels), most_textured_region(labels, images[i])
        whole, *alike = maps(first)
        grouped: Column = [(panel(laid_over(images[i], g[i])), None) for g in named]
        file = "never_seen" if data.unseen[i] else "all_sixteen"
        files[file][photo] = [whole, *grouped, *alike]
        if second != first:
            files["textured"][photo] = maps(second)
    return files


def frame(drawing: ImageDraw.ImageDraw, left: int, top: int, query: tuple[int, int]) -> None:
    """A frame around a patch of the panel at (left, top), in the colour after the last."""
    step = SIDE / GRID
    y, x = (step * place for place in query)
    corners = (left + x - 3, top + y - 3, left + x + step + 2, top + y + step + 2)
    drawing.rectangle(corners, outline=COLORS, width=2)


def sheet(columns: dict[str, Column], across: int) -> bytes:
    """All panels as a PNG: blocks of `across` photographs with their names, the rows' names at the
    left."""
    names = list(columns)
    blocks = [names[i : i + across] for i in range(0, len(names), across)]
    rows = len(columns[names[0]])
    titles = ["", *(f"{what} {row}" for what in ("groups,", "alike,") for row in ROWS)]
    titles = ["", *titles[1 - rows :]]
    high = BAND + rows * (SIDE + GAP)
    full = Image.new("RGB", (MARGIN + across * (SIDE + GAP), len(blocks) * high), "white")
    drawing, font = ImageDraw.Draw(full), ImageFont.load_default(12)
    framed = []
    for b, block in enumerate(blocks):
        tops = [b * high + BAND + y * (SIDE + GAP) for y in range(rows)]
        for x, photo in enumerate(block):
            left = MARGIN + x * (SIDE + GAP)
            drawing.text((left + SIDE / 2, tops[0] - BAND / 2), photo, "black", font, "mm")
            for top, (picture, query) in zip(tops, columns[photo], strict=True):
                full.paste(picture, (left, top))
                framed += [(left, top, query)] if query else []
        for top, title in zip(tops, titles, strict=True):
            label = Image.new("RGB", (SIDE, MARGIN), "white")
            color = ROLES.get(title.split(" ")[-1], "black")
            ImageDraw.Draw(label).text((SIDE / 2, MARGIN / 2), title, color, font, "mm")
            full.paste(label.rotate(90, expand=True), (0, top))
    return packed(full, framed)


def packed(full: Image.Image, framed: list[tuple[int, int, tuple[int, int]]]) -> bytes:
    """`COLORS` colours, and one more for the frames, which so few would not give its own."""
    few = full.quantize(COLORS, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    palette = few.getpalette() or []
    few.putpalette([*palette[: 3 * COLORS], *ImageColor.getrgb(ROLES["query"])])
    for left, top, query in framed:
        frame(ImageDraw.Draw(few), left, top, query)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main(name: str = "dinolite_tiny") -> None:
    """Draw them anew."""
    across = {"all_sixteen": 8, "never_seen": 5, "textured": 5}
    for file, columns in draw_all(labelled(), name).items():
        (TARGETS / f"{file}.png").write_bytes(sheet(columns, across[file]))


if __name__ == "__main__":
    main()
