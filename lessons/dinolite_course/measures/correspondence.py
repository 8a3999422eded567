"""Do patches find themselves again in another view of the same picture? Both views are cut from one
photograph by known matrices, so that the right place of every patch is known.

DINOv3 Sec. 6.1.3 and App. D.3 match keypoints in pairs of photographs; the official code has
nothing of the kind.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor


class View(NamedTuple):
    """A square cut out of a photograph. `matrix` takes places in the view to places in the
    photograph, both from -1 (left, above) to 1."""

    picture: UInt8[Tensor, "3 side side"]
    matrix: Float[Tensor, "2 3"]


def cut_view(
    photo: UInt8[Tensor, "3 _ _"],
    side: int,
    zoom: float = 1.0,
    angle: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    mirror: bool = False,
) -> View:
    """A view of a square photograph, enlarged `zoom` times.

    Args:
        side: of the view in pixels.
        angle: degrees by which the view is turned.
        shift: of the view's middle, to the right and down, in half sides of the photograph.
        mirror: left and right exchanged.

    Raises:
        ValueError: the photograph is no square, zoom is not above 0, or side below 1.
    """
    if photo.shape[1] != photo.shape[2] or zoom <= 0 or side < 1:
        raise ValueError(
            f"photo is {list(photo.shape)}, zoom = {zoom}, side = {side}; wanted are a square, "
            "zoom above 0, side at least 1"
        )
    c, s = (f(math.radians(angle)) / zoom for f in (math.cos, math.sin))
    m = -1.0 if mirror else 1.0
    matrix = torch.tensor([[c * m, -s, shift[0]], [s * m, c, shift[1]]])
    grid = F.affine_grid(matrix[None], [1, 3, side, side], align_corners=False)
    x = photo[None].float().cpu()
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    return View(x[0].round().clamp(0, 255).to(torch.uint8), matrix)


def centres(grid: tuple[int, int]) -> Float[Tensor, "N 2"]:
    """Middles of all patches, row by row, as (x, y) from -1 to 1."""
    y, x = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in grid)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1).flip(1)


def places(a: View, b: View, grid: tuple[int, int]) -> Float[Tensor, "N 2"]:
    """Where the middle of every patch of view a lies in view b, as (row, column) in patches: the
    middle of the first patch is (0, 0). Outside of b it is below -0.5, or n - 0.5 and more."""
    photo = centres(grid) @ a.matrix[:, :2].T + a.matrix[:, 2]
    xy = torch.linalg.solve(b.matrix[:, :2], (photo - b.matrix[:, 2]).T).T
    size = torch.tensor([grid[1], grid[0]])
    return ((xy + 1) / 2 * size - 0.5).flip(1)


def mutual_neighbours(
    a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]
) -> tuple[Int64[Tensor, " N"], Bool[Tensor, " N"]]:
    """The row of b most like each row of a by cosine; and whether the choice is returned: of all
    rows of a, that row of b has this one as its nearest."""
    cosine = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    nearest, back = cosine.argmax(dim=1), cosine.argmax(dim=0)
    return nearest, back[nearest] == torch.arange(len(a), device=a.device)


class Matches(NamedTuple):
    """Per patch of view a: its nearest in b, mutual or not, right or not (at most one patch away in
    row and in column), and whether its right place lies inside b at all."""

    nearest: Int64[Tensor, " N"]
    mutual: Bool[Tensor, " N"]
    right: Bool[Tensor, " N"]
    visible: Bool[Tensor, " N"]

    def pairs(self) -> tuple[Int64[Tensor, " P"], Int64[Tensor, " P"], Bool[Tensor, " P"]]:
        """The mutual ones whose right place is visible: patch of a, patch of b, right or not."""
        i = (self.mutual & self.visible).nonzero().flatten()
        return i, self.nearest[i], self.right[i]


def match_views(
    a: View, b: View, features_a: Float[Tensor, "D h w"], features_b: Float[Tensor, "D h w"]
) -> Matches:
    """Look for every patch of view a in view b, each view's mean patch subtracted."""
    h, w = features_a.shape[1:]
    xa, xb = (f.flatten(1).T - f.flatten(1).mean(dim=1) for f in (features_a, features_b))
    nearest, mutual = mutual_neighbours(xa, xb)
    truth = places(a, b, (h, w))
    found = torch.stack([nearest // w, nearest % w], dim=1).cpu()
    inside = ((truth > -0.5) & (truth < torch.tensor([h, w]) - 0.5)).all(dim=1)
    right = ((found - truth).abs() <= 1 + 1e-3).all(dim=1) & inside  # whole places, rounded
    return Matches(nearest, mutual, right, inside)
