"""Frames and mosaics: the right colour at the right pixels."""

import io

import numpy as np
import torch
from PIL import Image

from dinolite_course.figures.overlays import ASKED, GAP, MARGIN, frame, mosaic, mosaic_png


def test_a_frame_leaves_its_patch_and_stays_in_the_picture() -> None:
    image = torch.randint(256, (3, 32, 32), generator=torch.manual_seed(0), dtype=torch.uint8)
    drawn = frame(image, 1, 2, 4, ASKED)
    assert torch.equal(drawn[:, 8:16, 16:24], image[:, 8:16, 16:24])
    assert drawn[:, 7, 16].tolist() == list(ASKED) and drawn[:, 5, 13].tolist() == list(ASKED)
    assert torch.equal(drawn[:, :5], image[:, :5])
    assert frame(image, 0, 0, 4, ASKED).shape == image.shape


def test_a_mosaic_has_every_picture_in_its_place() -> None:
    one, two = (torch.full((3, 4, 4), v, dtype=torch.uint8) for v in (10, 20))
    full = mosaic([[one, two], [two]])
    assert full.shape == (3, 8 + GAP, 8 + GAP)
    assert full[0, 0, 0] == 10 and full[0, 0, -1] == 20 and full[0, -1, 0] == 20
    assert full[0, -1, -1] == 255 and full[0, 4, 0] == 255


def test_the_png_has_names_at_the_left_and_its_colours() -> None:
    red = torch.tensor([200, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 40, 40)
    sheet = Image.open(io.BytesIO(mosaic_png([[red], [red]], ["first", "second"], 240)))
    pixels = torch.from_numpy(np.array(sheet.convert("RGB"))).int()
    assert sheet.width == 240
    assert (pixels[20, 100] - torch.tensor([200, 0, 0])).abs().max() < 8, "256 colours are enough"
    margin = pixels[:, :MARGIN].float()
    for half in margin.chunk(2):
        assert half.min() < 100 and half.mean() > 220, "a few dark letters on white"
