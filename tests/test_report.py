"""The page that holds everything: its words escaped, its pictures inside."""

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure

from dinolite.report import PNG_COLORS, even_texture, held_by_two, html_table, said, write_report
from dinolite.viz.style import DPI, png_bytes
from tools.readme_picture import borders


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """pyplot keeps every figure until it is closed."""
    yield
    plt.close("all")


def line(height: int) -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, height])
    return figure


class Page(HTMLParser):
    """The words and attributes that a browser would find, tag by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.images: list[dict[str, str | None]] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open = tag
        self.found.setdefault(tag, []).append("")
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[self.open][-1] += data


WILD = "<script>alert(\"1\")</script> & '{x}'"


def test_a_table_has_its_words_in_order_and_escaped() -> None:
    page = Page(html_table(["", WILD], [["a", "1"], [WILD, "2"]]))
    assert page.found["th"] == ["", WILD]
    assert page.found["td"] == ["a", "1", WILD, "2"]
    assert len(page.found["tr"]) == 3 and "script" not in page.found


def test_the_report_is_one_page_with_everything_inside(tmp_path: Path) -> None:
    figures = [("curves", line(1)), (WILD, line(2))]
    path = tmp_path / "report.html"
    assert write_report(path, WILD, ["percent", "x"], [["k-NN", "12.5"]], figures) == path
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    text = path.read_text("utf8")
    page = Page(text)
    assert page.found["title"] == page.found["h1"] == [WILD]
    assert page.found["td"] == ["k-NN", "12.5"]
    assert page.found["figcaption"] == ["curves", WILD]
    assert [image["alt"] for image in page.images] == ["curves", WILD]
    assert not {"script", "link", "iframe"} & set(page.found)
    assert not re.search(r"https?://", text)
    for image, height in zip(page.images, (1, 2), strict=True):
        kind, data = (image["src"] or "").split(",")
        assert kind == "data:image/png;base64"
        # Made anew: the layout of a figure moves a little when it is drawn again.
        assert base64.b64decode(data) == png_bytes(line(height), DPI, PNG_COLORS)


def test_a_report_without_figures_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, "Run", ["percent"], [], [])
    page = Page(path.read_text("utf8"))
    assert page.found["h1"] == ["Run"] and not page.images and "td" not in page.found


def test_the_numbers_of_the_rows_stand_in_the_title() -> None:
    assert (
        said([32.66, 22.0, 52.6], ".1f", " %") == "pixels 32.7 %, untrained 22.0 %, trained 52.6 %"
    )


def test_the_two_largest_groups_hold_their_share() -> None:
    """Of ten patches 5, 3 and 2 are in a group."""
    groups = torch.tensor([2, 0, 0, 1, 2, 0, 0, 0, 1, 1]).view(1, 2, 5)
    assert held_by_two(groups) == pytest.approx(0.8)
    assert held_by_two(torch.zeros(1, 2, 2, dtype=torch.int64)) == 1


def test_the_framed_patch_lies_amid_even_texture() -> None:
    """Flat but for 5 x 5 patches of a checkerboard in the second picture, and brighter and brighter
    checkerboards in the first, whose brightness differs from patch to patch."""
    images = torch.full((2, 3, 40, 40), 128, dtype=torch.uint8)
    board = (torch.arange(20)[:, None] + torch.arange(20)) % 2
    images[1, :, 4:24, 12:32] = (128 + 60 * (2 * board - 1)).to(torch.uint8)
    brighter = torch.arange(5).repeat_interleave(4) * 30
    images[0, :, 4:24, 12:32] = (60 + brighter + 120 * board * (brighter < 90)).to(torch.uint8)
    assert even_texture(images, 4) == (1, 3, 5)  # rows 1 to 5, columns 3 to 7
    assert even_texture(images[:, :, :16, :16], 4) == (0, 2, 2)


def test_borders_count_neighbours_in_different_groups() -> None:
    """Of the 3 + 4 pairs of 2 x 3 patches one beside (0 | 1) and one below; none in the other."""
    groups = torch.tensor([[[0, 0, 1], [0, 0, 0]], [[2, 2, 2], [2, 2, 2]]])
    assert borders(groups).tolist() == [pytest.approx(2 / 7), 0]
