"""Matches of two photographs: patches that chose each other, kept where their neighbours agree."""

import numpy as np
import torch
from matplotlib.collections import LineCollection

from dinolite.viz.matches import GAP, find_matches, matches_figure


def test_a_shifted_photograph_is_matched_where_both_show_it() -> None:
    """b is a, two columns further left: of 6 x 8 patches 6 x 6 are in both, and each of these moves
    by -2; the ones at the corners have three neighbours, too few to be kept."""
    whole = torch.randn(16, 6, 10)
    a, b = whole[:, :, :8], whole[:, :, 2:]
    found = find_matches(a, b)
    right = found.a - 2 == found.b
    rows, columns = found.a[found.kept] // 8, found.a[found.kept] % 8
    assert right[found.kept].all() and (columns >= 2).all()
    assert len(rows) == 6 * 6 - 4
    assert int(right.sum()) == 36  # the corners are found, only not kept


def test_chance_is_not_kept() -> None:
    """Patches that have nothing to do with each other choose each other now and then, and go
    anywhere: four neighbours hardly ever go the same way."""
    found = find_matches(torch.randn(16, 12, 12), torch.randn(16, 12, 12))
    assert len(found.a) > 10 and int(found.kept.sum()) == 0


def test_matches_are_mutual() -> None:
    """Two patches of a are like one of b: it chooses the nearer, the other has no match."""
    a = torch.tensor([[1.0, 0.9, -1.0], [0.0, 0.5, 0.0]])[:, None]
    b = torch.tensor([[1.0, -1.0, 0.0], [0.01, 0.02, -9.0]])[:, None]
    found = find_matches(a, b)
    pairs = dict(zip(found.a.tolist(), found.b.tolist(), strict=True))
    assert len(set(pairs.values())) == len(pairs) and not found.kept.any()


def test_the_figure_draws_lines_from_one_photograph_to_the_other() -> None:
    """The first kept match of a photograph with itself is patch (0, 1) of 4 x 4 pixels: its middle
    is at 5.5, 1.5 (a pixel's middle is a whole number), and 32 + GAP further right."""
    image, x = torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8), torch.randn(16, 6, 8)
    noise = torch.randn(16, 6, 8)
    figure = matches_figure(image, image, {"pixels": (x, noise), "trained": (x, x)}, lines=5)
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["pixels", "trained"]
    lines = [[c for c in ax.collections if isinstance(c, LineCollection)] for ax in figure.axes]
    assert [len(each[0].get_segments()) for each in lines] == [0, 5]
    first = lines[1][0].get_segments()[0]
    np.testing.assert_allclose(first, [[5.5, 1.5], [5.5 + 32 + GAP, 1.5]])
    assert figure.axes[1].get_title() == "44 of 48 matches move as their neighbours do"
