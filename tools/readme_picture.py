"""Draw the README's picture from a finished demo run.

python -m tools.readme_picture runs/demo
"""

from __future__ import annotations

import sys
from pathlib import Path

from dinolite.show import class_figures
from dinolite.summary import open_finished
from dinolite.viz.style import save_png

TARGET = Path(__file__).resolve().parents[1] / "data" / "pictures" / "demo_neighbours.png"


def main(folder: str) -> None:
    """The nearest neighbours of some test windows, untrained and trained."""
    ((_, figure),) = class_figures(open_finished(Path(folder)))
    save_png(figure, TARGET, dpi=80)


if __name__ == "__main__":
    main(sys.argv[1])
