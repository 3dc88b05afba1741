"""A study's tables and plot as Markdown and as one HTML file that needs nothing else."""

import json
import math
from pathlib import Path
from statistics import mean

from ..errors import atomic_path
from .controls import CONTROLS
from .layout import Heading, Table, Text, as_html, as_markdown, html_page
from .plots import draw_plot, speed_rows

RESULTS, MARKDOWN, PAGE, PLOT, DRAWING = "results.json", "report.md", "report.html", "plot.png", "plot.svg"


def write_report(summary, output, speeds=None, notes=()):
    """summary: what summarise returns; speeds: {row name: speed relative to the row's baseline} or None; notes: lines
    below the table. Writes RESULTS, MARKDOWN, PAGE, PLOT and DRAWING into output -> their paths. The same content gives
    the same bytes."""
    output, speeds = Path(output), speeds or {}
    output.mkdir(parents=True, exist_ok=True)
    blocks, drawing = report_blocks(summary, speeds, notes), draw_plot(summary, speeds, "svg")
    metric, title = summary["metrics"][0], summary["name"]
    text = f"# {title}\n\n![{metric}]({DRAWING})\n\n{as_markdown(blocks, level=2)}"
    files = {RESULTS: json.dumps(_plain({**summary, "speeds": speeds}), indent=1, allow_nan=False).encode(),
             MARKDOWN: text.encode(), PAGE: html_page(title, drawing.decode(), as_html(blocks)).encode(),
             PLOT: draw_plot(summary, speeds, "png"), DRAWING: drawing}
    for name, content in files.items():
        with atomic_path(output / name) as part:
            part.write_bytes(content)
    return [output / name for name in files]


def report_body(folder, *, level):
    """-> Markdown of the report in folder, without its title and plot, its headings of that level."""
    body = (Path(folder) / MARKDOWN).read_text().split("\n\n", 2)[2]
    return "\n".join("#" * level + line[2:] if line.startswith("## ") else line for line in body.split("\n"))


def report_blocks(summary, speeds, notes=()):
    """-> the report below its plot, a list of Heading, Table and Text: rows, what they leave open, controls."""
    rows = [row for row in summary["rows"] if not row["control"]]
    blocks = [_table(rows, summary, speeds), *map(Text, [*_notes(summary, speeds), *notes])]
    for owner, controls in controls_of(summary).items():
        blocks += _controls(summary, owner, controls, speeds)
    return blocks


def controls_of(summary):
    """-> {name of a row: its controls, a list of rows}. A control belongs to the row whose weights it evaluates; one
    that is trained to that of the other controls of its group, or to the first row there that is trained."""
    found = {}
    for row in summary["rows"]:
        if row["control"]:
            found.setdefault(_owner(row, summary["rows"]), []).append(row)
    return found


def _owner(row, rows):
    if row["weights_of"]:
        return row["weights_of"]
    group = [other for other in rows if other["group"] == row["group"]]
    evaluated = [other["weights_of"] for other in group if other["control"] and other["weights_of"]]
    trained = [o["name"] for o in group if not (o["control"] or o["baseline"] or o["weights_of"])]
    return next(iter([*evaluated, *trained]), "")


def _controls(summary, owner, controls, speeds):
    """The controls' part of the report: beside them their row and its baseline."""
    group = {row["group"] for row in summary["rows"] if row["name"] == owner}
    beside = [row for row in summary["rows"] if row["name"] == owner or row["baseline"] and row["group"] in group]
    table = _table([*beside, *controls], summary, speeds)
    said = {row["name"]: CONTROLS[row["control"]].rules_out for row in controls}
    rows = [[*row, said.get(row[0], "")] for row in table.rows]
    text = (f"A control is {owner or 'the model'} without one thing that it might gain from. Where a control gains as "
            "much, the gain is owed to what the last column says; where it gains nothing, it is not.")
    return [Heading(f"Controls of {owner}" if owner else "Controls"), Text(text),
            Table([*table.headers, "a gain here would come from"], rows)]


def _table(rows, summary, speeds):
    """speeds get a column where one of the rows has one."""
    metrics = summary["metrics"]
    headers = ["", *(metric.split("/", 1)[1] for metric in metrics), f"gain in {metrics[0].split('/', 1)[1]}",
               "parameters"]
    cells = [[row["name"], *(_cell(row["metrics"].get(metric)) for metric in metrics), _gain(row, metrics[0]),
              "" if row["parameters"] is None else f"{row['parameters']:,}"] for row in rows]
    if any(row["name"] in speeds for row in rows):
        headers.append("speed / baseline")
        for row in cells:
            row.append(f"{speeds[row[0]]:.3f}" if row[0] in speeds else "")
    return Table(headers, cells)


def _cell(figures):
    if figures is None:
        return "-"
    spread = f" ± {figures['spread']:.1f}" if figures["spread"] is not None else ""
    return f"{figures['mean']:.1f}{spread}" if math.isfinite(figures["mean"]) else "not defined"


def _gain(row, metric):
    gains = (row["metrics"].get(metric) or {"gain": None})["gain"]
    if row["baseline"] or not gains:
        return ""
    each = f" ({' '.join(f'{gain:+.1f}' for gain in gains)})" if len(gains) > 1 else ""
    return f"{mean(gains):+.1f}{each}"


def _notes(summary, speeds):
    """-> sentences on how to read the table, and on what it leaves open."""
    seeds = ", ".join(map(str, summary["seeds"]))
    notes = [f"Mean ± standard deviation over the seeds {seeds}; in percent. Gain: over the baseline, in brackets seed "
             "by seed." if len(summary["seeds"]) > 1 else f"Seed {seeds}, in percent. Gain: over the baseline."]
    missing = [f"{row['name']} (seeds {', '.join(map(str, row['missing']))})"
               for row in summary["rows"] if row["missing"]]
    if missing:
        notes.append(f"Not run yet: {'; '.join(missing)}.")
    kept = [row["name"] for row in summary["rows"] if row["weights_of"] and not row["control"]]
    of = dict.fromkeys(row["weights_of"] for row in summary["rows"] if row["name"] in kept)
    if kept:
        notes.append(f"Not trained anew but evaluated with the weights of {', '.join(of)}: {'; '.join(kept)}.")
    return notes + (_speed_notes(summary, speeds) if summary["figure"] == "speed" else [])


def _speed_notes(summary, speeds):
    shown, timed = speed_rows(summary, speeds)
    if not timed:
        return ["No speed has been measured (study.py --speed, on a quiet machine), so that the plot is over "
                "parameters."]
    left = [row["name"] for row in summary["rows"] if row["metrics"] and row not in shown]
    return [f"Not in the plot, as their speed was not measured: {'; '.join(left)}."] if left else []


def _plain(value):
    """JSON knows no NaN: None instead."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
