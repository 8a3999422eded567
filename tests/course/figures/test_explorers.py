"""Sliders: every kind of control moves its picture, errors are seen, the stored form is fixed."""

import base64

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from dinolite_course.figures.explorers import explore, make_control


def bars(n: int, tall: bool = False) -> Figure:
    figure, ax = plt.subplots(figsize=(1, 1))
    ax.bar(range(n), [2 if tall else 1] * n)
    return figure


def words(k: int) -> str:
    return f"<{10 // k}>"


def test_a_moved_control_changes_the_picture() -> None:
    view = explore(bars, n=(1, 4), tall=False)
    first = bytes(view.image.value)
    assert view.values == {"n": 1, "tall": False}
    second = bytes(view.set(n=3).image.value)
    third = bytes(view.set(tall=True).image.value)
    assert len({first, second, third}) == 3 and first.startswith(b"\x89PNG")
    assert bytes(view.set(n=1, tall=False).image.value) == first
    assert not plt.get_fignums(), "figures are closed, or Jupyter shows them again"


def test_text_is_shown_as_text_and_errors_are_seen() -> None:
    view = explore(words, k=(0, 5, 1, 2))
    assert view.text.value == "<pre>&lt;5&gt;</pre>" and view.image.layout.display == "none"
    view.set(k=0)
    assert "ZeroDivisionError" in view.text.value
    assert view.set(k=5).result == "<2>"


def test_an_error_at_the_start_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        explore(words, k=(0, 5))


def test_a_picture_replaces_a_text() -> None:
    view = explore(lambda k: bars(k) if k else "nothing", k=(0, 2))
    assert (view.image.layout.display, view.text.layout.display) == ("none", "")
    view.set(k=1)
    assert (view.image.layout.display, view.text.layout.display) == ("", "none")


def test_what_is_stored_in_a_notebook() -> None:
    bundle = explore(bars, n=(1, 4))._repr_mimebundle_()
    assert bundle["text/plain"] == "explore(bars: n=1)"
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert explore(words, k=[5, 2])._repr_mimebundle_()["text/plain"] == "explore(words: k=5)\n<2>"


@pytest.mark.parametrize(
    ("value", "kind", "start"),
    [
        ((1, 5), widgets.IntSlider, 1),
        ((1, 5, 2, 3), widgets.IntSlider, 3),
        ((0.0, 1.0), widgets.FloatSlider, 0.0),
        ((0, 1.0, 0.1, 0.5), widgets.FloatSlider, 0.5),
        (True, widgets.Checkbox, True),
        (["a", "b"], widgets.Dropdown, "a"),
        (widgets.IntText(7), widgets.IntText, 7),
    ],
)
def test_controls(value: object, kind: type, start: object) -> None:
    control = make_control("x", value)
    assert isinstance(control, kind) and control.value == start


@pytest.mark.parametrize("value", [3, "abc", (1,), (1, 2, 3, 4, 5), None])
def test_no_control_for_that(value: object) -> None:
    with pytest.raises(ValueError, match="no control for x"):
        make_control("x", value)


def test_an_unknown_control_is_named() -> None:
    with pytest.raises(ValueError, match=r"no control 'm'; there are n"):
        explore(bars, n=(1, 4)).set(m=3)
