"""The study file: rows of a table as overrides of a configuration.

    name: "Table 5(b): support frames"
    config: configs/toy/stpn.yaml          # relative to the study file, or else to the project
    set: {SOLVER.MAX_ITER: 800}            # overrides of all rows
    seeds: [0, 1, 2]
    metrics: [bbox/AP50, bbox/AP50-deteriorated]      # task/figure as the evaluators name them; the first is plotted
    figure: line                           # line (over x), speed (against frames per second) or bars
    x: "K per side"                        # what the rows' x means
    rows:
      - {name: baseline, config: configs/toy/baseline.yaml, baseline: true}
      - {name: "K = 7", x: 7}
      - {name: "K = 1", x: 1, set: {INPUT.SUPPORT.FRAMES_PER_SIDE: 1}, weights_of: "K = 7"}      # evaluated alone
      - {name: "supports of another video", control: another_video, weights_of: "K = 7"}
"""

import difflib
import re
from pathlib import Path
from typing import NamedTuple

import yaml

from ..engine.config_file import PROJECT, load_config
from ..errors import InputError
from .controls import CONTROLS

FIGURES = ("line", "speed", "bars")
_STUDY_KEYS = ("name", "config", "set", "seeds", "metrics", "figure", "x", "rows")
_ROW_KEYS = ("name", "config", "set", "x", "baseline", "weights_of", "control", "group")


class Row(NamedTuple):
    """config: Path; overrides: ["KEY", value, ...]; x: its place on the axis or None; group: bars beside each other;
    weights_of: name of the row whose trained weights are evaluated, "" for one that is trained; control: a name in
    CONTROLS or ""."""

    name: str
    config: Path
    overrides: list
    x: float | None
    baseline: bool
    weights_of: str
    control: str
    group: str

    @property
    def folder(self):
        """Name of the row's folder."""
        return re.sub(r"[^A-Za-z0-9]+", "_", self.name).strip("_").lower()


class Study(NamedTuple):
    """metrics: ["task/figure", ...]; axis: what x means."""

    name: str
    rows: list
    seeds: list
    metrics: list
    figure: str
    axis: str

    def row(self, name):
        return next(row for row in self.rows if row.name == name)

    @property
    def baseline(self):
        """The row that speeds and gains are relative to, or None."""
        return next((row for row in self.rows if row.baseline), None)


def read_study(path):
    """-> Study, its configurations loaded once to see that they are sound. InputError names file and row."""
    path = Path(path)
    content = _content(path)
    _refuse_keys(content, _STUDY_KEYS, path)
    for key in ("name", "seeds", "metrics", "rows"):
        if not content.get(key):
            raise InputError(f"{path}: {key} is missing; see the top of stpn/study/plan.py for an example")
    figure = content.get("figure", "bars")
    if figure not in FIGURES:
        raise InputError(f"{path}: figure is {figure!r}; expected one of {', '.join(FIGURES)}")
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise InputError(f"{path}: seeds are {seeds!r}; expected a list of whole numbers from 0")
    rows = [_row(entry, content, path) for entry in content["rows"]]
    _check_rows(rows, figure, path)
    return Study(content["name"], rows, seeds, _metrics(content, path), figure, content.get("x", ""))


def _content(path):
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no study file {path}; those that come with the project are in configs/studies") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
        raise InputError(f"{path}: expected a study with a list of rows; see the top of stpn/study/plan.py")
    return content


def _metrics(content, path):
    metrics = content["metrics"]
    wrong = [m for m in metrics if not re.fullmatch(r"[^/]+/[^/]+", str(m))] if isinstance(metrics, list) else [metrics]
    if wrong:
        raise InputError(f"{path}: metric {wrong[0]!r}; expected task/figure such as bbox/AP50")
    return metrics


def _row(entry, content, path):
    if not isinstance(entry, dict) or not entry.get("name"):
        raise InputError(f"{path}: a row is {entry!r}; expected name and overrides")
    where = f"{path}, row {entry['name']!r}"
    _refuse_keys(entry, _ROW_KEYS, where)
    config = entry.get("config", content.get("config"))
    if not config:
        raise InputError(f"{where}: no config; give one to the study or the row")
    merged = {**content.get("set", {}), **entry.get("set", {})}
    row = Row(str(entry["name"]), _find(config, path), [part for pair in merged.items() for part in pair],
              entry.get("x"), bool(entry.get("baseline")), str(entry.get("weights_of", "")),
              str(entry.get("control", "")), str(entry.get("group", "")))
    if row.control and row.control not in CONTROLS:
        raise InputError(f"{where}: control {row.control!r} is not known; expected one of {', '.join(CONTROLS)}")
    try:
        load_config(str(row.config), row.overrides)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return row


def _find(config, path):
    beside = path.parent / config
    return beside if beside.is_file() else PROJECT / config


def _check_rows(rows, figure, path):
    names = [row.name for row in rows]
    for row in rows:
        where = f"{path}, row {row.name!r}"
        if [other.folder for other in rows].count(row.folder) > 1 or not row.folder:
            raise InputError(f"{where}: another row has this name, or one that differs in signs alone")
        if row.weights_of and row.weights_of not in names:
            near = difflib.get_close_matches(row.weights_of, names, n=1)
            raise InputError(f"{where}: weights_of names no row; did you mean {near[0] if near else names[0]!r}?")
        if row.weights_of and next(r for r in rows if r.name == row.weights_of).weights_of:
            raise InputError(f"{where}: weights_of {row.weights_of!r}, which is not trained itself; name a row that is")
        if figure == "line" and not row.baseline and not row.control and not isinstance(row.x, (int, float)):
            raise InputError(f"{where}: x is {row.x!r}; expected a number, as figure is line")
    if sum(row.baseline for row in rows) > 1:
        raise InputError(f"{path}: more than one row is the baseline")


def _refuse_keys(found, known, where):
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"{where}: key {key!r} is not known; {hint}")
