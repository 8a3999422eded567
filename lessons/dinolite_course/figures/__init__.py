"""Figures of the course and of reports: each is one call with arrays in and a Figure out. The files
are named by the shape of the picture, or by what it shows.
"""

# ruff: noqa: F401

from dinolite.viz.attention import attention_figure
from dinolite.viz.curves import curves_figure, read_log
from dinolite.viz.groups import groups_figure, patch_groups, renumbered
from dinolite.viz.pca import pca_figure, pca_rgb
from dinolite.viz.similarity import nearest_figure, similarity_figure, similarity_map
from dinolite_course.figures import crops, masks
from dinolite_course.figures.attention import (
    attention_rollout,
    patch_token,
    prefix_attention_figure,
    query_attention_figure,
)
from dinolite_course.figures.bars import (
    bars_figure,
    budget_figure,
    family_figure,
    held_figure,
    histogram_figure,
    named_bars_figure,
    parameters_figure,
)
from dinolite_course.figures.circles import (
    circle_figure,
    even_prototypes,
    gram_circles_figure,
    prototype_colors,
    prototypes_figure,
    sphere_figure,
)
from dinolite_course.figures.crops import batch_figure, boxes_figure
from dinolite_course.figures.diagrams import one_step_figure, pipeline_map, who_holds_figure
from dinolite_course.figures.ema import memory_figure, paths_figure
from dinolite_course.figures.explorers import explore
from dinolite_course.figures.lines import (
    entropy_floor_figure,
    lines_figure,
    loss_split_figure,
    panels_of,
    percent_of_run,
)
from dinolite_course.figures.live import LiveFigure, run_figure
from dinolite_course.figures.masks import assignments_figure, hidden_share_figure, positions_figure
from dinolite_course.figures.matrices import (
    answers_figure,
    confusion_figure,
    crop_pairs_figure,
    gradient_figure,
    matrix_figure,
    meetings_figure,
    targets_figure,
)
from dinolite_course.figures.patches import (
    kernels_figure,
    patch_grid_figure,
    sequence_figure,
    token_strip_figure,
)
from dinolite_course.figures.pca import (
    first_component,
    foreground_mask,
)
from dinolite_course.figures.rope import angle_field_figure, coordinates_figure, turned_pairs_figure
from dinolite_course.figures.rows import (
    Vote,
    compare_figure,
    in_colors,
    neighbours_figure,
    queries_figure,
    rows_figure,
    sizes_figure,
    votes_figure,
)
