"""One picture, its nearest neighbours by several nets, and how they vote: k-NN for one query.

DINO App. F.1 (k-NN protocol); the official code draws nothing of the kind.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.similarity import OTHER, SAME
from dinolite.viz.style import show_image, style

FRAME, GAP = 3, 1  # pixels: the coloured frame, and the white around it
TOP = 3  # classes whose shares are drawn
WHITE = "#FFFFFF"


class Vote(NamedTuple):
    """The neighbours of one query, the nearest first, and the share of the vote of each class."""

    pictures: UInt8[Tensor, "k 3 H W"]
    labels: Int64[Tensor, " k"]
    shares: Float[Tensor, " C"]


def votes_figure(
    query: UInt8[Tensor, "3 H W"],
    label: int,
    votes: Mapping[str, Vote],
    classes: Sequence[str],
    shown: int = 8,
) -> Figure:
    """One row per net: the query, its first `shown` neighbours, framed in green where the class is
    the query's and in orange where it is not, and the three largest shares of the vote.

    Raises:
        ValueError: there is no net.
    """
    if not votes:
        raise ValueError(f"{votes = } is empty; give at least one, as {{name: Vote}}")
    with style():
        figure = plt.figure(figsize=(9, 0.95 * len(votes) + 0.1), layout="constrained")
        grid = figure.add_gridspec(len(votes), 2, width_ratios=(5, 1.3))
        for i, (name, vote) in enumerate(votes.items()):
            ax = figure.add_subplot(grid[i, 0])
            show_image(ax, strip(query, label, vote, shown), name)
            ax.set_axis_off()
            ax = figure.add_subplot(grid[i, 1])
            best = vote.shares.topk(min(TOP, len(classes)))
            named = best.indices.tolist()
            colors = [SAME if c == label else OTHER for c in named]
            ax.barh(range(len(named)), best.values.tolist(), color=colors)
            ax.set_yticks(range(len(named)), [classes[c] for c in named], fontsize=7)
            ax.invert_yaxis()
            ax.set(xlim=(0, 1), xticks=())
            ax.grid(visible=False)
    return figure


def strip(
    query: UInt8[Tensor, "3 H W"], label: int, vote: Vote, shown: int
) -> UInt8[Tensor, "3 H2 W2"]:
    """The query and `shown` neighbours beside each other; white where there are fewer."""
    tiles = [framed(query, WHITE)]
    for picture, own in zip(vote.pictures[:shown], vote.labels.tolist(), strict=False):
        tiles.append(framed(picture, SAME if own == label else OTHER))
    blank = torch.full_like(tiles[0], 255)
    return torch.cat(tiles + [blank] * (shown + 1 - len(tiles)), dim=2)


def framed(picture: UInt8[Tensor, "3 H W"], color: str) -> UInt8[Tensor, "3 H2 W2"]:
    """A picture in a frame of that colour (such as #009E73), and white around it."""
    _, H, W = picture.shape
    edge = FRAME + GAP
    out = torch.full((3, H + 2 * edge, W + 2 * edge), 255, dtype=torch.uint8)
    rgb = torch.tensor(list(bytes.fromhex(color.removeprefix("#"))), dtype=torch.uint8)
    out[:, GAP:-GAP, GAP:-GAP] = rgb[:, None, None]
    out[:, edge:-edge, edge:-edge] = picture
    return out
