"""The log of a run and its curves: what is read, where it is drawn and how it is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dinolite.viz.curves import PLOTS, curves_figure, read_log
from dinolite.viz.style import png_bytes

LOG = {
    "total_loss": [(0, 9.0), (10, 8.0), (20, 7.5)],
    "ibot_loss": [(0, 3.0), (10, 2.0), (20, 2.5)],
    "dino_target_entropy": [(0, 4.0), (10, 3.0)],
    "dino_entropy_floor": [(0, 2.0), (10, 1.0)],
    "knn": [(10, 30.0), (20, 40.0)],
    "grad_norm/backbone": [(i, 10.0**-i) for i in range(8)],
    "lr": [(0, 0.1), (10, 0.2)],
    "seconds": [(0, 1.0)],
}


def plots(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes}


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


# --- reading ---


def test_the_log_by_name(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"iteration": 2, "loss": 1.5, "lr": 0.1}, {"iteration": 4, "loss": 1.25, "knn": 30.0}]
    lines[0]["machine/step_s"] = 0.25  # differs between equal runs, and is not read
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = {"loss": [(2, 1.5), (4, 1.25)], "lr": [(2, 0.1)], "knn": [(4, 30.0)]}
    assert read_log(path) == expected


@pytest.mark.parametrize("cut", range(1, 26))
def test_a_half_written_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    """Wherever the process was stopped."""
    path, last = tmp_path / "metrics.jsonl", '{"iteration": 4, "a": 1.25}'
    path.write_text('{"iteration": 2, "a": 1.5}\n' + last[:cut])
    assert read_log(path) == {"a": [(2, 1.5)]}


def test_an_empty_log_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.touch()
    assert read_log(path) == {}


# --- drawing ---


def test_every_logged_name_is_drawn_in_its_plot() -> None:
    axes = plots(curves_figure(LOG))
    assert list(axes) == list(PLOTS) and len(axes) == 6
    for title, names in PLOTS.items():
        lines = axes[title].get_lines()
        expected = [name for name in names if name in LOG]
        assert len(lines) == len(expected)
        for line, name in zip(lines, expected, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.array(LOG[name]))


def test_floors_are_dotted_and_gradients_on_a_log_scale() -> None:
    axes = plots(curves_figure(LOG))
    entropy, floor = axes["target entropy (nats)"].get_lines()
    assert (entropy.get_linestyle(), floor.get_linestyle()) == ("-", ":")
    assert {t: ax.get_yscale() for t, ax in axes.items()} == {
        t: "log" if t == "gradient norm" else "linear" for t in PLOTS
    }


def test_a_legend_is_there_where_lines_could_be_mistaken() -> None:
    axes = plots(curves_figure({**LOG, "grad_norm/dino_head": [(0, 1.0)]}))
    assert legend(axes["loss"]) == ["total loss", "ibot loss"]
    assert legend(axes["target entropy (nats)"]) == ["dino target entropy", "dino entropy floor"]
    assert legend(axes["gradient norm"]) == ["backbone", "dino head"]
    assert legend(axes["k-NN (%)"]) == legend(axes["learning rate"]) == []


def test_short_curves_show_their_points() -> None:
    """A single value has no line to see."""
    axes = plots(curves_figure(LOG))
    assert axes["k-NN (%)"].get_lines()[0].get_marker() == "o"
    assert axes["gradient norm"].get_lines()[0].get_marker() in ("None", "", None)


def test_baselines_are_level_lines_in_the_knn_plot_only() -> None:
    axes = plots(curves_figure(LOG, {"raw pixels": 28.0, "untrained": 21.0}))
    curve, pixels, untrained = axes["k-NN (%)"].get_lines()
    assert list(curve.get_ydata()) == [30, 40]
    assert set(pixels.get_ydata()) == {28} and set(untrained.get_ydata()) == {21}
    assert pixels.get_linestyle() != untrained.get_linestyle()
    assert legend(axes["k-NN (%)"]) == ["knn", "raw pixels", "untrained"]
    assert len(axes["loss"].get_lines()) == 2


def test_an_empty_log_gives_six_empty_plots() -> None:
    figure = curves_figure({})
    assert len(figure.axes) == 6 and not any(ax.get_lines() for ax in figure.axes)
    assert png_bytes(figure)
