"""Exercises 03.4 and 03.5, where patches are: coordinates of a box that grows with the grid, angles
for video. The answers and what people get wrong.
"""

import math

import torch
from torch import Tensor


def same_step(n: int, n_train: int) -> Tensor:
    return 2 * (torch.arange(n) + 0.5 - n / 2) / n_train


def centres(n: int) -> Tensor:
    return 2 * (torch.arange(n) + 0.5) / n - 1


def video_angles(frames: int, rows: int, columns: int, periods: Tensor) -> Tensor:
    grid = torch.meshgrid(centres(frames), centres(rows), centres(columns), indexing="ij")
    places = torch.stack(grid, dim=-1).flatten(0, 2)  # [T H W, 3]
    return (2 * math.pi * places[:, :, None] / periods).flatten(1)


def column_first(t: int, h: int, w: int, periods: Tensor) -> Tensor:
    """The right angles with the axes in the order column, row, frame."""
    return video_angles(t, h, w, periods).unflatten(1, (3, -1)).flip(1).flatten(1)


def mixed_pairs(t: int, h: int, w: int, periods: Tensor) -> Tensor:
    """Frame, row, column in turn for each period."""
    return video_angles(t, h, w, periods).unflatten(1, (3, -1)).mT.flatten(1)


def columns_slowest(t: int, h: int, w: int, periods: Tensor) -> Tensor:
    """The right angles, tokens counted with the frame running fastest."""
    angles = video_angles(t, h, w, periods).unflatten(0, (t, h, w))
    return angles.permute(2, 1, 0, 3).flatten(0, 2)


def frame_by_column(t: int, h: int, w: int, periods: Tensor) -> Tensor:
    """The right angles, tokens counted as `meshgrid` does when nobody says "ij"."""
    angles = video_angles(t, h, w, periods).unflatten(0, (t, h, w))
    return angles.transpose(0, 1).flatten(0, 2)
