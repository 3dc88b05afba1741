"""The study file: rows of a table as overrides of a configuration.

    name: "Table 5(b): support frames"
    config: configs/toy/stpn.yaml          # relative to the study file, or else to the project
    set: {SOLVER.MAX_ITER: 800}            # overrides of all rows
    seeds: [0, 1, 2]
    metrics: [bbox/AP50, bbox/AP50-deteriorated]      # task/figure as the evaluators name them; the first is plotted
    figure: line                           # line (over x), speed (against frames per second) or bars
    x: "K per side"                        # what the rows' x means
    controls_of: "K = 7"                   # adds the rows of stpn/study/controls.py, or those in `controls`
    prepare:                               # what the rows start from: made, in this order, where it is not there
      - {makes: "{datasets}/toy_vid/toy.json", run: "projects/STPN/make_toy.py --output {datasets}/toy_vid"}
      - {makes: output/start.pth, needs: ["{datasets}/toy_vid/toy.json"], run: "projects/STPN/train_net.py ..."}
    rows:
      - {name: baseline, config: configs/toy/baseline.yaml, baseline: true}
      - {name: "K = 7", x: 7}
      - {name: "K = 1", x: 1, set: {INPUT.SUPPORT.FRAMES_PER_SIDE: 1}, weights_of: "K = 7"}      # evaluated alone
      - {name: "baseline, wide", group: wide, series: baseline, baseline: true, config: ...}     # of its group

{datasets} is the folder DETECTRON2_DATASETS (default "datasets"). `_BASE_: FILE` takes what another file says: its set
and prepare come first, the other keys of this file replace its.
"""

import re
from pathlib import Path

import yaml

from ..engine.config_file import PROJECT, load_config
from ..errors import InputError
from .controls import CONTROLS, control_rows
from .plan import Row, Study
from .study_check import check_config, check_rows, check_steps, near, read_step, refuse_keys

FIGURES = ("line", "speed", "bars")
_STUDY_KEYS = ("_BASE_", "name", "config", "set", "seeds", "metrics", "figure", "x", "rows", "prepare", "controls_of",
               "controls")
_ROW_KEYS = ("name", "config", "set", "x", "baseline", "weights_of", "control", "group", "series")


def read_study(path):
    """-> Study, its configurations loaded once to see that they are sound. InputError names file and row."""
    path = Path(path)
    content = _content(path)
    for key in ("name", "seeds", "metrics", "rows"):
        if not content.get(key):
            raise InputError(f"{path}: {key} is missing; see the top of stpn/study/study_file.py for an example")
    figure, seeds = content.get("figure", "bars"), content["seeds"]
    if figure not in FIGURES:
        raise InputError(f"{path}: figure is {figure!r}; expected one of {', '.join(FIGURES)}")
    if (not isinstance(seeds, list) or not all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds)
            or len(set(seeds)) < len(seeds)):
        raise InputError(f"{path}: seeds are {seeds!r}; expected a list of different whole numbers from 0 to "
                         f"{2**31 - 1}")
    rows = [_row(entry, content, path) for entry in content["rows"]]
    rows += _controls(content, rows, path)
    check_rows(rows, figure, path)
    steps = [read_step(entry, path) for entry in content.get("prepare", [])]
    check_steps(steps, path)
    return Study(path, content["name"], rows, seeds, _metrics(content, path), figure, content.get("x", ""), steps)


def _content(path, above=()):
    """-> what the file and those below it say. above: the files that lead to it."""
    if path.resolve() in above:
        raise InputError(f"{path}: _BASE_ leads back to the file itself; name another, or none")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no study file {path}; those that come with the project are in configs/studies") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a study file (YAML)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a study with a list of rows; see the top of stpn/study/study_file.py")
    refuse_keys(content, _STUDY_KEYS, path)
    content = {key: value for key, value in content.items() if value is not None}  # a key without a value says nothing
    for key, kind in (("set", dict), ("prepare", list), ("controls", list), ("rows", list)):
        if not isinstance(content.get(key, kind()), kind):
            raise InputError(f"{path}: {key} is {content[key]!r}; expected a {'list' if kind is list else 'mapping'}")
    if "_BASE_" not in content:
        return content
    if not isinstance(content["_BASE_"], str):
        raise InputError(f"{path}: _BASE_ is {content['_BASE_']!r}; expected the name of a file beside it")
    base = _content(path.parent / content["_BASE_"], (*above, path.resolve()))
    return {**base, **content, "set": {**base.get("set", {}), **content.get("set", {})},
            "prepare": [*base.get("prepare", []), *content.get("prepare", [])]}


def _metrics(content, path):
    metrics = content["metrics"]
    if not isinstance(metrics, list):
        raise InputError(f"{path}: metrics is {metrics!r}; expected a list such as [bbox/AP50, bbox/AP]")
    wrong = [metric for metric in metrics if not re.fullmatch(r"[^/]+/[^/]+", str(metric))]
    if wrong:
        raise InputError(f"{path}: metric {wrong[0]!r}; expected task/figure such as bbox/AP50")
    return metrics


def _row(entry, content, path):
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str | int | float) or entry["name"] == "":
        raise InputError(f"{path}: a row is {entry!r}; expected a name and overrides")
    where = f"{path}, row {entry['name']!r}"
    refuse_keys(entry, _ROW_KEYS, where)
    config = entry.get("config", content.get("config"))
    if not config or not isinstance(config, str):
        raise InputError(f"{where}: config is {config!r}; give the study or the row the name of a file")
    control = str(entry.get("control", ""))
    if control and control not in CONTROLS:
        raise InputError(f"{where}: control {control!r} is not known; expected one of {', '.join(CONTROLS)}")
    if not isinstance(entry.get("set") or {}, dict):
        raise InputError(f"{where}: set is {entry['set']!r}; expected a mapping of configuration keys")
    of_control = CONTROLS[control].overrides if control else {}
    merged = {**content.get("set", {}), **(entry.get("set") or {}), **of_control}
    row = Row(str(entry["name"]), _find(config, path), [part for pair in merged.items() for part in pair],
              entry.get("x"), bool(entry.get("baseline")), str(entry.get("weights_of", "")), control,
              str(entry.get("group", "")), str(entry.get("series", "")))
    _load(row, where)
    return row


def _load(row, where):
    try:
        cfg = load_config(str(row.config), row.overrides)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    check_config(cfg, row, where)


def _find(config, path):
    beside = path.parent / config
    return beside if beside.is_file() else PROJECT / config


def _controls(content, rows, path):
    """-> the rows that controls_of asks for."""
    name, asked = content.get("controls_of"), content.get("controls", list(CONTROLS))
    if not name and "controls" in content:
        raise InputError(f"{path}: controls, but no controls_of; name the row that they are of")
    if not name:
        return []
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise InputError(f"{path}: controls_of names no row: {name!r}; {near(name, [row.name for row in rows])}")
    if not load_config(str(found.config), found.overrides).MODEL.STPN.ENABLED:
        raise InputError(f"{path}: controls_of {name!r}, which has no prompts (MODEL.STPN.ENABLED False); name a row "
                         "that has some")
    if found.weights_of:
        raise InputError(f"{path}: controls_of {name!r}, which is not trained itself; name {found.weights_of!r}")
    unknown = [one for one in asked if one not in CONTROLS]
    if unknown:
        raise InputError(f"{path}: control {unknown[0]!r} is not known; expected some of {', '.join(CONTROLS)}")
    controls = control_rows(found, asked)
    for row in controls:
        _load(row, f"{path}, row {row.name!r}")
    return controls
