"""Tables of similarities as squares of colour: which patch is like which, in several networks.

DINOv3 Sec. 4.2, Eq. (2): the Gram matrices that its loss compares. The paper draws none.
"""

from collections.abc import Mapping

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import DIVERGING, panels, show_map, style


def tables_figure(tables: Mapping[str, Float[Tensor, "_ _"]], width: float = 9.0) -> Figure:
    """Gram matrices of patches side by side, entries from -1 to 1, 0 in the middle of the scale.

    Raises:
        ValueError: there is no table, or one is not square.
    """
    if not tables:
        raise ValueError(f"{tables = } is empty; give at least one, as {{name: table}}")
    for name, table in tables.items():
        if table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise ValueError(f"tables[{name!r}] is {list(table.shape)}; wanted is [N, N]")
    figure, axes = panels(1, len(tables), width=width)
    with style():
        for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
            show_map(ax, table, name, DIVERGING, vmin=-1, vmax=1)
    return figure
