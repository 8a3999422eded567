"""What lies in a panel."""

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


def frames(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Left, top, width, height of the frames in a panel."""
    found = [p for p in ax.patches if isinstance(p, Rectangle)]
    return [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in found]
