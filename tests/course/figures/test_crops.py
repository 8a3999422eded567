"""Boxes on a photograph: frames, labels, crops; and what a batch shows to teacher and student."""

import numpy as np
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from dinolite.config import CropsConfig
from dinolite.data.masking import SSLBatch
from dinolite_course.figures.crops import GLOBAL, LOCAL, batch_figure, boxes_figure, hide, restore

BIG = torch.tensor([[1, 2, 20, 25], [0, 5, 30, 30]])
SMALL = torch.tensor([[4, 6, 8, 10]])


def test_frames_lie_where_the_boxes_are_with_their_labels() -> None:
    image = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8)
    figure = boxes_figure(image, BIG, SMALL, title="cat")
    (ax,) = figure.axes
    assert ax.get_title() == "cat"
    np.testing.assert_allclose(ax.images[0].get_array(), image.permute(1, 2, 0).numpy() / 255)
    frames = [p for p in ax.patches if isinstance(p, Rectangle)]
    drawn = [[f.get_y() + 0.5, f.get_x() + 0.5, f.get_height(), f.get_width()] for f in frames]
    assert drawn == torch.cat([BIG, SMALL]).tolist()  # (top, left, height, width)
    assert [to_hex(f.get_edgecolor()).upper() for f in frames] == [GLOBAL, GLOBAL, LOCAL]
    assert [t.get_text() for t in ax.texts] == ["G1", "G2", "1"]
    assert [t.xy for t in ax.texts] == [(26, 1), (34, 0), (6, 4)]  # upper right, left for local


def test_crops_stand_beside_it_under_the_same_labels() -> None:
    crops = [torch.rand(3, 4, 4) for _ in range(3)]
    photo, *others = boxes_figure(torch.rand(3, 32, 48), BIG, SMALL, crops).axes
    assert [ax.get_title() for ax in others] == ["G1", "G2", "1"]
    for ax, crop in zip(others, crops, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), crop.permute(1, 2, 0).numpy())
    assert len(photo.patches) == 3


def test_a_batch_has_a_row_per_photo() -> None:
    crops = CropsConfig(local_crops_number=3)
    generator = torch.Generator().manual_seed(0)
    large, small = torch.randn(4, 3, 8, 8, generator=generator), torch.randn(6, 3, 4, 4)
    masks = torch.zeros(4, 4, dtype=torch.bool)
    masks[3, 0] = True  # second crop of photo 1, first patch
    batch = SSLBatch(large, small, masks, torch.tensor([12]), torch.ones(1))
    axes = batch_figure(batch, crops, pictures=2).axes
    assert [ax.get_title() for ax in axes[:5]] == [
        "teacher 1",
        "teacher 2",
        "student 1",
        "student 2",
        "local 1",
    ]
    shown = [torch.tensor(ax.images[0].get_array()).permute(2, 0, 1) for ax in axes[7:]]
    seen = restore(large, crops)
    torch.testing.assert_close(shown[:2], [seen[1], seen[3]])
    torch.testing.assert_close(shown[3], hide(seen, masks)[3])
    assert shown[3][:, :4, :4].max() == 0 and torch.equal(shown[3][:, 4:], shown[1][:, 4:])
    torch.testing.assert_close(shown[4], restore(small, crops)[1])
