"""The neighbours in their frames, and the shares beside them."""

import pytest
import torch

from dinolite_course.figures import Vote, votes_figure
from dinolite_course.figures.votes import FRAME, GAP, framed, strip

QUERY = torch.full((3, 4, 6), 10, dtype=torch.uint8)
VOTE = Vote(
    torch.stack([QUERY + 1, QUERY + 2]), torch.tensor([1, 0]), torch.tensor([0.2, 0.7, 0.1])
)


def test_frames_say_right_or_wrong() -> None:
    tile = 6 + 2 * (FRAME + GAP)
    drawn = strip(QUERY, 1, VOTE, shown=3)
    assert drawn.shape == (3, 4 + 2 * (FRAME + GAP), 4 * tile)
    corner = drawn[:, GAP, GAP::tile].T.tolist()
    white, green, orange = [255, 255, 255], [0, 158, 115], [213, 94, 0]
    assert corner == [white, green, orange, white]
    middle = FRAME + GAP
    assert drawn[0, middle, middle::tile].tolist() == [10, 11, 12, 255]


def test_the_picture_inside_is_unchanged() -> None:
    edge = FRAME + GAP
    assert torch.equal(framed(QUERY, "#009E73")[:, edge:-edge, edge:-edge], QUERY)


def test_bars_are_the_largest_shares() -> None:
    figure = votes_figure(QUERY, 1, {"trained": VOTE, "other": VOTE}, ["cat", "dog", "cup"])
    assert len(figure.axes) == 4
    bars = figure.axes[1]
    widths = [patch.get_width() for patch in bars.patches]
    assert widths == pytest.approx([0.7, 0.2, 0.1])
    assert [t.get_text() for t in bars.get_yticklabels()] == ["dog", "cat", "cup"]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="empty"):
        votes_figure(QUERY, 1, {}, ["cat"])
