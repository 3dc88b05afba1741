"""The plot of a study: its first metric over x, over speed, or as bars. Every seed of every row in it is a point."""

import io
import math
import textwrap
from statistics import stdev

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from .labels import label_levels, label_points

MAIN = "#0072b2"
COLORS = (MAIN, "#d55e00", "#00805d", "#b8558b", "#a97400", "#7b5ea7", "#5a8f29", "#8c564b")  # dark enough for text
BASELINE = "#333333"
_SIZE = (8.0, 4.6)  # inches
_LARGEST = 260.0  # area of the largest marker, in square points
_WIDE = 16  # x that reaches over more than this factor is drawn in octaves
# Paths instead of text look the same everywhere; the salt makes the names inside the SVG those of the last time.
_SVG = {"svg.fonttype": "path", "svg.hashsalt": "study"}
_NO_METADATA = {"svg": dict.fromkeys(("Date", "Creator", "Format", "Type")), "png": {"Software": None}}


def draw_plot(summary, speeds, format="png"):
    """summary: what summarise returns; speeds: {row name: speed relative to the row's baseline}; format: "png" or
    "svg". -> bytes, the same for the same content."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_SVG):
        draw_figure(summary, speeds).savefig(stream, format=format, dpi=120, metadata=_NO_METADATA[format])
    return stream.getvalue()


def draw_figure(summary, speeds):
    """-> matplotlib Figure. Values that are not finite are left out."""
    figure = Figure(figsize=_SIZE)
    FigureCanvasAgg(figure)
    metric = summary["metrics"][0]
    rows = [row for row in summary["rows"] if finite_values(row, metric)]
    axes = {"line": _line, "speed": _speed, "bars": _bars}[summary["figure"]](figure, rows, summary, speeds)
    task, name = metric.split("/", 1)
    axes.set_ylabel(f"{name} ({task}), %")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.suptitle(textwrap.fill(summary["name"], 88), x=0.02, ha="left", fontsize="medium", fontweight="bold")
    return figure


def finite_values(row, metric):
    """-> the row's values of the metric that can be drawn, [] without a result."""
    return [value for value in row["metrics"].get(metric, {"values": []})["values"] if math.isfinite(value)]


def speed_rows(summary, speeds):
    """-> (the rows in a plot over speed, whether x is speed). Where no row's speed is known x is parameters."""
    rows = [row for row in summary["rows"] if row["metrics"]]
    timed = [row for row in rows if row["baseline"] or row["name"] in speeds]
    if any(row["name"] in speeds for row in rows):
        return timed, True
    return [row for row in rows if not row["control"]], False


def _line(figure, rows, summary, speeds):
    """A line for each series of the rows with an x; the others are levels, in a strip of columns on the right."""
    levels = [row for row in rows if row["x"] is None]
    axes, strip = figure.subplots(1, 2, sharey=True, width_ratios=[5, max(0.2, 0.33 * len(levels))])
    metric = summary["metrics"][0]
    points = sorted((row for row in rows if row["x"] is not None), key=lambda row: row["x"])
    series = list(dict.fromkeys(row["series"] for row in points))
    for name, color in zip(series, COLORS * len(series)):
        _draw_line(axes, [row for row in points if row["series"] == name], metric, color, name)
    _set_x(axes, [row["x"] for row in points], summary["axis"])
    colors = _level_colors(levels)
    for i, row in enumerate(levels):
        values = finite_values(row, metric)
        for part in (axes, strip):
            part.axhline(_mean(values), linestyle=(0, (4, 3)), linewidth=0.9, color=colors[i], alpha=0.75, zorder=0)
        _draw_seeds(strip, i, values, colors[i])
    strip.set_xlim(-0.6, max(len(levels), 1) - 0.4)
    strip.set_axis_off()
    if any(series):
        axes.legend(fontsize="small", loc="best")
    axes.set_zorder(1)
    axes.patch.set_alpha(0)
    texts = [f"{row['name']}  {_mean(finite_values(row, metric)):.1f}" for row in levels]
    label_levels(figure, strip, [_mean(finite_values(row, metric)) for row in levels], texts=texts, colors=colors)
    return axes


def _draw_line(axes, rows, metric, color, name):
    values = [finite_values(row, metric) for row in rows]
    axes.plot([row["x"] for row in rows], [_mean(found) for found in values], "-", color=color, label=name or None)
    for row, found in zip(rows, values):
        _draw_seeds(axes, row["x"], found, color)


def _set_x(axes, places, title):
    axes.set_xlabel(title)
    places = sorted(set(places))
    if places and places[0] > 0 and places[-1] / places[0] >= _WIDE:
        axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{x:g}" for x in places])
    axes.set_xticks([], minor=True)


def _level_colors(levels):
    others = iter(COLORS[1:] * max(1, len(levels)))
    return [BASELINE if row["baseline"] else next(others) for row in levels]


def _speed(figure, rows, summary, speeds):
    """The area of a marker stands for the number of parameters."""
    axes, metric = figure.subplots(), summary["metrics"][0]
    shown, timed = speed_rows(summary, speeds)
    rows = [row for row in rows if row in shown]
    scale = _LARGEST / max((row["parameters"] for row in rows), default=1)
    places, colors = [], _level_colors(rows)
    for row, color in zip(rows, colors):
        x = speeds.get(row["name"], 1.0) if timed else row["parameters"] / 1e6
        values = finite_values(row, metric)
        _draw_seeds(axes, x, values, color, mark=False)
        axes.scatter(x, _mean(values), s=scale * row["parameters"], color=color, alpha=0.55, linewidth=0, gid="mean")
        places.append((x, _mean(values)))
    axes.margins(0.2)
    axes.set_xlabel("frames per second relative to the baseline; area of a marker: parameters" if timed else
                    "parameters in millions (no speed measured)")
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.12, top=_top(summary))
    texts = [f"{row['name']}\n{row['parameters'] / 1e6:.3f}M" for row in rows]
    label_points(figure, axes, places, texts=texts, colors=colors)
    return axes


def _bars(figure, rows, summary, speeds):
    """The bars of a group beside each other, a colour for each series; above, the gain over the group's baseline."""
    axes, metric = figure.subplots(), summary["metrics"][0]
    groups, series = (list(dict.fromkeys(found)) for found in ([row["group"] for row in rows], map(series_of, rows)))
    colors = dict(zip(series, _level_colors([next(r for r in rows if series_of(r) == name) for name in series])))
    width = 0.84 / max(len(series), 1)
    for row in rows:
        values, i = finite_values(row, metric), series.index(series_of(row))
        x = groups.index(row["group"]) + (i - (len(series) - 1) / 2) * width
        axes.bar(x, _mean(values), 0.92 * width, color=colors[series[i]], alpha=0.45, gid=series[i])
        _draw_seeds(axes, x, values, colors[series[i]])
        _write_gain(axes, x, row, metric)
    _cut(axes, [value for row in rows for value in finite_values(row, metric)])
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlabel(summary["axis"])
    handles = [matplotlib.patches.Patch(color=colors[name], alpha=0.6, label=name) for name in series]
    columns = min(4, max(len(series), 1))
    figure.legend(handles=handles, fontsize="small", ncols=columns, loc="lower center", frameon=False)
    below = 0.1 + 0.05 * (math.ceil(len(series) / columns) + bool(summary["axis"]))
    figure.subplots_adjust(left=0.09, right=0.98, bottom=below, top=_top(summary))
    return axes


def series_of(row):
    """-> what gives a bar its colour and its name in the legend."""
    return row["series"] or ("baseline" if row["baseline"] else row["name"])


def _write_gain(axes, x, row, metric):
    gains = [gain for gain in row["metrics"][metric]["gain"] or () if math.isfinite(gain)]
    if gains and not row["baseline"]:
        axes.annotate(f"{_mean(gains):+.1f}", (x, _highest(finite_values(row, metric))), xytext=(0, 6),
                      textcoords="offset points", ha="center", fontsize="small")


def _highest(values):
    return max(*values, _mean(values) + _deviation(values))


def _cut(axes, values):
    """Differences of a point or two must be seen, so that the axis may not start at 0."""
    if values:
        room = max(values) - min(values) or 1.0
        low = max(0, min(values) - 0.6 * room)
        axes.set_ylim(low, max(values) + 0.15 * room)
        if low:
            axes.text(1.0, 1.01, "the axis does not start at 0", transform=axes.transAxes, ha="right",
                      fontsize="x-small", color="0.4")


def _draw_seeds(axes, x, values, color, *, mark=True):
    """Mean and standard deviation, and every seed as a point, a little aside so that it is not under the mean's."""
    axes.errorbar(x, _mean(values), _deviation(values), color=color, marker="o" if mark else "", markersize=5,
                  capsize=3, linewidth=1.2)
    aside = axes.transData + ScaledTranslation(7 / 72, 0, axes.figure.dpi_scale_trans)
    axes.plot([x] * len(values), values, ".", color=color, markersize=6, markeredgewidth=0, alpha=0.7, gid="seeds",
              transform=aside, zorder=3)


def _deviation(values):
    return stdev(values) if len(values) > 1 else 0.0


def _mean(values):
    return sum(values) / len(values)


def _top(summary):
    return 0.90 - 0.04 * (len(summary["name"]) // 88)
