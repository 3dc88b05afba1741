"""The success plot of single-object tracking: the share of frames above each overlap, a curve a tracker."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import atomic_path
from .tracking_report import best_first

_BESIDE = 5  # more trackers than this, and the legend would lie on the curves
# Points, times the line's width: each line leaves more of a period free than the one before, so that of curves that lie
# on each other all show. A colour comes again after ten.
_PERIOD, _DRAWN = 12, (12, 10, 8, 6, 4, 2)


def write_success_plot(path, scores, *, dataset):
    """path: of a PNG; scores: {tracker: Score or OpeScore}, drawn best first; dataset: named in the title."""
    # No pyplot: it would keep the figure, and ask for a window where there is a screen.
    many = len(scores) > _BESIDE
    figure = Figure(figsize=(9 if many else 6, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="overlap threshold", ylabel="success rate", xlim=(0, 1), ylim=(0, 1.02),
                              title=f"Success plot, {dataset}".replace("$", r"\$"))
    for number, (tracker, score) in enumerate(best_first(scores)):
        name, value = score.headline
        # A name is no formula: $ and a leading _ mean something to the legend.
        label = f"[{name} {value:.1f}] {tracker}".replace("$", r"\$")
        drawn = _DRAWN[number % len(_DRAWN)]
        axes.plot(np.linspace(0, 1, len(score.curve)), score.curve, label=label, linewidth=2,
                  linestyle=(0, (drawn, _PERIOD - drawn)) if drawn < _PERIOD else "-")
    axes.grid(alpha=0.4)
    if many:
        figure.legend(loc="outside right upper", fontsize="small", handlelength=4)
    else:
        axes.legend(loc="lower left", handlelength=4)
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
