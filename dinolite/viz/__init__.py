"""Figures of a run and of its report: each is one call with arrays in and a Figure out."""

from dinolite.viz.attention import attention_figure, attention_grid
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.pca import pca_figure, pca_rgb
from dinolite.viz.similarity import neighbours_figure, similarity_figure, similarity_map

__all__ = [
    "attention_figure",
    "attention_grid",
    "curves_figure",
    "neighbours_figure",
    "pca_figure",
    "pca_rgb",
    "read_log",
    "similarity_figure",
    "similarity_map",
]
