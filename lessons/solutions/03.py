"""Solutions of lesson 03. Try first: `check` in the lesson tells you what kind of wrong it is."""

import torch


def table_shape(height, width, patch, embed_dim, heads):
    return (height // patch) * (width // patch), embed_dim // heads


def turns(i, base, head_dim):
    return 2 / base ** (4 * i / head_dim)


def turn_neighbours(x, angle):
    a, b = x[:, 0::2], x[:, 1::2]
    sin, cos = angle.sin(), angle.cos()
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return turned.flatten(1)


def growing_box(n, n_train):
    # One step turns by the same angle on every grid, as in training. The price:
    # a larger grid leaves the box, and its far corners have angles (and
    # distances) that the network has never seen. The box of DINOv3 keeps the
    # places and shortens the steps instead.
    return 2 * (torch.arange(n) + 0.5 - n / 2) / n_train


def video_angles(frames, rows, columns, periods):
    # A head needs 6 numbers per period now: three axes, and pairs.
    def centres(n):
        return 2 * (torch.arange(n) + 0.5) / n - 1

    axes = [centres(frames), centres(rows), centres(columns)]
    grid = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack(grid, dim=-1).flatten(0, 2)  # [T H W, 3]
    angle = 2 * torch.pi * places[:, :, None] / periods  # [T H W, 3, P]
    return angle.flatten(1)
