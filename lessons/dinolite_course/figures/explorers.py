"""Sliders over a picture that can also be stored in a notebook and compared when it runs again.

    explore(draw, patch=(4, 32), name=["astronaut", "chelsea"])

`draw` gives a Figure, the bytes of a PNG, or a text; the helper puts it into a widget. No Output
widget is used, which neither nbval nor a stored notebook can follow: without a live kernel the
picture of the start values is shown.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from dinolite.viz.style import png_bytes

HIDDEN, SHOWN = "none", ""
WIDTHS = {"style": {"description_width": "110px"}, "layout": {"width": "340px"}}
"""Of a control: room for names such as `temperature`, the same in all, so that they line up."""


class Explorer(widgets.VBox):
    """Controls above a picture or a text. `result` holds what was drawn last."""

    def __init__(self, draw: Callable[..., Figure | bytes | str], **controls: Any) -> None:
        self.draw = draw
        self.controls = {name: make_control(name, value) for name, value in controls.items()}
        layout = {"display": HIDDEN, "max_width": "100%", "width": "max-content"}
        self.image = widgets.Image(format="png", layout=widgets.Layout(**layout))
        self.text = widgets.HTML(layout=widgets.Layout(display=HIDDEN))
        super().__init__([*self.controls.values(), self.image, self.text])
        for control in self.controls.values():
            control.observe(self.redraw, "value")
        self.show(self.draw(**self.values))

    @property
    def values(self) -> dict[str, Any]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: Any) -> Explorer:
        """Move controls from code, as a reader would with the mouse.

        Raises:
            ValueError: there is no control of that name.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"no control {name!r}; there are {', '.join(self.controls)}")
            self.controls[name].value = value
        return self

    def redraw(self, change: Any = None) -> None:
        """Called when a control moves; an error becomes words below, where it is seen."""
        try:
            result: Figure | bytes | str = self.draw(**self.values)
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        self.show(result)

    def show(self, result: Figure | bytes | str) -> None:
        """Put a picture or a text below the controls, and hide the other."""
        self.result = result
        drawn = not isinstance(result, str)
        if isinstance(result, Figure):
            self.image.value = png_bytes(result)  # and closed, or Jupyter shows it once more
        elif isinstance(result, bytes):
            self.image.value = result
        else:
            self.text.value = f"<pre>{html.escape(result)}</pre>"
        self.image.layout.display = SHOWN if drawn else HIDDEN
        self.text.layout.display = HIDDEN if drawn else SHOWN

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live view, and beside it a fixed text and the picture for where nothing is live."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs) or {}
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        bundle["text/plain"] = f"explore({self.draw.__name__}: {values})"
        if isinstance(self.result, str):
            bundle["text/plain"] += f"\n{self.result}"
        else:
            bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


def explore(draw: Callable[..., Figure | bytes | str], **controls: Any) -> Explorer:
    """Controls for the arguments of `draw`, which gives a Figure, a PNG or a text.

    Args:
        controls: by argument name: a list of choices; True or False; (low, high), (low, high,
            step) or (low, high, step, start) for a slider, whole or not as its numbers are; or a
            widget.
    """
    return Explorer(draw, **controls)


def make_control(name: str, value: Any) -> Any:
    """The widget for one argument; its description is the name."""
    if isinstance(value, widgets.Widget):
        return value
    if isinstance(value, bool):
        return widgets.Checkbox(value, description=name, **WIDTHS)
    if isinstance(value, list):
        return widgets.Dropdown(options=value, description=name, **WIDTHS)
    if not isinstance(value, tuple) or not 2 <= len(value) <= 4:
        raise ValueError(f"no control for {name} = {value!r}; use a list, a bool or (low, high)")
    low, high = value[:2]
    whole = all(isinstance(x, int) for x in value)
    step = value[2] if len(value) > 2 else 1 if whole else (high - low) / 20
    start = value[3] if len(value) > 3 else low
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    return kind(value=start, min=low, max=high, step=step, description=name, **WIDTHS)
