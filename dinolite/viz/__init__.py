"""Figures of the course and of reports: each is one call with arrays in and a Figure out."""

from dinolite.viz.attention import attention_figure, attention_grid
from dinolite.viz.compare import compare_figure
from dinolite.viz.crops import batch_figure
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.depth import depth_figure
from dinolite.viz.explorers import explore
from dinolite.viz.matrices import matrix_figure
from dinolite.viz.neighbours import neighbours_figure
from dinolite.viz.parameters import parameters_figure
from dinolite.viz.patches import kernels_figure, patch_grid_figure, sequence_figure
from dinolite.viz.pca import pca_figure, pca_rgb
from dinolite.viz.pipeline import pipeline_map
from dinolite.viz.places import looking_figure, relative_position_figure
from dinolite.viz.queries import lookup_figure, patch_token, query_attention_figure
from dinolite.viz.rope import angle_field_figure, coordinates_figure, turned_pairs_figure
from dinolite.viz.signal import depth_maps_figure, kept_figure, mosaic_figure, signal_figure
from dinolite.viz.similarity import similarity_figure, similarity_map
from dinolite.viz.tokens import prefix_attention_figure, token_strip_figure

__all__ = [
    "angle_field_figure",
    "attention_figure",
    "attention_grid",
    "batch_figure",
    "compare_figure",
    "coordinates_figure",
    "curves_figure",
    "depth_figure",
    "depth_maps_figure",
    "explore",
    "kept_figure",
    "kernels_figure",
    "looking_figure",
    "lookup_figure",
    "matrix_figure",
    "mosaic_figure",
    "neighbours_figure",
    "parameters_figure",
    "patch_grid_figure",
    "patch_token",
    "pca_figure",
    "pca_rgb",
    "pipeline_map",
    "prefix_attention_figure",
    "query_attention_figure",
    "read_log",
    "relative_position_figure",
    "sequence_figure",
    "signal_figure",
    "similarity_figure",
    "similarity_map",
    "token_strip_figure",
    "turned_pairs_figure",
]
