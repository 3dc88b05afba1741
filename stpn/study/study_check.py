"""What a study file may say: keys, steps, and rows that fit each other. Faults are an InputError of one line."""

import difflib
import math
import os
import re
import shlex
from pathlib import Path

from ..engine.config_file import PROJECT
from ..errors import InputError
from .controls import CONTROLS, NOT_OWN
from .plan import Step

_STEP_KEYS = ("makes", "needs", "run")
_NOT_OWN = ("VideoObjectTracker", "SelsaDetector")  # see controls.own_frame_only


def read_step(entry, path):
    """An entry of prepare -> Step, with {datasets} filled in."""
    where = f"{path}, prepare {entry!r}"
    if not isinstance(entry, dict) or not entry.get("makes") or not entry.get("run"):
        raise InputError(f"{where}: expected makes (a file), run (a script with arguments) and, where it has to wait "
                         "for another step, needs")
    refuse_keys(entry, _STEP_KEYS, where)
    datasets = os.environ.get("DETECTRON2_DATASETS", "datasets")

    def filled(text):
        return str(text).replace("{datasets}", datasets)

    needs = entry.get("needs", [])
    if not isinstance(needs, list):
        raise InputError(f"{where}: needs is {needs!r}; expected a list of files")
    unknown = set(re.findall(r"{\w*}", f"{entry['makes']} {entry['run']} {needs}")) - {"{datasets}"}
    if unknown:
        raise InputError(f"{where}: {min(unknown)} is not known; expected {{datasets}}, or no braces")
    try:
        script, *arguments = shlex.split(str(entry["run"]))
    except ValueError as error:
        raise InputError(f"{where}: run cannot be read ({error}); expected a script with arguments") from None
    if not (PROJECT / script).is_file():
        raise InputError(f"{where}: no script {script}; give one of the project, such as projects/STPN/train_net.py")
    return Step(filled(entry["makes"]), [filled(need) for need in needs],
                [script, *map(filled, arguments)])


def check_steps(steps, path):
    """What a step needs is made by another, or there."""
    made = [step.makes for step in steps]
    for step in steps:
        missing = [need for need in step.needs if need not in made and not Path(need).exists()]
        if missing:
            raise InputError(f"{path}, prepare {step.makes}: needs {missing[0]}, which no step makes; "
                             f"{near(missing[0], made)}")


def check_config(cfg, row, where):
    """What would show only after a training."""
    if len(cfg.DATASETS.TEST) != 1:
        raise InputError(f"{where}: DATASETS.TEST is {list(cfg.DATASETS.TEST)}; expected one set to evaluate on")
    if row.control in ("own_frame", "own_frame_trained") and cfg.MODEL.META_ARCHITECTURE in _NOT_OWN:
        raise InputError(f"{where}: control {row.control} does not fit {cfg.MODEL.META_ARCHITECTURE}: {NOT_OWN} "
                         f"({', '.join(name for name in CONTROLS if not name.startswith('own'))})")


def check_rows(rows, figure, path):
    """Names that are there, weights that are trained, numbers where a line is drawn."""
    names = [row.name for row in rows]
    for row in rows:
        where = f"{path}, row {row.name!r}"
        if names.count(row.name) > 1:
            raise InputError(f"{where}: another row has this name, too")
        if row.weights_of and row.weights_of not in names:
            raise InputError(f"{where}: weights_of names no row; {near(row.weights_of, names)}")
        if row.weights_of and next(r for r in rows if r.name == row.weights_of).weights_of:
            raise InputError(f"{where}: weights_of {row.weights_of!r}, which is not trained itself; name a row that is")
        if row.control and bool(CONTROLS[row.control].apply) != bool(row.weights_of):
            raise InputError(f"{where}: control {row.control!r} " + ("is trained itself; drop weights_of"
                             if row.weights_of else "is for trained weights; add weights_of"))
        is_number = type(row.x) in (int, float) and math.isfinite(row.x)
        if figure == "line" and not row.baseline and not row.control and not is_number:
            raise InputError(f"{where}: x is {row.x!r}; expected a number, as figure is line")
        if row.baseline and [r.group for r in rows if r.baseline].count(row.group) > 1:
            raise InputError(f"{where}: another row of group {row.group!r} is the baseline, too")


def near(name, names):
    """-> "did you mean ...?" for an error."""
    return f"did you mean {(difflib.get_close_matches(name, names, n=1) or names)[0]!r}?"


def refuse_keys(found, known, where):
    """InputError for the first key that is not known."""
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise InputError(f"{where}: key {key!r} is not known; {hint}")
