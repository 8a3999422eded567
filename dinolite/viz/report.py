"""A run on one page: a table and pictures in a single HTML file that needs nothing else."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from dinolite.files import write_text
from dinolite.viz.style import png_bytes

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }}
table {{ border-collapse: collapse }} th, td {{ padding: .3rem .8rem; text-align: right }}
th:first-child, td:first-child {{ text-align: left }} tr {{ border-bottom: 1px solid #ddd }}
figure {{ margin: 2rem 0 }} img {{ max-width: 100% }} figcaption {{ color: #555 }}
</style></head><body><h1>{title}</h1>
{table}
{figures}
</body></html>
"""


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as a table."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "\n".join(["<table>", line(head, "th"), *(line(r, "td") for r in rows), "</table>"])


def write_report(
    path: Path,
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: Sequence[tuple[str, Figure]],
) -> Path:
    """Write the page; pictures are inside it, each with its caption, which is also its alt text."""
    parts = []
    for caption, figure in figures:
        data = base64.b64encode(png_bytes(figure, dpi=110)).decode()
        words = html.escape(caption, quote=True)
        parts.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    page = PAGE.format(
        title=html.escape(title), table=html_table(head, rows), figures="\n".join(parts)
    )
    write_text(path, page)
    return path
