"""Bars of a family: as long as the counts, on a logarithmic axis, one of them marked."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from dinolite.viz.style import COLORS
from dinolite_course.figures.family import family_figure


def test_a_bar_per_network() -> None:
    (ax,) = family_figure({"small": 20_000_000, "huge": 6_700_000_000}, mark="huge").axes
    bars = [p for p in ax.patches if isinstance(p, Rectangle)]
    assert [bar.get_width() for bar in bars] == [20_000_000, 6_700_000_000]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == [COLORS[0], COLORS[1]]
    assert [t.get_text() for t in ax.texts] == ["20.0 M", "6,700.0 M"]
    assert ax.get_xscale() == "log" and ax.yaxis_inverted()
    plt.close("all")


@pytest.mark.parametrize(
    ("counts", "mark", "says"), [({}, None, "counts"), ({"a": 0}, None, "counts"),
                                 ({"a": 5}, "b", "mark = 'b'")]
)  # fmt: skip
def test_nothing_to_draw(counts: dict[str, int], mark: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        family_figure(counts, mark)
