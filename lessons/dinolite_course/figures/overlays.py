"""Pictures in rows, with frames around patches, drawn pixel by pixel so that sliders answer at
once: matplotlib takes ten times as long for as many panels.
"""

import io

import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

ASKED, FOUND = (0, 229, 255), (255, 255, 255)  # frame colours, on 0..255
GAP = 6  # white pixels between pictures
MARGIN = 24  # pixels for the names of rows


def frame(
    image: UInt8[Tensor, "3 H W"], row: int, column: int, grid: int, colour: tuple[int, int, int]
) -> UInt8[Tensor, "3 H W"]:
    """The picture with a frame, three pixels wide, around one patch of a grid x grid grid."""
    side = image.shape[1] // grid
    top, left = row * side, column * side
    inside = (slice(None), slice(top, top + side), slice(left, left + side))
    drawn = image.clone()
    outside = (slice(max(top - 3, 0), top + side + 3), slice(max(left - 3, 0), left + side + 3))
    drawn[:, *outside] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    drawn[inside] = image[inside]
    return drawn


def mosaic(rows: list[list[Tensor]]) -> UInt8[Tensor, "3 H W"]:
    """Pictures of one size in rows and columns, white between them; a short row ends in white."""
    height, width = rows[0][0].shape[1:]
    columns = max(map(len, rows))
    full = torch.full(
        (3, len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP), 255, dtype=torch.uint8
    )
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (height + GAP), j * (width + GAP)
            full[:, top : top + height, left : left + width] = image
    return full


def mosaic_png(rows: list[list[Tensor]], names: list[str], width: int = 900) -> bytes:
    """The mosaic as a PNG of `width` pixels with 256 colours, a quarter of the bytes; the rows'
    names stand at the left and are read from below to above."""
    full = Image.fromarray(mosaic(rows).permute(1, 2, 0).contiguous().numpy())
    inner = width - MARGIN
    height = round(full.height * inner / full.width)
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(full.resize((inner, height), Image.Resampling.BILINEAR), (MARGIN, 0))
    font = ImageFont.load_default(13)
    for i, name in enumerate(names):
        label = Image.new("RGB", (height // len(names), MARGIN), "white")
        ImageDraw.Draw(label).text((label.width / 2, MARGIN / 2), name, "black", font, "mm")
        sheet.paste(label.rotate(90, expand=True), (0, i * height // len(names)))
    buffer = io.BytesIO()
    sheet.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()
