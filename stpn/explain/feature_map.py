"""The picture of two models' features as maps: groups of objects from top to bottom, the models beside each other."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_WIDTH, _ROW, _LEGEND_LINE = 9.0, 2.9, 0.24  # inches
_DPI = 150
_LEGEND_COLUMNS = 6  # at most
# Ten colours that stay apart for most colour-blind readers (Tol's "muted"); a further ten classes get another marker.
_COLORS = ("#332288", "#cc6677", "#ddcc77", "#117733", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#888888")
_MARKERS = ("o", "^", "s", "D")


def draw_maps(places, labels, groups, *, titles, classes):
    """places: {model's name: (n, 2)}; labels: (n,) class numbers; groups: {name: (n,) bool}; titles: {(group, model):
    text}, above the panel behind the model's name; classes: names by number. -> PNG bytes.

    In each panel the group's objects have the colour and marker of their class; those of the other groups are grey
    behind, so that all panels of a model show one map."""
    present = [int(label) for label in np.unique(labels)]
    style = {label: (_COLORS[i % len(_COLORS)], _MARKERS[i // len(_COLORS) % len(_MARKERS)])
             for i, label in enumerate(present)}
    lines = -(-len(present) // _LEGEND_COLUMNS)
    figure = Figure(figsize=(_WIDTH, _ROW * len(groups) + _LEGEND_LINE * (1 + lines)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(groups), len(places), squeeze=False)
    for row, (group, inside) in zip(panels, groups.items(), strict=True):
        for axes, (model, xy) in zip(row, places.items(), strict=True):
            _draw(axes, xy, labels, inside, style)
            axes.set_title(f"{model}: {titles[group, model]}", fontsize=10)
        row[0].set_ylabel(group, fontsize=12, fontweight="bold")
    handles = [Line2D([], [], linestyle="", color=color, marker=marker, label=classes[label])
               for label, (color, marker) in style.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(present) // lines), fontsize=10,
                  frameon=False, handletextpad=0.1)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    return stream.getvalue()


def _draw(axes, xy, labels, inside, style):
    axes.scatter(*xy[~inside].T, s=5, color="0.87", linewidths=0)
    for label, (color, marker) in style.items():
        axes.scatter(*xy[inside & (labels == label)].T, s=16, color=color, marker=marker, linewidths=0.3,
                     edgecolors="white")
    axes.set(xticks=[], yticks=[])
    axes.margins(0.03)
