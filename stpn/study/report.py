"""A study's table and plot as Markdown and as one HTML file that needs nothing else."""

import base64
import html
import json
from pathlib import Path

from tabulate import tabulate

from ..errors import atomic_path
from .plots import draw_plot

RESULTS, MARKDOWN, PAGE, PLOT = "results.json", "report.md", "report.html", "plot.png"
_STYLE = ("body{font:15px/1.45 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
          "table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.25rem .7rem;text-align:right}"
          "td:first-child,th:first-child"
          "{text-align:left}img{max-width:100%}")


def write_report(summary, output, speeds=None):
    """summary: what summarise returns; speeds: {row name: frames per second relative to the baseline} or None.
    Writes RESULTS, MARKDOWN, PAGE and PLOT into output -> their paths."""
    output, speeds = Path(output), speeds or {}
    output.mkdir(parents=True, exist_ok=True)
    headers, table = report_table(summary, speeds)
    picture = draw_plot(summary, speeds)
    notes = report_notes(summary)
    files = {RESULTS: json.dumps({**summary, "speeds": speeds}, indent=1).encode(),
             MARKDOWN: _markdown(summary, headers, table, notes).encode(), PLOT: picture,
             PAGE: _page(summary, headers, table, notes, picture).encode()}
    for name, content in files.items():
        with atomic_path(output / name) as part:
            part.write_bytes(content)
    return [output / name for name in files]


def report_table(summary, speeds):
    """-> (headers, rows of text)."""
    several = len(summary["seeds"]) > 1
    headers = ["", *(metric.split("/", 1)[1] for metric in summary["metrics"]), "gain, seed by seed", "parameters"]
    rows = [[row["name"], *(_cell(row["metrics"].get(metric), several) for metric in summary["metrics"]), _gain(row),
             "" if row["parameters"] is None else f"{row['parameters']:,}"] for row in summary["rows"]]
    if speeds:
        headers.append("speed / baseline")
        for row in rows:
            row.append(f"{speeds[row[0]]:.3f}" if row[0] in speeds else "")
    return headers, rows


def report_notes(summary):
    """-> lines on what the table leaves open."""
    seeds = ", ".join(map(str, summary["seeds"]))
    notes = [f"Mean over seeds {seeds}, ± their standard deviation. The gain is that of {summary['metrics'][0]} over "
             "the baseline of the same seed."]
    missing = [f"{row['name']} (seeds {', '.join(map(str, row['missing']))})"
               for row in summary["rows"] if row["missing"]]
    if missing:
        notes.append(f"Not run yet: {'; '.join(missing)}.")
    kept = [f"{row['name']} those of {row['weights_of']}" for row in summary["rows"] if row["weights_of"]]
    if kept:
        notes.append(f"Evaluated with the weights of another row: {'; '.join(kept)}.")
    return notes


def _cell(figures, several):
    if figures is None:
        return "-"
    spread = f" ± {figures['spread']:.1f}" if several and figures["spread"] is not None else ""
    return f"{figures['mean']:.1f}{spread}"


def _gain(row):
    first = next(iter(row["metrics"].values()), None)
    return "" if row["baseline"] or not first or not first["gain"] else " ".join(f"{v:+.1f}" for v in first["gain"])


def _markdown(summary, headers, table, notes):
    text = tabulate(table, headers=headers, tablefmt="github", disable_numparse=True)
    return "\n\n".join([f"# {summary['name']}", f"![{summary['metrics'][0]}]({PLOT})", text, *notes]) + "\n"


def _page(summary, headers, table, notes, picture):
    rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in headers)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    image = base64.b64encode(picture).decode()
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    title = html.escape(summary["name"])
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
            f'<h1>{title}</h1><img alt="{html.escape(summary["metrics"][0])}" src="data:image/png;base64,{image}">'
            f"<table><tr>{head}</tr>{body}</table>{said}</html>\n")
