"""Maps of one patch: the drawn arrays, the frames, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from dinolite_course import figures as viz

IMAGE = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def closed() -> object:
    yield
    plt.close("all")


def frames(ax: plt.Axes) -> list[tuple[float, float, float, float]]:
    found = [p for p in ax.patches if isinstance(p, Rectangle)]
    return [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in found]


def test_maps_and_frames_of_a_patch() -> None:
    small, large = torch.linspace(0, 0.5, 24).view(4, 6), torch.linspace(0.2, 1, 96).view(8, 12)
    figure = viz.relative_position_figure(IMAGE, {"a": small, "b": large}, [(1, 2)])
    assert [ax.get_title() for ax in figure.axes] == ["patch (1, 2)", "a", "b"]
    assert frames(figure.axes[0]) == [(7.5, 3.5, 4, 4)]
    assert frames(figure.axes[1]) == [(1.5, 0.5, 1, 1)]
    assert frames(figure.axes[2]) == [(3.5, 1.5, 2, 2)]
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), large)
    assert figure.axes[1].images[0].get_clim() == (-1, 1)
    two = viz.relative_position_figure(
        IMAGE, {"a": small, "b": large}, [(1, 2), (3, 0)], signed=False
    )
    assert len(frames(two.axes[0])) == 2 and frames(two.axes[2]) == [(-0.5, 5.5, 2, 2)]
    assert two.axes[1].images[0].get_clim() == two.axes[2].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("patches", "said"),
    [([(4, 0)], "does not lie on"), ([(0, -1)], "does not lie on"), ([(0, 0)] * 3, "3 patches")],
)
def test_no_such_patch(patches: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        viz.relative_position_figure(
            IMAGE, {"a": torch.zeros(4, 6), "b": torch.ones(4, 6)}, patches
        )


def test_where_a_patch_looks_in_two_pictures() -> None:
    maps = [torch.rand(4, 6, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    figure = viz.looking_figure([IMAGE, IMAGE], maps, [(0, 1), (2, 5)])
    assert len(figure.axes) == 4
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), maps[1])
    assert figure.axes[1].images[0].get_clim() == figure.axes[3].images[0].get_clim()
    assert frames(figure.axes[2]) == [(19.5, 7.5, 4, 4)]
    with pytest.raises(ValueError, match=r"patch = \(4, 0\) does not lie on the grid of 4 x 6"):
        viz.looking_figure([IMAGE], maps[:1], [(4, 0)])
