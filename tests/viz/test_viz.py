"""What the pictures of features show: the numbers behind them and what stands in each panel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.decomposition import PCA
from torch import Tensor

from dinolite.viz.attention import attention_figure, attention_grid
from dinolite.viz.pca import pca_figure, pca_rgb, quantile_scaled
from dinolite.viz.similarity import (
    OTHER,
    SAME,
    neighbours_figure,
    similarity_figure,
    similarity_map,
)
from dinolite.viz.style import laid_over, largest, smooth


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def grid_of(figure: Figure, columns: int) -> list[list[Axes]]:
    """The panels row by row, in the order in which a reader meets them."""
    axes = figure.axes
    return [axes[i : i + columns] for i in range(0, len(axes), columns)]


def titles(figure: Figure, columns: int) -> list[list[str]]:
    return [[ax.get_title() for ax in row] for row in grid_of(figure, columns)]


def row_names(figure: Figure, columns: int) -> list[str]:
    """What stands at the left of each row."""
    return ["".join(t.get_text() for t in row[0].texts) for row in grid_of(figure, columns)]


def drawn(ax: Axes) -> np.ndarray:
    """What the only image in the panel was drawn from; row 0 is at the top."""
    (image,) = ax.images
    assert image.origin == "upper"
    return np.asarray(image.get_array())


def assert_shows(ax: Axes, image: Tensor) -> None:
    """The panel has this uint8 picture [3, H, W] in it."""
    np.testing.assert_allclose(drawn(ax), image.permute(1, 2, 0).numpy() / 255, rtol=1e-6)


# --- attention ---


def attention(heads: int = 2, tokens: int = 9) -> Tensor:
    """Any probabilities; of 9 tokens 6 are patches behind CLS and two storage tokens."""
    return torch.rand(heads, tokens, tokens).softmax(dim=2)


@pytest.mark.parametrize("query", [0, 4, 8])
def test_attention_goes_from_the_query_to_the_patches_row_by_row(query: int) -> None:
    probabilities = attention()
    maps = attention_grid(probabilities, (2, 3), query)
    assert maps.shape == (2, 2, 3)
    for head, row, column in np.ndindex(2, 2, 3):
        key = 3 + 3 * row + column
        assert maps[head, row, column] == probabilities[head, query, key]


@pytest.mark.parametrize(
    ("grid", "query", "message"),
    [
        ((3, 3), 0, "grid 3 x 3 .* 9 tokens"),  # CLS is no patch
        ((4, 5), 0, "grid 4 x 5 .* 9 tokens"),
        ((0, 3), 0, "grid 0 x 3"),
        ((-2, -3), 0, "grid -2 x -3"),
        ((2, 3), 9, "query = 9 .* 9"),
        ((2, 3), -1, "query = -1"),
    ],
)
def test_attention_refuses_what_is_not_there(
    grid: tuple[int, int], query: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attention_grid(attention(), grid, query)


@pytest.mark.parametrize("query", [0, 5])
def test_attention_figure_lays_mean_and_heads_over_the_photograph_on_one_scale(query: int) -> None:
    """Of 9 tokens the patches begin at 3: token 5 is the third patch, in row 0 and column 2."""
    image, nets = noise(3, 8, 12), {"untrained": attention(), "trained": attention()}
    figure = attention_figure(image, nets, (2, 3), query, title="it looks there")
    assert figure.get_suptitle() == "it looks there"
    rows = [figure.axes[i : i + 4] for i in (0, 4)]
    assert [ax.get_title() for ax in figure.axes[:8]] == [
        *("", "mean of heads", "head 0", "head 1", "", "", "", "")
    ]
    assert [row[0].texts[0].get_text() for row in rows] == ["untrained", "trained"]
    every = [p[:, query, 3:].view(2, 2, 3) for p in nets.values()]
    vmax = largest([torch.cat([m.mean(dim=0, keepdim=True), m]) for m in every])
    for row, maps in zip(rows, every, strict=True):
        assert_shows(row[0], image)
        for ax, values in zip(row[1:], [maps.mean(dim=0), *maps], strict=True):
            expected = laid_over(image, values, vmax).permute(1, 2, 0)
            np.testing.assert_allclose(drawn(ax), expected.numpy(), rtol=1e-5)
        frames = [p.get_xy() for p in row[0].patches if isinstance(p, Rectangle)]
        assert frames == ([] if query == 0 else [(5.5, -2.5)])


# --- similarity ---


@pytest.mark.parametrize("center", [True, False])
def test_similarity_is_the_cosine_with_the_chosen_patch(center: bool) -> None:
    x = torch.randn(3, 5, 2, 4) + 1
    maps = similarity_map(x, 1, 2, picture=2, center=center)
    if center:
        x = x - x.permute(1, 0, 2, 3).flatten(1).mean(dim=1)[:, None, None]
    for n, i, j in np.ndindex(3, 2, 4):
        expected = F.cosine_similarity(x[n, :, i, j], x[2, :, 1, 2], dim=0)
        assert maps[n, i, j].item() == pytest.approx(expected.item(), abs=1e-5)


def test_similarity_is_centred_and_starts_in_the_first_picture_unless_told() -> None:
    x = torch.randn(2, 5, 3, 3) + 10
    maps = similarity_map(x, 0, 1)
    assert maps[0, 0, 1].item() == pytest.approx(1, abs=1e-5)
    assert maps.min() < -0.2  # uncentred, all would be close to 1


@pytest.mark.parametrize(
    "where", [(2, 0, 0), (0, 4, 0), (0, 0, 3), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
)
def test_similarity_refuses_a_patch_outside(where: tuple[int, int, int]) -> None:
    row, column, picture = where
    message = rf"patch \({row}, {column}\) of picture {picture}; there are 3 pictures of 2 x 4"
    with pytest.raises(ValueError, match=message):
        similarity_map(torch.randn(3, 5, 2, 4), row, column, picture)


def test_similarity_figure_lays_each_net_over_the_photographs_on_one_scale() -> None:
    """The scale ends at the 99 % quantile of all: of 100 values 0 to 99 that is 98.01."""
    assert largest(torch.arange(100.0).view(2, 5, 10)) == pytest.approx(98.01, abs=1e-4)
    assert largest(-torch.ones(1, 2, 2)) > 0  # nothing is alike
    images = noise(3, 3, 8, 16)
    nets = {"untrained": torch.randn(3, 5, 2, 4), "trained": torch.randn(3, 6, 2, 4)}
    figure = similarity_figure(images, nets, 1, 2, title="alike", picture=1)
    assert figure.get_suptitle() == "alike"
    assert row_names(figure, 3)[:3] == ["", "untrained", "trained"]
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "cosine" and float(bar.get_yticklabels()[0].get_text()) == 0
    first, *rows = grid_of(figure, 3)
    for ax, image in zip(first, images, strict=True):
        assert_shows(ax, image)
    every = [similarity_map(features, 1, 2, picture=1) for features in nets.values()]
    for row, maps in zip(rows, every, strict=False):  # after them comes the bar of colours
        for ax, image, values in zip(row, images, maps, strict=True):
            expected = laid_over(image, values, largest(every)).permute(1, 2, 0)
            np.testing.assert_allclose(drawn(ax), expected.numpy(), rtol=1e-5)


def test_the_frame_is_around_the_chosen_patch_in_every_row() -> None:
    """Patches of 4 x 4 pixels: row 1 has pixels 4 to 7, column 2 pixels 8 to 11; the frame is half
    a patch away, the edges of a pixel half a pixel from its middle."""
    figure = similarity_figure(noise(2, 3, 8, 16), {"net": torch.randn(2, 5, 2, 4)}, 1, 2)
    frames = [[p for p in ax.patches if isinstance(p, Rectangle)] for ax in figure.axes]
    assert [len(f) for f in frames[:4]] == [1, 0, 1, 0]
    for frame in (frames[0][0], frames[2][0]):
        assert frame.get_xy() == (5.5, 1.5) and (frame.get_width(), frame.get_height()) == (8, 8)
        assert not frame.get_fill()


# --- PCA ---


def skewed(n: int = 2, D: int = 6, h: int = 3, w: int = 5) -> Tensor:
    """Patches along axes of clearly different spread, each lopsided, so that its sign is plain."""
    x = torch.rand(n, D, h, w) ** 4 * torch.tensor([9.0, 5, 3, 0.1, 0.1, 0.1])[:D, None, None]
    return x + torch.randn(D, 1, 1)


def test_colours_are_the_components_of_scikit_learn_between_their_quantiles() -> None:
    x = skewed()
    rows = x.permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
    z = PCA(3, svd_solver="full").fit_transform(rows)
    z = z * np.sign((z**3).mean(axis=0))  # the long tail of each is positive
    low, high = np.quantile(z, [0.02, 0.98], axis=0)
    colours = pca_rgb(x)
    assert colours.shape == (2, 3, 3, 5) and colours.dtype == torch.float32
    ours = colours.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(ours, ((z - low) / (high - low)).clip(0, 1), atol=1e-5)


def test_columns_are_scaled_between_their_quantiles_by_hand() -> None:
    """Of 0, 1, ... 100 the quantiles are 2 and 98; an odd one out does not change the others' scale
    when it is not among the chosen."""
    z = torch.cat([torch.arange(101.0), torch.tensor([9e9])])[:, None]
    chosen = torch.arange(102) < 101
    scaled = quantile_scaled(z, chosen)[:, 0]
    assert scaled[[0, 2, 50, 98, 100, 101]].tolist() == pytest.approx([0, 0, 0.5, 1, 1, 1])
    assert scaled[26].item() == pytest.approx(0.25)


def test_colours_do_not_flip_with_the_features_or_turn_with_their_axes() -> None:
    x = skewed()
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    turned = torch.einsum("nchw,cd->ndhw", x, rotation)
    for other in (-x, turned, 1000 * x + 5):
        torch.testing.assert_close(pca_rgb(other), pca_rgb(x), atol=1e-4, rtol=0)


def test_the_fit_is_on_the_patches_to_keep_and_the_others_are_black() -> None:
    """What is left out may be anything; what is kept looks as if it were alone."""
    x = skewed()
    keep = torch.zeros(2, 3, 5, dtype=torch.bool)
    keep[0, 1:], keep[1, 2, ::2] = True, True
    colours = pca_rgb(x, keep).permute(0, 2, 3, 1)
    assert colours[~keep].eq(0).all()
    alone = pca_rgb(x.permute(0, 2, 3, 1)[keep].T[None, :, None])  # [1, D, 1, kept]
    torch.testing.assert_close(colours[keep], alone[0, :, 0].T)
    wild = torch.where(keep[:, None], x, 1e3 * torch.randn(2, 6, 3, 5))
    torch.testing.assert_close(pca_rgb(wild, keep).permute(0, 2, 3, 1), colours)


def test_equal_patches_are_grey() -> None:
    colours = pca_rgb(torch.ones(1, 5, 2, 3))
    torch.testing.assert_close(colours, torch.full((1, 3, 2, 3), 0.5))


def test_too_few_patches_or_numbers_for_three_colours() -> None:
    with pytest.raises(ValueError, match=r"3 patches .* at least 4"):
        pca_rgb(torch.randn(1, 5, 1, 3))
    keep = torch.arange(15).view(1, 3, 5) < 2
    with pytest.raises(ValueError, match=r"2 patches .* at least 4"):
        pca_rgb(torch.randn(1, 5, 3, 5), keep)
    with pytest.raises(ValueError, match="vectors of 2 numbers"):
        pca_rgb(torch.randn(1, 2, 3, 5))


def test_pca_figure_has_photographs_above_and_smooth_colours_for_each_net() -> None:
    images, nets = noise(2, 3, 12, 20), {"untrained": -skewed(), "trained": skewed()}
    figure = pca_figure(images, nets, title="colours")
    assert figure.get_suptitle() == "colours" and row_names(figure, 2) == [
        *("", "untrained", "trained")
    ]
    first, *rows = grid_of(figure, 2)
    for ax, image in zip(first, images, strict=True):
        assert_shows(ax, image)
    for row, features in zip(rows, nets.values(), strict=True):
        for ax, colours in zip(row, smooth(pca_rgb(features), (12, 20)), strict=True):
            np.testing.assert_allclose(drawn(ax), colours.permute(1, 2, 0).numpy(), rtol=1e-6)


# --- neighbours ---


def frame(ax: Axes) -> str | None:
    """The colour around a panel; None if there is no frame."""
    colours = {to_hex(s.get_edgecolor()) for s in ax.spines.values() if s.get_visible()}
    if not ax.axison:
        return None
    assert len(colours) == 1 and all(s.get_visible() for s in ax.spines.values())
    return colours.pop()


def test_neighbours_stand_behind_their_query_framed_by_class() -> None:
    bank, queries = noise(5, 3, 4, 4), noise(2, 3, 4, 4)
    labels = torch.tensor([0, 1, 0, 2, 1])
    nets = {
        "untrained": torch.tensor([[3, 0], [1, 2]]),
        "trained": torch.tensor([[0, 2], [4, 1]]),
    }
    figure = neighbours_figure(bank, labels, queries, torch.tensor([0, 1]), nets)
    assert titles(figure, 5) == [["query", "untrained", "", "trained", ""], [""] * 5]
    frames = [[OTHER, SAME, SAME, SAME], [SAME, OTHER, SAME, SAME]]
    for i, row in enumerate(grid_of(figure, 5)):
        assert_shows(row[0], queries[i])
        for ax, found in zip(row[1:], torch.cat(list(nets.values()), dim=1)[i], strict=True):
            assert_shows(ax, bank[found])
        expected = [None, *(colour.lower() for colour in frames[i])]
        assert [frame(ax) for ax in row] == expected
    assert SAME != OTHER


def test_two_pictures_without_a_label_are_not_of_the_same_class() -> None:
    figure = neighbours_figure(
        noise(1, 3, 4, 4),
        torch.tensor([-1]),
        noise(1, 3, 4, 4),
        torch.tensor([-1]),
        {"net": torch.tensor([[0]])},
    )
    assert frame(figure.axes[1]) == OTHER.lower()
