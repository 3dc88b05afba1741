"""The plot of a study: its first metric over x, over speed, or as bars."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_SIZE = (7.2, 4.2)  # inches


def draw_plot(summary, speeds):
    """summary: what summarise returns; speeds: {row name: speed relative to the baseline}. -> PNG bytes."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    metric = summary["metrics"][0]
    rows = [row for row in summary["rows"] if row["metrics"]]
    {"line": _line, "speed": _speed, "bars": _bars}[summary["figure"]](axes, rows, metric, speeds)
    axes.set_ylabel(metric)
    axes.set_title(summary["name"])
    if summary["figure"] == "line":
        axes.set_xlabel(summary["axis"])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _line(axes, rows, metric, speeds):
    """The rows with an x as a line with every seed as a point; the others as level lines."""
    points = sorted((row for row in rows if row["x"] is not None), key=lambda row: row["x"])
    if points:
        axes.errorbar([row["x"] for row in points], [row["metrics"][metric]["mean"] for row in points],
                      [row["metrics"][metric]["spread"] or 0 for row in points], marker="o", capsize=3)
        for row in points:
            values = row["metrics"][metric]["values"]
            axes.plot([row["x"]] * len(values), values, ".", color="0.6", zorder=0)
        axes.set_xticks([row["x"] for row in points])
    for i, row in enumerate(row for row in rows if row["x"] is None):
        axes.axhline(row["metrics"][metric]["mean"], linestyle="--", color=f"C{i + 1}", label=row["name"])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _speed(axes, rows, metric, speeds):
    """Over speed, where it was measured; the area of a point stands for the number of parameters."""
    most = max((row["parameters"] for row in rows), default=1)
    for i, row in enumerate(row for row in rows if row["name"] in speeds or row["baseline"]):
        at, value = speeds.get(row["name"], 1.0), row["metrics"][metric]["mean"]
        axes.scatter(at, value, s=300 * row["parameters"] / most, color=f"C{i}", alpha=0.6)
        axes.annotate(f"{row['name']}\n{row['parameters'] / 1e6:.2f}M", (at, value), fontsize="small",
                      xytext=(6, 6), textcoords="offset points")
    axes.set_xlabel("frames per second relative to the baseline")
    axes.margins(0.25)


def _bars(axes, rows, metric, speeds):
    names = [f"{row['group']}\n{row['name']}" if row["group"] else row["name"] for row in rows]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for i, row in enumerate(rows):
        found, color = row["metrics"][metric], f"C{groups.index(row['group'])}"
        axes.bar(i, found["mean"], yerr=found["spread"] or 0, color=color, capsize=3, alpha=0.8)
        axes.plot([i] * len(found["values"]), found["values"], ".", color="0.2")
    axes.set_xticks(range(len(rows)), names, fontsize="small", rotation=20 if len(rows) > 4 else 0, ha="center")
    values = [value for row in rows for value in row["metrics"][metric]["values"]]
    if values:  # differences of a point or two must be seen
        room = max(values) - min(values) or 1.0
        axes.set_ylim(max(0, min(values) - room), max(values) + 0.3 * room)
