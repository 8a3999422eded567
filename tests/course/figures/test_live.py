"""A run as it goes: lines where they belong, and a widget that can be stored and compared."""

import math

import matplotlib.pyplot as plt

from dinolite_course.figures.live import LiveFigure, run_figure

LOG = {
    "dino_local_crops_loss": [(i, 5.0 - i) for i in range(3)],
    "dino_target_entropy": [(i, 4.0 - i) for i in range(3)],
    "knn": [(0, 20.0), (50, 30.0)],
    "grad_norm/backbone": [(i, 10.0**-i) for i in range(20)],
}


def test_lines_marks_and_baselines() -> None:
    figure = run_figure(LOG, 128, 0.7, 3.0, {"untrained": 20.0, "raw pixels": 28.0})
    losses, knn, norms = figure.axes
    local, entropy, all_alike, floor = losses.lines
    assert list(local.get_ydata()) == [5, 4, 3] and list(entropy.get_ydata()) == [4, 3, 2]
    assert set(all_alike.get_ydata()) == {math.log(128)} and set(floor.get_ydata()) == {0.7}
    curve, untrained, pixels = knn.lines
    assert list(curve.get_xdata()) == [0, 50] and curve.get_marker() not in ("", "None")
    assert set(untrained.get_ydata()) == {20} and set(pixels.get_ydata()) == {28}
    backbone, limit = norms.lines
    assert len(backbone.get_xdata()) == 20 and set(limit.get_ydata()) == {3}
    assert norms.get_yscale() == "log"
    plt.close(figure)


def test_an_empty_log_has_level_lines_only() -> None:
    figure = run_figure({}, 16, 0.5, 3.0)
    assert [len(ax.lines) for ax in figure.axes] == [2, 0, 1]
    plt.close(figure)


def test_the_widget_is_a_fixed_text_until_something_is_drawn() -> None:
    live = LiveFigure("a run")
    bundle = live._repr_mimebundle_()
    assert bundle["text/plain"] == "live figure: a run" and "image/png" not in bundle
    assert "nothing drawn" in live.words.value
    for _ in range(2):
        live.update(run_figure(LOG, 16, 0.5, 3.0))
    assert bytes(live.image.value).startswith(b"\x89PNG") and live.image.layout.display == ""
    assert live.words.layout.display == "none" and not plt.get_fignums()
    assert live._repr_mimebundle_()["text/plain"] == "live figure: a run"
    assert "image/png" in live._repr_mimebundle_()
