"""Solutions of lesson 21. Try first: `check` in the lesson tells you what kind of wrong it is."""


def tokens(height, width, patch, registers):
    return 1 + registers + (height // patch) * (width // patch)


def box_factor(n, n_train):
    # A step is 2 / n long, so times n / n_train it is 2 / n_train. A rescale of
    # 2 draws factors from 1/2 to 2: with 16 x 16 trained, the steps of grids from
    # 8 x 8 to 32 x 32.
    return n / n_train


def fitting_size(height, width, short, patch):
    scale = short / min(height, width)
    return tuple(max(1, round(side * scale / patch)) * patch for side in (height, width))


def tiled_pairs(side, tile, patch, prefix):
    # The cost now grows with the area, not with its square. But a tile sees
    # nothing of its neighbours, and its patches lie in a box of its own: the
    # left edge of every tile is at -1.
    seen = prefix + (tile // patch) ** 2
    return (side // tile) ** 2 * seen**2
