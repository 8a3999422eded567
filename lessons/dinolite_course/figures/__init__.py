"""Figures of the course and of reports: each is one call with arrays in and a Figure out."""

from dinolite.viz.attention import attention_figure, attention_grid
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.pca import pca_figure, pca_rgb
from dinolite.viz.similarity import neighbours_figure, similarity_figure, similarity_map
from dinolite_course.figures.bars import bars_figure
from dinolite_course.figures.boxes import boxes_figure
from dinolite_course.figures.budget import budget_figure
from dinolite_course.figures.circle import circle_figure
from dinolite_course.figures.collapse import answers_figure, directions_figure, monitors_figure
from dinolite_course.figures.compare import compare_figure
from dinolite_course.figures.confusion import confusion_figure
from dinolite_course.figures.correspondences import correspondences_figure
from dinolite_course.figures.crop_pairs import crop_pairs_figure
from dinolite_course.figures.crops import batch_figure
from dinolite_course.figures.depth import depth_figure
from dinolite_course.figures.ema import memory_figure, paths_figure
from dinolite_course.figures.entropy_floor import entropy_floor_figure
from dinolite_course.figures.explorers import explore
from dinolite_course.figures.family import family_figure
from dinolite_course.figures.film import film_colors, film_figure
from dinolite_course.figures.foreground import first_component, foreground_figure, foreground_mask
from dinolite_course.figures.framed import framed_figure
from dinolite_course.figures.gradients import gradient_figure
from dinolite_course.figures.hidden_words import assignments_figure, patch_maps_figure
from dinolite_course.figures.histograms import histogram_figure
from dinolite_course.figures.layers import layers_figure
from dinolite_course.figures.lines import lines_figure
from dinolite_course.figures.live import LiveFigure, run_figure
from dinolite_course.figures.loglog import loglog_figure
from dinolite_course.figures.loss_split import loss_split_figure
from dinolite_course.figures.maps import map_rows_figure
from dinolite_course.figures.masks import hidden_share_figure, masked_figure, positions_figure
from dinolite_course.figures.matrices import matrix_figure
from dinolite_course.figures.measures import measures_figure
from dinolite_course.figures.norms import norms_figure
from dinolite_course.figures.one_step import one_step_figure
from dinolite_course.figures.opinions import opinions_figure
from dinolite_course.figures.parameters import parameters_figure
from dinolite_course.figures.patches import kernels_figure, patch_grid_figure, sequence_figure
from dinolite_course.figures.pipeline import pipeline_map
from dinolite_course.figures.places import looking_figure, relative_position_figure
from dinolite_course.figures.points import points_figure
from dinolite_course.figures.prototypes import even_prototypes, favourites_figure, prototypes_figure
from dinolite_course.figures.queries import lookup_figure, patch_token, query_attention_figure
from dinolite_course.figures.resolutions import resolutions_figure
from dinolite_course.figures.rollout import attention_rollout
from dinolite_course.figures.rope import angle_field_figure, coordinates_figure, turned_pairs_figure
from dinolite_course.figures.schedules import schedules_figure
from dinolite_course.figures.shares import held_figure, who_holds_figure
from dinolite_course.figures.signal import (
    depth_maps_figure,
    kept_figure,
    mosaic_figure,
    signal_figure,
)
from dinolite_course.figures.sphere import sphere_figure
from dinolite_course.figures.steps import steps_figure
from dinolite_course.figures.tables import tables_figure
from dinolite_course.figures.targets import targets_figure
from dinolite_course.figures.tokens import prefix_attention_figure, token_strip_figure
from dinolite_course.figures.views import changes_figure, meetings_figure
from dinolite_course.figures.votes import Vote, votes_figure

__all__ = [
    "LiveFigure",
    "Vote",
    "angle_field_figure",
    "answers_figure",
    "assignments_figure",
    "attention_figure",
    "attention_grid",
    "attention_rollout",
    "bars_figure",
    "batch_figure",
    "boxes_figure",
    "budget_figure",
    "changes_figure",
    "circle_figure",
    "compare_figure",
    "confusion_figure",
    "coordinates_figure",
    "correspondences_figure",
    "crop_pairs_figure",
    "curves_figure",
    "depth_figure",
    "depth_maps_figure",
    "directions_figure",
    "entropy_floor_figure",
    "even_prototypes",
    "explore",
    "family_figure",
    "favourites_figure",
    "film_colors",
    "film_figure",
    "first_component",
    "foreground_figure",
    "foreground_mask",
    "framed_figure",
    "gradient_figure",
    "held_figure",
    "hidden_share_figure",
    "histogram_figure",
    "kept_figure",
    "kernels_figure",
    "layers_figure",
    "lines_figure",
    "loglog_figure",
    "looking_figure",
    "lookup_figure",
    "loss_split_figure",
    "map_rows_figure",
    "masked_figure",
    "matrix_figure",
    "measures_figure",
    "meetings_figure",
    "memory_figure",
    "monitors_figure",
    "mosaic_figure",
    "neighbours_figure",
    "norms_figure",
    "one_step_figure",
    "opinions_figure",
    "parameters_figure",
    "patch_grid_figure",
    "patch_maps_figure",
    "patch_token",
    "paths_figure",
    "pca_figure",
    "pca_rgb",
    "pipeline_map",
    "points_figure",
    "positions_figure",
    "prefix_attention_figure",
    "prototypes_figure",
    "query_attention_figure",
    "read_log",
    "relative_position_figure",
    "resolutions_figure",
    "run_figure",
    "schedules_figure",
    "sequence_figure",
    "signal_figure",
    "similarity_figure",
    "similarity_map",
    "sphere_figure",
    "steps_figure",
    "tables_figure",
    "targets_figure",
    "token_strip_figure",
    "turned_pairs_figure",
    "votes_figure",
    "who_holds_figure",
]
