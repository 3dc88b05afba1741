"""The success plot of single-object tracking: the share of frames above each overlap."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import atomic_path
from .tracking_metrics import THRESHOLDS


def write_success_plot(path, scores, *, dataset):
    """path: of a PNG; scores: {tracker: Score}, drawn best first; dataset: named in the title."""
    # No pyplot: it would keep the figure, and ask for a window where there is a screen.
    figure = Figure(figsize=(6, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="overlap threshold", ylabel="success rate", xlim=(0, 1), ylim=(0, 1.02),
                              title=f"Success plot, {dataset}")
    for tracker, score in sorted(scores.items(), key=lambda item: -item[1].ao):
        # A name is no formula: $ and a leading _ mean something to the legend.
        label = f"[AO {100 * score.ao:.1f}] {tracker}".replace("$", r"\$")
        axes.plot(THRESHOLDS, score.curve, label=label, linewidth=2)
    axes.grid(alpha=0.4)
    axes.legend(loc="lower left")
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
