"""The look that all figures share: the same files each time, and nothing else is changed."""

import io
import runpy
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from dinolite.viz import style as style_module
from dinolite.viz.attention import attention_figure
from dinolite.viz.curves import curves_figure
from dinolite.viz.film import film_figure
from dinolite.viz.groups import groups_figure
from dinolite.viz.matches import matches_figure
from dinolite.viz.pca import pca_figure
from dinolite.viz.similarity import nearest_figure, similarity_figure
from dinolite.viz.style import (
    COLORS,
    GROUPS,
    ROLES,
    laid_over,
    panels,
    png_bytes,
    show_image,
    show_map,
    smooth,
    style,
    to_picture,
)

LOG = {"knn": [(10, 30.0), (20, 40.0)], "lr": [(0, 0.1), (10, 0.2)]}


# --- every figure ---


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def images(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 8, 8), generator=generator()).to(torch.uint8)


def patches() -> torch.Tensor:
    return torch.randn(2, 5, 4, 4, generator=generator())


FIGURES: dict[str, Callable[[], Figure]] = {
    "attention": lambda: attention_figure(
        images(1)[0], {"net": torch.rand(2, 17, 17, generator=generator())}, (4, 4)
    ),
    "similarity": lambda: similarity_figure(images(2), {"net": patches()}, 1, 2),
    "pca": lambda: pca_figure(images(2), {"net": patches()}),
    "groups": lambda: groups_figure(images(2), {"net": patches()}, 3, title="groups"),
    "matches": lambda: matches_figure(*images(2), {"net": (patches()[0], patches()[1])}),
    "film": lambda: film_figure(images(2), {"0": patches(), "9": -patches()}, (1, 2), 2),
    "neighbours": lambda: nearest_figure(
        images(3), torch.arange(3), images(2), torch.arange(2), {"net": torch.tensor([[0], [2]])}
    ),
    "curves": lambda: curves_figure(LOG, {"raw pixels": 28.0}),
}
each_figure = pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())


@each_figure
def test_a_figure_is_the_same_file_whatever_the_reader_has_set(
    make: Callable[[], Figure],
) -> None:
    """And what the reader has set stays so."""
    before, open_figures = mpl.rcParams.copy(), plt.get_fignums()
    first = png_bytes(make(), dpi=40)
    assert mpl.rcParams == before and plt.get_fignums() == open_figures
    with plt.rc_context({"font.size": 20, "axes.grid": False, "axes.titlesize": 30}):
        assert png_bytes(make(), dpi=40) == first


@pytest.mark.parametrize(
    "path", sorted(Path(style_module.__file__).parent.glob("*.py")), ids=lambda p: p.stem
)
def test_importing_changes_no_settings(path: Path) -> None:
    """Run anew from matplotlib's defaults, since the first import may have changed them."""
    with plt.rc_context():
        mpl.rcdefaults()
        before = mpl.rcParams.copy()
        runpy.run_path(str(path))
        assert mpl.rcParams == before


# --- style ---


def test_style_holds_inside_only_and_ends_with_an_error() -> None:
    before = mpl.rcParams.copy()
    with pytest.raises(RuntimeError, match="stop"), style():
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLORS)
        assert mpl.rcParams["axes.spines.top"] is False
        raise RuntimeError("stop")
    assert mpl.rcParams == before


def test_panels_come_row_by_row_without_axes_and_as_high_as_asked() -> None:
    """Two rows of three panels 2 wide and twice as high, and a quarter inch each for the title."""
    figure, axes = panels(2, 3, width=6.0, aspect=2.0)
    assert [len(row) for row in axes] == [3, 3]
    assert [ax for row in axes for ax in row] == figure.axes
    assert not any(ax.axison for ax in figure.axes)
    assert figure.get_size_inches().tolist() == pytest.approx([6, 2 * (2 * 2 + 0.25)])
    assert [len(row) for row in panels(1, 1)[1]] == [1]
    figure, _ = panels(2, 3, 6.0, 2.0, "two\nlines", gap=0.1, left=0.5)
    assert figure.get_suptitle() == "two\nlines"
    assert figure.get_size_inches().tolist() == pytest.approx([6.5, 2 * (2 * 2 + 0.1) + 2 * 0.3])


def test_bytes_and_floats_become_the_same_picture() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 4)
    picture = to_picture(image)
    assert picture.shape == (2, 4, 3)
    np.testing.assert_allclose(picture[1, 3].numpy(), [0, 0.2, 1])
    torch.testing.assert_close(to_picture(image / 255), picture)
    loud = torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1).requires_grad_()
    assert to_picture(loud).tolist() == [[[0, 0.5, 1]]]


def test_show_map_draws_values_of_any_precision_between_the_given_ends() -> None:
    ax = Figure().subplots()
    values = torch.tensor([[0.5, 1.0], [0.25, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    show_map(ax, values, "a map", "gray", vmin=-1, vmax=2)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), [[0.5, 1], [0.25, 0]])
    assert (image.norm.vmin, image.norm.vmax, image.get_cmap().name) == (-1, 2, "gray")
    assert ax.get_title() == "a map"


def test_a_smooth_map_has_each_value_where_its_patch_lies() -> None:
    """Two patches become 8 pixels: their middles are at 1.5 and 5.5, so a pixel between has its
    share of the way, and outside them nothing is added."""
    values = torch.tensor([[[0.0, 8.0]]])
    expected = [0, 0, 1, 3, 5, 7, 8, 8]
    assert smooth(values, (1, 8)).tolist() == [[expected]]
    colours = smooth(torch.stack([values, 2 * values], dim=1), (2, 8))  # [1, 2, 2, 8]
    assert colours[0, 1].tolist() == [[2 * x for x in expected]] * 2


def test_a_map_over_a_photograph_is_dark_where_there_is_nothing() -> None:
    """0 and below: a quarter black over the photograph, itself at 60 %; full: 80 % of the brightest
    colour over the rest."""
    image = torch.full((3, 2, 4), 255, dtype=torch.uint8)
    shown = laid_over(image, torch.tensor([[-1.0, 0.0, 2.0, 4.0]]), vmax=2.0)
    black, bright = (torch.tensor(mpl.colormaps["inferno"](x)[:3]) for x in (0.0, 1.0))
    for column, weight, colour in ((0, 0.25, black), (1, 0.25, black), (2, 0.8, bright)):
        expected = weight * colour + (1 - weight) * 0.6
        torch.testing.assert_close(
            shown[:, 1, column].double(), expected.double(), atol=1e-6, rtol=0
        )
    torch.testing.assert_close(shown[..., 3], shown[..., 2])


def test_groups_over_a_photograph_have_their_colours_up_to_their_borders() -> None:
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    shown = laid_over(image, torch.tensor([[2, 2, 0, 0]]))
    for part, group in ((shown[..., :4], 2), (shown[..., 4:], 0)):
        colour = 0.6 * torch.tensor(to_rgb(GROUPS[group]))[:, None, None]
        torch.testing.assert_close(part, colour.expand(3, 4, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("values", "vmax", "message"),
    [
        (torch.ones(2, 2), 0.0, "vmax = 0.0 must be above 0"),
        (torch.full((2, 2), torch.nan), 1.0, "none of them NaN"),
        (torch.tensor([[0, 12]]), 1.0, "groups 0 to 12; allowed: 0 to 11"),
        (torch.tensor([[-1, 2]]), 1.0, "groups -1 to 2; allowed: 0 to 11"),
    ],
)
def test_what_cannot_be_laid_over_a_photograph(
    values: torch.Tensor, vmax: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        laid_over(torch.zeros(3, 4, 4, dtype=torch.uint8), values, vmax)


def test_a_png_of_few_colours_is_the_same_picture_in_fewer_bytes() -> None:
    def ramp() -> Figure:
        figure, [[ax]] = panels(1, 1, width=2.0)
        show_map(ax, torch.linspace(0, 1, 400).view(20, 20))
        return figure

    whole, packed = png_bytes(ramp()), png_bytes(ramp(), colors=64)
    with Image.open(io.BytesIO(whole)) as a, Image.open(io.BytesIO(packed)) as b:
        assert b.mode == "P" and b.size == a.size and len(b.getcolors() or ()) <= 64
        difference = np.asarray(a.convert("RGB"), int) - np.asarray(b.convert("RGB"), int)
        assert np.abs(difference).mean() < 5
    assert len(packed) < len(whole)


def test_noise_is_packed_too_and_the_colour_of_a_query_is_kept() -> None:
    """A palette that is fitted again and again may never settle; a small frame must stay seen."""
    figure, [[ax]] = panels(1, 1, width=2.0)
    show_image(ax, torch.rand(3, 200, 200, generator=generator()))
    ax.add_patch(Rectangle((90, 90), 12, 12, color=ROLES["query"]))
    with Image.open(io.BytesIO(png_bytes(figure, colors=64))) as packed:
        found = {color: n for n, color in packed.convert("RGB").getcolors() or ()}
    query = tuple(round(255 * x) for x in to_rgb(ROLES["query"]))
    assert found.get(query, 0) > 80  # of about 11 x 11 dots


def test_roles_and_groups_have_colours_of_their_own() -> None:
    assert len({to_rgb(c) for c in ROLES.values()}) == len(ROLES) == 7
    assert len({to_rgb(c) for c in GROUPS}) == len(GROUPS)


def test_a_png_carries_no_dates_or_versions_and_has_the_asked_resolution() -> None:
    figure, _ = panels(1, 1, width=2.0)
    first = png_bytes(figure, dpi=50)
    assert first == png_bytes(figure, dpi=50)
    with Image.open(io.BytesIO(first)) as picture:
        assert picture.size == (2 * 50, round(2.25 * 50 - 0.5))
        assert set(picture.info) <= {"dpi"}
