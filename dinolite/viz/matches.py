"""Which patch of one photograph shows the same as which of another? Patches that chose each other,
and of these the ones that move as their neighbours do.

DINOv3 Sec. 6.1.3 (geometric and semantic correspondence, by nearest patches); the official code has
no notebook for it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.data.picture_checks import check_layout
from dinolite.viz.style import LEFT, name_row, panels, show_image

AGREE, REACH = 4, 1.5  # neighbours that must move alike, and how far apart, in patches, at most
GAP = 12  # white pixels between two photographs


class Matches(NamedTuple):
    """Numbers (row by row) of patches that chose each other, in a and in b, and whether each moves
    as its neighbours do."""

    a: Int64[Tensor, " P"]
    b: Int64[Tensor, " P"]
    kept: Bool[Tensor, " P"]


def find_matches(a: Float[Tensor, "D h w"], b: Float[Tensor, "D h w"]) -> Matches:
    """Mutual nearest patches by cosine, the mean patch of both photographs taken off.

    A match is kept where at least `AGREE` of the eight patches around it in a have a match, too,
    and go the same way: they end as far from its own end as they begin from its beginning, up to
    `REACH` patches in row and column. Chance matches go anywhere and are not kept.
    """
    h, w = a.shape[1:]
    mean = torch.cat([a.flatten(1), b.flatten(1)], dim=1).mean(dim=1)
    x, y = (F.normalize(p.flatten(1).T - mean, dim=1).cpu() for p in (a, b))  # [h w, D]
    cosine = x @ y.T
    nearest, back = cosine.argmax(dim=1), cosine.argmax(dim=0)
    mutual = back[nearest] == torch.arange(h * w)
    places = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    move = places.flatten(1)[:, nearest].view(2, h, w).float() - places  # [2, h, w]
    move = torch.where(mutual.view(h, w), move, torch.inf)
    around = F.pad(move, (1, 1, 1, 1), value=torch.inf).unfold(1, 3, 1).unfold(2, 3, 1)
    alike = (around - move[..., None, None]).abs().amax(dim=0) <= REACH  # NaN, no match: no
    kept = alike.sum(dim=(2, 3)) - 1 >= AGREE  # itself does not count
    found = mutual.nonzero().flatten()
    return Matches(found, nearest[found], kept.flatten()[found])


def matches_figure(
    a: UInt8[Tensor, "3 H W"],
    b: UInt8[Tensor, "3 H W"],
    patches: Mapping[str, tuple[Float[Tensor, "D h w"], Float[Tensor, "D h w"]]],
    lines: int = 80,
    title: str = "",
    width: float = 8.0,
) -> Figure:
    """A row for each kind of features: both photographs and lines between matches that are kept
    (at most `lines`, evenly spread over them), coloured by the height at which they begin; beside
    it how many are kept, of all mutual ones.

    Args:
        patches: {"pixels": (of a, of b), "untrained": ..., "trained": ...}.
    """
    for name, image in {"a": a, "b": b}.items():
        check_layout(image, name, one=True)
    H, W = a.shape[1:]
    white = torch.full((3, H, GAP), 255, dtype=torch.uint8)
    figure, axes = panels(len(patches), 1, width, H / (2 * W + GAP), title, left=LEFT)
    for [ax], (name, (x, y)) in zip(axes, patches.items(), strict=True):
        h, w = x.shape[1:]
        found = find_matches(x, y)
        n = int(found.kept.sum())
        show_image(ax, torch.cat([a, white, b], dim=2))
        name_row(ax, name)
        ax.set_title(f"{n} of {len(found.kept)} matches move as their neighbours do", fontsize=10)
        shown = found.kept.nonzero().flatten()[torch.linspace(0, n - 1, min(n, lines)).long()]
        ends = [
            torch.stack([(i % w + 0.5) * W / w + shift, (i // w + 0.5) * H / h], dim=1) - 0.5
            for i, shift in ((found.a[shown], 0), (found.b[shown], W + GAP))
        ]
        colors = plt.get_cmap("turbo")((ends[0][:, 1] / H).numpy())
        segments = torch.stack(ends, dim=1).numpy()  # [lines, 2, 2]
        ax.add_collection(LineCollection(list(segments), colors=colors, linewidths=1))
        ax.scatter(*segments.reshape(-1, 2).T, s=5, c=colors.repeat(2, axis=0))
    return figure
