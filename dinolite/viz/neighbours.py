"""Which training pictures does a net take for the most alike? What k-NN counts, to look at.

DINO App. F.1 (k-NN protocol); the official code draws nothing of the kind.
"""

from jaxtyping import Int64, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from dinolite.viz.style import panels, show_image

SAME, OTHER = "#009E73", "#D55E00"


def neighbours_figure(
    bank_images: UInt8[Tensor, "n 3 H W"],
    bank_labels: Int64[Tensor, " n"],
    query_images: UInt8[Tensor, "m 3 H W"],
    query_labels: Int64[Tensor, " m"],
    neighbours: dict[str, Int64[Tensor, "m k"]],
) -> Figure:
    """One row per query: the query, then its k neighbours by each net, framed in green where the
    class is the query's and in orange where it is not.

    Args:
        neighbours: {"untrained": rows of the bank, "trained": ...}, the nearest first.
    """
    k = next(iter(neighbours.values())).shape[1]
    figure, axes = panels(len(query_images), 1 + k * len(neighbours))
    for i, row in enumerate(axes):
        show_image(row[0], query_images[i], "query" if i == 0 else "")
        for j, (name, rows) in enumerate(neighbours.items()):
            for c, found in enumerate(rows[i].tolist()):
                ax = row[1 + j * k + c]
                show_image(ax, bank_images[found], name if i == 0 and c == 0 else "")
                ax.set_axis_on()
                ax.set_xticks([])
                ax.set_yticks([])
                color = SAME if bank_labels[found] == query_labels[i] >= 0 else OTHER
                for spine in ax.spines.values():
                    spine.set(visible=True, color=color, linewidth=2.5)
    return figure
