"""The film over training: colours do not flip, groups keep their numbers, panels in order."""

import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from dinolite.viz.film import KINDS, film_colors, film_figure, groups_over_time, whitened
from dinolite.viz.groups import patch_groups
from dinolite.viz.similarity import similarity_map
from dinolite.viz.style import laid_over, largest, smooth


def steps() -> dict[str, Tensor]:
    """The same patches twice, in other axes at first; of each axis another spread."""
    last = torch.randn(2, 4, 6, 6) * torch.tensor([8.0, 4.0, 2.0, 0.1])[:, None, None]
    turned = torch.linalg.qr(torch.randn(4, 4))[0]
    return {"early": torch.einsum("ab,nbhw->nahw", turned, -last), "last": last}


def test_film_colours_do_not_flip() -> None:
    both = steps()
    colors = film_colors(both)
    assert list(colors) == ["early", "last"] and colors["last"].shape == (2, 3, 6, 6)
    torch.testing.assert_close(colors["early"], colors["last"], atol=1e-3, rtol=0)
    z = whitened(both["early"])
    torch.testing.assert_close(z.T @ z / (len(z) - 1), torch.eye(3).double())


def test_equal_groups_have_equal_numbers_at_every_step() -> None:
    both = steps()
    groups = groups_over_time(both, 3)
    assert list(groups) == ["early", "last"]
    torch.testing.assert_close(groups["last"], patch_groups(both["last"], 3))
    assert (groups["early"] == groups["last"]).float().mean() > 0.9


def test_the_film_has_rows_of_kinds_and_columns_of_steps_of_one_photograph() -> None:
    images, both = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8), steps()
    figure = film_figure(images, both, (1, 2), 3, picture=1, title="it came so")
    rows = [figure.axes[i : i + 3] for i in (0, 3, 6)]
    assert figure.get_suptitle() == "it came so"
    assert [row[0].texts[0].get_text() for row in rows] == list(KINDS)
    assert [ax.get_title() for ax in figure.axes] == ["", "early", "last", *[""] * 6]
    assert [len(row[0].patches) for row in rows] == [0, 1, 0]
    (frame,) = (p for p in rows[1][0].patches if isinstance(p, Rectangle))
    assert frame.get_xy() == (5.5, 1.5)  # patches of 4 pixels, the frame half a patch away
    maps = [similarity_map(x, 1, 2, 1)[1] for x in both.values()]
    for i, name in enumerate(both):
        shown = [
            laid_over(images[1], groups_over_time(both, 3)[name][1]),
            laid_over(images[1], maps[i], largest(maps)),
            smooth(film_colors(both)[name], (24, 24))[1],
        ]
        for row, expected in zip(rows, shown, strict=True):
            drawn = np.asarray(row[i + 1].images[0].get_array())
            np.testing.assert_allclose(drawn, expected.permute(1, 2, 0).numpy(), atol=1e-5)
