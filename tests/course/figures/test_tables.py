"""Gram matrices as pictures: the entries, one scale for all, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dinolite_course.figures.tables import tables_figure


def test_tables_stand_under_their_names_on_one_scale() -> None:
    tables = {"early": torch.eye(3), "late": torch.ones(4, 4)}
    figure = tables_figure(tables, width=5)
    assert [ax.get_title() for ax in figure.axes] == ["early", "late"]
    for ax, table in zip(figure.axes, tables.values(), strict=True):
        assert np.array_equal(ax.images[0].get_array(), table.numpy())
        assert ax.images[0].get_clim() == (-1, 1)
    plt.close(figure)


def test_nothing_and_what_is_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        tables_figure({})
    with pytest.raises(ValueError, match=r"tables\['x'\] is \[2, 3\]"):
        tables_figure({"x": torch.ones(2, 3)})
