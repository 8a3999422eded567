"""Bars: heights as given, scales shared or not, parts that stack to the whole."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose

from dinolite.viz.style import COLORS, ROLES, png_bytes
from dinolite_course.figures.bars import (
    GIB,
    bars_figure,
    budget_figure,
    family_figure,
    held_figure,
    histogram_figure,
    named_bars_figure,
    parameters_figure,
)


def bars(ax: Axes) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_each_vector_is_a_panel_with_its_bars() -> None:
    teacher, student = torch.tensor([0.75, 0.25, 0.0]), torch.tensor([0.5, 0.25, 0.25])
    figure = bars_figure({"teacher": teacher, "student": student})
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("teacher", "student")
    assert np.allclose([bar.get_height() for bar in left.patches], teacher)
    assert np.allclose([bar.get_height() for bar in right.patches], student)
    assert left.get_ylim() == right.get_ylim() and list(left.get_xticks()) == [0, 1, 2]


def test_own_scales_and_numbers_below_zero() -> None:
    figure = bars_figure({"a": torch.tensor([10.0]), "b": torch.tensor([-1.0])}, same_scale=False)
    left, right = figure.axes
    assert left.get_ylim()[1] > 9 and right.get_ylim()[0] <= -1 and right.get_ylim()[1] < 1


def test_groups_stand_around_their_number() -> None:
    shares = {"a": torch.tensor([0.75, 0.25]), "b": torch.tensor([0.5, 0.5])}
    (ax,) = bars_figure({"share": shares}, start=1).axes
    assert [[bar.get_height() for bar in group] for group in ax.containers] == [
        [0.75, 0.25],
        [0.5, 0.5],
    ]
    middles = [bar.get_x() + bar.get_width() / 2 for group in ax.containers for bar in group]
    assert_allclose(middles, [0.8, 1.8, 1.2, 2.2])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_histograms_share_a_range_and_mark_the_median() -> None:
    values = {"a": torch.tensor([0.1, 0.1, 0.9]), "b": torch.tensor([0.5, 3.0, 3.0])}
    left, right = histogram_figure(values, "distance", 0, 1).axes
    assert left.get_xlim() == right.get_xlim() == (0, 1)
    assert_allclose(np.asarray(left.lines[0].get_xdata()), 0.1)
    heights = left.patches[0].get_path().vertices[:, 1]  # type: ignore[attr-defined]
    assert heights.max() == 2
    assert right.patches[0].get_path().vertices[:, 1].max() == 2  # type: ignore[attr-defined]


def test_outlines_of_several_vectors() -> None:
    lengths = torch.tensor([1.0] * 9 + [25.0])
    panels = {f"layer {i}": {"a": lengths, "b": lengths} for i in range(2)}
    first, second = histogram_figure(panels, "length", 0, 6, limit=3).axes
    assert len(first.patches) == 2 and first.get_yscale() == "log"
    assert_allclose(np.asarray(first.lines[0].get_xdata()), 3)
    assert [t.get_text() for t in second.get_legend().get_texts()] == ["a", "b"]


def test_a_bar_per_network() -> None:
    (ax,) = family_figure({"small": 20_000_000, "huge": 6_700_000_000}, mark="huge").axes
    assert [bar.get_width() for bar in bars(ax)] == [20_000_000, 6_700_000_000]
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars(ax)] == [COLORS[0], COLORS[1]]
    assert [t.get_text() for t in ax.texts] == ["20.0 M", "6,700.0 M"]
    assert ax.get_xscale() == "log" and ax.yaxis_inverted()


def test_the_parts_of_a_network_are_its_shares() -> None:
    counts = {
        "a": {"attention": 1_000_000, "FFN": 2_980_000, "norms": 20_000},
        "b": {"attention": 500_000, "FFN": 500_000, "norms": 0},
    }
    figure = parameters_figure(counts)
    (ax,) = figure.axes
    assert [(bar.get_x(), bar.get_width()) for bar in bars(ax)][:4] == [
        (0, 25),
        (0, 50),
        (25, 74.5),
        (50, 50),
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a\n4.0 M", "b\n1.0 M"]
    assert [t.get_text() for t in ax.texts if t.get_text()] == [
        "25",
        "74",
        "50",
        "50",
    ]  # norms: too narrow
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["attention", "FFN", "norms"]


def test_what_processes_hold_is_stacked() -> None:
    MiB = 2**20
    whole, half = {"student": 4 * MiB, "AdamW": 8 * MiB}, {"student": 2 * MiB, "AdamW": 4 * MiB}
    figure = held_figure({"one": [whole], "shared": [half, half]})
    one, shared = figure.axes
    assert (one.get_title(), shared.get_title()) == ("one", "shared")
    assert [(b.get_y(), b.get_height()) for b in bars(one)] == [(0, 4), (4, 8)]
    assert [(b.get_y(), b.get_height()) for b in bars(shared)] == [(0, 2), (0, 2), (2, 4), (2, 4)]
    assert one.get_ylim() == shared.get_ylim() and one.get_ylabel() == "MiB"


def test_rooms_and_memory_of_a_budget() -> None:
    memory = {"DDP": {"a": 2 * GIB, "b": GIB}, "FSDP2": {"a": GIB, "b": GIB}}
    left, right = budget_figure({"DINO": (2.0, 9.0), "iBOT": (0.0, 9.0)}, memory, 80).axes
    assert [(b.get_y(), b.get_height()) for b in bars(left)] == [(2, 7), (0, 9)]
    assert [(b.get_x(), b.get_width()) for b in bars(right)] == [(0, 2), (0, 1), (2, 1), (1, 1)]
    assert [t.get_text() for t in right.texts] == [" 3.0", " 2.0"]
    assert np.asarray(right.lines[0].get_xdata())[0] == 80


def test_named_bars_start_at_the_low_end_and_say_their_numbers() -> None:
    found = {
        "AUC (%)": {"untrained": 60.0, "late": 75.0},
        "k-NN (%)": {"untrained": 20, "late": 55},
    }
    limits = {"AUC (%)": (50, 100), "k-NN (%)": (0, 100)}
    figure = named_bars_figure(found, limits, "the finding")
    left, right = figure.axes
    assert figure.get_suptitle() == "the finding" and left.get_title() == "AUC (%)"
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in left.patches]
    assert spans == [(50, 60), (50, 75)] and left.get_xlim() == (50, 100)
    assert [bar.get_width() for bar in right.patches] == [20, 55]
    assert [t.get_text() for t in left.texts] == ["60.0", "75.0"]
    assert left.yaxis_inverted()  # the first name stands above
    assert to_hex(left.patches[0].get_facecolor()).upper() == ROLES["untrained"]
    assert png_bytes(figure)
