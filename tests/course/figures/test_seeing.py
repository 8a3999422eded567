"""What lesson 19 draws: rollout, layers, norms, foreground, film, correspondences."""

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import ConnectionPatch
from torch import Tensor

from dinolite_course.figures.correspondences import RIGHT, WRONG, correspondences_figure
from dinolite_course.figures.film import film_colors, film_figure, whitened
from dinolite_course.figures.foreground import first_component, foreground_figure, foreground_mask
from dinolite_course.figures.layers import layers_figure
from dinolite_course.figures.maps import map_rows_figure
from dinolite_course.figures.norms import norms_figure
from dinolite_course.figures.rollout import attention_rollout


def test_rollout_by_hand() -> None:
    first = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0, 1]])
    second = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
    shares = attention_rollout([first[None, None], second[None, None]])
    assert shares.shape == (1, 3, 3) and shares[0, 0].tolist() == [0.5, 0.25, 0.25]
    heads = torch.stack([first, second])[None]  # their mean
    torch.testing.assert_close(attention_rollout([heads])[0, 0], torch.tensor([0.75, 0.25, 0.0]))
    with pytest.raises(ValueError, match=r"maps has shapes \[\]"):
        attention_rollout([])
    with pytest.raises(ValueError, match="one shape"):
        attention_rollout([heads, heads[..., :2, :2]])


def test_layers_have_a_row_per_head_and_a_column_per_layer() -> None:
    torch.manual_seed(0)
    maps = [torch.rand(2, 9, 9) for _ in range(3)]
    figure = layers_figure(torch.zeros(3, 8, 12), {"a": maps, "b": maps}, (2, 3), query=4)
    axes = figure.axes
    assert len(axes) == 4 * 4 and axes[0].get_title() == "a"
    assert axes[5].get_title().startswith("0.1, max")
    drawn = axes[4 * 3 + 2].images[0].get_array()  # b, head 1, layer 1
    torch.testing.assert_close(torch.tensor(drawn), maps[1][1, 4, 3:].view(2, 3))
    assert len(axes[0].patches) == 2  # the asking patch is framed
    assert not layers_figure(torch.zeros(3, 8, 12), {"a": maps}, (2, 3)).axes[0].patches
    with pytest.raises(ValueError, match="attentions is empty"):
        layers_figure(torch.zeros(3, 8, 12), {}, (2, 3))


def test_map_rows_stand_below_their_pictures() -> None:
    maps = {"x": torch.arange(12.0).view(2, 2, 3), "y": torch.ones(2, 2, 3)}
    figure = map_rows_figure(torch.zeros(2, 3, 8, 12), maps)
    assert [ax.get_title() for ax in figure.axes] == ["", "", "x", "", "y", ""]
    assert (figure.axes[3].images[0].get_array() == maps["x"][1].numpy()).all()
    with pytest.raises(ValueError, match="1 maps for 2 pictures"):
        map_rows_figure(torch.zeros(2, 3, 8, 12), {"x": maps["x"][:1]})


def test_norms_are_counted_in_medians() -> None:
    lengths = torch.tensor([2.0] * 9 + [50.0])
    figure = norms_figure({"a": [lengths, lengths], "b": [lengths, lengths]}, high=6.0)
    assert [ax.get_title() for ax in figure.axes] == ["layer 0", "layer 1"]
    assert len(figure.axes[0].patches) == 2  # one outline per network
    with pytest.raises(ValueError, match="same number"):
        norms_figure({"a": [lengths], "b": [lengths, lengths]})


def objects(n: int = 2) -> tuple[Tensor, Tensor]:
    """Patch features with an object in the middle, of one direction; and where it is."""
    torch.manual_seed(0)
    mask = torch.zeros(n, 6, 7, dtype=torch.bool)
    mask[:, 2:4, 2:5] = True
    patches = 0.1 * torch.randn(n, 5, 6, 7)
    patches[:, 1] += torch.where(mask, 1.0, -1.0)
    return patches, mask


def test_foreground_does_not_own_the_border() -> None:
    patches, mask = objects()
    assert torch.equal(foreground_mask(patches), mask)
    assert torch.equal(foreground_mask(-patches), mask)  # a component has no sign of its own
    assert first_component(patches).std() < 2
    figure = foreground_figure(torch.zeros(2, 3, 12, 14, dtype=torch.uint8), {"a": patches})
    colors = torch.tensor(figure.axes[4].images[0].get_array())
    assert torch.equal((colors > 0).any(dim=-1), mask[0])
    with pytest.raises(ValueError, match="1 x 1"):
        foreground_mask(torch.zeros(1, 5, 1, 1))


def test_film_colours_do_not_flip() -> None:
    torch.manual_seed(0)
    last = torch.randn(2, 4, 6, 6) * torch.tensor([8.0, 4.0, 2.0, 0.1])[:, None, None]
    turned = torch.linalg.qr(torch.randn(4, 4))[0]
    early = torch.einsum("ab,nbhw->nahw", turned, -last)  # the same patches, other axes
    colors = film_colors({"early": early, "last": last})
    assert list(colors) == ["early", "last"] and colors["last"].shape == (2, 3, 6, 6)
    torch.testing.assert_close(colors["early"], colors["last"], atol=1e-3, rtol=0)
    z = whitened(early)
    torch.testing.assert_close(z.T @ z / (len(z) - 1), torch.eye(3).double())
    figure = film_figure(
        torch.zeros(2, 3, 12, 12, dtype=torch.uint8), {"early": early, "last": last}
    )
    assert [ax.get_title() for ax in figure.axes[:3]] == ["", "early", "last"]
    for bad in ({}, {"a": last, "b": last[:1]}):
        with pytest.raises(ValueError, match="patches has shapes"):
            film_colors(bad)
    with pytest.raises(ValueError, match="2 numbers"):
        film_colors({"a": last[:, :2]})


def test_correspondences_are_green_or_orange_and_counted() -> None:
    pairs = (torch.arange(3), torch.tensor([0, 1, 3]), torch.tensor([True, True, False]))
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    figure = correspondences_figure(image, image, {"net": pairs}, (2, 2), every=1)
    lines = [a for a in figure.artists if isinstance(a, ConnectionPatch)]
    assert [to_hex(a.get_edgecolor()).upper() for a in lines] == [RIGHT, RIGHT, WRONG]
    assert [ax.get_title() for ax in figure.axes] == ["net", "2 / 3"]
    with pytest.raises(ValueError, match="every = 0"):
        correspondences_figure(image, image, {"net": pairs}, (2, 2), every=0)
