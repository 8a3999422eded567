"""Figures of the course and of reports: each is one call with arrays in and a Figure out."""

from dinolite.viz.attention import attention_figure, attention_grid
from dinolite.viz.crops import batch_figure
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.explorers import explore
from dinolite.viz.neighbours import neighbours_figure
from dinolite.viz.pca import pca_figure, pca_rgb
from dinolite.viz.pipeline import pipeline_map
from dinolite.viz.similarity import similarity_figure, similarity_map

__all__ = [
    "attention_figure",
    "attention_grid",
    "batch_figure",
    "curves_figure",
    "explore",
    "neighbours_figure",
    "pca_figure",
    "pca_rgb",
    "pipeline_map",
    "read_log",
    "similarity_figure",
    "similarity_map",
]
