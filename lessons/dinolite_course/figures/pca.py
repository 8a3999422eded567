"""Which patches are foreground, by their first principal component.

DINOv3 Fig. 13. The official `notebooks/pca.ipynb` gets its foreground from a classifier
trained on pictures with masks; the step here is known from pictures of DINOv2's features.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def first_component(patches: Float[Tensor, "n D h w"]) -> Float[Tensor, "n h w"]:
    """The first principal component of each picture by itself, over its standard deviation.

    Its sign is chosen so that more than half of the border patches are not positive.
    """
    n, _, h, w = patches.shape
    x = patches.detach().cpu().double().flatten(2).mT  # [n, N, D]
    x = x - x.mean(dim=1, keepdim=True)
    direction = torch.linalg.svd(x, full_matrices=False)[2][:, 0]  # [n, D]
    z = (x @ direction[:, :, None])[:, :, 0]
    z = (z / z.std(dim=1, keepdim=True).clamp(min=1e-12)).view(n, h, w)
    border = torch.ones(h, w, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    flip = (z[:, border] > 0).double().mean(dim=1) > 0.5
    return torch.where(flip[:, None, None], -z, z).float()


def foreground_mask(patches: Float[Tensor, "n D h w"]) -> Bool[Tensor, "n h w"]:
    """Where the first component is above 0."""
    return first_component(patches) > 0
